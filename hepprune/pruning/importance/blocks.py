"""Criteria that score whole blocks of layers."""

from torch import Tensor

from hepprune.network import Kernel
from hepprune.pruning.importance.registry import BLOCKS, criterion
from hepprune.pruning.structure import blocks


@criterion(granularities=BLOCKS, gathers=blocks.loss_changes)
def loss_change(kernel: Kernel, granularity: str, gathered: Tensor) -> Tensor:
    """Return by how much the cross-entropy in nats rises when the block that ends in this layer leaves, measured."""
    del kernel, granularity
    return gathered
