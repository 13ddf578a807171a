"""What structured pruning costs and saves on taggers that read constituents: filters, channels, states, heads, layers.

Each tagger is trained on datasets/jets_constituents.root, loses 25 % or 50 % of its units, ranked by a criterion or at
random, is really smaller from then on, and is fine-tuned. Accuracy is that on the test jets, with its statistical
error; the change against the uncut tagger is paired, jet by jet.
One command: `python benchmarks/structured.py [--only heads] [--epochs 30] [--seeds 1]`; each subject's rows go into a
file of benchmarks/results/structured.
"""

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial

import constituents
import numpy as np

import hepprune
from hepprune import frontends, metrics, training
from hepprune.files import write_json
from hepprune.network import Network
from hepprune.pruning.structure import surgery
from hepprune.task.sample import Sample
from hepprune.training import Fit

RESULTS = constituents.ROOT / "benchmarks/results/structured"
REFERENCE = constituents.ROOT / "../shared/reference/models"
INTERACTION = REFERENCE / "model_QInteractionNetwork_NodeEdgeProj_Conv1D_nconst_8_nbits_8.h5"
Jets = tuple[Sample, Sample, Sample]


@dataclass(frozen=True)
class Subject:
    """A tagger, the jets it reads, and what of it is cut by which criterion."""

    build: Callable[..., Network]
    jets: Callable[[], Jets]
    granularity: str
    method: str
    scope: str = "local"
    quantised: bool = False


@dataclass(frozen=True)
class Row:
    """One cut: accuracies on the test jets before, after the cut and after fine-tuning, and parameters."""

    subject: str
    method: str
    sparsity: float
    seed: int
    parameters_before: int
    parameters: int
    before: float
    error: float
    cut: float
    tuned: float
    change: float
    change_error: float
    seconds: float


def interaction(*, seed: int) -> Network:
    """Return the 8-bit QKeras interaction network of another group, as its weights are."""
    del seed
    return frontends.read(INTERACTION)


def eight() -> Jets:
    """Return the three features of the eight hardest constituents."""
    return tuple(Sample(part.features[..., :3], part.y) for part in constituents.samples(8))  # type: ignore[return-value]


SUBJECTS = {
    "filters": Subject(constituents.conv_image, constituents.images, "neuron", "taylor_per_sample"),
    "channels": Subject(constituents.deep_sets, constituents.samples, "neuron", "taylor_per_sample"),
    "interaction": Subject(interaction, eight, "neuron", "taylor_per_sample", quantised=True),
    "states": Subject(constituents.gru, constituents.samples, "neuron", "taylor_per_sample"),
    "heads": Subject(constituents.transformer, constituents.samples, "head", "taylor_per_sample", "global"),
    "layers": Subject(constituents.transformer, constituents.samples, "layer", "loss_change"),
}


def main() -> None:
    """Train, cut, fine-tune; print a row each, and keep them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=list(SUBJECTS), action="append")
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--seeds", type=int, default=1)
    arguments = parser.parse_args()
    for seed in range(1, arguments.seeds + 1):
        for name in arguments.only or SUBJECTS:
            rows = [asdict(row) for row in run(name, epochs=arguments.epochs, seed=seed)]
            print("\n".join(map(json.dumps, rows)), flush=True)
            write_json(RESULTS / f"{name}-{seed}.json", rows)


def run(name: str, *, epochs: int, seed: int) -> list[Row]:
    """Return the rows of one subject."""
    subject = SUBJECTS[name]
    if subject.build is interaction and not INTERACTION.is_file():
        print(f"{name}: left out, there is no {INTERACTION}")
        return []
    train, validation, test = subject.jets()
    fit = partial(training.fit, train=train, validation=validation, seed=seed)
    settings = Fit(epochs=epochs, batch_size=256, learning_rate=5e-3, quantised=subject.quantised)
    network, _ = fit(subject.build(seed=seed), settings=settings)
    tune = Fit(epochs=max(1, epochs // 3), batch_size=256, learning_rate=2e-3, quantised=subject.quantised)
    whole, _ = fit(network, settings=tune)  # the uncut tagger is trained on as long as the cut ones
    score = partial(_accuracy, test=test, quantised=subject.quantised)
    before, rows = score(whole), []
    for method in (subject.method, "random"):
        for sparsity in (0.25, 0.5):
            started = time.perf_counter()
            options = {"sparsity": sparsity, "granularity": subject.granularity, "scope": subject.scope, "seed": seed}
            masked = hepprune.prune(network, train.first(2048), method=method, keep=1, **options)
            smaller = surgery.shrink(masked)
            seconds = time.perf_counter() - started
            cut, tuned = score(smaller), score(fit(smaller, settings=tune)[0])
            change = metrics.difference(tuned, before)
            sizes = [sum(p.numel() for p in net.parameters()) for net in (network, smaller)]
            figures = (before.value, before.error, cut.value, tuned.value, change.value, change.error, seconds)
            rows.append(Row(name, method, sparsity, seed, *sizes, *map(float, np.round(figures, 4))))
    return rows


def _accuracy(network: Network, *, test: Sample, quantised: bool) -> metrics.Score:
    return metrics.accuracy(training.evaluate(network, test, quantised=quantised), test.y.numpy())


if __name__ == "__main__":
    main()
