"""Every recipe of `hls_projects/` over seeds, from jets to measured designs: the table of docs/architectures.md.

A run that was interrupted goes on, and one that has ended is read again, so seeds may be added day by day. One command:
`python benchmarks/architectures.py [--seeds 3] [--recipes deepsets gru]`.
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
from hepprune.report import summary as summaries
from hepprune.report.summary import Summary

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "benchmarks/results/architectures"
RECIPES = ("deepsets", "interaction", "gru", "attention", "jet_image")


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
    """Return what the table has of a run."""
    primary = next(iter(summary.compressed.scores))
    shared, three = summary.compressed_minus_uniform.scores[primary], ("baseline", "uniform", "compressed")
    measurement = summary.compressed.measured
    assert measurement is not None  # a run ends with one
    return {
        "seed": summary.seed,
        "metric": primary,
        "scores": {
            each: getattr(summary, each).scores[primary].value for each in ("baseline", "uniform", "compressed")
        },
        "error": summary.compressed.scores[primary].error,
        "difference": shared.value,
        "difference_error": shared.error,
        "solved_lut": {each: getattr(summary, each).solved_lut for each in three},
        "lut": measurement.lut,
        "latency_ns": measurement.latency_ns,
        "budget": summary.budget,
        "mismatches": summary.checks.csim_mismatches + summary.checks.rtl_mismatches,
        "seconds": sum(summary.seconds.values()),
    }


def gain(rows: list[dict[str, Any]]) -> dict[str, float]:
    """Return the mean difference over the seeds, and the error of their scatter."""
    gaps = np.array([row["difference"] for row in rows])
    error = gaps.std(ddof=1) / math.sqrt(len(gaps)) if len(gaps) > 1 else math.nan
    return {"mean": float(gaps.mean()) if len(gaps) else math.nan, "error": float(error), "seeds": len(gaps)}


if __name__ == "__main__":
    main()
