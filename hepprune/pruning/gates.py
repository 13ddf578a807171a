"""Gates: what the loss does when units are heard a little less, whatever they are made of.

A gate m scales what a unit adds to the totals of all its readers, around its mean. For one jet dL/dm is the sum over
readers and places of (x - mean) (W^T dL/dtotal), at the unit's inputs: for heads the head mask of Michel et al.
(arXiv:1905.10650), for the states of a recurrent layer the mask of what leaves it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from hepprune.errors import DataError
from hepprune.network import Input, Layer, Network, Recurrent, Shared, Weighted
from hepprune.network import quantise as quantisers
from hepprune.pruning import taps
from hepprune.pruning.coupling import Group


@dataclass(frozen=True)
class Gates:
    """For the units of one group, (n_units,) each: means over jets of dL/dm, |dL/dm|, (dL/dm)^2 and |x|."""

    signed: Tensor
    absolute: Tensor
    squared: Tensor
    size: Tensor


def gather(network: Network, groups: Sequence[Group], x: Tensor, y: Tensor, *, batch_size: int = 2048) -> list[Gates]:
    """Return the gates of every group over jets x (n_jets, *shape) of classes y (n_jets,).

    Raises:
        DataError: there are no jets, or a gradient is not finite.
    """
    means = input_means(network, x)
    sums: list[list[Tensor]] = [[torch.zeros(())] * 4 for _ in groups]
    for jets, labels in taps.batches(x, y, batch_size):
        heard = _heard(network, jets, labels, means)
        for index, group in enumerate(groups):
            sums[index] = [total + term for total, term in zip(sums[index], _terms(group, heard), strict=True)]
    found = [Gates(*(total / len(x) for total in totals)) for totals in sums]
    if not all(bool(torch.isfinite(gates.squared).all()) for gates in found):
        raise DataError("gradients are not finite; the network or its features hold NaN or infinite values")
    return found


@torch.no_grad()
def input_means(network: Network, x: Tensor, *, batch_size: int = 8192) -> dict[str, Tensor]:
    """Return the mean of each input of every layer with weights, over jets, places and uses, float64 (n_in,)."""
    sums: dict[str, Tensor] = {}
    for jets, _ in taps.batches(x, x, batch_size):
        for name, arriving in _run(network, jets)[1].items():
            mean = torch.cat([value.flatten(0, -2) for value in arriving]).double().mean(dim=0)
            sums[name] = sums.get(name, torch.zeros(())) + mean * len(jets) / len(x)
    return sums


def _run(network: Network, jets: Tensor) -> tuple[Tensor, dict[str, list[Tensor]]]:
    """Return the logits, and what arrives at all uses of each layer with weights, for each use a tensor of its own."""
    values: dict[str, Tensor] = {}
    arriving: dict[str, list[Tensor]] = {}
    for node in network:
        own = [jets] if isinstance(node, Input) else [values[name] for name in network.sources[node.name]]
        layer = network.runs(node)
        if isinstance(layer, Weighted | Recurrent):
            own = [own[0].view_as(own[0])]  # its gradient is that of what this layer alone makes of the value
            arriving.setdefault(layer.name, []).append(own[0])
        value = layer(*own, quantised=True)
        again = node.result if isinstance(node, Shared) else None
        values[node.name] = quantisers.activations(value, again) if again else value
        if node.name == network.logits_name:
            break
    return values[network.logits_name], arriving


@dataclass(frozen=True)
class _Heard:
    """For the columns of one layer's weights: dL/dm of every jet, (n_jets, n_columns), and the sum over jets of |x|."""

    slope: Tensor
    size: Tensor


def _heard(network: Network, jets: Tensor, labels: Tensor, means: dict[str, Tensor]) -> dict[str, _Heard]:
    logits, arriving = _run(network, jets)
    loss = nn.functional.cross_entropy(logits, labels, reduction="sum")
    points = [(name, value) for name, uses in arriving.items() for value in uses if value.requires_grad]
    found = torch.autograd.grad(loss, [value for _, value in points], materialize_grads=True)
    columns: dict[str, _Heard] = {}
    for (name, value), gradient in zip(points, found, strict=True):
        moved = (value.detach() - means[name].to(value.dtype)) * gradient
        slope, size = (_by_column(network[name], part) for part in (moved, value.detach().abs()))
        each = size.sum(dim=0) / (value[0].numel() / slope.shape[1])
        before = columns.get(name, _Heard(torch.zeros(()), torch.zeros(())))
        columns[name] = _Heard(before.slope + slope, before.size + each)
    return columns


def _by_column(layer: Layer, values: Tensor) -> Tensor:
    """Return sums over places (and groups) of values (n_jets, ..., n_in), one for each column of the weights."""
    n_columns = layer.state_dict()["weight"].shape[-1]
    return values.reshape(len(values), -1, n_columns).sum(dim=1)


def _terms(group: Group, heard: dict[str, _Heard]) -> list[Tensor]:
    """Return the sums over a batch of what `Gates` holds."""
    slope, size = torch.zeros(()), torch.zeros(())
    for member in group.of("read"):
        if member.layer in heard:
            columns = torch.tensor(member.indices)
            slope = slope + heard[member.layer].slope[:, columns].sum(dim=-1)
            size = size + heard[member.layer].size[columns].mean(dim=-1)
    return [slope.sum(dim=0), slope.abs().sum(dim=0), slope.square().sum(dim=0), size]
