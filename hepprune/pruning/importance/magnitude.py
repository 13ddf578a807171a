"""Criteria that look at the weights alone: how large they are, and the control that looks at nothing."""

import zlib

import numpy as np
import torch
from torch import Tensor

from hepprune.fixed import FixedPoint
from hepprune.network import Weighted
from hepprune.network.quantise import weight_integers
from hepprune.pruning import masks
from hepprune.pruning.importance.registry import NEURONS, WEIGHTS, criterion


@criterion(granularities=(*NEURONS, *WEIGHTS), norm=True)
def magnitude(layer: Weighted, granularity: str, _: None) -> Tensor:
    """Return the size of what a cut takes away, per unit: |w|, the change of a digit, a neuron's or group's l2 norm.

    Han et al., arXiv:1506.02626.
    """
    if granularity == "neuron":
        return layer.used_weight().flatten(1).square().sum(dim=1).sqrt()
    return weight_change(layer, granularity).abs()


@criterion(granularities=(*NEURONS, *WEIGHTS))
def magnitude_l1(layer: Weighted, granularity: str, _: None) -> Tensor:
    """Return the size of what a cut takes away, per unit: |w|, a neuron's or group's sum of |w|.

    Li et al., arXiv:1608.08710.
    """
    if granularity == "neuron":
        return layer.used_weight().flatten(1).abs().sum(dim=1)
    return weight_change(layer, granularity).abs()


@criterion(granularities=(*NEURONS, *WEIGHTS), seeded=True)
def random(layer: Weighted, granularity: str, seed: int) -> Tensor:
    """Return uniform random numbers, others for each layer and seed: the control that every criterion must beat."""
    size = layer.n_out if granularity == "neuron" else layer.weight.numel()
    return torch.as_tensor(np.random.default_rng([seed, zlib.crc32(layer.name.encode())]).random(size))


@torch.no_grad()
def weight_change(layer: Weighted, granularity: str) -> Tensor:
    """Return by how much each weight changes when it is removed, or made one signed digit shorter; like the weight."""
    before = layer.used_weight()
    if granularity == "weight" or not isinstance(layer.weight_type, FixedPoint):
        return before
    shorter = (masks.digit_counts(layer) - 1).clamp(min=0).to(layer.digit_limit.dtype)
    return before - weight_integers(layer.weight, layer.weight_type, shorter) * layer.weight_type.step
