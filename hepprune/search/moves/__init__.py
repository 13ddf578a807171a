"""Moves: the cuts a search chooses from at each step, each with its predicted loss and what it gains."""

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from hepprune.errors import BudgetMissedError
from hepprune.fixed import FixedPoint
from hepprune.fixed.quantisers import FixedPoints
from hepprune.hardware.resources import Budget, Estimate, figure
from hepprune.network import Kernel, Network
from hepprune.pruning import importance, masks
from hepprune.pruning.masks import BIT, Cut
from hepprune.pruning.statistics import Statistics
from hepprune.search.moves import knobs
from hepprune.search.moves.knobs import Knob
from hepprune.search.moves.neurons import BLOCK, NOISE, ROW, Branch, KernelUnits, Neurons, Values
from hepprune.search.sensitivity import SensitivityCurve, cuttable

# What the search of a strategy may choose where a recipe says nothing, and what else it may say: what pays there.
_SHARED = ("neuron", ROW, "bits", "reuse_factor")
CHOICES: dict[str, tuple[str, ...]] = {
    "distributed_arithmetic": ("neuron", "weight", "digit", BLOCK),
    "latency": ("neuron", "weight", "bits", BLOCK),
    **dict.fromkeys(knobs.SHARING, _SHARED),
}
# What one long allocation chooses among: bits of values beside digits of weights.
ALLOCATED = ("neuron", "weight", "digit", BIT)
ALLOWED = CHOICES | {
    "distributed_arithmetic": ("neuron", "weight", "digit", BLOCK, BIT),
    "latency": ("neuron", "weight", "digit", "bits", BLOCK),
}
_LEAST_BITS = 2


@dataclass(frozen=True)
class Move:
    """Cuts that go together, the loss they are predicted to cost in nats, and why they were proposed.

    In place of cuts, `knobs` build a layer in another way.
    """

    cuts: tuple[Cut, ...]
    predicted_loss: float
    kind: str
    knobs: tuple[Knob, ...] = ()

    @property
    def n_units(self) -> int:
        """Units cut: neurons, weights or digits; what reads a neuron is none."""
        return sum(len(cut.units) for cut in self.cuts if cut.granularity != "input")

    @property
    def layers(self) -> tuple[str, ...]:
        """What is changed, kernels and layers."""
        return tuple(dict.fromkeys((*(cut.layer for cut in self.cuts), *(knob.layer for knob in self.knobs))))

    def made(self, network: Network) -> Network:
        """Return a masked network with the cuts made and the knobs turned."""
        return knobs.turned(masks.apply(network, self.cuts), self.knobs)


class Proposal(Protocol):
    """Where moves come from; a saved search is found again by the text of its proposal."""

    def __call__(self, network: Network, statistics: Statistics, fraction: float) -> Iterator[Move]:
        """Yield the moves to choose from; one may take that fraction of a kernel."""


@dataclass(frozen=True)
class PerKernel:
    """The proposal of the greedy search: for each kernel and granularity its least important units.

    Neurons are those of coupled groups, with all that makes and reads them; a residual branch may go as a whole.
    `trust` scales the predicted loss of a (kernel, group, branch or layer of values, granularity) by what the
    sensitivity analysis measured.
    """

    trust: Mapping[tuple[str, str], float]
    granularities: tuple[str, ...]

    @classmethod
    def of(cls, curves: Iterable[SensitivityCurve], granularities: Iterable[str]) -> "PerKernel":
        """Return the proposal that trusts predictions as far as sensitivity curves bear them out."""
        return cls({(curve.layer, curve.granularity): curve.trust for curve in curves}, tuple(granularities))

    def __call__(self, network: Network, statistics: Statistics, fraction: float) -> Iterator[Move]:
        """Yield the moves that a network can take next."""
        for what, granularity in cuttable(network, self.granularities):
            scale = self.trust.get((what.name, granularity), 1.0)
            if isinstance(what, Branch):
                yield Move(what.cuts, what.score(statistics, importance.fisher) * scale, BLOCK)
                continue
            scores = what.scores(statistics, importance.fisher, scale * (NOISE if granularity == BIT else 1.0))
            yield from _least(what, granularity, scores, fraction, statistics)
            if isinstance(what, KernelUnits) and granularity == "weight":
                yield from _flatten(what.kernel, scores)
        if "bits" in self.granularities:
            yield from _fewer_bits(network, statistics)
        if "reuse_factor" in self.granularities:
            yield from _other_reuse(network)


def _fewer_bits(network: Network, statistics: Statistics) -> Iterator[Move]:
    """Yield for each layer of one kernel the moves to weights of fewer bits, which cost what is rounded away.

    A product leaves its DSP at some width only, so that one bit less may free nothing where two do.
    """
    for kernel in network.kernels:
        if kernel.name != kernel.layer.name or kernel.name not in statistics:
            continue
        if not isinstance(kernel.type, FixedPoint):
            continue
        fisher = statistics[kernel.name].weight_fisher
        for bits in range(kernel.type.width - 1, _LEAST_BITS - 1, -1):
            loss = float((fisher * knobs.rounding(kernel, bits) ** 2).sum() / 2)
            yield Move((), loss, "bits", (Knob(kernel.name, weight_bits=bits),))


def _other_reuse(network: Network) -> Iterator[Move]:
    """Yield the moves to the next legal reuse factors, which cost no loss, those of the most multipliers first."""
    layers = sorted(knobs.shared(network), key=lambda layer: -layer.weight.numel() / layer.reuse_factor)
    for layer in layers:
        for factor in knobs.neighbours(layer):
            yield Move((), 0.0, "reuse_factor", (Knob(layer.name, reuse_factor=factor),))


def _least(
    what: KernelUnits | Neurons | Values, granularity: str, scores: Tensor, fraction: float, statistics: Statistics
) -> Iterator[Move]:
    """Yield the move that takes the least worthy units that are left, one at least and never all of them.

    Neurons that others read are cut only where every kernel that had a weight keeps one.
    """
    alive = torch.nonzero(what.alive()).flatten()
    n_cut = max(0, min(max(1, round(fraction * len(alive))), len(alive) - 1))
    units = alive[torch.argsort(scores[alive], stable=True)[:n_cut]]
    if not len(units):
        return
    move = Move(what.cuts(units, statistics), float(scores[units].sum()), granularity)
    if isinstance(what, Neurons) and not what.alone:
        pairs = zip(what.network.kernels, move.made(what.network).kernels, strict=True)
        if any(bool(before.used().any()) and not bool(after.used().any()) for before, after in pairs):
            return
    yield move


def _flatten(kernel: Kernel, scores: Tensor) -> Iterator[Move]:
    """Yield the move that takes one level off the kernel's deepest adder trees.

    A tree of n terms has ceil(log2 n) levels and the deepest output sets the latency, so only the rows with the most
    terms are cut, down to the next power of two.
    """
    if not isinstance(kernel.type, FixedPoint | FixedPoints):
        return
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


def gain(before: Estimate, after: Estimate, budget: Budget, goals: Mapping[str, float]) -> float:
    """Return how much of the limits that are beyond their goal a move frees, in fractions of those limits.

    Latency moves in whole cycles, too coarse to steer by; the depth summed over layers stands in for it. The interval
    is that of the slowest layers, of which a move changes one; what all of them take beyond the goal stands in for it.
    """
    pressing = [name for name, value in budget.usage(before).items() if value > goals[name]]
    used, then = (_taken(figures, budget) for figures in (before, after))
    freed = sum(used[name] - then[name] for name in pressing if name not in {"latency_ns", "interval_cycles"})
    if "latency_ns" in pressing:
        depth = sum(layer.depth for layer in before.layers)
        freed += used["latency_ns"] * (depth - sum(layer.depth for layer in after.layers)) / max(depth, 1e-9)
    if "interval_cycles" in pressing and budget.interval_cycles is not None:
        most = goals["interval_cycles"] * budget.interval_cycles
        freed += (_waits(before, most) - _waits(after, most)) / budget.interval_cycles
    return freed


def _taken(figures: Estimate, budget: Budget) -> dict[str, float]:
    """Return what is used of each limit, as a fraction of it, or where nothing is allowed the number itself."""
    return {name: (figure(figures, name) or 0.0) / (limit or 1.0) for name, limit in budget.limits().items()}


def _waits(figures: Estimate, most: float) -> float:
    """Return the cycles that layers take beyond `most`, summed; those of the whole where layers say less."""
    each = sum(max(0.0, layer.interval_cycles - most) for layer in figures.layers)
    return max(each, figures.interval_cycles - most)


def missed(budget: Budget, figures: Estimate, network: Network) -> BudgetMissedError:
    """Return the error of an unreachable budget: what binds, the closest point, and what no cut could take away."""
    used = budget.usage(figures)
    name = max(used, key=used.__getitem__)
    closest = figure(figures, name)
    reached = "an unknown number" if closest is None else f"{closest:g}"
    text = f"{name} binds, {budget.limits()[name]:g} allowed, {reached} at the closest point"
    counts = {layer.layer: layer.resources.known().get(name, 0.0) for layer in figures.layers}
    held = {node.name: counts.get(node.name, 0.0) for node in network.nodes if not node.layer.kernels}
    if some := {layer: count for layer, count in held.items() if count > 0}:
        text += f", {sum(some.values()):g} of them in layers without weights: " + ", ".join(f"'{la}'" for la in some)
    return BudgetMissedError(f"the budget cannot be reached: {text}")
