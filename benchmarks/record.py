"""What hepprune adds to the taggers of the field's record: read, run beside their package, shrunk, solved, measured.

One command: `HGQ_PYTHON=... python benchmarks/record.py` measures every file below `--reference`, each in a process of
its own, and writes the tables of docs/record.md; what `--build` holds is not measured again. `HGQ_PYTHON` names an
interpreter that has HGQ2; without it nothing is said of agreement with it. Every limit in LUT is one of the price.
"""

import argparse
import functools
import json
import logging
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from hepprune import frontends, synthesis
from hepprune.errors import HeppruneError
from hepprune.files import write_json
from hepprune.firmware import equivalence, rtl
from hepprune.fixed import FixedPoint
from hepprune.fixed.quantisers import FixedPoints
from hepprune.frontends.keras.files import read_model
from hepprune.hardware import cost, targets
from hepprune.network import Activation, Input, Network
from hepprune.pruning import masks
from hepprune.pruning.structure import surgery
from hepprune.synthesis import yosys

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "record"
PAGE = ROOT / "docs" / "record.md"
MARKS = ("<!-- record: written by benchmarks/record.py -->\n", "<!-- end of record -->")
N_ROWS, N_JETS = 200, 1_000
FLAT = 215_000  # LUT of the solved graph up to which Yosys maps a design as a whole
Solve = Callable[[Network], rtl.Solution]
OWN = """
import sys, numpy as np, keras, hgq
model, given = keras.models.load_model(sys.argv[1], compile=False), list(np.load(sys.argv[2]).values())
np.save(sys.argv[3], keras.ops.convert_to_numpy(model(given if len(given) > 1 else given[0])))
"""


@dataclass(frozen=True)
class Limits:
    """The prices in LUT up to which a design is solved, simulated and synthesised."""

    solve: float
    simulate: float
    yosys: float


def main() -> None:
    """Measure the files, write their page, and say where it is."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--reference", type=Path, default=ROOT.parent / "shared" / "reference" / "hgq")
    parser.add_argument("--build", type=Path, default=RESULTS)
    parser.add_argument("--limits", type=float, nargs=3, default=(60_000, 12_000, 3_200), help="solve, simulate, Yosys")
    parser.add_argument("--seconds", type=float, default=900, help="the most that one file may take")
    parser.add_argument("--file", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.file is not None:
        measure(given.file, given.build, Limits(*given.limits))
        return
    limits = ["--limits", *map(str, given.limits)]
    files = sorted(
        (each for kind in ("h5", "keras") for each in given.reference.glob(f"*/*.{kind}")),
        key=lambda path: path.stat().st_size,
    )
    if not files:
        parser.error(f"no file FOLDER/*.h5 or FOLDER/*.keras below '{given.reference}': the page stays")
    for path in files:
        if not _found(path, given.build).get("done"):
            print(f"measuring {path.name}", flush=True)
            asked = [sys.executable, __file__, "--file", str(path), "--build", str(given.build), *limits]
            _run(asked, given.seconds)
    found = [row for path in files if "read_s" in (row := _found(path, given.build))]
    begin, end = MARKS
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(begin)
    old, _, after = rest.partition(end)
    page = before + begin + "\n".join(tables(found, old)) + "\n" + end + after
    PAGE.write_text(page, encoding="utf-8")
    print(f"{PAGE} has {len(found)} of {len(files)} files anew")


def _run(asked: list[str], seconds: float) -> None:
    try:
        subprocess.run(asked, check=False, timeout=seconds)
    except subprocess.TimeoutExpired:
        print(f"stopped after {seconds:.0f} s; what was measured until then is kept", flush=True)


def _found(path: Path, build: Path) -> dict[str, Any]:
    """Return what has been measured of a file."""
    kept = _kept(path, build)
    return json.loads(kept.read_text()) if kept.is_file() else {"file": path.name}


def _kept(path: Path, build: Path) -> Path:
    return build / f"{path.name}.json"


def measure(path: Path, build: Path, limits: Limits) -> None:
    """Measure one file, what is not known of it yet, and keep each figure as soon as it is there."""
    logging.disable(logging.WARNING)
    found = _found(path, build)

    def keep(key: str, make: Callable[[], Any]) -> None:
        if key not in found:
            found[key] = make()
            write_json(_kept(path, build), found)

    start = time.perf_counter()
    network = frontends.read(path)
    smaller, target = surgery.shrink(network), targets.load("generic_vu13p")
    keep("read_s", lambda: time.perf_counter() - start)
    keep("ebops", lambda: ebops(path))
    keep("agreement", lambda: agreement(network, path))
    keep("nonzero", lambda: masks.nonzero_weights(network))
    keep("bits", lambda: bits(network))
    for key, count in (("weights", _weights), ("values", _values)):
        keep(key, lambda count=count: [count(network), count(smaller)])
    keep("limits", lambda: [limits.solve, limits.simulate, limits.yosys])
    solve = functools.cache(rtl.solve)  # both designs are counted and written, that of the shrunk network simulated
    before, after = typed(network), typed(smaller)
    keep("before", lambda: solved(before, target, limits, solve))
    keep("after", lambda: solved(after, target, limits, solve))
    was = Drawn(before, build / path.stem / "before", target, solve)
    now = Drawn(after, build / path.stem / "after", target, solve)
    price = found["after"].get("price", np.inf)
    keep("verilog", lambda: _refusable(lambda: simulated(now)) if price <= limits.simulate else {})
    keep("cells_after", lambda: _refusable(lambda: cells(now)) if price <= limits.yosys else {})
    keep("cells_before", lambda: _refusable(lambda: cells(was, like=now)) if price <= limits.yosys else {})
    keep("done", lambda: True)


def typed(network: Network) -> Network:
    """Return the network with a type for every input: the one that holds all in which it is read, or hls4ml's own."""
    changed = network.clone()
    for layer in changed.inputs:
        if layer.result is None:
            layer.result = _joint(changed, layer) or FixedPoint(16, 6)
    return changed


def _joint(network: Network, layer: Input) -> FixedPoint | None:
    readers = [each for each in network if layer.name in network.sources.get(each.name, ())]
    kinds = [each.result for each in readers if isinstance(each, Activation)]
    pairs = [
        (int(kind.integer[used].max()), kind.fraction)
        for kind in kinds
        if isinstance(kind, FixedPoints) and (used := kind.width > 0).any()
    ]
    if len(pairs) < len(readers):
        return None
    integer, fraction = (max(numbers) for numbers in zip(*pairs, strict=True))
    return FixedPoint(integer + 1 + fraction, integer + 1)


@dataclass(frozen=True)
class Drawn:
    """A network, and its Verilog in a folder, written once it is asked for."""

    network: Network
    folder: Path
    target: targets.Target
    solve: Solve

    @property
    def clocked(self) -> dict[str, Any]:
        """The part and the clock, as those who write and measure Verilog name them."""
        return {"part": self.target.part_name, "clock_ns": self.target.period_ns}

    @functools.cached_property
    def design(self) -> rtl.Design:
        """The Verilog, on disk."""
        levels = self.target.levels_per_cycle
        solution = self.solve(self.network)
        return rtl.write_verilog(solution, self.folder, name="tagger", levels_per_cycle=levels, **self.clocked)


def solved(network: Network, target: targets.Target, limits: Limits, solve: Solve) -> dict[str, Any]:
    """Return the price, and within the limit the solved cost."""

    def found() -> dict[str, Any]:
        price = cost.adder_graph(network, target).resources.lut
        solution = solve(network) if price <= limits.solve else None
        return {"price": price} | ({} if solution is None else {"lut": solution.cost, "levels": solution.depth})

    return _refusable(found)


def _refusable(measure: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    try:
        return measure()
    except HeppruneError as problem:
        return {"refused": str(problem)}


def simulated(drawn: Drawn) -> dict[str, Any]:
    """Return what the simulation of the Verilog says."""
    jets = tuple(_jets(drawn.network, N_JETS))
    check = equivalence.against_rtl(drawn.network, drawn.design, jets if len(jets) > 1 else jets[0])
    return {"vectors": check.vectors, "mismatches": check.mismatches, "cycles": drawn.design.latency_cycles}


def cells(drawn: Drawn, like: Drawn | None = None) -> dict[str, Any]:
    """Return the LUT that Yosys counts in a design, unless it is the same Verilog as one that was counted."""
    if like is not None and _verilog(drawn) == _verilog(like):
        return {"same": True}
    return {"lut": synthesised(drawn)}


def _verilog(drawn: Drawn) -> dict[str, str]:
    return {source.name: source.read_text() for source in drawn.design.sources}


def synthesised(drawn: Drawn) -> float:
    """Return the LUT that Yosys counts, parts that stand at several places mapped once.

    A large design is more than PyPI's Yosys has memory for: its stages, which end at registers, are mapped one by one.
    """
    design, folder = drawn.design, drawn.folder / "yosys"
    if design.solved.lut <= FLAT:
        return yosys.synthesise(synthesis.Job.of(design, folder)).resources.lut
    stages = [f"{design.top}_stage{n}" for n in range(design.latency_cycles)]
    jobs = (replace(synthesis.Job.of(design, folder / stage), top=stage) for stage in stages)
    return sum(yosys.synthesise(job).resources.lut for job in jobs)


def _jets(network: Network, n_rows: int) -> list[np.ndarray]:
    """Return random rows, spread over more than the range of most types."""
    rng = np.random.default_rng(0)
    return [rng.normal(0, 2, (n_rows, *layer.features_shape)).astype(np.float32) for layer in network.inputs]


@torch.no_grad()
def agreement(network: Network, path: Path) -> float | None:
    """Return the part of the outputs that are those of HGQ2 to the last bit, None where it cannot run the file."""
    jets = _jets(network, N_ROWS)
    with tempfile.TemporaryDirectory() as folder:
        given, made = Path(folder) / "jets.npz", Path(folder) / "outputs.npy"
        np.savez(given, *jets)
        if "HGQ_PYTHON" not in os.environ:
            return None
        asked = [os.environ["HGQ_PYTHON"], "-c", OWN, str(path), str(given), str(made)]
        environment = os.environ | {"KERAS_BACKEND": "torch"}
        if subprocess.run(asked, env=environment, capture_output=True, check=False).returncode:
            return None
        wanted = np.load(made)
    tensors = [torch.as_tensor(each) for each in jets]
    outputs = network(tensors if len(tensors) > 1 else tensors[0]).numpy()
    return float((outputs == wanted).mean())


def bits(network: Network) -> float:
    """Return the mean width of the weights that act and are not zero."""
    widths = []
    for kernel in network.kernels:
        kind, used = kernel.type, kernel.used().detach().numpy() != 0
        width = kind.width if isinstance(kind, FixedPoint | FixedPoints) else getattr(kind, "bits", np.nan)
        widths.append(np.broadcast_to(width, used.shape)[used])
    return float(np.concatenate(widths).mean())


def _weights(network: Network) -> int:
    return sum(kernel.weight.numel() for kernel in network.kernels)


def _values(network: Network) -> int:
    """Return the outputs of layers with kernels."""
    return sum(kernel.n_rows for kernel in network.kernels)


def ebops(path: Path) -> float | None:
    """Return the EBOPs that a file keeps, summed over its layers; beside each HGQ2 keeps the weight of their loss."""
    counts = []
    for stored in read_model(path).layers.values():
        scalars = {name: float(array) for name, array in stored.arrays.items() if not array.ndim}
        groups: dict[str, list[str]] = {}
        for name in scalars:
            if "quantizer" not in name:
                groups.setdefault(name.rpartition("/")[0], []).append(name)
        pairs = [sorted(names, key=lambda name: (len(name), name)) for names in groups.values() if len(names) == 2]
        counts += [scalars[last] for _, last in pairs if path.suffix == ".keras" or last.endswith("ebops")]
    return sum(counts) or None


def tables(found: list[dict[str, Any]], page: str = "") -> list[str]:
    """Return the figures of all files as the lines of two tables, and what of them is missing as a third.

    What a page has of files that are not among those found stays as it is.
    """
    lines: list[str] = []
    for columns in (READ, BUILT, MISSING):
        lines += [*_rows(columns, found, page), ""]
    return lines[:-1]


def _rows(columns: dict[str, Any], found: list[dict[str, Any]], page: str) -> list[str]:
    head = [f"| {' | '.join(columns)} |", "|" + "---|" * len(columns)]
    old = page.partition(head[0])[2].partition("\n\n")[0].splitlines()[2:]
    rows = {line.split("|")[1].strip(): line for line in old}
    for row in found:
        cells = [column(row) for column in columns.values()]
        rows[cells[0]] = f"| {' | '.join(cells)} |"
    return head + [line for line in rows.values() if not line.endswith("|  |")]


def _missing(row: dict[str, Any]) -> str:
    """Return what was not measured of a file and why, nothing where all was."""
    before, after, verilog = (row.get(part) for part in ("before", "after", "verilog"))
    parts = [before, after, verilog, row.get("cells_after"), row.get("cells_before")]
    refused = next((part["refused"] for part in parts if part and "refused" in part), None)
    if refused:
        return f"refused: {refused}"
    solve, simulate, synthesise = row.get("limits", (0, 0, 0))
    if after is None or verilog is None:
        return "stopped at the limit of time while it was solved" if before is None else "stopped at the limit of time"
    if None in parts:
        which = "it was synthesised" if parts[3] is None else "Yosys counted what was read"
        return f"stopped at the limit of time while {which}"
    price = after["price"]
    limits = ((solve, "solved"), (simulate, "simulated"), (synthesise, "synthesised"))
    not_done = [what for limit, what in limits if price > limit]
    return f"not {', '.join(not_done)}: priced above the limit" if not_done else ""


def _n(value: float | None, form: str = ",.0f") -> str:
    return "-" if value is None else format(value, form)


def _both(row: dict[str, Any], key: str) -> str:
    before, after = (row.get(side, {}).get(key) for side in ("before", "after"))
    return "-" if before is None and after is None else f"{_n(before)} -> {_n(after)}"


def _cells(row: dict[str, Any]) -> str:
    before, after = row.get("cells_before", {}), row.get("cells_after", {})
    if "lut" not in after:
        return "-"
    return f"both {_n(after['lut'])}" if before.get("same") else f"{_n(before.get('lut'))} -> {_n(after['lut'])}"


def _equal(row: dict[str, Any]) -> str:
    found = row.get("verilog", {})
    if "vectors" not in found:
        return "-"
    return f"no, {found['mismatches']:,} differ" if found["mismatches"] else f"yes, {found['vectors']:,}"


def _ratio(row: dict[str, Any], above: str, below: float | None) -> str:
    value = row.get("after", {}).get(above)
    return "-" if not (value and below) else f"{value / below:.2f}"


READ: dict[str, Any] = {
    "file": lambda row: f"`{row['file']}`",
    "read, s": lambda row: _n(row["read_s"], ".2f"),
    "outputs as HGQ2's": lambda row: _n(row.get("agreement"), ".1%"),
    "weights not zero": lambda row: _n(row.get("nonzero")),
    "of bits": lambda row: _n(row.get("bits"), ".1f"),
    "weights, shrunk": lambda row: " -> ".join(map(_n, row.get("weights", []))),
    "neurons, shrunk": lambda row: " -> ".join(map(_n, row.get("values", []))),
    "EBOPs": lambda row: _n(row.get("ebops")),
}
BUILT: dict[str, Any] = {
    "file": lambda row: f"`{row['file']}`",
    "price, LUT": lambda row: _both(row, "price"),
    "da4ml, LUT": lambda row: _both(row, "lut"),
    "price / da4ml": lambda row: _ratio(row, "price", row.get("after", {}).get("lut")),
    "Yosys, LUT": _cells,
    "adder levels": lambda row: _both(row, "levels"),
    "Verilog equal, vectors": _equal,
    "da4ml / EBOPs": lambda row: _ratio(row, "lut", row.get("ebops")),
}
MISSING: dict[str, Any] = {"file": READ["file"], "not measured": _missing}


if __name__ == "__main__":
    main()
