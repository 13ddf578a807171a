"""Criteria: how much each unit of a layer matters, so that the least important goes first.

A criterion is a function of a dense layer, a granularity and the layer's statistics; a new one is one decorated
function.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from hepprune.errors import NetworkError, unknown
from hepprune.fixed import FixedPoint
from hepprune.network import Dense
from hepprune.network.quantise import weight_integers
from hepprune.pruning import masks
from hepprune.pruning.statistics import LayerStatistics

Criterion = Callable[[Dense, str, LayerStatistics | None], Tensor]
CRITERIA: dict[str, Criterion] = {}


def criterion(function: Criterion) -> Criterion:
    """Register a criterion under its own name."""
    CRITERIA[function.__name__] = function
    return function


def find(name: str) -> Criterion:
    """Return the criterion of that name."""
    if name not in CRITERIA:
        raise NetworkError(unknown("criterion", name, CRITERIA))
    return CRITERIA[name]


@criterion
@torch.no_grad()
def magnitude(layer: Dense, granularity: str, statistics: LayerStatistics | None = None) -> Tensor:
    """Return the size of what a cut takes away, per unit: |w|, the change of a digit, a neuron's l2 norm."""
    del statistics
    if granularity == "neuron":
        return layer.used_weight().square().sum(dim=1).sqrt()
    return weight_change(layer, granularity).abs().flatten()


@criterion
@torch.no_grad()
def fisher(layer: Dense, granularity: str, statistics: LayerStatistics | None = None) -> Tensor:
    """Return the predicted increase of the loss in nats, per unit: half the curvature times the squared change.

    The curvature is the empirical Fisher diagonal (Optimal Brain Damage, LeCun, Denker and Solla 1990, with the Fisher
    in place of the Hessian; Theis et al., arXiv:1801.05787). A neuron's change is its activation less its mean,
    because the mean stays behind as a constant.
    """
    if statistics is None:
        raise NetworkError("the criterion 'fisher' needs jets to gather its statistics from")
    if granularity == "neuron":
        return statistics.neuron_fisher / 2
    change = weight_change(layer, granularity)
    return (statistics.weight_fisher * change**2 / 2).flatten()


@torch.no_grad()
def weight_change(layer: Dense, granularity: str) -> Tensor:
    """Return by how much each weight (n_out, n_in) changes when it is removed, or made one signed digit shorter."""
    before = layer.used_weight()
    if granularity == "weight" or not isinstance(layer.weight_type, FixedPoint):
        return before
    shorter = (masks.digit_counts(layer) - 1).clamp(min=0).to(layer.digit_limit.dtype)
    return before - weight_integers(layer.weight, layer.weight_type, shorter) * layer.weight_type.step
