"""Two commits beside each other: processor time and result of the default recipe, seed by seed.

Each commit is checked out and runs its own code in processes of its own, with the packages of this environment, one
after the other; which begins changes from seed to seed. `run` is the whole job; `search` leaves firmware and synthesis
out and prices with solved adder graphs. One command: `python benchmarks/commits.py OLD [NEW] [--what run|search]
[--seeds 6] [--first 1] [--recipe FILE]`; it prints a line a seed and writes benchmarks/results/commits.json.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from hepprune.files import write_json

ROOT = Path(__file__).parent.parent
METRICS = {"accuracy": 100, "auc": 1000, "cross_entropy": -1000}  # points, thousandths, thousandths of a nat less
_BEGIN = """
import json, sys
from pathlib import Path
from hepprune import pipeline, recipe
asked = recipe.load(Path(sys.argv[1])).model_copy(update={"seed": int(sys.argv[2])})
build = Path(sys.argv[3])
"""
CODE = {
    "run": _BEGIN
    + """
pipeline.run(asked, build=build)
found = json.loads((build / "summary.json").read_text())["compressed"]
lut = found["measured"]["lut"]
""",
    "search": _BEGIN
    + """
found = pipeline.compare(asked, build=build)["search"]
lut = found["solved_lut"]
""",
}
_END = """
print(json.dumps({"lut": lut, **{name: score["value"] for name, score in found["scores"].items()}}))
"""


def main() -> None:
    """Run both commits with every seed, and print how the results and times compare."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("old")
    parser.add_argument("new", nargs="?", default="HEAD")
    parser.add_argument("--what", choices=list(CODE), default="run")
    parser.add_argument("--seeds", type=int, default=6)
    parser.add_argument("--first", type=int, default=1, help="the first of the seeds")
    parser.add_argument("--recipe", default="hls_projects/jet_tagger/recipe.yaml", help="of each commit")
    asked = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        trees = {name: checked_out(getattr(asked, name), Path(folder) / name) for name in ("old", "new")}
        try:
            for seed in range(asked.first, asked.first + asked.seeds):
                order = list(trees.items())[:: 1 if seed % 2 else -1]
                rows.append({name: measured(tree, asked.what, tree / asked.recipe, seed) for name, tree in order})
                print(f"seed {seed}: {line(rows[-1]['old'])} -> {line(rows[-1]['new'])}", flush=True)
        finally:
            for tree in trees.values():
                subprocess.run(["git", "-C", ROOT, "worktree", "remove", "--force", tree], check=True)
    found = {"old": asked.old, "new": asked.new, "what": asked.what, "seeds": rows, "means": means(rows)}
    write_json(ROOT / "benchmarks/results/commits.json", found)


def checked_out(commit: str, folder: Path) -> Path:
    """Return a worktree of a commit."""
    subprocess.run(["git", "-C", ROOT, "worktree", "add", "--quiet", "--detach", folder, commit], check=True)
    return folder


def measured(tree: Path, what: str, recipe: Path, seed: int) -> dict[str, float]:
    """Return the scores and LUT that a commit reaches, and the processor seconds that it and its programs took."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    with tempfile.TemporaryDirectory() as build:
        done = subprocess.run(
            [sys.executable, "-c", CODE[what] + _END, recipe, str(seed), f"{build}/run"],
            check=True,
            stdout=subprocess.PIPE,
            text=True,
            cwd=tree,
            env=os.environ | {"PYTHONPATH": str(tree)},
        )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    scores: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return {**scores, "processor_seconds": seconds}


def line(found: dict[str, float]) -> str:
    """Return what a commit reached with a seed."""
    return f"{found['accuracy']:.4f} / {found['auc']:.4f} @ {found['lut']:,.0f} LUT, {found['processor_seconds']:.0f} s"


def means(rows: list[dict[str, dict[str, float]]]) -> dict[str, tuple[float, float]]:
    """Print and return how much better the new commit is, with the error of the scatter, and the ratio of times."""
    found = {}
    for name, scale in METRICS.items():
        gaps = scale * np.array([row["new"][name] - row["old"][name] for row in rows])
        found[name] = (float(gaps.mean()), float(gaps.std(ddof=min(1, len(gaps) - 1)) / np.sqrt(len(gaps))))
        print(f"{name}: new better by {found[name][0]:+.2f} +- {found[name][1]:.2f}")
    old, new = (sum(row[name]["processor_seconds"] for row in rows) for name in ("old", "new"))
    print(f"processor time: {new / len(rows):.0f} s a seed for {old / len(rows):.0f} s, {new / old:.2f} of it")
    return {**found, "processor_time": (new / len(rows), old / len(rows))}


if __name__ == "__main__":
    main()
