"""The k largest of several: comparisons of every two, and how many of them each has won."""

import itertools

import torch

from hepprune.fixed import FixedPoint
from hepprune.network.graph import Network
from hepprune.network.layers import Activation, BatchNorm, Dense, Merge, Shape, TopK
from hepprune.network.parts.building import INPUT, Building

_SIGN = FixedPoint(2, 2)
_HALVES = FixedPoint(2, 1)  # of what is counted in halves: 1/2 and -1/2


def top(layer: TopK, shape: Shape) -> Network:
    """Return the comparisons, each 1 where the first is not below the second, their counts and the gates they make."""
    pairs = list(itertools.combinations(range(shape[-1]), 2))
    differences = torch.zeros(len(pairs), shape[-1], dtype=torch.float64)
    for number, (first, second) in enumerate(pairs):
        differences[number, first], differences[number, second] = 1.0, -1.0
    steps = Building(shape)
    if pairs:
        steps.add(_dense("difference", differences, 0.0, _SIGN))
        steps.add(Activation("first", "binary_tanh", result=_SIGN))
        steps.add(_dense("ahead", differences.T / 2, layer.k - 1 - (shape[-1] - 1) / 2, _HALVES))
        steps.add(Activation("passes", "binary_tanh", result=_SIGN))
        half = torch.full((1,), 0.5, dtype=torch.float64)
        steps.add(BatchNorm("gate", half, half, scale_type=_HALVES, shift_type=_HALVES))
        steps.add(Merge("top", "multiply"), INPUT, "gate")
    else:
        steps.add(Activation("top", "linear"))
    return steps.network()


def _dense(name: str, weight: torch.Tensor, bias: float, kind: FixedPoint) -> Dense:
    """Return a matrix with the same bias in every row, a multiple of 1/2."""
    biases = torch.full((len(weight),), bias, dtype=torch.float64)
    return Dense(name, weight, biases, weight_type=kind, bias_type=FixedPoint(32, 31))
