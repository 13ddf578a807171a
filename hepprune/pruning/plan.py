"""One-shot pruning in one call: jets to statistics, statistics to scores, scores to cuts, cuts to a masked network."""

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from hepprune.errors import DataError, NetworkError, explained
from hepprune.network import Network
from hepprune.network.node import as_tuple
from hepprune.pruning import compensation, importance, masks, selection, structured
from hepprune.pruning import granularity as granularities
from hepprune.pruning.importance import Criterion
from hepprune.pruning.importance.combined import group_scores
from hepprune.pruning.masks import Cuts
from hepprune.task import Classes
from hepprune.task.sample import Sample

# Jets and their targets: a sample, or arrays x (n_jets, *shape) and classes y (n_jets,).
SampleLike = Sample | tuple[Any, Any]


def prune(
    network: Network,
    data: SampleLike | None = None,
    *,
    method: str | Criterion = "magnitude",
    sparsity: float | None,
    granularity: str = "weight",
    scope: str = "global",
    normalisation: str = "none",
    keep: int = 0,
    compensate: bool | None = None,
    seed: int = 0,
) -> Network:
    """Return a copy whose least important units are cut: weights at zero, biases at the mean of what is gone.

    `method` is a name in `importance.CRITERIA`, or a criterion. `granularity` is "weight", "dsp_row", "bram_row" or
    "N:M"; "neuron" (filters, channels and recurrent states too) or "head", which take all that is coupled to them (see
    `coupling.groups`) while shapes stay; or "layer", whose blocks leave at once (see `blocks.blocks`). `scope` ranks
    the units of all layers together ("global") or each layer's alone ("local"); see `selection.select`. With
    `compensate`, as "obs" does by itself, the weights that stay make up for those that go. `surgery.shrink` then really
    removes what nothing reads any more.

    Raises:
        NetworkError: a name is unknown, a sparsity is outside [0, 1], a layer would be left empty, or there is no data
            for a method that needs it.
        DataError: the jets cannot be used, or give gradients that are not finite.
    """
    criterion = importance.find(method) if isinstance(method, str) else method
    if granularity == "layer":
        jets = None if data is None else as_sample(data, network)
        return structured.without_blocks(network, jets, criterion=criterion, sparsity=sparsity, seed=seed)
    ranking: dict[str, Any] = {"scope": scope, "normalisation": normalisation, "keep": keep, "seed": seed}
    plan = make(network, data, method=criterion, sparsity=sparsity, granularity=granularity, **ranking)
    if not (criterion is importance.obs if compensate is None else compensate):
        return masks.apply(network, plan)
    if data is None:
        raise NetworkError("weights can only make up for others on jets, and there are none")
    return compensation.compensate(network, plan, compensation.moments(network, as_sample(data, network)))


def make(
    network: Network,
    data: SampleLike | None = None,
    *,
    method: str | Criterion = "magnitude",
    sparsity: float | None,
    granularity: str = "weight",
    scope: str = "global",
    normalisation: str = "none",
    keep: int = 0,
    seed: int = 0,
) -> Cuts:
    """Return the cuts that `prune` makes.

    Raises:
        NetworkError: as `prune` does, or whole layers are asked for, which are not cuts.
    """
    granularities.parse(granularity)
    selection.check(sparsity, scope, normalisation)  # before scores that may take long
    criterion = importance.find(method) if isinstance(method, str) else method
    jets = None if data is None else as_sample(data, network)
    if granularity == "layer":
        raise NetworkError("whole layers leave a network at once, and there is no plan of cuts for them: call `prune`")
    if granularity in granularities.STRUCTURES:
        groups = structured.prunable(network, granularity)
        with torch.enable_grad():
            found = group_scores(network, groups, criterion, data=jets, seed=seed)
        alive = [structured.alive(network, group) for group in groups]
        ranks = [selection.ranked(*each, normalisation, keep=keep) for each in zip(found, alive, strict=True)]
        return structured.cuts(network, zip(groups, selection.lowest(ranks, sparsity, scope), strict=True), jets)
    scores = importance.scores(network, criterion, "weight", data=jets, seed=seed)
    if granularities.parse(granularity) is None:
        kernels = [kernel for kernel in network.kernels if kernel.name in scores]
        scores = {k.name: selection.combined(k, scores[k.name], granularity, norm=criterion.norm) for k in kernels}
    ranking: dict[str, Any] = {"scope": scope, "normalisation": normalisation, "keep": keep}
    return selection.select(network, scores, sparsity, granularity=granularity, **ranking)


def as_sample(data: SampleLike, network: Network) -> Sample:
    """Return jets in the network's floating type.

    Raises:
        DataError: there are no jets, features that the network does not take, or classes that it does not tell apart.
    """
    dtype, shapes = next(network.parameters(), torch.zeros(1)).dtype, [layer.features_shape for layer in network.inputs]
    x, y = data if isinstance(data, tuple) else (data.x, data.y)
    inputs = tuple(_real(each, "features").to(dtype) for each in as_tuple(x))
    given = [tuple(each.shape[1:]) for each in inputs]
    if given != shapes or not len(inputs[0]):
        taken, found = (" and ".join(map(str, each)) for each in (shapes, [tuple(each.shape) for each in inputs]))
        raise DataError(f"the network takes jets of {taken} values and is given arrays of {found}")
    if not isinstance(data, Sample) or isinstance(data.task, Classes):
        y = _classes(_real(y, "classes"), len(inputs[0]), network.shapes[network.raw_output][-1])
    return replace(data, x=inputs, y=y) if isinstance(data, Sample) else Sample(inputs, y)


def _real(values: Any, what: str) -> Tensor:
    with explained(DataError, f"the {what} of the jets are not numbers:", TypeError, ValueError, RuntimeError):
        found = torch.as_tensor(values)
    if found.is_complex():
        raise DataError(f"the {what} of the jets are complex numbers, and must be real")
    return found


def _classes(classes: Tensor, n_jets: int, n_classes: int) -> Tensor:
    """Return classes that the network tells apart, one or a distribution for each jet."""
    if n_classes < 2:
        raise DataError("the network puts out one value, like a sigmoid; it needs one for each of two or more classes")
    if classes.shape == (n_jets, n_classes):
        return classes.to(torch.get_default_dtype()) if not classes.is_floating_point() else classes
    if classes.shape != (n_jets,):
        raise DataError(f"{n_jets} jets need as many classes, and are given an array of shape {tuple(classes.shape)}")
    wrong = (classes < 0) | (classes >= n_classes) | (classes != classes.to(torch.int64))
    if wrong.any():
        row = int(wrong.int().argmax())
        raise DataError(f"the class of jet {row} is {classes[row].item():g}, not one of 0 to {n_classes - 1}")
    return classes.long()


@torch.no_grad()
def sparsity(network: Network) -> float:
    """Return the fraction of the weights that do not act: pruned, or zero after quantisation."""
    return 1 - masks.nonzero_weights(network) / sum(kernel.weight.numel() for kernel in network.kernels)
