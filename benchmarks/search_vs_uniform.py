"""What the search is worth: its accuracy less that of plain global magnitude pruning at the same LUTs, over seeds.

Both start from the same trained baseline, have the same fine-tuning, and are compared on the same test jets at the
same solved adder-graph cost. One command: `python benchmarks/search_vs_uniform.py [--seeds 6] [--recipe FILE]`.
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


def main() -> None:
    """Run every seed, print a line for each, and write benchmarks/results/search_vs_uniform.json."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=6)
    parser.add_argument("--recipe", type=Path, default=ROOT / "hls_projects/jet_tagger/recipe.yaml")
    arguments = parser.parse_args()
    default = recipe.load(arguments.recipe)
    rows = []
    for seed in range(1, arguments.seeds + 1):
        with tempfile.TemporaryDirectory() as build:
            rows.append(pipeline.compare(default.model_copy(update={"seed": seed}), build=Path(build)))
        print(line(rows[-1]), flush=True)
    above = sum(row["difference"] > row["difference_error"] for row in rows)
    gaps = 100 * np.array([row["difference"] for row in rows])
    mean, error = gaps.mean(), gaps.std(ddof=min(1, len(gaps) - 1)) / np.sqrt(len(gaps))
    print(
        f"search - uniform: above its error in {above} of {len(rows)} seeds, "
        f"mean {mean:+.2f} +- {error:.2f} points (scatter of the seeds)"
    )
    found = {"seeds": rows, "mean_points": float(mean), "mean_error_points": float(error)}
    write_json(ROOT / "benchmarks/results/search_vs_uniform.json", found)


def line(row: dict[str, Any]) -> str:
    """Return one seed's accuracies, solved LUTs and paired difference in points."""
    named = (f"{name} {row[name]['accuracy']:.4f} ({row[name]['solved_lut']:,.0f} LUT)" for name in NAMES)
    gap = f"{100 * row['difference']:+.2f} +- {100 * row['difference_error']:.2f} points"
    return f"seed {row['seed']}: {', '.join(named)}; search - uniform {gap}"


if __name__ == "__main__":
    main()
