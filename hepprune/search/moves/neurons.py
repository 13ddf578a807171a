"""What a search cuts as a whole: units of a coupled group with all that reads them, branches, last places of values."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from hepprune.errors import NetworkError
from hepprune.fixed import FixedPoint
from hepprune.fixed.quantisers import FixedPoints
from hepprune.network import Dense, Input, Kernel, Layer, Network, Recurrent, ReLU, Shared
from hepprune.pruning import granularity as granularities
from hepprune.pruning import selection
from hepprune.pruning.importance import Criterion
from hepprune.pruning.masks import BIT, Cut, Cuts
from hepprune.pruning.statistics import Statistics
from hepprune.pruning.structure import blocks, coupling
from hepprune.pruning.structure.coupling import Group

BLOCK = "block"
ROW = "dsp_row"
NOISE = 16.0  # how much more than alone a bit is worth among others: the noise of many rounded values adds up


@dataclass(frozen=True, eq=False)
class KernelUnits:
    """What of one kernel may be cut: weights, digits of them, rows of its matrix, or DSP rows."""

    kernel: Kernel
    granularity: str
    alone = True  # its layer alone changes

    @property
    def name(self) -> str:
        """The kernel."""
        return self.kernel.name

    @property
    def layer(self) -> Layer:
        """The layer that changes."""
        return self.kernel.layer

    @property
    def _cut(self) -> str:
        return "weight" if self.granularity == ROW else self.granularity

    def scores(self, statistics: Statistics, criterion: Criterion, scale: float = 1.0) -> Tensor:
        """Return the predicted increase of the loss, or what the criterion says, of each unit, (n_units,)."""
        found = criterion(self.kernel, self._cut, statistics.get(self.name)) * scale
        return selection.combined(self.kernel, found, ROW) if self.granularity == ROW else found

    def alive(self) -> Tensor:
        """Return which units have a weight that acts, (n_units,) bool."""
        acts = self.kernel.rows().flatten() != 0
        if self.granularity != ROW:
            return acts
        groups = granularities.groups(self.kernel, ROW)
        return torch.bincount(groups[acts], minlength=int(groups[-1]) + 1) > 0

    def cuts(self, units: Tensor, _statistics: Statistics) -> Cuts:
        """Return the cut of some units, by index."""
        chosen = granularities.members(self.kernel, ROW, units) if self.granularity == ROW else units
        return (Cut(self.name, self._cut, tuple(chosen.tolist())),)


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

    def scores(self, statistics: Statistics, criterion: Criterion, scale: float = 1.0) -> Tensor:
        """Return the predicted increase of the loss, or what the criterion says, of each unit, (n_units,)."""
        found = {}
        for name in self._makers:
            layer = self.network[name]
            of = "weight" if isinstance(layer, Recurrent) else "neuron"
            each = [criterion(kernel, of, statistics.get(kernel.name)) for kernel in layer.kernels]
            if isinstance(layer, Recurrent):  # of which a state has a row in each gate of both kernels
                rows = torch.stack([scores.reshape(len(layer.bias), -1).sum(dim=1) for scores in each])
                each = [rows.reshape(-1, layer.n_out).sum(dim=0)]
            (found[name],) = each
        return self._summed(found) * scale

    def alive(self) -> Tensor:
        """Return which units a weight makes that acts, (n_units,) bool."""
        found = {}
        for name in self._makers:
            layer = self.network[name]
            rows = torch.stack([(kernel.rows() != 0).any(dim=1) for kernel in layer.kernels])
            n_out = layer.n_out if isinstance(layer, Recurrent) else rows.shape[1]
            found[name] = rows.reshape(-1, n_out).sum(dim=0)
        return self._summed(found) > 0

    def cuts(self, units: Tensor, statistics: Statistics) -> Cuts:
        """Return the cuts of some units, by index; the biases of those that read them take over their means."""
        chosen = units.tolist()
        if not self.alone:
            first = {kernel.layer.name: kernel for kernel in reversed(self.network.kernels)}
            # columns of grouped convolutions read several inputs, so that those have no mean
            known = {name: k for name, k in first.items() if k.name in statistics and k.groups == 1}
            return coupling.cuts(self.group, chosen, {name: statistics[k.name].reads for name, k in known.items()})
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


@dataclass(frozen=True, eq=False)
class Branch:
    """The kernels of one residual branch; curves and trust know it by the sum that it ends in."""

    name: str
    kernels: tuple[Kernel, ...]
    alone = False  # its kernels go together

    @property
    def cuts(self) -> Cuts:
        """The cuts of all its weights."""
        acting = ((kernel.name, _branch_acting(kernel)) for kernel in self.kernels)
        return tuple(Cut(name, "weight", units) for name, units in acting if units)

    def score(self, statistics: Statistics, criterion: Criterion) -> float:
        """Return the predicted increase of the loss, or what the criterion says, of all its weights together."""
        each = [(kernel, criterion(kernel, "weight", statistics.get(kernel.name))) for kernel in self.kernels]
        return sum(float(scores[list(_branch_acting(kernel))].sum()) for kernel, scores in each)


def find_branches(network: Network) -> list[Branch]:
    """Return the residual branches at any depth that weights of their own move, and none of another place."""
    used = network.preceding(network.raw_outputs)
    found = []
    for block in blocks.residual(network):
        if block.end in used and all(network.runs(network[name]).name in block.layers for name in block.layers):
            kernels = tuple(kernel for name in block.layers for kernel in network[name].kernels)
            found.append(Branch(block.end, kernels))
    return [branch for branch in found if branch.cuts]


def _branch_acting(kernel: Kernel) -> tuple[int, ...]:
    return tuple(torch.nonzero(kernel.digit_limit.flatten() > 0).flatten().tolist())


@dataclass(frozen=True, eq=False)
class Values:
    """The values of one layer, which has a type for each, and the dense layers that read them, by name.

    Curves and trust know them by the name of the layer.
    """

    layer: Layer
    types: FixedPoints
    readers: tuple[str, ...]
    alone = True  # their layer alone changes

    @property
    def name(self) -> str:
        """The layer that puts them out."""
        return self.layer.name

    def scores(self, statistics: Statistics, criterion: Criterion, scale: float = 1.0) -> Tensor:
        """Return the loss that each value's last place is predicted to cost, (n_values,), 0 where there is none.

        A last place of 2**-f is noise of 4**-f / 12, and the one before of four times that; the loss is half the Fisher
        information of the value times the rest.

        Raises:
            NetworkError: the criterion is another than `fisher`.
        """
        if criterion.name != "fisher":
            raise NetworkError(f"the criterion '{criterion.name}' scores no bits of values; 'fisher' does")
        fisher = torch.stack([statistics[name].read_fisher for name in self.readers]).double().sum(dim=0)
        return torch.where(self.alive(), fisher / 8 * torch.as_tensor(4.0**-self.types.fractions), 0.0) * scale

    def alive(self) -> Tensor:
        """Return which values have a bit left, (n_values,) bool."""
        return torch.as_tensor(self.types.width > 0)

    def cuts(self, units: Tensor, _statistics: Statistics) -> Cuts:
        """Return the cut of the last places of some values, by index."""
        return (Cut(self.name, BIT, tuple(units.tolist())),)


def find_values(network: Network) -> Iterator[Values]:
    """Yield the values that nothing but dense layers on single jets reads, whose information is known of each.

    They are those of inputs, ReLUs and dense layers in fixed point; where a layer has one type for all, each gets it.
    """
    used = network.preceding(network.raw_outputs)
    elsewhere = {layer.of for layer in network if isinstance(layer, Shared)}
    for layer in network:
        shape, readers = network.shapes[layer.name], [each for each in network.readers(layer) if each.name in used]
        single = len(shape) == 1 and layer.name not in {*network.raw_outputs, *elsewhere}
        if not (single and readers and layer.name in used and isinstance(layer, Input | ReLU | Dense)):
            continue
        if not all(isinstance(r, Dense) and not r.fixed and r.name not in elsewhere for r in readers):
            continue
        types = FixedPoints.of(layer.result, shape) if isinstance(layer.result, FixedPoint) else layer.result
        if isinstance(types, FixedPoints) and types.width.shape == shape:
            yield Values(layer.rebuilt(result=types), types, tuple(reader.name for reader in readers))
