"""What the search is worth: its accuracy less that of plain global magnitude pruning at the same LUTs, over seeds.

Both start from the same trained baseline, have the same fine-tuning, and are compared on the same test jets at the
same solved adder-graph cost. One command: `python benchmarks/search_vs_uniform.py [--seeds 6] [--first 1]
[--recipe FILE]`.
"""

import argparse
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from hepprune import pipeline, recipe
from hepprune.files import write_json

ROOT = Path(__file__).parent.parent
NAMES = ("baseline", "search", "uniform")
METRICS = {"accuracy": 100, "auc": 1000, "cross_entropy": -1000}  # points, thousandths, thousandths of a nat less


def main() -> None:
    """Run every seed, print a line for each, and write benchmarks/results/search_vs_uniform.json."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=6)
    parser.add_argument("--first", type=int, default=1, help="the first of the seeds")
    parser.add_argument("--recipe", type=Path, default=ROOT / "hls_projects/jet_tagger/recipe.yaml")
    arguments = parser.parse_args()
    default = recipe.load(arguments.recipe)
    rows = []
    for seed in range(arguments.first, arguments.first + arguments.seeds):
        with tempfile.TemporaryDirectory() as build:
            rows.append(pipeline.compare(default.model_copy(update={"seed": seed}), build=Path(build)))
        print(line(rows[-1]), flush=True)
    found = {"seeds": rows, **{name: mean(rows, name, scale) for name, scale in METRICS.items()}}
    write_json(ROOT / "benchmarks/results/search_vs_uniform.json", found)


def mean(rows: list[dict[str, Any]], name: str, scale: float) -> dict[str, float]:
    """Print and return the mean over the seeds with the error of their scatter, and how many seeds exceed theirs."""
    gaps = scale * np.array([row["difference"]["scores"][name]["value"] for row in rows])
    errors = abs(scale) * np.array([row["difference"]["scores"][name]["error"] for row in rows])
    value, error = gaps.mean(), gaps.std(ddof=min(1, len(gaps) - 1)) / np.sqrt(len(gaps))
    above = int((gaps > errors).sum())
    print(f"{name}: search better by {value:+.2f} +- {error:.2f}, beyond the error in {above} of {len(rows)} seeds")
    return {"mean": float(value), "mean_error": float(error), "seeds_above_error": above}


def line(row: dict[str, Any]) -> str:
    """Return one seed's accuracies, solved LUTs and how much better the search is."""
    named = (
        f"{name} {row[name]['scores']['accuracy']['value']:.4f} ({row[name]['solved_lut']:,.0f} LUT)" for name in NAMES
    )
    found = row["difference"]["scores"]
    gaps = (
        f"{name} {scale * found[name]['value']:+.2f} +- {abs(scale) * found[name]['error']:.2f}"
        for name, scale in METRICS.items()
    )
    return f"seed {row['seed']}: {', '.join(named)}; search better by {', '.join(gaps)}"


if __name__ == "__main__":
    main()
