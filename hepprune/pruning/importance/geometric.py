"""Criteria that compare the neurons of a layer with each other."""

import torch
from torch import Tensor

from hepprune.network import Kernel
from hepprune.pruning.importance.registry import NEURONS, criterion


@criterion(granularities=NEURONS)
def geometric_median(kernel: Kernel, granularity: str, _: None) -> Tensor:
    """Return sum over j of ||w_i - w_j||_2 per neuron or filter: low near the geometric median.

    Those near it say what others say too (He et al., arXiv:1811.00250).
    """
    del granularity
    weight = kernel.rows()
    return torch.cdist(weight, weight, compute_mode="donot_use_mm_for_euclid_dist").sum(dim=1)
