"""da4ml's solver of matrices beside that of alkaid, its successor: LUT of Yosys, adder levels, seconds, first run.

Ten networks of random weights: chains of dense layers of 3 to 8 bits at 0 to 90 % zeros, DeepSets and convolutions.
One command: `python benchmarks/solvers.py [--build FOLDER]`, where `pip install alkaid` was run; what the folder holds
is not measured again. The tracing, the pipelining and the Verilog are the same; only the graphs of the matrices differ.
"""

import argparse
import importlib.util
import itertools
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.progress import track

from hepprune import synthesis
from hepprune.files import write_json
from hepprune.firmware import rtl
from hepprune.fixed import FixedPoint
from hepprune.hardware import targets
from hepprune.network import Conv, Dense, GlobalPool, Input, Layer, Network, ReLU
from hepprune.synthesis import yosys

RESULTS = Path(__file__).parent / "results"
SOLVERS = ("da4ml", "alkaid")
# What acts on each place, of what shape the input is, the widths of the layers, bits of weights, fraction of zeros.
NETWORKS = {
    "tiny": ("dense", (8,), (16, 5), 6, 0.5),
    "narrow": ("dense", (16,), (16, 16, 5), 4, 0.6),
    "full": ("dense", (8,), (8, 8, 5), 8, 0.0),
    "three bits": ("dense", (16,), (32, 16, 5), 3, 0.5),
    "sparse": ("dense", (16,), (64, 32, 32, 5), 6, 0.9),
    "wide": ("dense", (32,), (16, 5), 6, 0.7),
    "one layer": ("dense", (24,), (24,), 6, 0.5),
    "eight bits": ("dense", (16,), (24, 16, 5), 8, 0.8),
    "deep sets": ("sets", (4, 8), (16, 16), 6, 0.7),
    "convolutions": ("conv", (6, 3), (6, 6), 5, 0.6),
}


def main() -> None:
    """Measure both solvers on every network, print a table, and write benchmarks/results/solvers.json."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--build", type=Path, default=RESULTS / "solvers")
    build = parser.parse_args().build
    if importlib.util.find_spec("alkaid") is None:
        raise SystemExit("skipped: alkaid is not installed here (`pip install alkaid`)")
    first = {solver: kept(build / f"first {solver}.json", first_run, solver) for solver in SOLVERS}
    yosys.warm_up()
    rtl.warm_up()
    found: dict[str, dict[str, dict[str, float]]] = {name: {} for name in NETWORKS}
    for name, solver in track(list(itertools.product(NETWORKS, SOLVERS)), "measuring"):
        found[name][solver] = kept(build / f"{name} {solver}.json", measure, name, solver, build)
    write_json(RESULTS / "solvers.json", {"first": first, "networks": found})
    print("\n".join(table(found)))
    print("first run: " + ", ".join(f"{solver} {seconds['s']:.0f} s" for solver, seconds in first.items()))


def kept(file: Path, measured: Callable[..., dict[str, float]], *given: Any) -> dict[str, float]:
    """Return what a file holds, or what is measured now."""
    if not file.is_file():
        write_json(file, measured(*given))
    found: dict[str, float] = json.loads(file.read_text())
    return found


def first_run(solver: str) -> dict[str, float]:
    """Return the processor seconds that a first matrix takes where nothing is compiled yet."""
    code = (
        "import time; from benchmarks.solvers import network, rtl; made = network('tiny'); "
        f"start = time.process_time(); rtl.solve(made, solver='{solver}'); print(time.process_time() - start)"
    )
    with tempfile.TemporaryDirectory() as cache:
        environment = os.environ | {"NUMBA_CACHE_DIR": cache}
        root = Path(__file__).parent.parent
        done = subprocess.run([sys.executable, "-c", code], cwd=root, env=environment, capture_output=True, check=True)
    return {"s": float(done.stdout)}


def network(name: str) -> Network:
    """Return one of the networks."""
    kind, shape, widths, bits, zeros = NETWORKS[name]
    rng = np.random.default_rng(sorted(NETWORKS).index(name))
    layers: list[Layer] = [Input("x", shape, FixedPoint(8, 3))]
    n_in = shape[-1]
    for index, n_out in enumerate(widths, start=1):
        size = (n_out, 3, n_in) if kind == "conv" else (n_out, n_in)
        weight = np.clip(np.round(rng.normal(size=size) * 2 ** (bits - 3)), 1 - 2 ** (bits - 1), 2 ** (bits - 1) - 1)
        parts = (weight * (rng.random(size) >= zeros) / 2 ** (bits - 2), rng.integers(-8, 8, n_out) / 16)
        types = {"weight_type": FixedPoint(bits, 2), "bias_type": FixedPoint(8, 3)}
        layer = Conv if kind == "conv" else Dense
        layers.append(layer(f"layer_{index}", *(torch.tensor(part, dtype=torch.float32) for part in parts), **types))
        layers.append(ReLU(f"relu_{index}", FixedPoint(6, 3, False, "TRN", "SAT")))
        n_in = n_out
    pooled = [GlobalPool("mean", "average", result=FixedPoint(8, 3, False, "TRN", "SAT"))] if kind != "dense" else []
    return Network([*layers, *pooled])


def measure(name: str, solver: str, build: Path) -> dict[str, float]:
    """Return what one solver makes of one network."""
    made, target, start = network(name), targets.load("generic_vu13p"), time.process_time()
    solution = rtl.solve(made, solver=solver)
    seconds = time.process_time() - start
    options: dict[str, Any] = {"part": target.part_name, "clock_ns": target.period_ns}
    folder, levels = build / f"{name} {solver}".replace(" ", "_"), target.levels_per_cycle
    design = rtl.write_verilog(solution, folder, name="design", levels_per_cycle=levels, **options)
    found = yosys.synthesise(synthesis.Job.of(design, folder / "yosys")).resources
    return {
        "lut": found.lut or 0.0,
        "ff": found.ff or 0.0,
        "cost": solution.cost,
        "levels": solution.depth,
        "seconds": seconds,
    }


def table(found: dict[str, dict[str, dict[str, float]]]) -> list[str]:
    """Return the lines of a table, da4ml and alkaid in every cell, and the geometric mean of the ratios of LUT."""
    rows = [
        "| network | LUT | ratio | FF | da4ml cost | adder levels | solving, CPU s |",
        "|---|---|---|---|---|---|---|",
    ]
    ratios = []
    for name, both in found.items():
        one, other = (both[solver] for solver in SOLVERS)
        ratios.append(other["lut"] / one["lut"])
        cells = (f"{one[key]:,.{digits}f}, {other[key]:,.{digits}f}" for key, digits in _COLUMNS)
        lut, *rest = cells
        rows.append(f"| {name} | {lut} | {ratios[-1]:.3f} | {' | '.join(rest)} |")
    rows.append(f"| geometric mean | | {np.exp(np.mean(np.log(ratios))):.3f} | | | | |")
    return rows


_COLUMNS = (("lut", 0), ("ff", 0), ("cost", 0), ("levels", 0), ("seconds", 1))

if __name__ == "__main__":
    main()
