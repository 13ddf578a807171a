"""Branches as a search cuts them: what leads from a value to the sum that it is added to itself, cut as a whole.

Without weights a branch is a constant, and the sum what goes around it. Its layers stay in the network, so that the
model can be written back as the file it came from; what they held is gone, tables and products of two values too.
"""

from dataclasses import dataclass

import torch

from hepprune.network import Kernel, Network
from hepprune.pruning.importance import Criterion
from hepprune.pruning.masks import Cut, Plan
from hepprune.pruning.statistics import Statistics
from hepprune.pruning.structure import blocks
from hepprune.pruning.structure.blocks import Block

BLOCK = "block"


@dataclass(frozen=True, eq=False)
class Branch:
    """The kernels of one residual branch; curves and trust know it by the sum that it ends in."""

    name: str
    kernels: tuple[Kernel, ...]

    @property
    def cuts(self) -> Plan:
        """The cuts of all its weights."""
        return tuple(Cut(kernel.name, "weight", _acting(kernel)) for kernel in self.kernels if _acting(kernel))

    def score(self, statistics: Statistics, criterion: Criterion) -> float:
        """Return the predicted increase of the loss, or what the criterion says, of all its weights together."""
        each = [(kernel, criterion(kernel, "weight", statistics.get(kernel.name))) for kernel in self.kernels]
        return sum(float(scores[list(_acting(kernel))].sum()) for kernel, scores in each)


def find(network: Network) -> list[Branch]:
    """Return the residual branches at any depth that weights of their own move, and none of another place."""
    used = network.preceding(network.raw_outputs)
    residual = [block for block in blocks.residual(network) if block.end in used]
    found = [Branch(block.end, _kernels(network, block)) for block in residual if _is_alone(network, block)]
    return [branch for branch in found if branch.cuts]


def _kernels(network: Network, block: Block) -> tuple[Kernel, ...]:
    return tuple(kernel for name in block.layers for kernel in network[name].kernels)


def _is_alone(network: Network, block: Block) -> bool:
    return all(network.runs(network[name]).name in block.layers for name in block.layers)


def _acting(kernel: Kernel) -> tuple[int, ...]:
    return tuple(torch.nonzero(kernel.digit_limit.flatten() > 0).flatten().tolist())
