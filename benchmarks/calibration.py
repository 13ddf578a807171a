"""What measuring is worth: how well the next design is predicted, before and after the cost model was calibrated.

Ten jet taggers of different sizes, bit widths and sparsities are trained on real jets, pruned, written as Verilog,
simulated against the network bit for bit, and synthesised, one after the other. Each is predicted before it is
measured, by the cost model alone and by the one that the designs before it have calibrated.
One command: `python benchmarks/calibration.py [--build FOLDER]`; what the folder holds is not measured again.
"""

import argparse
import random
from dataclasses import asdict
from pathlib import Path

from hepprune import frontends, recipe
from hepprune.files import write_json
from hepprune.hardware import cost, targets, validation
from hepprune.hardware.calibration import Pair
from hepprune.hardware.validation import Prediction
from hepprune.jobs import ingestion
from hepprune.network import Network
from hepprune.pipeline import firmware, taggers
from hepprune.pipeline.context import Context
from hepprune.pruning import plan
from hepprune.pruning.structure import surgery
from hepprune.report.plots import costs
from hepprune.synthesis.ledger import Ledger
from hepprune.training import Fit, fit

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "benchmarks/results"
N_JETS, N_ORDERS = 20_000, 20
DEEPSETS = "l1-jet-id-deepsets-{}bit/kfold_0/synthesis_final"
PUBLISHED = (*(DEEPSETS.format(bits) for bits in (4, 6, 8)), "jet-mlp-2022.2/hls4ml_prj")
# Hidden sizes, bits of weights and activations, fraction of weights cut; in the order of synthesis.
DESIGNS = (
    ((16, 8), 6, 0.60),
    ((32, 16), 4, 0.80),
    ((8,), 8, 0.30),
    ((24, 24, 16), 5, 0.85),
    ((64, 32, 32), 6, 0.93),
    ((32,), 6, 0.50),
    ((16, 16, 16), 8, 0.80),
    ((12, 8), 3, 0.30),
    ((48, 16), 6, 0.90),
    ((32, 32), 7, 0.90),
)


def main() -> None:
    """Measure the designs, print the errors, and write benchmarks/results/calibration.json and a plot."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--build", type=Path, default=RESULTS / "calibration")
    parser.add_argument("--reference", type=Path, default=ROOT.parent / "shared/reference/reports")
    arguments = parser.parse_args()
    pairs: list[Pair] = []
    with Ledger(arguments.build / "ledger.sqlite") as book:
        for hidden, bits, sparsity in DESIGNS:
            pairs.append(measure(arguments.build, book, hidden=hidden, bits=bits, sparsity=sparsity))
            print(f"design {len(pairs)} of {len(DESIGNS)} measured", flush=True)
    asked = {
        "next design, in the order above": validation.forecasts(pairs),
        f"next design, {N_ORDERS} random orders": in_random_orders(pairs),
        "each design from all others": validation.left_out(pairs),
        "published models and reports, each from the others": validation.left_out(published(arguments.reference)),
    }
    found = {name: [asdict(score) for score in validation.scores(rows)] for name, rows in asked.items()}
    for name, scores in found.items():
        for row in scores:
            before, after, n, pull = (row[key] for key in ("before", "after", "n", "pull"))
            errors = f"{before:.1%} -> {after:.1%} ({n} predictions, pull {pull:.2f})"
            print(f"{name}: {row['stage']} {row['resource']} {errors}")
    costs.calibrated_vs_measured(asked["each design from all others"], RESULTS / "calibration.png")
    rows = [asdict(row) for row in asked["next design, in the order above"]]
    write_json(RESULTS / "calibration.json", {"designs": DESIGNS, "forecasts": rows, "scores": found})


def in_random_orders(pairs: list[Pair]) -> list[Prediction]:
    """Forecast in other orders: what is gained must not hang on which design came first."""
    generator = random.Random(1)  # noqa: S311
    orders = [generator.sample(pairs, len(pairs)) for _ in range(N_ORDERS)]
    return [row for order in orders for row in validation.forecasts(order)]


def published(folder: Path) -> list[Pair]:
    """Return what is predicted of other groups' model files, and what their reports of Vivado and Vitis say of them."""
    target, pairs = targets.load("generic_vu13p"), []  # all of them at 5 ns, on UltraScale+ parts
    for place in PUBLISHED:
        model = next((folder / place).glob("keras_model.*"), None)
        if model is None:
            continue
        network = frontends.read(model)
        (design,) = ingestion.ingest(folder / place).designs
        pairs += [
            (cost.estimate(network, target, strategy="latency", stage=measured.stage), measured)
            for measured in design.measurements
            if measured.stage in {"csynth", "vsynth"}
        ]
    return pairs


def measure(build: Path, book: Ledger, *, hidden: tuple[int, ...], bits: int, sparsity: float) -> Pair:
    """Train, prune, fine-tune, build and synthesise one tagger; return what was predicted and what was measured."""
    default = recipe.load(ROOT / "hls_projects/jet_tagger/recipe.yaml")
    training = recipe.Training(float_epochs=5, epochs=8)
    model = recipe.Model(hidden=hidden, bits=recipe.Bits(weights=bits, activations=bits), training=training)
    data = default.data.model_copy(update={"max_jets": N_JETS})
    name = f"tagger_{'_'.join(map(str, hidden))}_{bits}bit"
    changes = {"name": name, "model": model, "data": data, "synthesis": recipe.Synthesis(tool="yosys")}
    context = Context(recipe=default.model_copy(update=changes), target=targets.load(default.target), build=build)
    jets = taggers.read_jets(context)
    tagger = taggers.baseline(context, jets, None)

    def pruned() -> Network:
        cut = plan.prune(tagger, sparsity=sparsity)
        return surgery.shrink(fit(cut, jets.train, jets.validation, settings=Fit(epochs=6), seed=1)[0])

    network = context.store.network("pruned", [name, sparsity], pruned)
    measured = firmware.measure(context, network, jets=jets, book=book).measurement
    if measured is None:
        raise SystemExit("Yosys measures here, and nothing is awaited of another machine")
    return cost.estimate(network, context.target, stage="yosys"), measured


if __name__ == "__main__":
    main()
