"""Neurons as a search cuts them: the units of a coupled group, filters, states and heads too, with all that reads them.

Their predicted loss is that of the neurons that make a unit together, from the statistics of their kernels; states of
recurrent layers have no such statistics, and score what all weights of their gates do.
"""

from collections import Counter
from dataclasses import dataclass

import torch
from torch import Tensor

from hepprune.network import Dense, Layer, Network, Recurrent
from hepprune.pruning.importance import Criterion
from hepprune.pruning.masks import Cut, Plan
from hepprune.pruning.statistics import Statistics
from hepprune.pruning.structure import coupling
from hepprune.pruning.structure.coupling import Group


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
