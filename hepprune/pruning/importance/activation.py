"""Criteria that watch a layer at work, without a gradient: how large its outputs are, how often zero, or constant."""

from dataclasses import dataclass, fields

import torch
from torch import Tensor

from hepprune.network import Kernel, Network, Recurrent, Weighted
from hepprune.network.layers.recurrent import KERNELS
from hepprune.pruning.importance.registry import BLOCKS, NEURONS, criterion
from hepprune.pruning.statistics import recorded, recurrences
from hepprune.pruning.statistics.recorded import Recorded
from hepprune.pruning.structure import blocks
from hepprune.task.sample import Sample


@dataclass(frozen=True, kw_only=True)
class Activity:
    """For one layer, over jets and places: range, mean size and fraction of zeros of the outputs of neurons.

    Each is (n_out,). `arriving` is the root mean square of what each weight multiplies, shaped like the weights. The
    rows of a recurrent layer's kernel are not neurons: of those there is `arriving` alone, over jets and steps.
    """

    low: Tensor
    high: Tensor
    mean_size: Tensor
    zeros: Tensor
    arriving: Tensor


@torch.no_grad()
def gather(network: Network, sample: Sample, *, batch_size: int = 8192) -> dict[str, Activity]:
    """Return the activity of every kernel by its name, over the jets of a sample; targets are not needed.

    Raises:
        DataError: there are no jets, or a value is not finite.
    """
    found: dict[str, list[Activity]] = {}
    for jets in sample.batches(batch_size):
        seen, share = recorded.run(network, jets.x), len(jets) / len(sample)
        for layer in recorded.contributing(network):
            if isinstance(layer, Weighted) and not layer.fixed:
                found.setdefault(layer.name, []).append(_of_layer(seen, layer, share))
            elif isinstance(layer, Recurrent):
                for kind, own in zip(KERNELS, _of_cell(seen, layer, share), strict=True):
                    found.setdefault(f"{layer.name}.{kind}", []).append(own)
    return {name: _joined(parts) for name, parts in found.items()}


def _of_layer(seen: Recorded, layer: Weighted, share: float) -> Activity:
    activations, arriving = recorded.rows(seen.activations(layer)).flatten(0, 2), seen.arriving(layer)
    recorded.check_finite([activations], f"the output of layer '{layer.name}' is")
    zeros = (activations == 0).to(activations.dtype).mean(dim=0)
    return Activity(
        low=activations.amin(dim=0),
        high=activations.amax(dim=0),
        mean_size=activations.abs().mean(dim=0) * share,
        zeros=zeros * share,
        arriving=_squares(arriving, layer.weight) * share,
    )


def _of_cell(seen: Recorded, cell: Recurrent, share: float) -> list[Activity]:
    arriving, kernels, none = recurrences.reads(seen, cell), (cell.weight, cell.recurrent_weight), torch.zeros(0)
    recorded.check_finite(arriving.values(), f"what reaches layer '{cell.name}' is")
    squares = [_squares(arriving[kind], kernel) for kind, kernel in zip(KERNELS, kernels, strict=True)]
    return [Activity(low=none, high=none, mean_size=none, zeros=none, arriving=square * share) for square in squares]


def _squares(arriving: Tensor, weight: Tensor) -> Tensor:
    """Return the mean square of what each weight multiplies, like the weights, of (n_jets, n_places, groups, ...)."""
    mean = arriving.square().mean(dim=(0, 1))[:, None]
    return mean.expand(-1, len(weight) // len(mean), -1).reshape(weight.shape)


def _joined(parts: list[Activity]) -> Activity:
    each = {field.name: torch.stack([getattr(part, field.name) for part in parts]) for field in fields(Activity)}
    low, high, arriving = each["low"].amin(dim=0), each["high"].amax(dim=0), each["arriving"].sum(dim=0).sqrt()
    mean_size, zeros = each["mean_size"].sum(dim=0), each["zeros"].sum(dim=0)
    return Activity(low=low, high=high, mean_size=mean_size, zeros=zeros, arriving=arriving)


@criterion(granularities=NEURONS, gathers=gather)
def mean_activation(_kernel: Kernel, _granularity: str, gathered: Activity) -> Tensor:
    """Return mean |a| of each neuron's or filter's output, over jets and places (arXiv:1611.06440)."""
    return gathered.mean_size


@criterion(granularities=NEURONS, gathers=gather)
def nonzero_activation(_kernel: Kernel, _granularity: str, gathered: Activity) -> Tensor:
    """Return 1 - the fraction of zeros of each neuron's or filter's output (APoZ, Hu et al., arXiv:1607.03250)."""
    return 1 - gathered.zeros


@criterion(granularities=("weight",), gathers=gather)
def wanda(kernel: Kernel, _granularity: str, gathered: Activity) -> Tensor:
    """Return |w| sqrt(E[x^2]) per weight, x what it multiplies (Sun et al., arXiv:2306.11695)."""
    return kernel.used().abs() * gathered.arriving


@criterion(granularities=NEURONS, gathers=gather)
def dead(_kernel: Kernel, _granularity: str, gathered: Activity) -> Tensor:
    """Return max a - min a of each neuron's or filter's output: 0 where it is constant on all jets.

    Constant neurons, those whose weights quantise to zero among them, go without loss on these jets; `surgery.shrink`
    removes those that are constant on every possible input.
    """
    return gathered.high - gathered.low


@criterion(granularities=BLOCKS, gathers=blocks.loss_changes)
def loss_change(_kernel: Kernel, _granularity: str, gathered: Tensor) -> Tensor:
    """Return by how much the cross-entropy in nats rises when the block that ends in this layer leaves, measured."""
    return gathered
