"""Criteria that watch a layer at work: how large its activations are, how often zero, whether they ever change."""

from torch import Tensor

from hepprune.network import Kernel
from hepprune.pruning.importance.registry import BLOCKS, NEURONS, criterion
from hepprune.pruning.statistics import activity
from hepprune.pruning.statistics.activity import Activity
from hepprune.pruning.structure import blocks


@criterion(granularities=NEURONS, gathers=activity.gather)
def mean_activation(_kernel: Kernel, _granularity: str, gathered: Activity) -> Tensor:
    """Return mean |a| of each neuron's or filter's output, over jets and places (arXiv:1611.06440)."""
    return gathered.mean_size


@criterion(granularities=NEURONS, gathers=activity.gather)
def nonzero_activation(_kernel: Kernel, _granularity: str, gathered: Activity) -> Tensor:
    """Return 1 - the fraction of zeros of each neuron's or filter's output (APoZ, Hu et al., arXiv:1607.03250)."""
    return 1 - gathered.zeros


@criterion(granularities=("weight",), gathers=activity.gather)
def wanda(kernel: Kernel, _granularity: str, gathered: Activity) -> Tensor:
    """Return |w| sqrt(E[x^2]) per weight, x what it multiplies (Sun et al., arXiv:2306.11695)."""
    return kernel.used().abs() * gathered.arriving


@criterion(granularities=NEURONS, gathers=activity.gather)
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
