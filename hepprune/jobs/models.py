"""Jobs on a model: what its layers are, the model without what is dead, and the model pruned by one method."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from hepprune import frontends, metrics, training
from hepprune import recipe as recipes
from hepprune.errors import EquivalenceError, NetworkError
from hepprune.firmware.hls import IO_TYPES
from hepprune.firmware.layers import refusals
from hepprune.fixed import Quantiser
from hepprune.frontends.checking import features, is_exact
from hepprune.jobs import sources
from hepprune.jobs.sources import by_recipe
from hepprune.metrics.scores import Stated
from hepprune.network import Layer, Network, Shared, Weighted
from hepprune.pipeline.context import Track, silent
from hepprune.pruning import plan
from hepprune.pruning.granularity import STRUCTURES
from hepprune.pruning.structure import surgery
from hepprune.report.layers import LayerDescription
from hepprune.studies import iterative
from hepprune.studies.iterative import Round
from hepprune.task.sample import Sample

_VECTORS = 10_000
_MAX_VALUES = 2**26  # of one value of the network, over all vectors
_STATISTICS_JETS = 16_384


@dataclass(frozen=True, kw_only=True)
class Shrunk:
    """What surgery did to a model: where the new one is, sizes before and after, and the proof that both agree.

    `exact` says whether the network computes in fixed point, where outputs agree bit for bit; in float they agree to
    the rounding of sums, `difference` at most.
    """

    path: Path
    parameters_before: int
    parameters: int
    removed: dict[str, int]
    vectors: int
    exact: bool
    difference: float


def shrink(model: Any, path: Path) -> Shrunk:
    """Remove the dead structure of a model, prove that outputs stay as they are, and write it as the same kind of file.

    Raises:
        NetworkError: the model cannot be read or written.
        EquivalenceError: an output differs; nothing is written.
    """
    sources.check_another_file(model, path)
    network = frontends.read(model)
    smaller = surgery.shrink(network)
    exact, vectors, difference = _compare(network, smaller)
    frontends.write(smaller, path, like=model)
    removed = {name: n_out - smaller.sizes[name] for name, n_out in network.sizes.items()}
    return Shrunk(
        path=path,
        parameters_before=_parameters(network),
        parameters=_parameters(smaller),
        removed={name: count for name, count in removed.items() if count},
        vectors=vectors,
        exact=exact,
        difference=difference,
    )


def _parameters(network: Network) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


@torch.no_grad()
def _compare(network: Network, smaller: Network) -> tuple[bool, int, float]:
    exact = is_exact(network)
    largest = max(network.widths.values())
    vectors = max(1, min(_VECTORS, _MAX_VALUES // largest))
    generator = torch.Generator().manual_seed(0)
    given = [features(layer, vectors, generator) for layer in network.inputs]
    before, after = (net.clone().double().activations(given) for net in (network, smaller))
    difference = max(float((before[name] - after[name]).abs().max()) for name in network.outputs)
    scale = max(float(before[name].abs().max()) for name in network.outputs)
    if not difference <= (0.0 if exact else 1e-9 * max(scale, 1.0)):
        raise EquivalenceError(f"the smaller network differs by {difference:g} on random inputs; nothing was written")
    return exact, vectors, difference


def describe(network: Network) -> tuple[LayerDescription, ...]:
    """Return the description of every layer in the order they run."""
    smaller = surgery.shrink(network, warn=False)  # what surgery would keep is not news here
    refused = {io_type: refusals(network, io_type=io_type) for io_type in IO_TYPES}
    return tuple(_describe(network, layer, smaller, _reasons(refused, layer.name)) for layer in network)


def _reasons(refused: Mapping[str, Mapping[str, str]], name: str) -> tuple[str, ...]:
    """Return why firmware cannot be made of a layer, each reason with the way of passing values that it is for."""
    found = {io_type: reasons[name] for io_type, reasons in refused.items() if name in reasons}
    if len(found) == len(refused) and len(set(found.values())) == 1:
        return tuple(set(found.values()))
    return tuple(f"{io_type}: {reason}" for io_type, reason in found.items())


@torch.no_grad()
def _describe(network: Network, layer: Layer, smaller: Network, refused: tuple[str, ...]) -> LayerDescription:
    kernels = (layer.matrix,) if isinstance(layer, Weighted) else layer.kernels  # a fixed one has a matrix too
    return LayerDescription(
        name=layer.name,
        kind=f"{type(layer).__name__} {layer.of}" if isinstance(layer, Shared) else type(layer).__name__,
        reads=network.sources.get(layer.name, ()),
        shape=network.shapes[layer.name],
        parameters=sum(parameter.numel() for parameter in layer.parameters()),
        nonzero_float=sum(int(torch.count_nonzero(kernel.weight)) for kernel in kernels),
        nonzero=sum(int(torch.count_nonzero(kernel.used())) for kernel in kernels),
        weight_bits=_bits(getattr(layer, "weight_type", None)),
        result_bits=_bits(layer.result),
        dead=network.sizes.get(layer.name, 0) - smaller.sizes.get(layer.name, 0),
        refused=refused,
    )


def _bits(quantiser: Quantiser | None) -> float | None:
    return None if quantiser is None else float(quantiser.bits)


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
