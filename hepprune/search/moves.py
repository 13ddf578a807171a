"""Moves: the cuts a search chooses from at each step, each with its predicted loss and what it gains."""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from hepprune.errors import BudgetMissedError
from hepprune.hardware.resources import Budget, Estimate, figure
from hepprune.network import Kernel, Network
from hepprune.pruning import importance
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


class Proposal(Protocol):
    """Where moves come from; a saved search is found again by the text of its proposal."""

    def __call__(self, network: Network, statistics: Statistics, fraction: float) -> Iterator[Move]:
        """Yield the moves to choose from; one may take that fraction of a kernel."""


@dataclass(frozen=True)
class PerKernel:
    """The proposal of the greedy search: for each kernel and granularity its least important units.

    `trust` scales the predicted loss of a (kernel, granularity) by what the sensitivity analysis measured.
    """

    trust: Mapping[tuple[str, str], float]
    granularities: tuple[str, ...]

    def __call__(self, network: Network, statistics: Statistics, fraction: float) -> Iterator[Move]:
        """Yield the moves that a network can take next."""
        for kernel, granularity in cuttable(network, self.granularities):
            scale = self.trust.get((kernel.name, granularity), 1.0)
            scores = importance.fisher(kernel, granularity, statistics[kernel.name]) * scale
            yield from _least(kernel, granularity, scores, fraction, statistics)
            if granularity == "weight":
                yield from _flatten(kernel, scores)


def _least(kernel: Kernel, granularity: str, scores: Tensor, fraction: float, statistics: Statistics) -> Iterator[Move]:
    """Yield the move that cuts the least important fraction of the units still alive, at least one, never all."""
    alive = torch.nonzero(_alive(kernel, granularity)).flatten()
    n_cut = min(max(1, round(fraction * len(alive))), len(alive) - 1)
    if n_cut < 1:
        return
    units = alive[torch.argsort(scores[alive], stable=True)[:n_cut]]
    constants = tuple(statistics[kernel.name].mean[units].tolist()) if granularity == "neuron" else ()
    yield Move(
        (Cut(kernel.name, granularity, tuple(units.tolist()), constants),), float(scores[units].sum()), granularity
    )


def _alive(kernel: Kernel, granularity: str) -> Tensor:
    acts = kernel.rows() != 0
    return acts.any(dim=1) if granularity == "neuron" else acts.flatten()


def _flatten(kernel: Kernel, scores: Tensor) -> Iterator[Move]:
    """Yield the move that takes one level off the kernel's deepest adder trees.

    A tree of n terms has ceil(log2 n) levels and the deepest output sets the latency, so only the rows with the most
    terms are cut, down to the next power of two.
    """
    digits = kernel.digit_counts().flatten(1)
    terms = digits.sum(dim=1)
    if int(terms.max()) < 2:
        return
    most = 2 ** (math.ceil(math.log2(int(terms.max()))) - 1)
    units: list[int] = []
    for row in torch.nonzero(terms > most).flatten().tolist():
        order = torch.argsort(torch.where(digits[row] > 0, scores.view_as(digits)[row], torch.inf), stable=True)
        removed = digits[row][order].cumsum(0)
        n_cut = int(torch.searchsorted(removed, terms[row] - most)) + 1
        units += (order[:n_cut] + row * digits.shape[1]).tolist()
    if len(units) == int(torch.count_nonzero(digits)):
        return  # the layer would be left without a weight
    yield Move((Cut(kernel.name, "weight", tuple(units)),), float(scores[units].sum()), "depth")


@dataclass(frozen=True)
class GlobalMagnitude:
    """The proposal of plain global magnitude pruning: the smallest weights of the whole network.

    It is what the search is compared with (Han et al., arXiv:1506.02626). The largest weight of each class stays: a
    class that loses its last one is lost for good, and the comparison would be with a tagger of fewer classes.
    """

    def __call__(self, network: Network, statistics: Statistics, fraction: float) -> Iterator[Move]:
        """Yield the one move."""
        return _smallest(network, fraction)


def _smallest(network: Network, fraction: float) -> Iterator[Move]:
    kernels, outputs = network.kernels, network.raw_outputs
    alive = torch.cat([kernel.digit_limit.flatten() > 0 for kernel in kernels])
    weights = torch.cat([_magnitudes(kernel, keep_rows=kernel.layer.name in outputs) for kernel in kernels])
    free = int((weights < torch.inf).sum())
    n_cut = min(max(1, round(fraction * int(alive.sum()))), free - 1)
    if n_cut < 1:
        return
    chosen = torch.zeros_like(alive)
    chosen[torch.argsort(weights, stable=True)[:n_cut]] = True
    parts = torch.split(chosen, [kernel.weight.numel() for kernel in kernels])
    units = [tuple(torch.nonzero(part).flatten().tolist()) for part in parts]
    yield Move(
        tuple(Cut(k.name, "weight", u) for k, u in zip(kernels, units, strict=True) if u), 0.0, "global magnitude"
    )


def _magnitudes(kernel: Kernel, *, keep_rows: bool) -> Tensor:
    """Return the magnitudes of a kernel's weights, flat; infinite where there is nothing to cut."""
    acts, weight = kernel.digit_limit.flatten(1) > 0, kernel.weight.detach().abs().flatten(1)
    sizes = torch.where(acts, weight, torch.inf)
    if keep_rows:
        largest = torch.where(acts, weight, -1.0).argmax(dim=1)
        sizes[torch.arange(kernel.n_rows), largest] = torch.inf
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


def missed(budget: Budget, figures: Estimate, network: Network) -> BudgetMissedError:
    """Return the error of an unreachable budget: what binds, the closest point, and what no cut could take away."""
    used = budget.usage(figures)
    name = max(used, key=used.__getitem__)
    closest = figure(figures, name)
    told = "an unknown number" if closest is None else f"{closest:g}"
    return BudgetMissedError(
        f"the budget cannot be reached: {name} binds, {budget.limits()[name]:g} allowed, {told} at the closest point"
        + _uncut(network, figures, name)
    )


def _uncut(network: Network, figures: Estimate, name: str) -> str:
    """Return how much of a count the layers hold that have nothing to cut, by their names."""
    counts = {layer.layer: layer.resources.known().get(name, 0.0) for layer in figures.layers}
    held = {node.name: counts.get(node.name, 0.0) for node in network.nodes if not node.layer.kernels}
    some = {layer: count for layer, count in held.items() if count > 0}
    if not some:
        return ""
    return f", {sum(some.values()):g} of them in layers without weights: " + ", ".join(f"'{layer}'" for layer in some)
