"""Selection: scores to cuts, at an exact sparsity; equal scores go by index, so that the cuts are always the same."""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from hepprune.errors import NetworkError, check_known, refused
from hepprune.network import Kernel, Network
from hepprune.pruning import granularity as granularities
from hepprune.pruning.masks import Cut, Cuts

SCOPES = ("global", "local")


def _lamp(scores: Tensor) -> Tensor:
    """Return u^2 / (sum of v^2 over v that are not smaller): what is left at a unit's turn (Lee et al., 2010.07611)."""
    order = torch.argsort(scores, stable=True)
    squares = scores[order].double() ** 2
    left = squares.flip(0).cumsum(0).flip(0)
    return torch.empty_like(squares).index_copy_(0, order, squares / left.clamp(min=torch.finfo(squares.dtype).tiny))


def _ratio(size: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    return lambda scores: scores / size(scores.abs()).clamp(min=torch.finfo(scores.dtype).tiny)


# What makes the scores of layers comparable, before they are ranked together.
NORMALISATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "none": lambda scores: scores,
    "mean": _ratio(torch.mean),
    "max": _ratio(torch.max),
    "sum": _ratio(torch.sum),
    "l2": _ratio(torch.linalg.vector_norm),
    "lamp": _lamp,
}


def prunable(network: Network, granularity: str) -> list[Kernel]:
    """Return the kernels that have units to cut; neurons that are outputs of the network, or alone, stay.

    Neurons are the rows of a layer's only kernel; a recurrent layer has states instead, which are coupled units.
    """
    if granularity != "neuron":
        return network.kernels
    stay = {*network.outputs, *network.raw_outputs}
    alone = [kernel for kernel in network.kernels if kernel.name == kernel.layer.name]
    return [kernel for kernel in alone if kernel.name not in stay and kernel.n_rows > 1]


def combined(kernel: Kernel, scores: Tensor, granularity: str, *, norm: bool = False) -> Tensor:
    """Return one score per group of weights: the sum of its weights' scores, or the root of their summed squares."""
    if granularity in {"weight", "neuron"}:
        return scores
    groups = granularities.groups(kernel, granularity)
    total = scores.new_zeros(int(groups[-1]) + 1).index_add(0, groups, scores**2 if norm else scores)
    return total.sqrt() if norm else total


def select(
    network: Network,
    scores: Mapping[str, Tensor],
    sparsity: float | None,
    *,
    granularity: str = "weight",
    scope: str = "global",
    normalisation: str = "none",
    keep: int = 0,
) -> Cuts:
    """Return the cuts of the least important units, round(sparsity x units) of them, per layer if the scope is "local".

    `scores` has one score per unit, by layer. Units that are cut already count and go first. Without a sparsity
    everything goes that scores zero or less. Every layer keeps its best `keep` units whatever their scores. "N:M" has
    its own sparsity, 1 - N / M, and ranks among M neighbours.

    Raises:
        NetworkError: the sparsity is outside [0, 1] or out of reach, a name is unknown, or a layer would be left empty.
    """
    check(sparsity, scope, normalisation)
    kernels = [kernel for kernel in prunable(network, granularity) if kernel.name in scores]
    if not kernels:
        raise NetworkError(f"the network has nothing to prune at the granularity '{granularity}'")
    pattern = granularities.parse(granularity)
    if pattern is not None:
        if sparsity is not None and abs(sparsity - (1 - pattern[0] / pattern[1])) > 1e-6:
            raise NetworkError(f"'{granularity}' is the sparsity {1 - pattern[0] / pattern[1]:g}, not {sparsity:g}")
        chosen = [_neighbours(kernel, scores[kernel.name], *pattern) for kernel in kernels]
    else:
        ranks = [_ranked(each, scores[each.name], granularity, normalisation, keep=keep) for each in kernels]
        chosen = lowest(ranks, sparsity, scope)
    plan = [_cut(kernel, mask, granularity) for kernel, mask in zip(kernels, chosen, strict=True)]
    return tuple(cut for cut in plan if cut.units)


def of_layer(kernel: Kernel, scores: Tensor, sparsity: float, *, granularity: str = "weight") -> Cut:
    """Return the cut that `select` makes of one layer alone.

    Raises:
        NetworkError: the sparsity is outside [0, 1], or the layer would be left empty.
    """
    check(sparsity, "local", "none")
    pattern = granularities.parse(granularity)
    if pattern is not None:
        return _cut(kernel, _neighbours(kernel, scores, *pattern), granularity)
    (chosen,) = _lowest([_ranked(kernel, scores, granularity, "none", keep=0)], sparsity)
    return _cut(kernel, chosen, granularity)


def check(sparsity: float | None, scope: str, normalisation: str) -> None:
    """Refuse a sparsity outside [0, 1] and names that nothing has."""
    if sparsity is not None and not 0 <= sparsity <= 1:
        raise NetworkError(f"a sparsity lies between 0 and 1, {sparsity:g} does not")
    check_known("scope", scope, SCOPES, NetworkError)
    check_known("normalisation", normalisation, NORMALISATIONS, NetworkError)


def _ranked(kernel: Kernel, scores: Tensor, granularity: str, normalisation: str, *, keep: int) -> Tensor:
    """Return the ranks of a layer's units; one is cut already when none of its weights acts."""
    groups = granularities.groups(kernel, granularity)
    acts = (kernel.digit_limit > 0).flatten().long()
    alive = acts.new_zeros(int(groups[-1]) + 1).index_add(0, groups, acts)
    return ranked(scores, alive > 0, normalisation, keep=keep)


def ranked(scores: Tensor, alive: Tensor, normalisation: str, *, keep: int) -> Tensor:
    """Return normalised scores: minus infinity where a unit is cut already, infinity where it must stay."""
    found = torch.where(alive, NORMALISATIONS[normalisation](scores.double()), -torch.inf)
    best = torch.argsort(found, stable=True)[len(found) - min(keep, int(alive.sum())) :]
    return found.index_fill(0, best, torch.inf)


def lowest(ranks: list[Tensor], sparsity: float | None, scope: str) -> list[Tensor]:
    """Return for each set of ranks a mask of the units that go, ranked together or each set alone.

    Raises:
        NetworkError: the sparsity is out of reach.
    """
    parts = [[each] for each in ranks] if scope == "local" else [ranks]
    return [mask for part in parts for mask in _lowest(part, sparsity)]


def _lowest(ranked: list[Tensor], sparsity: float | None) -> list[Tensor]:
    """Return per layer a mask of the units that go."""
    together = torch.cat(ranked)
    goes = together <= 0
    if sparsity is not None:
        n_cut = round(sparsity * len(together))
        if n_cut > int((together < torch.inf).sum()):
            raise NetworkError(f"the sparsity {sparsity:g} is out of reach where every layer keeps some of its units")
        goes = torch.zeros_like(goes).index_fill(0, torch.argsort(together, stable=True)[:n_cut], True)
    return list(torch.split(goes, [len(each) for each in ranked]))


def _neighbours(kernel: Kernel, scores: Tensor, kept: int, of: int) -> Tensor:
    """Return a mask of the weights that go, all but the best `kept` of every `of` inputs of an output."""
    per_output = torch.where(kernel.digit_limit.flatten() > 0, scores.double(), -torch.inf).reshape(kernel.n_rows, -1)
    short = -per_output.shape[1] % of
    filled = torch.nn.functional.pad(per_output, (0, short), value=-torch.inf).reshape(kernel.n_rows, -1, of)
    place = filled.argsort(dim=-1, stable=True, descending=True).argsort(dim=-1)
    return (place >= kept).flatten(1)[:, : per_output.shape[1]].flatten()


def _cut(kernel: Kernel, goes: Tensor, granularity: str) -> Cut:
    if goes.all():
        raise refused(kernel.name, "would be left empty; lower the sparsity, choose the scope 'local' or keep > 0")
    if granularity == "neuron":
        return Cut(kernel.name, "neuron", tuple(torch.nonzero(goes).flatten().tolist()))
    weights = goes if len(goes) == kernel.weight.numel() else goes[granularities.groups(kernel, granularity)]
    return Cut(kernel.name, "weight", tuple(torch.nonzero(weights).flatten().tolist()))
