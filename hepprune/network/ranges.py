"""Exact value ranges by interval arithmetic: which accumulator each layer needs so that nothing is lost."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from hepprune.errors import NetworkError
from hepprune.fixed import FixedPoint
from hepprune.network.graph import Network
from hepprune.network.layers import Dense, Input, Layer, ReLU


@dataclass(frozen=True)
class Interval:
    """What each value of a layer can be: low and high (n_out,), multiples of 2**-fraction."""

    low: NDArray[np.float64]
    high: NDArray[np.float64]
    fraction: int

    def covering(self) -> FixedPoint:
        """Return the narrowest type that holds every value of the layer."""
        return FixedPoint.covering(float(self.low.min()), float(self.high.max()), fraction=self.fraction)


@torch.no_grad()
def intervals(network: Network) -> dict[str, tuple[Interval, Interval]]:
    """Return, for each layer before any head, the ranges of its value before and after its result quantiser.

    Raises:
        NetworkError: a layer lacks a fixed-point type or cannot run in fixed point.
    """
    found: dict[str, tuple[Interval, Interval]] = {}
    for layer in network:
        if layer.is_head:
            break
        arriving = None if isinstance(layer, Input) else found[network.sources[layer.name]][1]
        before = _compute(layer, arriving)
        found[layer.name] = before, _quantise(before, layer.result)
    return found


def accumulators(network: Network) -> dict[str, FixedPoint]:
    """Return, for each layer before any head, the type that holds its value before the result quantiser.

    Raises:
        NetworkError: a layer lacks a fixed-point type, or accumulates more bits than are computed exactly.
    """
    return {name: _covering(name, before) for name, (before, _) in intervals(network).items()}


def _covering(name: str, interval: Interval) -> FixedPoint:
    try:
        return interval.covering()
    except NetworkError as problem:
        raise NetworkError(f"layer '{name}' accumulates more bits than are computed exactly: {problem}") from problem


def _compute(layer: Layer, arriving: Interval | None) -> Interval:
    if isinstance(layer, Input):
        if layer.result is None:
            raise NetworkError(f"input '{layer.name}' has no fixed-point type")
        return _full(layer.result, layer.n_features)
    if arriving is None:
        raise NetworkError(f"layer '{layer.name}' has no source")
    if isinstance(layer, Dense):
        return _dense(layer, arriving)
    if isinstance(layer, ReLU):
        return Interval(np.maximum(arriving.low, 0), np.maximum(arriving.high, 0), arriving.fraction)
    raise NetworkError(f"layer '{layer.name}' ({type(layer).__name__}) has no fixed-point form; fold it first")


def _full(kind: FixedPoint, n_values: int) -> Interval:
    return Interval(np.full(n_values, kind.minimum), np.full(n_values, kind.maximum), kind.fraction)


def _dense(layer: Dense, arriving: Interval) -> Interval:
    if layer.weight_type is None or layer.bias_type is None:
        raise NetworkError(f"layer '{layer.name}' has no fixed-point types for its weights and biases")
    weight = layer.used_weight().double().cpu().numpy()
    bias = layer.used_bias().double().cpu().numpy()
    positive, negative = np.maximum(weight, 0), np.minimum(weight, 0)
    low = positive @ arriving.low + negative @ arriving.high + bias
    high = positive @ arriving.high + negative @ arriving.low + bias
    fraction = max(layer.weight_type.fraction + arriving.fraction, layer.bias_type.fraction)
    return Interval(low, high, fraction)


def _quantise(before: Interval, kind: FixedPoint | None) -> Interval:
    """Return the range after a quantiser: the type's own, unless the value always fits it."""
    if kind is None:
        return before
    inside = (before.low >= kind.minimum) & (before.high <= kind.maximum)
    low = np.where(inside, kind(before.low), kind.minimum)
    high = np.where(inside, kind(before.high), kind.maximum)
    return Interval(low, high, kind.fraction)
