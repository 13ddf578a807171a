"""Time and memory that Verilog takes, from 1,000 to 200,000 LUT: tracing, writing, simulating 2,000 jets, Yosys.

A DeepSets of random weights, 80 % of them zero: 1 to 64 constituents of 8 features through a phi of three layers of
32, their mean, and a rho of 32-32-5, with weights and activations of 6 bits; the smallest are the rho alone, and one of
half the width.
One command: `python benchmarks/rtl_scale.py [--constituents -1 0 1 4 16 32 64] [--build FOLDER]`. Every point runs in a
process of its own, so that its peak memory is its own, and what the build folder holds is not measured again.
"""

import argparse
import itertools
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from rich.progress import track

from hepprune import synthesis
from hepprune.files import write_json
from hepprune.firmware import equivalence, rtl
from hepprune.fixed import FixedPoint
from hepprune.hardware import targets
from hepprune.network import Dense, GlobalPool, Input, Layer, Network, ReLU
from hepprune.synthesis import yosys

T = TypeVar("T")
RESULTS = Path(__file__).parent / "results"
N_JETS, N_FEATURES, WIDTH, ZEROS = 2_000, 8, 32, 0.8
NARROW = -1  # in place of a number of constituents: the rho alone, of half the width
FEATURES, WEIGHTS, BIASES = FixedPoint(8, 3), FixedPoint(6, 2), FixedPoint(8, 3)
STEPS = ("trace", "verilog", "simulate", "synthesise")


def main() -> None:
    """Measure the points, print a table of them, and write benchmarks/results/rtl_scale.json."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--constituents", type=int, nargs="+", default=[NARROW, 0, 1, 2, 4, 8, 16, 32, 64])
    parser.add_argument("--build", type=Path, default=RESULTS / "rtl_scale")
    parser.add_argument("--flat", action="store_true", help="without modules, as the designs of one place are")
    parser.add_argument("--point", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.point is not None:
        write_json(_file(given.build, given.point, flat=given.flat), measure(given.point, given.build, flat=given.flat))
        return
    for count in track(given.constituents, "measuring"):
        if not _file(given.build, count, flat=given.flat).is_file():
            options = ["--build", str(given.build), *(["--flat"] if given.flat else [])]
            subprocess.run([sys.executable, __file__, "--point", str(count), *options], check=True)
    points = [json.loads(file.read_text()) for file in sorted(given.build.glob("*.json"))]
    points.sort(key=lambda point: (point["flat"], point["constituents"]))
    write_json(RESULTS / "rtl_scale.json", points)
    print("\n".join(table(points)))


def _file(build: Path, count: int, *, flat: bool) -> Path:
    return build / f"{count}{'_flat' if flat else ''}.json"


def network(n_constituents: int) -> Network:
    """Return the DeepSets, or its rho alone."""
    rng, width = np.random.default_rng(0), WIDTH // 2 if n_constituents == NARROW else WIDTH
    shape = (n_constituents, N_FEATURES) if n_constituents > 0 else (width,)
    layers: list[Layer] = [Input("x", shape, FEATURES)]
    if n_constituents > 0:
        layers += _chain(rng, "phi", [N_FEATURES, WIDTH, WIDTH, WIDTH])
        layers.append(GlobalPool("mean", "average", result=FixedPoint(8, 2, False, "TRN", "SAT")))
    layers += _chain(rng, "rho", [width, width, width])
    return Network([*layers, _dense(rng, "classes", width, 5)])


def _chain(rng: np.random.Generator, name: str, widths: list[int]) -> list[Layer]:
    layers: list[Layer] = []
    for index, (n_in, n_out) in enumerate(itertools.pairwise(widths), start=1):
        kind = FixedPoint(6, 2, False, "TRN", "SAT")
        layers += [_dense(rng, f"{name}_{index}", n_in, n_out), ReLU(f"{name}_relu_{index}", kind)]
    return layers


def _dense(rng: np.random.Generator, name: str, n_in: int, n_out: int) -> Dense:
    """Return a layer whose weights are distributed as those of trained ones, in their type."""
    weight = np.clip(np.round(rng.normal(size=(n_out, n_in)) * 4), -31, 31) * (rng.random((n_out, n_in)) >= ZEROS) / 16
    parts = (torch.tensor(part, dtype=torch.float32) for part in (weight, rng.integers(-8, 8, n_out) / 16))
    return Dense(name, *parts, weight_type=WEIGHTS, bias_type=BIASES)


def measure(n_constituents: int, build: Path, *, flat: bool) -> dict[str, Any]:
    """Return seconds, memory and counts of one point."""
    yosys.warm_up()
    rtl.warm_up()
    made, target, steps = network(n_constituents), targets.load("generic_vu13p"), dict[str, dict[str, float]]()

    def timed(step: str, function: Callable[[], T]) -> T:
        before = _used()
        result = function()
        wall, cpu = (now - then for now, then in zip(_used(), before, strict=True))
        steps[step] = {"wall_s": wall, "cpu_s": cpu, "peak_gb": _peak_gb()}
        return result

    solution = timed("trace", lambda: rtl.solve(made))
    if flat:
        solution = rtl.Solution(solution.logic, solution.cost, solution.depth)
    options: dict[str, Any] = {"part": target.part_name, "clock_ns": target.period_ns}
    folder = build / f"{n_constituents}{'_flat' if flat else ''}"
    pipeline = {"name": "sets", "levels_per_cycle": target.levels_per_cycle, **options}
    design = timed("verilog", lambda: rtl.write_verilog(solution, folder, **pipeline))
    jets = FEATURES(np.random.default_rng(1).normal(size=(N_JETS, *made.input.features_shape)))
    timed("simulate", lambda: equivalence.against_rtl(made, design, jets))
    job = synthesis.Job.of(design, folder / "yosys")
    measured = timed("synthesise", lambda: yosys.synthesise(job))
    return {
        "constituents": n_constituents,
        "flat": flat,
        "cost": solution.cost,
        "lut": measured.resources.lut,
        "ff": measured.resources.ff,
        "cycles": design.latency_cycles,
        "verilog_mb": sum(source.stat().st_size for source in design.sources) / 1e6,
        "steps": steps,
    }


def _used() -> tuple[float, float]:
    """Return seconds of the clock, and of the processor by this process and those that it waited for."""
    own, others = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return time.perf_counter(), own.ru_utime + own.ru_stime + others.ru_utime + others.ru_stime


def _peak_gb() -> float:
    """Return the most memory that this process and one that it started have had so far."""
    return sum(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)) / 1e6


def table(points: list[dict[str, Any]]) -> list[str]:
    """Return the points as the lines of a table, seconds of the clock with those of the processor behind."""
    rows = [
        f"| constituents | da4ml cost | LUT | FF | Verilog, MB | {' | '.join(f'{s}, s (CPU s)' for s in STEPS)} | GB |"
    ]
    rows.append("|" + "---|" * (len(STEPS) + 6))
    for point in points:
        seconds = (f"{point['steps'][step]['wall_s']:.0f} ({point['steps'][step]['cpu_s']:.0f})" for step in STEPS)
        count = {NARROW: "none, narrow", 0: "none"}.get(point["constituents"], point["constituents"])
        name = f"{count}{', flat' if point['flat'] else ''}"
        counts = " | ".join(f"{point[key]:,.0f}" for key in ("cost", "lut", "ff"))
        peak = point["steps"][STEPS[-1]]["peak_gb"]
        rows.append(f"| {name} | {counts} | {point['verilog_mb']:.2f} | {' | '.join(seconds)} | {peak:.1f} |")
    return rows


if __name__ == "__main__":
    main()
