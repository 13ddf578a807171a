"""Pruning of a model file or of a recipe's tagger: read, prune, measure, write the same kind of file."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from hepprune import frontends, metrics, training
from hepprune import recipe as recipes
from hepprune.errors import NetworkError
from hepprune.jobs import sources
from hepprune.jobs.sources import by_recipe
from hepprune.metrics.scores import Stated
from hepprune.network import Network
from hepprune.pipeline.context import Track, silent
from hepprune.pruning import plan
from hepprune.pruning.granularity import STRUCTURES
from hepprune.pruning.structure import surgery
from hepprune.studies import iterative
from hepprune.studies.iterative import Round
from hepprune.task.sample import Sample

_STATISTICS_JETS = 16_384


@dataclass(frozen=True, kw_only=True)
class Pruned:
    """What pruning did to a model: where the new one is, the fraction of zero weights before, after and by layer.

    `removed` counts the neurons that are really gone, all of them where a whole layer is. Without jets no
    scores are known. `history` has the rounds, on validation jets, where there were any.
    """

    path: Path
    sparsity_before: float
    sparsity: float
    layers: dict[str, float]
    removed: dict[str, int]
    before: dict[str, Stated] | None = None
    after: dict[str, Stated] | None = None
    history: tuple[Round, ...] = ()


@by_recipe("data")
def prune(
    model: Any,
    path: Path,
    *,
    data: Path | None = None,
    granularity: str = "weight",
    track: Track = silent,
    **options: Any,
) -> Pruned:
    """Prune a model with the options of `hepprune.prune`, and write it as the same kind of file.

    With jets the method may read statistics from those to train on, and scores are those on the jets to test on; an
    .npz serves for both. What is cut of neurons, heads and layers is really removed.

    Raises:
        NetworkError: the model cannot be read, pruned as asked, or written.
        DataError: the jets cannot be used.
    """
    sources.check_another_file(model, path)
    network = frontends.read(model)
    train, test = (None, None) if data is None else sources.jets(data)[::2]
    for sample in (train, test):
        if sample is not None:
            sources.check(network, sample, model=model, data=data)
    some = None if train is None else train.first(_STATISTICS_JETS)
    with track("pruning"):
        masked = plan.prune(network, some, granularity=granularity, **options)
    return _written(network, masked, path, like=model, test=test, smaller=granularity in STRUCTURES)


@by_recipe("model", "data")
def prune_in_rounds(
    model: str,
    path: Path,
    options: Mapping[str, Any],
    *,
    data: Path | None = None,
    seed: int = 1,
    track: Track = silent,
) -> Pruned:
    """Prune a recipe's tagger, or a model with `data`, along a schedule with fine-tuning, and write it.

    `options` are those of a recipe's `prune` section, and take their place where a recipe has one.

    Raises:
        NetworkError: the model cannot be read, pruned as asked, or written.
        DataError: there are no jets, or a loss or gradient is not finite.
        RecipeError: the recipe cannot be followed.
    """
    sources.check_another_file(model, path)
    source = sources.find(model, data, path.parent / "build", track)
    if source.model is None and path.suffix != ".npz":
        raise NetworkError(f"a recipe's tagger is written as .npz, not as '{path.name}'")
    settings, network = recipes.pruning(source.prune, options), source.baseline(seed)
    tuning = settings.options(source.batch_size) | {"seed": seed}
    with track("pruning", settings.n_rounds * settings.fine_tune_epochs) as advance:
        masked, history = iterative.prune(network, source.train, source.validation, **tuning, advance=advance)
    smaller = settings.granularity in STRUCTURES
    done = _written(network, masked, path, like=source.model or path, test=source.test, smaller=smaller)
    return replace(done, history=history)


def _written(network: Network, masked: Network, path: Path, *, like: Any, test: Sample | None, smaller: bool) -> Pruned:
    """Write what is left of a network, its cut neurons removed if asked, and return what was done to it."""
    left = surgery.shrink(masked) if smaller else masked
    frontends.write(left, path, like=like)
    removed = {name: n_out - left.sizes.get(name, 0) for name, n_out in network.sizes.items()}
    return Pruned(
        path=path,
        sparsity_before=plan.sparsity(network),
        sparsity=plan.sparsity(masked),
        layers={kernel.name: _zeros(kernel.used()) for kernel in masked.kernels},
        removed={name: count for name, count in removed.items() if count},
        before=None if test is None else metrics.stated(training.scores(network, test)),
        after=None if test is None else metrics.stated(training.scores(left, test)),
    )


def _zeros(weight: torch.Tensor) -> float:
    return 1 - int(torch.count_nonzero(weight)) / weight.numel()
