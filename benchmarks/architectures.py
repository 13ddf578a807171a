"""Every recipe of `hls_projects/` over seeds, from jets to measured designs: the tables of docs/architectures.md.

A run that was interrupted goes on, and one that has ended is read again, so seeds may be added day by day. One command:
`python benchmarks/architectures.py [--seeds 3] [--recipes deepsets gru]`. It writes the tables where the page says so.
"""

import argparse
import math
import time
from pathlib import Path
from typing import Any

import numpy as np

from hepprune import pipeline, recipe
from hepprune.errors import BudgetMissedError
from hepprune.files import write_json
from hepprune.metrics import scores
from hepprune.report import summary as summaries
from hepprune.report.summary import Summary

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "benchmarks/results/architectures"
RECIPES = ("deepsets", "interaction", "gru", "attention", "jet_image")
PAGE, MARK = ROOT / "docs/architectures.md", "<!-- architectures: written by benchmarks/architectures.py -->"
THREE = ("baseline", "uniform", "compressed")
RUNS = (
    "recipe, seed",
    "baseline",
    "uniform pruning",
    "hepprune",
    "hepprune - uniform [points]",
    "hepprune - baseline [points]",
    "LUT solved: baseline, uniform, hepprune",
    "LUT measured: uniform, hepprune, allowed",
    "ns",
    "outputs that differ",
)


def main() -> None:
    """Run what has not run yet, print each recipe's table, and write benchmarks/results/architectures.json."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--recipes", nargs="+", default=RECIPES, choices=RECIPES)
    arguments = parser.parse_args()
    found: dict[str, Any] = {}
    for name in arguments.recipes:
        rows = [row for seed in range(1, arguments.seeds + 1) if (row := measured(name, seed))]
        found[name] = {"seeds": rows, "search_minus_uniform": gain(rows)}
        write_json(ROOT / "benchmarks/results/architectures.json", found)
        print(f"{name}: search minus uniform pruning, {found[name]['search_minus_uniform']}", flush=True)
    if {*found} == {*RECIPES}:
        _write_page(found)


def measured(name: str, seed: int) -> dict[str, Any] | None:
    """Return the figures of one run, or None where no measured design fits, which is printed.

    A design that fits and has lost more than the recipe allows has figures, and what was missed.
    """
    wanted = recipe.load(ROOT / "hls_projects" / name / "recipe.yaml").model_copy(update={"seed": seed})
    started = time.perf_counter()
    build, missed = RESULTS / f"{name}_{seed}", None
    try:
        summary = pipeline.run(wanted, build=build)
    except BudgetMissedError as sentence:
        print(f"{name}, seed {seed}: {sentence}", flush=True)
        if not (build / "summary.json").is_file():
            return None
        summary, missed = summaries.read(build / "summary.json"), str(sentence)
    row = figures(summary) | {"missed": missed}
    print(f"{name}, seed {seed} ({time.perf_counter() - started:.0f} s): {row}", flush=True)
    return row


def figures(summary: Summary) -> dict[str, Any]:
    """Return what the tables have of a run."""
    primary, measurement = next(iter(summary.compressed.scores)), summary.compressed.measured
    assert measurement is not None  # a run ends with one
    gains = {other: getattr(summary, f"compressed_minus_{other}").scores[primary] for other in ("uniform", "baseline")}
    return {
        "seed": summary.seed,
        "metric": primary,
        "scores": {each: _values(getattr(summary, each).scores) for each in THREE},
        "error": summary.compressed.scores[primary].error,
        "difference": {other: (gain.value, gain.error) for other, gain in gains.items()},
        "solved_lut": {each: getattr(summary, each).solved_lut for each in THREE},
        "lut": measurement.lut,
        "uniform_lut": summary.uniform.measured and summary.uniform.measured.lut,
        "latency_ns": measurement.latency_ns,
        "budget": summary.budget,
        "mismatches": summary.checks.csim_mismatches + summary.checks.rtl_mismatches,
        "seconds": sum(summary.seconds.values()),
    }


def _values(scores: dict[str, Any]) -> dict[str, float]:
    return {name: score.value for name, score in scores.items()}


def gain(rows: list[dict[str, Any]]) -> dict[str, float]:
    """Return the mean difference over the seeds, and the error of their scatter."""
    gaps = np.array([row["difference"]["uniform"][0] for row in rows])
    error = gaps.std(ddof=1) / math.sqrt(len(gaps)) if len(gaps) > 1 else math.nan
    return {"mean": float(gaps.mean()) if len(gaps) else math.nan, "error": float(error), "seeds": len(gaps)}


def _write_page(found: dict[str, Any]) -> None:
    """Put the tables between the two marks of the page."""
    before, _, rest = PAGE.read_text().partition(MARK)
    after = rest.partition(MARK)[2]
    tables = "\n\n".join((_runs(found), _gains(found), _classes(found)))
    PAGE.write_text(f"{before}{MARK}\n{tables}\n{MARK}{after}")


def _runs(found: dict[str, Any]) -> str:
    lines = [_run(name, row) for name, each in found.items() for row in each["seeds"]]
    return _table(" | ".join(RUNS), lines)


def _run(name: str, row: dict[str, Any]) -> str:
    scores = " | ".join(f"{row['scores'][each][row['metric']]:.4f}" for each in THREE)
    gains = " | ".join(_points(*row["difference"][other]) for other in ("uniform", "baseline"))
    solved = ", ".join(f"{row['solved_lut'][each]:,.0f}" for each in THREE)
    missed = " (over the loss allowed)" if row["missed"] else ""
    uniform = "-" if row["uniform_lut"] is None else f"{row['uniform_lut']:,.0f}"
    measured = f"{uniform}, {row['lut']:,.0f}, {row['budget']['lut']:,.0f}"
    ends = f"{measured} | {row['latency_ns']:.0f} | {row['mismatches']}"
    return f"`{name}`, {row['seed']}{missed} | {scores} | {gains} | {solved} | {ends}"


def _points(value: float, error: float) -> str:
    return f"{100 * value:+.2f} ± {100 * error:.2f}"


def _gains(found: dict[str, Any]) -> str:
    lines = [
        f"`{name}` | {gain['seeds']} | {_points(gain['mean'], gain['error'])}"
        for name, gain in ((name, each["search_minus_uniform"]) for name, each in found.items())
    ]
    return _table("recipe | seeds | hepprune - uniform [points], error of the scatter", lines)


def _classes(found: dict[str, Any]) -> str:
    """Return the table of other metrics, each of the baseline, uniform pruning and hepprune, means over seeds."""
    lines = []
    for name, each in found.items():
        rows = each["seeds"]
        others = [key for key in rows[0]["scores"]["compressed"] if "auc" in key or "resol" in key]
        lines += [f"`{name}` | {key} | {_three(rows, key)}" for key in others]
    return _table("recipe | mean over seeds, error of the scatter | baseline | uniform pruning | hepprune", lines)


def _three(rows: list[dict[str, Any]], metric: str) -> str:
    means = [scores.mean([row["scores"][each][metric] for row in rows]) for each in THREE]
    return " | ".join(f"{mean.value:.3f}" + (f" ± {mean.error:.3f}" if mean.error else "") for mean in means)


def _table(head: str, lines: list[str]) -> str:
    rule = "|".join("---" for _ in head.split(" | "))
    return "\n".join(f"| {line} |" for line in (head, *lines)).replace("\n", f"\n|{rule}|\n", 1)


if __name__ == "__main__":
    main()
