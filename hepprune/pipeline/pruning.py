"""One-shot pruning of a model file: read, prune, measure, write the same kind of file."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import torch

from hepprune import frontends, metrics, training
from hepprune import recipe as recipes
from hepprune.errors import DataError, NetworkError
from hepprune.hardware import targets
from hepprune.network import Network
from hepprune.pipeline import taggers
from hepprune.pipeline.context import Context
from hepprune.pruning import plan, surgery
from hepprune.training import Sample

_STATISTICS_JETS = 16_384


@dataclass(frozen=True)
class Quality:
    """How well a network classifies: accuracy with its error, cross-entropy in nats."""

    accuracy: float
    accuracy_error: float
    loss: float


@dataclass(frozen=True)
class Pruned:
    """What pruning did to a model: where the new one is, the fraction of zero weights before, after and by layer.

    `removed` counts the neurons that are really gone. Without jets nothing is known of its quality.
    """

    path: Path
    sparsity_before: float
    sparsity: float
    layers: dict[str, float]
    removed: dict[str, int]
    before: Quality | None = None
    after: Quality | None = None


def prune(model: Any, path: Path, *, data: Path | None = None, granularity: str = "weight", **options: Any) -> Pruned:
    """Prune a model with the options of `hepprune.prune`, and write it as the same kind of file.

    With jets the method may read statistics from those to train on, and quality is measured on those to test on; an
    .npz serves for both. Neurons that are cut are removed where that changes no output.

    Raises:
        NetworkError: the model cannot be read, pruned as asked, or written.
        DataError: the jets cannot be used.
    """
    if isinstance(model, str | Path) and Path(model).resolve() == path.resolve():
        raise NetworkError(f"'{path}' is the model itself; give another file to write")
    network = frontends.read(model)
    train, test = (None, None) if data is None else jets(data)
    some = None if train is None else train.first(_STATISTICS_JETS)
    masked = plan.prune(network, some, granularity=granularity, **options)
    smaller = surgery.shrink(masked) if granularity == "neuron" else masked
    frontends.write(smaller, path, like=model)
    pairs = zip(network.weighted_layers, smaller.weighted_layers, strict=True)
    removed = {before.name: before.n_out - after.n_out for before, after in pairs}
    return Pruned(
        path,
        plan.sparsity(network),
        plan.sparsity(masked),
        {layer.name: _zeros(layer.used_weight()) for layer in masked.weighted_layers},
        {name: count for name, count in removed.items() if count},
        None if test is None else _quality(network, test),
        None if test is None else _quality(smaller, test),
    )


def jets(path: Path) -> tuple[Sample, Sample]:
    """Return jets to train on and jets to test on, from a recipe's data section or from an .npz with x and y.

    Raises:
        DataError: the file holds no jets.
        RecipeError: the recipe cannot be followed.
    """
    if path.suffix != ".npz":
        recipe = recipes.load(path)
        samples = taggers.read_jets(Context(recipe, targets.load(recipe.target), path.parent / "build"))
        return samples.train, samples.test
    try:
        with np.load(path, allow_pickle=False) as file:
            sample = Sample.from_arrays(file["x"], file["y"])
    except (OSError, KeyError, ValueError, BadZipFile) as problem:
        raise DataError(f"'{path}' is no .npz with jets x and classes y: {problem}") from problem
    return sample, sample


def _zeros(weight: torch.Tensor) -> float:
    return 1 - int(torch.count_nonzero(weight)) / weight.numel()


def _quality(network: Network, sample: Sample) -> Quality:
    logits, labels = training.evaluate(network, sample), sample.y.numpy()
    accuracy = metrics.accuracy(logits, labels)
    return Quality(accuracy.value, accuracy.error, metrics.cross_entropy(logits, labels).value)
