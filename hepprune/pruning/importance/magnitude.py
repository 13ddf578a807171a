"""Criteria that look at the weights alone: their size, how alike neurons are, and the control that looks at nothing."""

import zlib

import numpy as np
import torch
from torch import Tensor

from hepprune.fixed import FixedPoint
from hepprune.fixed.quantisers import FixedPoints
from hepprune.network import Kernel
from hepprune.network.quantise import weights
from hepprune.pruning.importance.registry import NEURONS, WEIGHTS, criterion


@criterion(granularities=(*NEURONS, *WEIGHTS), norm=True)
def magnitude(kernel: Kernel, granularity: str, _: None) -> Tensor:
    """Return the size of what a cut takes away, per unit: |w|, the change of a digit, a neuron's or group's l2 norm.

    Han et al., arXiv:1506.02626.
    """
    if granularity == "neuron":
        return kernel.rows().square().sum(dim=1).sqrt()
    return weight_change(kernel, granularity).abs()


@criterion(granularities=(*NEURONS, *WEIGHTS))
def magnitude_l1(kernel: Kernel, granularity: str, _: None) -> Tensor:
    """Return the size of what a cut takes away, per unit: |w|, a neuron's or group's sum of |w|.

    Li et al., arXiv:1608.08710.
    """
    if granularity == "neuron":
        return kernel.rows().abs().sum(dim=1)
    return weight_change(kernel, granularity).abs()


@criterion(granularities=(*NEURONS, *WEIGHTS), seeded=True)
def random(kernel: Kernel, granularity: str, seed: int) -> Tensor:
    """Return uniform random numbers, others for each layer and seed: the control that every criterion must beat."""
    size = kernel.n_rows if granularity == "neuron" else kernel.weight.numel()
    return torch.as_tensor(np.random.default_rng([seed, zlib.crc32(kernel.name.encode())]).random(size))


@torch.no_grad()
def weight_change(kernel: Kernel, granularity: str) -> Tensor:
    """Return by how much each weight changes when it is removed, or made one signed digit shorter; like the weight."""
    before = kernel.used()
    if granularity == "weight" or not isinstance(kernel.type, FixedPoint | FixedPoints):
        return before
    shorter = (kernel.digit_counts() - 1).clamp(min=0).to(kernel.digit_limit.dtype)
    return before - weights(kernel.weight, kernel.type, shorter)


@criterion(granularities=NEURONS)
def geometric_median(kernel: Kernel, _granularity: str, _: None) -> Tensor:
    """Return sum over j of ||w_i - w_j||_2 per neuron or filter: low near the geometric median.

    Those near it say what others say too (He et al., arXiv:1811.00250).
    """
    weight = kernel.rows()
    return torch.cdist(weight, weight, compute_mode="donot_use_mm_for_euclid_dist").sum(dim=1)
