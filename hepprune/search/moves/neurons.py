"""What a search cuts as a whole: the units of a coupled group with all that reads them, and branches to a sum."""

from collections import Counter
from dataclasses import dataclass

import torch
from torch import Tensor

from hepprune.network import Dense, Kernel, Layer, Network, Recurrent
from hepprune.pruning.importance import Criterion
from hepprune.pruning.masks import Cut, Plan
from hepprune.pruning.statistics import Statistics
from hepprune.pruning.structure import blocks, coupling
from hepprune.pruning.structure.blocks import Block
from hepprune.pruning.structure.coupling import Group

BLOCK = "block"


@dataclass(frozen=True, eq=False)
class Neurons:
    """The units of one group of a network that may be cut; curves and trust know them by their name."""

    name: str
    network: Network
    group: Group

    @property
    def first(self) -> Layer:
        """The first of the layers that make them."""
        return self.network[self.group.of("made")[0].layer]

    @property
    def alone(self) -> bool:
        """Whether one dense layer makes them for dense layers, so that they can go on as constants."""
        made, read = self.group.of("made"), self.group.of("read")
        layers = [self.network[member.layer] for member in (*made, *read)]
        plain = all(isinstance(layer, Dense) for layer in layers) and not self.group.of("summed")
        return plain and len(made) == 1 and all(len(own) == 1 for own in made[0].indices)

    def scores(self, statistics: Statistics, criterion: Criterion) -> Tensor:
        """Return the predicted increase of the loss, or what the criterion says, of each unit, (n_units,)."""
        return self._summed({name: _scores(self.network[name], statistics, criterion) for name in self._makers})

    def alive(self) -> Tensor:
        """Return which units a weight makes that acts, (n_units,) bool."""
        return self._summed({name: _acts(self.network[name]) for name in self._makers}) > 0

    def cuts(self, units: Tensor, statistics: Statistics) -> Plan:
        """Return the cuts of some units, by index; the biases of those that read them take over their means."""
        chosen = units.tolist()
        if not self.alone:
            return coupling.cuts(self.group, chosen, _read_means(self.network, statistics))
        (made,) = self.group.of("made")
        rows = [made.indices[unit][0] for unit in chosen]
        return (Cut(made.layer, "neuron", tuple(rows), tuple(statistics[made.layer].mean[rows].tolist())),)

    @property
    def _makers(self) -> list[str]:
        return [member.layer for member in self.group.of("made")]

    def _summed(self, by_layer: dict[str, Tensor]) -> Tensor:
        """Return the sum, over all that makes a unit, of values (n_out,) by layer."""
        parts = [by_layer[made.layer][torch.tensor(made.indices)].sum(dim=1) for made in self.group.of("made")]
        return torch.stack(parts).sum(dim=0)


def find(network: Network) -> list[Neurons]:
    """Return the neurons that a search may cut: of layers that the outputs depend on, and more than one of a kind.

    Those that stay, outputs for one, are left out; groups that are made by the same layers are numbered.
    """
    used, seen, found = network.preceding(network.raw_outputs), Counter[str](), []
    for group in coupling.groups(network):
        makers = [member.layer for member in group.of("made")]
        if group.kept or len(group) < 2 or not makers or not used.issuperset(makers):
            continue
        seen[group.name] += 1
        number = seen[group.name]
        found.append(Neurons(group.name if number == 1 else f"{group.name} ({number})", network, group))
    return found


def _scores(layer: Layer, statistics: Statistics, criterion: Criterion) -> Tensor:
    """Return the score of each neuron or state of a layer, (n_out,)."""
    if not isinstance(layer, Recurrent):
        (kernel,) = layer.kernels
        return criterion(kernel, "neuron", statistics.get(kernel.name))
    each = [criterion(kernel, "weight", statistics.get(kernel.name)) for kernel in layer.kernels]
    return torch.stack([scores.reshape(len(layer.bias), -1).sum(dim=1) for scores in each]).reshape(
        -1, layer.n_out
    ).sum(dim=0)  # fmt: skip


def _acts(layer: Layer) -> Tensor:
    """Return how many rows of weights that act each neuron or state of a layer has, (n_out,)."""
    rows = torch.stack([(kernel.rows() != 0).any(dim=1) for kernel in layer.kernels])
    n_out = layer.n_out if isinstance(layer, Recurrent) else rows.shape[1]
    return rows.reshape(-1, n_out).sum(dim=0)


def _read_means(network: Network, statistics: Statistics) -> dict[str, Tensor]:
    """Return the mean of each input by layer; not of grouped convolutions, whose columns read several inputs."""
    kernels = {kernel.layer.name: kernel for kernel in reversed(network.kernels)}
    return {
        name: statistics[kernel.name].reads
        for name, kernel in kernels.items()
        if kernel.name in statistics and kernel.groups == 1
    }


@dataclass(frozen=True, eq=False)
class Branch:
    """The kernels of one residual branch; curves and trust know it by the sum that it ends in."""

    name: str
    kernels: tuple[Kernel, ...]

    @property
    def cuts(self) -> Plan:
        """The cuts of all its weights."""
        return tuple(
            Cut(kernel.name, "weight", _branch_acting(kernel)) for kernel in self.kernels if _branch_acting(kernel)
        )

    def score(self, statistics: Statistics, criterion: Criterion) -> float:
        """Return the predicted increase of the loss, or what the criterion says, of all its weights together."""
        each = [(kernel, criterion(kernel, "weight", statistics.get(kernel.name))) for kernel in self.kernels]
        return sum(float(scores[list(_branch_acting(kernel))].sum()) for kernel, scores in each)


def find_branches(network: Network) -> list[Branch]:
    """Return the residual branches at any depth that weights of their own move, and none of another place."""
    used = network.preceding(network.raw_outputs)
    residual = [block for block in blocks.residual(network) if block.end in used]
    found = [Branch(block.end, _kernels(network, block)) for block in residual if _is_alone(network, block)]
    return [branch for branch in found if branch.cuts]


def _kernels(network: Network, block: Block) -> tuple[Kernel, ...]:
    return tuple(kernel for name in block.layers for kernel in network[name].kernels)


def _is_alone(network: Network, block: Block) -> bool:
    return all(network.runs(network[name]).name in block.layers for name in block.layers)


def _branch_acting(kernel: Kernel) -> tuple[int, ...]:
    return tuple(torch.nonzero(kernel.digit_limit.flatten() > 0).flatten().tolist())
