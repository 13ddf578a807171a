"""What measuring is worth: how well the next design is predicted, before and after the cost model was calibrated.

Ten jet taggers of different sizes, bit widths and sparsities are trained on real jets, pruned, written as Verilog,
simulated against the network bit for bit, and synthesised, one after the other. Each is predicted before it is
measured, by the cost model alone and by the one that the designs before it have calibrated.
One command: `python benchmarks/calibration.py [--build FOLDER]`; what the folder holds is not measured again.
"""

import argparse
import json
from dataclasses import asdict
from pathlib import Path

from hepprune import recipe
from hepprune.files import write_json
from hepprune.hardware import targets, validation
from hepprune.network import Network
from hepprune.pipeline import firmware, taggers
from hepprune.pipeline.context import Context
from hepprune.pruning import plan
from hepprune.synthesis.ledger import Ledger
from hepprune.training import Fit, fit

ROOT = Path(__file__).parent.parent
N_JETS = 20_000
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
    """Measure the designs, print a line for each, and write benchmarks/results/calibration.json."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--build", type=Path, default=ROOT / "benchmarks/results/calibration")
    build = parser.parse_args().build
    with Ledger(build / "ledger.sqlite") as book:
        for number, (hidden, bits, sparsity) in enumerate(DESIGNS):
            measure(build, book, hidden=hidden, bits=bits, sparsity=sparsity)
            print(f"design {number + 1} of {len(DESIGNS)} measured", flush=True)
        pairs = book.pairs("yosys")
    rows = validation.forecasts(pairs)
    for row in rows:
        print(json.dumps(asdict(row)), flush=True)
    summary = [asdict(score) for score in validation.scores(rows)]
    print(json.dumps(summary, indent=2))
    found = {"designs": DESIGNS, "forecasts": [asdict(row) for row in rows], "scores": summary}
    write_json(ROOT / "benchmarks/results/calibration.json", found)


def measure(build: Path, book: Ledger, *, hidden: tuple[int, ...], bits: int, sparsity: float) -> None:
    """Train, prune, fine-tune, build and synthesise one tagger; the ledger keeps its estimate and measurement."""
    default = recipe.load(ROOT / "hls_projects/jet_tagger/recipe.yaml")
    training = recipe.Training(float_epochs=5, epochs=8)
    model = recipe.Model(hidden=hidden, bits=recipe.Bits(weights=bits, activations=bits), training=training)
    data = default.data.model_copy(update={"max_jets": N_JETS})
    name = f"tagger_{'_'.join(map(str, hidden))}_{bits}bit"
    changes = {"name": name, "model": model, "data": data, "synthesis": recipe.Synthesis(tool="yosys")}
    context = Context(default.model_copy(update=changes), targets.load(default.target), build)
    jets = taggers.read_jets(context)
    tagger = taggers.baseline(context, jets)

    def pruned() -> Network:
        cut = plan.prune(tagger, sparsity=sparsity)
        return fit(cut, jets.train, jets.validation, settings=Fit(6), seed=1)[0]

    firmware.measure(context, context.kept_network("pruned", [name, sparsity], pruned), jets=jets, book=book)


if __name__ == "__main__":
    main()
