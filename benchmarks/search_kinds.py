"""What the default search, in stages, is worth beside one long allocation of digits and bits, or with bits, over seeds.

`python benchmarks/search_kinds.py [--seeds 6] [--first-seed 1] [--epochs 240] [--against KIND ...]` trains the baseline
of the default recipe, lets each search from it within the same estimated budget, and prints solved LUT, adder levels,
scores on the same test jets with their paired differences, and seconds of processor time of the search alone.
"""

import argparse
import tempfile
import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from hepprune import metrics, recipe
from hepprune.files import write_json
from hepprune.firmware import rtl
from hepprune.hardware import targets
from hepprune.hardware.resources import Budget, Resources
from hepprune.network import Network, exact_raw
from hepprune.pipeline import feedback, pricing, taggers
from hepprune.pipeline.context import Context
from hepprune.recipe import Recipe, Search
from hepprune.search import greedy, moves
from hepprune.search.stages import Problem

ROOT = Path(__file__).parents[1]
NAMES = {"accuracy": 100, "auc": 1000, "cross_entropy": 1000}  # points, thousandths, thousandths of a nat


def main() -> None:
    """Run every seed, print a line for each search, and write benchmarks/results/search_kinds.json."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=6)
    parser.add_argument("--first-seed", type=int, default=1)
    parser.add_argument("--epochs", type=int, default=240)
    parser.add_argument("--against", nargs="+", default=["allocation"], choices=["allocation", "stages with bits"])
    given = parser.parse_args()
    default = recipe.load(ROOT / "hls_projects/jet_tagger/recipe.yaml")
    allocation = Search(kind="allocation", epochs=given.epochs, batch_size=512, learning_rate=6e-3, trim_epochs=20)
    with_bits = default.search.model_copy(update={"granularities": moves.ALLOCATED})
    searches = {"stages": default.search, "allocation": allocation, "stages with bits": with_bits}
    searches = {name: search for name, search in searches.items() if name in {"stages", *given.against}}
    rows = []
    for seed in range(given.first_seed, given.first_seed + given.seeds):
        with tempfile.TemporaryDirectory() as build:
            rows.append(of_seed(default.model_copy(update={"seed": seed}), searches, Path(build)))
    write_json(ROOT / "benchmarks/results/search_kinds.json", rows)


def of_seed(wanted: Recipe, searches: dict[str, Search], build: Path) -> dict[str, Any]:
    """Return what each search finds from the same baseline at the same budget."""
    context = Context(recipe=wanted, target=targets.load(wanted.target), build=build)
    jets = taggers.read_jets(context)
    baseline = taggers.baseline(context, jets, None)
    every = replace(context, recipe=wanted.model_copy(update={"search": Search(granularities=moves.ALLOCATED)}))
    curves = taggers.sensitivities(every, baseline, jets)
    whole = feedback.resolve(context, pricing.lut(context, pricing.whole(context, baseline)))
    problem = Problem(
        train=jets.train,
        validation=jets.validation,
        budget=Budget(whole.latency_ns, whole.interval_cycles, Resources(lut=whole.resources.lut)),
        price=pricing.own(context),
        propose=moves.PerKernel.of(curves, wanted.granularities),
        settings=wanted.settings(),
        seed=wanted.seed,
        teacher=baseline,
    )
    judge = partial(_judged, jets=jets)
    found: dict[str, Any] = {"seed": wanted.seed, "lut": problem.budget.resources.lut}
    scores: dict[str, Any] = {"baseline": judge(baseline)}
    for kind, search in searches.items():
        own = wanted.model_copy(update={"search": search})
        propose = moves.PerKernel.of(curves, own.granularities)
        began = time.process_time()
        network = greedy.search(baseline, replace(problem, settings=own.settings(), propose=propose)).network
        taken, solved, scores[kind] = time.process_time() - began, rtl.solve(network).solved, judge(network)
        found[kind] = {"lut": solved.lut, "levels": solved.depth, "seconds": taken} | _plain(
            metrics.stated(scores[kind])
        )
        print(f"seed {wanted.seed}, {kind}: {found[kind]}", flush=True)
    for kind in searches.keys() - {"stages"}:
        difference = _plain(metrics.differences(scores[kind], scores["stages"]))
        found[f"{kind} - stages"] = difference
        gaps = (f"{name} {scale * difference[name][0]:+.2f}" for name, scale in NAMES.items())
        print(f"seed {wanted.seed}, {kind} - stages: {', '.join(gaps)}", flush=True)
    return found


def _judged(network: Network, jets: taggers.Samples) -> Any:
    return jets.test.judged(exact_raw(network, jets.test.arrays), tuple(NAMES))


def _plain(scores: Any) -> dict[str, list[float]]:
    return {name: [score.value, score.error] for name, score in scores.items()}


if __name__ == "__main__":
    main()
