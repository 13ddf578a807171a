"""Exact value ranges by interval arithmetic: which accumulator each layer needs so that nothing is lost."""

import functools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hepprune.errors import NetworkError
from hepprune.fixed import FixedPoint, Quantiser
from hepprune.network.graph import Network
from hepprune.network.layers import (
    Activation,
    BatchNorm,
    Concatenate,
    Crop,
    Einsum,
    GlobalPool,
    Input,
    Layer,
    Merge,
    Pad,
    Permute,
    Pool,
    ReLU,
    Reshape,
    Shape,
    Slice,
    Softmax,
    TopK,
    UpSample,
    Weighted,
)
from hepprune.network.layers.activation import MONOTONE
from hepprune.network.node import Node
from hepprune.network.rules import Rules

Floats = NDArray[np.float64]
_ANYTHING = 2.0**100


@dataclass(frozen=True)
class Interval:
    """What each value of a layer can be: low and high, of the layer's shape, multiples of 2**-fraction."""

    low: Floats
    high: Floats
    fraction: int

    def covering(self) -> FixedPoint:
        """Return the narrowest type that holds every value of the layer."""
        return FixedPoint.covering(float(self.low.min()), float(self.high.max()), fraction=self.fraction)


@torch.no_grad()
def intervals(
    network: Network, *, given: Mapping[str, FixedPoint] | None = None, open_ended: bool = False
) -> dict[str, tuple[Interval, Interval]]:
    """Return, for each layer but the heads, the ranges of its value before and after its result quantiser.

    A node that a type is `given` for can be all that the type holds, whatever comes in. With `open_ended` a layer that
    computes in float can be anything, and ranges begin at the first quantiser after it.

    Raises:
        NetworkError: a layer lacks a fixed-point type or cannot run in fixed point.
    """
    double = network.clone().double()
    body, types = {layer.name for layer in double.body}, given or {}

    def rule(node: Node, *arriving: tuple[Interval, Interval]) -> tuple[Interval, Interval]:
        if node.name in types:
            return (held := _all_of(types[node.name], node.shape)), held
        own = [after for _, after in arriving]
        before = _before(node, own, open_ended=open_ended) if node.name in body else _anything(node)
        return before, functools.reduce(quantise, node.results, before)

    return {name: pair for name, pair in double.interpret(rule).items() if name in body}


def _before(node: Node, arriving: list[Interval], *, open_ended: bool) -> Interval:
    try:
        return RANGES.find(node.layer)(node.layer, *arriving)
    except NetworkError:
        if not open_ended:
            raise
        return _anything(node)


def accumulators(network: Network, given: Mapping[str, FixedPoint] | None = None) -> dict[str, FixedPoint]:
    """Return, for each layer but the heads, the type that holds its value before the result quantiser.

    That of a node may be `given`: then it can be all that the type holds.

    Raises:
        NetworkError: a layer lacks a fixed-point type, or accumulates more bits than are computed exactly.
    """
    return {name: _covering(name, before) for name, (before, _) in intervals(network, given=given).items()}


def _covering(name: str, interval: Interval) -> FixedPoint:
    try:
        return interval.covering()
    except NetworkError as problem:
        raise NetworkError(f"layer '{name}' accumulates more bits than are computed exactly: {problem}") from problem


def quantise(before: Interval, kind: Quantiser | None) -> Interval:
    """Return the range after a quantiser: the type's own, unless the value always fits it."""
    if kind is None:
        return before
    inside = (before.low >= kind.minimum) & (before.high <= kind.maximum)
    low = np.where(inside, kind(before.low), kind.minimum)
    return Interval(low, np.where(inside, kind(before.high), kind.maximum), kind.fraction)


def _anything(node: Node) -> Interval:
    """Return the range of a layer in float: anything, but for outputs without a weight, which are their bias."""
    layer, low, high = node.layer, np.full(node.shape, -_ANYTHING), np.full(node.shape, _ANYTHING)
    if isinstance(layer, Weighted):
        silent = (layer.used_weight() == 0).flatten(1).all(dim=1).numpy()
        bias = layer.used_bias().numpy()
        low, high = np.where(silent, bias, low), np.where(silent, bias, high)
    return Interval(low, high, 0)


def port(layer: Input) -> Interval:
    """Return the range of the features as the firmware receives them."""
    kind = layer.result
    if kind is None:
        raise NetworkError(f"input '{layer.name}' has no fixed-point type")
    return _all_of(kind, layer.features_shape)


def _all_of(kind: Quantiser, shape: Shape) -> Interval:
    low, high = (np.broadcast_to(np.float64(end), shape).copy() for end in (kind.minimum, kind.maximum))
    return Interval(low, high, kind.fraction)


def _run(run: Callable[..., Tensor], *values: Floats) -> Floats:
    """Return what a layer computes of one jet's values."""
    arrays = (torch.as_tensor(np.ascontiguousarray(value), dtype=torch.float64)[None] for value in values)
    return run(*arrays)[0].numpy()


def _weighted(layer: Weighted, arriving: Interval) -> Interval:
    if layer.weight_type is None or layer.bias_type is None:
        raise NetworkError(f"layer '{layer.name}' has no fixed-point types for its weights and biases")
    weight = layer.used_weight()
    positive, negative = weight.clamp(min=0), weight.clamp(max=0)
    bias, none = layer.used_bias(), torch.zeros_like(layer.bias)
    low = _run(
        lambda x, y: layer.linear(x, positive, bias) + layer.linear(y, negative, none), arriving.low, arriving.high
    )
    high = _run(
        lambda x, y: layer.linear(x, positive, bias) + layer.linear(y, negative, none), arriving.high, arriving.low
    )
    return Interval(low, high, max(layer.weight_type.fraction + arriving.fraction, layer.bias_type.fraction))


def _batch_norm(layer: BatchNorm, arriving: Interval) -> Interval:
    if layer.scale_type is None or layer.shift_type is None:
        raise NetworkError(f"layer '{layer.name}' ({type(layer).__name__}) has no fixed-point form; fold it first")
    ends = [_run(lambda x: layer.compute(x, quantised=True), end) for end in (arriving.low, arriving.high)]
    fraction = max(layer.scale_type.fraction + arriving.fraction, layer.shift_type.fraction)
    return Interval(np.minimum(*ends), np.maximum(*ends), fraction)


def _monotone(layer: Layer, *arriving: Interval) -> Interval:
    """Return the range of a layer whose value never falls while its arguments rise, on the grid of its arguments."""
    low, high = (
        _run(lambda *x: layer.compute(*x, quantised=True), *(getattr(i, end) for i in arriving))
        for end in ("low", "high")
    )
    return Interval(low, high, max(interval.fraction for interval in arriving))


def _top(layer: TopK, arriving: Interval) -> Interval:
    """Return the range of channels that may be let through or not; where all are, as they are."""
    if layer.k == arriving.low.shape[-1]:
        return arriving
    return Interval(np.minimum(arriving.low, 0), np.maximum(arriving.high, 0), arriving.fraction)


def _table(layer: Layer, arriving: Interval) -> Interval:
    """Return the range of a function that hardware looks up, which needs a result type to have a grid."""
    if isinstance(layer, Activation) and layer.function == "linear":
        return _monotone(layer, arriving)
    if layer.result is None or (isinstance(layer, Activation) and layer.function not in MONOTONE):
        raise NetworkError(
            f"layer '{layer.name}' ({type(layer).__name__}) has no fixed-point form without a result type"
        )
    found = _monotone(layer, arriving)
    return Interval(*_outward(found.low, found.high, layer.result.fraction + 1), layer.result.fraction + 1)


def _softmax(layer: Softmax, arriving: Interval) -> Interval:
    if layer.result is None:
        raise NetworkError(f"layer '{layer.name}' (Softmax) has no fixed-point form without a result type")
    return Interval(np.zeros_like(arriving.low), np.ones_like(arriving.low), layer.result.fraction + 1)


def _mean(layer: Pool | GlobalPool, arriving: Interval) -> Interval:
    """Return the range of a pooling: exact for a maximum, and for a mean over a power of two."""
    if layer.kind == "max":
        return _monotone(layer, arriving)
    window = math.prod(layer.size) if isinstance(layer, Pool) else math.prod(arriving.low.shape[:-1])
    padded = isinstance(layer, Pool) and any(p for pair in layer.padding for p in pair)
    if window & (window - 1) or padded:
        return _table(layer, arriving)
    found = _monotone(layer, arriving)
    return Interval(found.low, found.high, arriving.fraction + window.bit_length() - 1)


def _merge(layer: Merge, *arriving: Interval) -> Interval:
    if layer.operation == "average" and len(arriving) & (len(arriving) - 1):
        return _table(layer, _monotone(layer, *arriving)) if layer.result else _refused(layer)
    if layer.operation == "multiply":
        return functools.reduce(_product, arriving)
    if layer.operation == "subtract":
        left, right = arriving
        return Interval(left.low - right.high, left.high - right.low, max(left.fraction, right.fraction))
    found = _monotone(layer, *arriving)
    more = len(arriving).bit_length() - 1 if layer.operation == "average" else 0
    return Interval(found.low, found.high, found.fraction + more)


def _refused(layer: Layer) -> Interval:
    raise NetworkError(f"layer '{layer.name}' ({type(layer).__name__}) has no fixed-point form without a result type")


def _product(left: Interval, right: Interval) -> Interval:
    corners = [a * b for a in (left.low, left.high) for b in (right.low, right.high)]
    return Interval(
        functools.reduce(np.minimum, corners), functools.reduce(np.maximum, corners), left.fraction + right.fraction
    )


def _einsum(layer: Einsum, left: Interval, right: Interval) -> Interval:
    """Return the range of a contraction, from centres and radii: never too narrow, at times too wide."""
    centres, radii = zip(*(((i.low + i.high) / 2, (i.high - i.low) / 2) for i in (left, right)), strict=True)
    contract = functools.partial(layer.compute, quantised=True)
    centre = _run(contract, *centres)
    reach = [np.abs(centre_) + radius for centre_, radius in zip(centres, radii, strict=True)]
    radius = _run(contract, *reach) - _run(contract, np.abs(centres[0]), np.abs(centres[1]))
    fraction = left.fraction + right.fraction
    return Interval(*_outward(centre - radius, centre + radius, fraction), fraction)


def _outward(low: Floats, high: Floats, fraction: int) -> tuple[Floats, Floats]:
    """Return the range rounded outward to multiples of 2**-fraction."""
    return np.ldexp(np.floor(np.ldexp(low, fraction)), -fraction), np.ldexp(
        np.ceil(np.ldexp(high, fraction)), -fraction
    )


RANGES: Rules[Callable[..., Interval]] = Rules(
    lacks="has no range that follows from what comes in",
    fix="give it a result type, and what reads it sees values of that type",
    table={
        Input: port,
        Weighted: _weighted,
        BatchNorm: _batch_norm,
        Activation: _table,
        Softmax: _softmax,
        Pool: _mean,
        GlobalPool: _mean,
        Merge: _merge,
        TopK: _top,
        Einsum: _einsum,
        **dict.fromkeys((ReLU, Reshape, Permute, Pad, Crop, UpSample, Concatenate, Slice), _monotone),
    },
)
