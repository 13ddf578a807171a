"""Accuracy against LUT of five ways to a small jet tagger, at the same seconds of processor time on one thread.

hepprune's front, HGQ2 (Sun et al., 10.1145/3748173.3779200) by its own recipe in an environment of its own, magnitude
pruning under 6 and 4 bits, and small dense networks. All train, validate and are tested on the same jets, every network
is read and solved as an adder graph by hepprune, and every score is that of the network bit for bit. Of what hepprune
and HGQ2 find, Yosys counts LUT and FF of the best within some LUT.

`python benchmarks/pareto.py [--seconds 60 240 760] [--seeds 3]`; what benchmarks/results/pareto has is not made again.
HGQ2 is installed below it, or taken from the interpreter that HGQ_PYTHON names.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pareto_methods import METHODS, PRICE, Job
from sklearn.isotonic import IsotonicRegression

from hepprune import metrics, recipe, synthesis
from hepprune.errors import HeppruneError
from hepprune.files import write_json, write_text
from hepprune.firmware import rtl
from hepprune.hardware import targets
from hepprune.metrics.scores import Stated
from hepprune.network import Network, exact_raw, identity, load, save
from hepprune.pipeline import taggers
from hepprune.pipeline.context import Context
from hepprune.pipeline.taggers import Samples
from hepprune.pruning.structure import surgery
from hepprune.report.plots import curves
from hepprune.report.plots.curves import Line
from hepprune.studies.fronts import unbeaten
from hepprune.synthesis import yosys

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "pareto"
NAMES = ("accuracy", "auc", "cross_entropy")
MOST, LEAST = 10_000, 200  # LUT as priced, between which networks are solved
MARKS = (500, 1000, 2000, 4000, 8000)  # LUT, columns of the table
RANGE = (300, 8000)  # LUT between which HGQ2's networks are to be beaten
COUNTED = (1000, 2000, 4000)  # LUT within which Yosys counts the best network of the methods below
COUNTS = ("hepprune", "hgq2")

Run = dict[str, Any]  # a method, its budget of time and seed, and its networks


def main() -> None:
    """Make what is missing, print the tables, and write them with the plots."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, nargs="+", default=(60, 240, 760))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=tuple(METHODS))
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--one", nargs=3, metavar=("METHOD", "SECONDS", "SEED"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        one(given.one[0], int(given.one[1]), int(given.one[2]), given.out)
        return
    for seconds in given.seconds:
        for seed in range(1, given.seeds + 1):
            for method in given.methods:
                if not place(given.out, method, seconds, seed).is_file():
                    made(method, seconds, seed, given.out)
    runs = [json.loads(path.read_text()) for path in sorted(given.out.glob("*-*-*.json"))]
    shown = "\n".join([*table(runs), "", *against(runs), "", *counts(runs)])
    print(shown)
    write_text(given.out / "table.md", shown + "\n")
    draw(runs, given.out)


def place(out: Path, method: str, seconds: int, seed: int) -> Path:
    """Return the file of one run."""
    return out / f"{method}-{seconds}-{seed}.json"


def made(method: str, seconds: int, seed: int, out: Path) -> None:
    """Run one method in a process of its own, on one thread; say so where it fails."""
    threads = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
    asked = [sys.executable, __file__, "--out", str(out), "--one", method, str(seconds), str(seed)]
    done = subprocess.run(asked, env=os.environ | threads, check=False)
    if done.returncode:
        print(f"{method}, {seconds} s, seed {seed}: left out (exit {done.returncode})", flush=True)


def one(method: str, seconds: int, seed: int, out: Path) -> None:
    """Train by one method, and write what its networks cost and are worth."""
    torch.set_num_threads(1)
    wanted = recipe.load(ROOT / "hls_projects/jet_tagger/recipe.yaml").model_copy(update={"seed": seed})
    folder = out / "networks" / f"{method}-{seconds}-{seed}"
    jets = taggers.read_jets(Context(recipe=wanted, target=targets.load(wanted.target), build=folder))
    job = Job(recipe=wanted, jets=jets, seconds=seconds, folder=folder, began=time.process_time())
    try:
        networks = list(METHODS[method](job))
    except (OSError, subprocess.CalledProcessError) as problem:
        sys.exit(f"{method} is skipped, its own environment fails: {problem}")
    taken = job.taken() if method != "hgq2" else json.loads((folder / "taken.json").read_text())
    rows = [row for row in map(partial(measured, jets=jets, folder=folder), networks) if row]
    rows.sort(key=lambda row: row["lut"])
    for row in chosen(rows) if method in COUNTS else ():
        count(row, folder)
    found = {"method": method, "seconds": seconds, "seed": seed, "taken": round(taken, 1), "networks": rows}
    write_json(place(out, method, seconds, seed), found)
    print(f"{method}, {seconds} s, seed {seed}: {len(rows)} networks in {taken:.0f} s", flush=True)


def measured(network: Network, *, jets: Samples, folder: Path) -> Run | None:
    """Return solved cost, exact scores and file of a network, None where it is larger or smaller than is compared."""
    try:
        shrunk = surgery.shrink(network, warn=False)
        if not LEAST <= (PRICE(shrunk).resources.lut or 0.0) <= MOST:
            return None
        solved = rtl.solve(shrunk).solved
    except HeppruneError as problem:
        print(f"a network is left out: {problem}", flush=True)
        return None
    kept = save(shrunk, folder / f"{solved.lut:.0f}_{identity(shrunk)}.npz")
    found: Run = {"lut": solved.lut, "levels": solved.depth, "file": kept.name}
    for name, sample in (("validation", jets.validation), ("test", jets.test)):
        scores = metrics.stated(sample.judged(exact_raw(shrunk, sample.arrays), NAMES))
        found[name] = {metric: [score.value, score.error] for metric, score in scores.items()}
    return found


def chosen(rows: Sequence[Run]) -> list[Run]:
    """Return for each of some LUT the best network within it, by validation jets; no network twice."""
    within = [[row for row in rows if row["lut"] <= mark] for mark in COUNTED]
    best = [max(some, key=_validated) for some in within if some]
    return [row for index, row in enumerate(best) if row not in best[:index]]


def count(row: Run, folder: Path) -> None:
    """Add to a network's row the LUT and FF that Yosys counts in its Verilog."""
    target, file = targets.load("generic_vu13p"), folder / row["file"]
    options = {"levels_per_cycle": target.levels_per_cycle, "part": target.part_name, "clock_ns": target.period_ns}
    design = rtl.write_verilog(rtl.solve(load(file)), file.with_suffix(""), name="tagger", **options)
    found = yosys.synthesise(synthesis.Job.of(design, file.with_suffix("") / "yosys"))
    row["yosys"] = {"lut": found.resources.lut, "ff": found.resources.ff, "cycles": found.latency_cycles}


def table(runs: Sequence[Run]) -> Iterator[str]:
    """Yield, as Markdown, what each method's best network within some LUT scores, the mean over seeds."""
    yield "| seconds | method | seeds | " + " | ".join(f"{mark:,} LUT" for mark in MARKS) + " |"
    yield "|---" * (3 + len(MARKS)) + "|"
    for seconds in sorted({run["seconds"] for run in runs}):
        for method in METHODS:
            own = [run for run in runs if (run["method"], run["seconds"]) == (method, seconds)]
            if own:
                cells = " | ".join(_cell(own, mark) for mark in MARKS)
                yield f"| {seconds} | {method} | {len(own)} | {cells} |"


def _cell(runs: Sequence[Run], mark: float) -> str:
    """Return accuracy, AUC and adder levels of what validation jets say is the best within some LUT."""
    within = [[row for row in run["networks"] if row["lut"] <= mark] for run in runs]
    if not all(within):
        return ""
    best = [max(rows, key=_validated) for rows in within]
    hits, area = (float(np.mean([row["test"][name][0] for row in best])) for name in NAMES[:2])
    error = float(np.mean([row["test"]["accuracy"][1] for row in best]))  # of jets: seeds have others, but not all
    return f"{hits:.4f} ± {error:.4f} / {area:.4f} / {np.mean([row['levels'] for row in best]):.0f}"


def counts(runs: Sequence[Run]) -> Iterator[str]:
    """Yield, as Markdown, what Yosys counts in the networks that it has seen."""
    yield "| seconds | method | seed | accuracy | LUT, solved | LUT, Yosys | their ratio | FF, Yosys | cycles |"
    yield "|---" * 9 + "|"
    for run in runs:
        for row in run["networks"]:
            if "yosys" in row:
                lut, accuracy, found = row["lut"], "{:.4f} ± {:.4f}".format(*row["test"]["accuracy"]), row["yosys"]
                name = f"{run['seconds']} | {run['method']} | {run['seed']} | {accuracy}"
                counted = f"{found['lut']:,.0f} | {found['lut'] / lut:.2f} | {found['ff']:,.0f} | {found['cycles']}"
                yield f"| {name} | {lut:,.0f} | {counted} |"


def against(runs: Sequence[Run]) -> Iterator[str]:
    """Yield, as Markdown, the LUT of hepprune's network over that of each of HGQ2's whose accuracy it reaches.

    Beside it stands what the front as a whole needs for that accuracy: of the smallest of many networks that are as
    accurate, one is so by luck.
    """
    yield (
        "| hepprune [s] | HGQ2 [s] | networks of HGQ2 | reached | LUT: median ratio | along the front | at most 0.7 |"
        " no more levels |"
    )
    yield "|---" * 8 + "|"
    by = {(run["method"], run["seconds"], run["seed"]): run for run in runs}
    budgets = sorted({run["seconds"] for run in runs})
    for ours in budgets:
        for theirs in (each for each in budgets if each >= ours):
            seeds = [seed for name, seconds, seed in by if (name, seconds) == ("hgq2", theirs)]
            pairs = [(by["hepprune", ours, s], by["hgq2", theirs, s]) for s in seeds if ("hepprune", ours, s) in by]
            if pairs:
                yield f"| {ours} | {theirs} | {_compared(pairs)} |"


def _compared(pairs: Sequence[tuple[Run, Run]]) -> str:
    points = [(own, row) for own, other in pairs for row in best(other) if RANGE[0] <= row["lut"] <= RANGE[1]]
    found = [(reached[0], row) for own, row in points if (reached := _reaching(own, row))]
    ratios = np.array([own["lut"] / row["lut"] for own, row in found])
    flat = [own["levels"] <= row["levels"] for own, row in found]
    if not len(ratios):
        return f"{len(points)} | 0 | | | |"
    along = [lut / row["lut"] for own, row in points if (lut := needed(own, row["test"]["accuracy"][0])) is not None]
    medians = f"{np.median(ratios):.2f} | {np.median(along) if along else np.nan:.2f}"
    return f"{len(points)} | {len(found)} | {medians} | {np.mean(ratios <= 0.7):.0%} | {np.mean(flat):.0%}"


def needed(run: Run, accuracy: float) -> float | None:
    """Return the LUT at which a front that never falls, fitted to a run's accuracies, has an accuracy; None beyond."""
    rows = sorted(run["networks"], key=lambda row: row["lut"])
    octaves, reached = np.log2([row["lut"] for row in rows]), [row["test"]["accuracy"][0] for row in rows]
    heights = IsotonicRegression().fit_transform(octaves, reached)
    if accuracy > heights[-1]:
        return None
    above = int(np.argmax(heights >= accuracy))
    below = max(above - 1, 0)
    return float(2 ** np.interp(accuracy, heights[[below, above]], octaves[[below, above]]))


def _reaching(run: Run, row: Run) -> list[Run]:
    """Return the networks of a run that are as accurate as one on test jets, the smallest first."""
    return [each for each in run["networks"] if each["test"]["accuracy"][0] >= row["test"]["accuracy"][0]]


def best(run: Run) -> list[Run]:
    """Return the networks that no other of a run beats in LUT and accuracy on validation jets."""
    rows = run["networks"]
    kept = unbeaten(np.array([[row["lut"], -_validated(row)] for row in rows]).reshape(-1, 2))
    return [row for row, on_front in zip(rows, kept, strict=True) if on_front]


def _validated(row: Run) -> float:
    return float(row["validation"]["accuracy"][0])


def draw(runs: Sequence[Run], out: Path) -> None:
    """Draw the fronts of the first seed, a plot for each budget of time."""
    for seconds in sorted({run["seconds"] for run in runs}):
        own = {run["method"]: run for run in runs if (run["seconds"], run["seed"]) == (seconds, 1)}
        lines = [_curve(name, best(own[name])) for name in METHODS if name in own and own[name]["networks"]]
        labels = {"x_label": "LUT (solved adder graph)", "y_label": "test accuracy"}
        if lines:
            curves.draw(lines, out / f"pareto_{seconds}", **labels, log_x=True)


def _curve(name: str, rows: Sequence[Run]) -> Line:
    return Line(name, [row["lut"] for row in rows], [Stated(*row["test"]["accuracy"]) for row in rows])


if __name__ == "__main__":
    main()
