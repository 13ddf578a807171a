"""What the search is worth: its accuracy less that of plain global magnitude pruning at the same LUTs, over seeds.

Both start from the same trained baseline, have the same fine-tuning, and are compared on the same test jets at the
same solved adder-graph cost. One command: `python benchmarks/search_vs_uniform.py [--seeds 3] [--recipe FILE]`.
"""

import argparse
import json
import tempfile
from pathlib import Path

import numpy as np

from hepprune import pipeline, recipe
from hepprune.files import write_json

ROOT = Path(__file__).parent.parent


def main() -> None:
    """Run every seed, print a line for each, and write benchmarks/results/search_vs_uniform.json."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--recipe", type=Path, default=ROOT / "hls_projects/jet_tagger/recipe.yaml")
    arguments = parser.parse_args()
    default = recipe.load(arguments.recipe)
    rows = []
    for seed in range(1, arguments.seeds + 1):
        with tempfile.TemporaryDirectory() as build:
            rows.append(pipeline.compare(default.model_copy(update={"seed": seed}), build=Path(build)))
        print(json.dumps(rows[-1]), flush=True)
    gaps = np.array([row["difference"] for row in rows])
    worst = min(rows, key=lambda row: row["difference"])
    least, error = 100 * worst["difference"], 100 * worst["difference_error"]
    print(f"search - uniform over {len(rows)} seeds: median {100 * np.median(gaps):+.2f} points of accuracy,")
    print(f"least {least:+.2f} +- {error:.2f} (seed {worst['seed']})")
    write_json(ROOT / "benchmarks/results/search_vs_uniform.json", {"seeds": rows, "median": float(np.median(gaps))})


if __name__ == "__main__":
    main()
