"""What one jet costs, in multiplications: counted, so that it holds on any hardware that skips what is not needed."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from hepprune.network import Network, Weighted

# What training adds to its loss, from the value of every layer and the targets.
Penalty = Callable[[Mapping[str, Tensor], Tensor], Tensor]


@dataclass(frozen=True)
class Work:
    """Multiplications per jet: the mean over jets, the most that any of them took, and the most that any can take."""

    mean: float
    largest: float
    worst_case: float


@torch.no_grad()
def multiplications(network: Network) -> dict[str, int]:
    """Return by layer the multiplications of one jet by weights that act; a kernel acts at each of its places."""
    return {
        node.name: int(torch.count_nonzero(layer.used_weight())) * math.prod(network.shapes[node.name][:-1])
        for node in network
        if isinstance(layer := network.runs(node), Weighted)
    }
