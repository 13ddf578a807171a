"""Unit gradients: what the loss does when units count a little less, whatever they are made of.

A gate m scales what a unit adds to the totals of all its readers, around its mean. For one jet dL/dm is the sum over
readers and places of (x - mean) (W^T dL/dtotal), at the unit's inputs: for heads the head mask of Michel et al.
(arXiv:1905.10650), for the states of a recurrent layer the mask of what leaves it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from types import MappingProxyType

import torch
from torch import Tensor

from hepprune.network import Layer, Network, Node, Recurrent
from hepprune.pruning.statistics import recorded, recurrences
from hepprune.pruning.statistics.curvature import diagonal
from hepprune.pruning.structure.coupling import Group
from hepprune.task.sample import Sample

Means = Mapping[str, Tensor]  # of each input of a layer, by its name


@dataclass(frozen=True, kw_only=True)
class UnitGradients:
    """For the units of one group, (n_units,) each: means over jets of dL/dm, |dL/dm|, (dL/dm)^2 and |x|.

    `nonzero` is the fraction of the x that are not zero.
    """

    signed: Tensor
    absolute: Tensor
    squared: Tensor
    size: Tensor
    nonzero: Tensor


def gather(network: Network, groups: Sequence[Group], sample: Sample, *, batch_size: int = 2048) -> list[UnitGradients]:
    """Return the unit gradients of every group over the jets of a sample.

    Raises:
        DataError: there are no jets, or a gradient is not finite.
    """
    means = input_means(network, sample)
    sums: list[list[Tensor]] = [[torch.zeros(())] * 5 for _ in groups]
    for jets in sample.batches(batch_size):
        raw, arriving = _run(network, jets.x)
        columns = _columns(network, jets.loss(raw, reduction="sum"), arriving, means)
        for index, group in enumerate(groups):
            sums[index] = [total + term for total, term in zip(sums[index], _terms(group, columns), strict=True)]
    names = [each.name for each in fields(UnitGradients)]
    averages = ([total / len(sample) for total in totals] for totals in sums)
    found = [UnitGradients(**dict(zip(names, each, strict=True))) for each in averages]
    recorded.check_finite(each.squared for each in found)
    return found


@torch.no_grad()
def input_means(network: Network, sample: Sample, *, batch_size: int = 8192) -> dict[str, Tensor]:
    """Return the mean of each input of every layer with weights, over jets, places and uses, float64 (n_in,)."""
    sums: dict[str, Tensor] = {}
    for jets in sample.batches(batch_size):
        for name, arriving in _run(network, jets.x)[1].items():
            mean = torch.cat([value.flatten(0, -2) for value in arriving]).double().mean(dim=0)
            sums[name] = sums.get(name, torch.zeros(())) + mean * len(jets) / len(sample)
    return sums


InputTensors = tuple[Tensor, ...]
_Arriving = dict[str, list[Tensor]]


def _run(
    network: Network, x: InputTensors, factors: Mapping[str, Tensor] = MappingProxyType({}), means: Means | None = None
) -> tuple[InputTensors, _Arriving]:
    """Return the raw outputs, and what arrives at each use of each layer with weights, a tensor of its own.

    Layers that have `factors` read those times the deviation of what arrives from its mean.
    """
    arriving: dict[str, list[Tensor]] = {}

    def rule(node: Node, *own: Tensor) -> Tensor:
        name = node.layer.name
        if node.layer.kernels:
            own = (own[0].view_as(own[0]),)  # its gradient is that of what this layer alone makes of the value
            if means and name in factors:
                mean = means[name].to(own[0].dtype)
                factor = factors[name].repeat(own[0].shape[-1] // len(factors[name]))
                own = (mean + factor * (own[0] - mean),)
            arriving.setdefault(name, []).append(own[0])
        return node.quantised(node.layer.compute(*own, quantised=True))

    values = network.interpret(rule, x, until=network.raw_outputs)
    return tuple(values[name] for name in network.raw_outputs), arriving


@dataclass(frozen=True)
class _Columns:
    """For the columns of one layer's weights: the target's derivative by m of every jet, (n_jets, n_columns).

    `size` and `nonzero` (n_columns,) are sums over jets of |x| and of the fraction of x that are not zero.
    """

    slope: Tensor
    size: Tensor
    nonzero: Tensor


def _columns(network: Network, target: Tensor, arriving: _Arriving, means: Means) -> dict[str, _Columns]:
    points = [(name, value) for name, uses in arriving.items() for value in uses if value.requires_grad]
    found = torch.autograd.grad(target, [value for _, value in points], materialize_grads=True, retain_graph=True)
    columns: dict[str, _Columns] = {}
    for (name, value), gradient in zip(points, found, strict=True):
        before = columns.get(name, _Columns(*[torch.zeros(())] * 3))
        deviation = value.detach() - means[name].to(value.dtype)
        parts = (deviation * gradient, value.detach().abs(), (value != 0).to(value.dtype))
        # sums over places (and groups), one for each column of the weights
        n_columns = network[name].state_dict()["weight"].shape[-1]
        slope, size, nonzero = (part.reshape(len(value), -1, n_columns).sum(dim=1) for part in parts)
        n_each, n_uses = value[0].numel() / slope.shape[1], len(arriving[name])
        sums = (slope, size.sum(dim=0) / n_each, nonzero.sum(dim=0) / (n_each * n_uses))
        columns[name] = _Columns(before.slope + sums[0], before.size + sums[1], before.nonzero + sums[2])
    return columns


def hessian(network: Network, groups: Sequence[Group], sample: Sample, *, batch_size: int = 512) -> list[Tensor]:
    """Return the mean over jets of d2L/dm2 for the units of every group, (n_units,): a product with H for each unit.

    Raises:
        DataError: there are no jets, or a derivative is not finite.
    """
    means, sums = input_means(network, sample), [torch.zeros(())] * len(groups)
    for jets in sample.batches(batch_size):
        for index, group in enumerate(groups):
            gate = jets.x[0].new_ones(len(group)).requires_grad_()
            loss = jets.loss(_run(network, jets.x, _factors(network, group, gate), means)[0], reduction="sum")
            sums[index] = sums[index] + diagonal(loss, gate)
    return _mean_curvatures(sums, len(sample))


def _factors(network: Network, group: Group, gate: Tensor) -> dict[str, Tensor]:
    """Return for each reader of a group what its units' gates m, (n_units,), multiply its columns by."""
    factors: dict[str, Tensor] = {}
    for member in group.of("read"):
        columns = torch.tensor(member.indices)
        before = factors.get(member.layer, gate.new_ones(network[member.layer].state_dict()["weight"].shape[-1]))
        factors[member.layer] = before.index_put((columns,), gate[:, None].expand(columns.shape))
    return factors


def gauss_newton(network: Network, groups: Sequence[Group], sample: Sample, *, batch_size: int = 2048) -> list[Tensor]:
    """Return the same for raw outputs that are linear in m: squared derivatives along the task's directions.

    Raises:
        DataError: there are no jets, or a derivative is not finite.
    """
    means, sums = input_means(network, sample), [torch.zeros(())] * len(groups)
    for jets in sample.batches(batch_size):
        raw, arriving = _run(network, jets.x)
        columns = [_columns(network, each.sum(), arriving, means) for each in jets.directions(raw)]
        for index, group in enumerate(groups):
            slopes = torch.stack([_slope(group, each) for each in columns])
            sums[index] = sums[index] + slopes.square().sum(dim=(0, 1))
    return _mean_curvatures(sums, len(sample))


@torch.no_grad()
def spreads(network: Network, groups: Sequence[Group], sample: Sample, *, batch_size: int = 2048) -> list[Tensor]:
    """Return max x - min x of all that is read of each unit of every group, the widest of its values, (n_units,).

    What a recurrent layer itself reads of its states counts too, from the zero that it starts with: a constant state
    feeds back, and only one that is always zero may leave without loss.

    Raises:
        DataError: there are no jets, or a value is not finite.
    """
    ends = [[torch.tensor(torch.inf), torch.tensor(-torch.inf)] for _ in groups]
    for jets in sample.batches(batch_size):
        seen, arriving = recorded.run(network, jets.x), _run(network, jets.x)[1]
        columns = {name: torch.cat([_places(network[name], use) for use in uses]) for name, uses in arriving.items()}
        for index, group in enumerate(groups):
            readers = [part for part in group.of("read") if part.layer in columns]
            read = [columns[part.layer][:, torch.tensor(part.indices)] for part in readers]
            for part in group.of("made"):
                if isinstance(cell := network[part.layer], Recurrent):
                    states = recurrences.reads(seen, cell)["recurrent_weight"][:, :, 0].flatten(0, 1)
                    read.append(states[:, torch.tensor(part.indices)])
            values = torch.cat(read)  # (n, n_units, values of a unit)
            low, high = ends[index]
            ends[index] = [torch.minimum(low, values.amin(dim=0)), torch.maximum(high, values.amax(dim=0))]
    found = [(high - low).amax(dim=-1) for low, high in ends]
    recorded.check_finite(found, "the output of a unit is")
    return found


def _mean_curvatures(sums: list[Tensor], n_jets: int) -> list[Tensor]:
    found = [total / n_jets for total in sums]
    recorded.check_finite(found, "second derivatives are")
    return found


def _places(layer: Layer, values: Tensor) -> Tensor:
    """Return values (n_jets, ..., n_in) by the column of the weights that reads them, (n, n_columns)."""
    return values.reshape(-1, layer.state_dict()["weight"].shape[-1])


def _terms(group: Group, derived: dict[str, _Columns]) -> list[Tensor]:
    """Return the sums over a batch of what `UnitGradients` holds."""
    slope, size, nonzero = _slope(group, derived), torch.zeros(()), torch.zeros(())
    readers = [member for member in group.of("read") if member.layer in derived]
    for member in readers:
        columns = torch.tensor(member.indices)
        size = size + derived[member.layer].size[columns].mean(dim=-1)
        nonzero = nonzero + derived[member.layer].nonzero[columns].mean(dim=-1) / len(readers)
    return [slope.sum(dim=0), slope.abs().sum(dim=0), slope.square().sum(dim=0), size, nonzero]


def _slope(group: Group, columns: dict[str, _Columns]) -> Tensor:
    """Return the target's derivative by the gate of each unit for each jet, (n_jets, n_units)."""
    members = [member for member in group.of("read") if member.layer in columns]
    parts = [columns[member.layer].slope[:, torch.tensor(member.indices)].sum(dim=-1) for member in members]
    return torch.stack(parts).sum(dim=0)
