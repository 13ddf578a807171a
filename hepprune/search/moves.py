"""Moves: the cuts a search chooses from at each step, each with its predicted loss and what it gains."""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from hepprune.errors import BudgetMissedError
from hepprune.hardware.resources import Budget, Estimate, figure
from hepprune.network import Dense, Network
from hepprune.pruning import importance, masks
from hepprune.pruning.masks import Cut
from hepprune.pruning.statistics import Statistics
from hepprune.search.sensitivity import cuttable

Price = Callable[[Network], Estimate]


@dataclass(frozen=True)
class Move:
    """Cuts that go together, the loss they are predicted to cost in nats, and why they were proposed."""

    cuts: tuple[Cut, ...]
    predicted_loss: float
    kind: str

    @property
    def n_units(self) -> int:
        """Units cut."""
        return sum(len(cut.units) for cut in self.cuts)


# Given a network, its statistics and the fraction of a layer that one move may take: the moves to choose from.
Proposal = Callable[[Network, Statistics, float], Iterator[Move]]


def per_layer(trust: Mapping[tuple[str, str], float], granularities: tuple[str, ...]) -> Proposal:
    """Return the proposal of the greedy search: for each layer and granularity its least important units.

    `trust` scales the predicted loss of a (layer, granularity) by what the sensitivity analysis measured.
    """

    def propose(network: Network, statistics: Statistics, fraction: float) -> Iterator[Move]:
        for layer, granularity in cuttable(network, granularities):
            scale = trust.get((layer.name, granularity), 1.0)
            scores = importance.fisher(layer, granularity, statistics[layer.name]) * scale
            yield from _least(layer, granularity, scores, fraction, statistics)
            if granularity == "weight":
                yield from _flatten(layer, scores)

    # A saved search is found again by the name of its proposal, so the name tells every two of them apart.
    propose.__qualname__ = f"per_layer({granularities}, {[(*k, f'{v:.3g}') for k, v in sorted(trust.items())]})"
    return propose


def _least(layer: Dense, granularity: str, scores: Tensor, fraction: float, statistics: Statistics) -> Iterator[Move]:
    """Yield the move that cuts the least important fraction of the units still alive, at least one, never all."""
    alive = torch.nonzero(_alive(layer, granularity)).flatten()
    n_cut = min(max(1, round(fraction * len(alive))), len(alive) - 1)
    if n_cut < 1:
        return
    units = alive[torch.argsort(scores[alive], stable=True)[:n_cut]]
    constants = tuple(statistics[layer.name].mean[units].tolist()) if granularity == "neuron" else ()
    yield Move(
        (Cut(layer.name, granularity, tuple(units.tolist()), constants),), float(scores[units].sum()), granularity
    )


def _alive(layer: Dense, granularity: str) -> Tensor:
    weight = layer.used_weight() != 0
    return weight.any(dim=1) if granularity == "neuron" else weight.flatten()


def _flatten(layer: Dense, scores: Tensor) -> Iterator[Move]:
    """Yield the move that takes one level off the layer's deepest adder trees.

    A tree of n terms has ceil(log2 n) levels and the deepest output sets the latency, so only the rows with the most
    terms are cut, down to the next power of two.
    """
    digits = masks.digit_counts(layer)
    terms = digits.sum(dim=1)
    if int(terms.max()) < 2:
        return
    most = 2 ** (math.ceil(math.log2(int(terms.max()))) - 1)
    units: list[int] = []
    for row in torch.nonzero(terms > most).flatten().tolist():
        order = torch.argsort(torch.where(digits[row] > 0, scores.view_as(digits)[row], torch.inf), stable=True)
        removed = digits[row][order].cumsum(0)
        n_cut = int(torch.searchsorted(removed, terms[row] - most)) + 1
        units += (order[:n_cut] + row * layer.n_in).tolist()
    if len(units) == int(torch.count_nonzero(digits)):
        return  # the layer would be left without a weight
    yield Move((Cut(layer.name, "weight", tuple(units)),), float(scores[units].sum()), "depth")


def global_magnitude(network: Network, statistics: Statistics, fraction: float) -> Iterator[Move]:
    """Yield the one move of plain global magnitude pruning: the smallest weights of the whole network.

    It is what the search is compared with (Han et al., arXiv:1506.02626). The largest weight of each class stays: a
    class that loses its last one is lost for good, and the comparison would be with a tagger of fewer classes.
    """
    del statistics
    layers = network.dense_layers
    alive = torch.cat([layer.digit_limit.flatten() > 0 for layer in layers])
    weights = torch.cat([_magnitudes(layer, keep_rows=layer.name == network.logits_name) for layer in layers])
    free = int((weights < torch.inf).sum())
    n_cut = min(max(1, round(fraction * int(alive.sum()))), free - 1)
    if n_cut < 1:
        return
    chosen = torch.zeros_like(alive)
    chosen[torch.argsort(weights, stable=True)[:n_cut]] = True
    parts = torch.split(chosen, [layer.weight.numel() for layer in layers])
    units = [tuple(torch.nonzero(part).flatten().tolist()) for part in parts]
    yield Move(
        tuple(Cut(la.name, "weight", u) for la, u in zip(layers, units, strict=True) if u), 0.0, "global magnitude"
    )


def _magnitudes(layer: Dense, *, keep_rows: bool) -> Tensor:
    """Return the magnitudes of a layer's weights, flat; infinite where there is nothing to cut."""
    sizes = torch.where(layer.digit_limit > 0, layer.weight.detach().abs(), torch.inf)
    if keep_rows:
        largest = torch.where(layer.digit_limit > 0, layer.weight.detach().abs(), -1.0).argmax(dim=1)
        sizes[torch.arange(layer.n_out), largest] = torch.inf
    return sizes.flatten()


def gain(before: Estimate, after: Estimate, budget: Budget, goals: Mapping[str, float]) -> float:
    """Return how much of the limits that are beyond their goal a move frees, in fractions of those limits.

    Latency moves in whole cycles, too coarse to steer by; the depth summed over layers stands in for it.
    """
    used, then = budget.usage(before), budget.usage(after)
    pressing = [name for name, value in used.items() if value > goals[name]]
    freed = sum(used[name] - then[name] for name in pressing if name != "latency_ns")
    if "latency_ns" in pressing:
        depth = sum(layer.depth for layer in before.layers)
        freed += used["latency_ns"] * (depth - sum(layer.depth for layer in after.layers)) / max(depth, 1e-9)
    return freed


def missed(budget: Budget, figures: Estimate) -> BudgetMissedError:
    """Return the error of an unreachable budget, naming the figure that binds and the closest point."""
    used = budget.usage(figures)
    name = max(used, key=used.__getitem__)
    closest = figure(figures, name)
    told = "an unknown number" if closest is None else f"{closest:g}"
    return BudgetMissedError(
        f"the budget cannot be reached: {name} binds, {budget.limits()[name]:g} allowed, {told} at the closest point"
    )
