"""How ranges go through each kind of layer: exact where the value is, and no narrower than it anywhere."""

import functools
import math
import operator
from collections.abc import Callable
from typing import Any

import numpy as np

from hepprune.errors import NetworkError, refused
from hepprune.network import layers
from hepprune.network.node import Node
from hepprune.network.parts import INPUT, parts
from hepprune.network.ranges.cells import cell_range, reach
from hepprune.network.ranges.interval import Interval, affine, quantise, run
from hepprune.network.rules import Rules

_FINEST = 32  # bits right of the point that what a table puts out may have


def port(layer: layers.Input) -> Interval:
    """Return the range of the features as the firmware receives them."""
    if layer.result is None:
        raise NetworkError(f"input '{layer.name}' has no fixed-point type")
    return Interval.of(layer.result, layer.features_shape)


def _weighted(layer: layers.Weighted, arriving: Interval) -> Interval:
    if layer.weight_type is None or layer.bias_type is None:
        raise refused(layer.name, "has no fixed-point types for its weights and biases")
    fraction = max(layer.weight_type.fraction + arriving.fraction, layer.bias_type.fraction)
    return affine(layer.linear, layer.used_weight(), layer.used_bias(), arriving, fraction=fraction)


def _batch_norm(layer: layers.BatchNorm, arriving: Interval) -> Interval:
    if layer.scale_type is None or layer.shift_type is None:
        raise refused(layer.name, f"({type(layer).__name__}) has no fixed-point form; fold it first")
    ends = [run(lambda x: layer.compute(x, quantised=True), end) for end in (arriving.low, arriving.high)]
    fraction = max(layer.scale_type.fraction + arriving.fraction, layer.shift_type.fraction)
    return Interval(np.minimum(*ends), np.maximum(*ends), fraction)


def _looked_up_each(layer: layers.Lookup, arriving: Interval) -> Interval:
    """Return the ends of what the tables have for all that can arrive."""
    kind: Any = layer.argument_type
    step, least = (np.broadcast_to(each, arriving.low.shape) for each in (kind.step, kind.minimum))
    table = np.broadcast_to(layer.table.double().cpu().numpy(), (*arriving.low.shape, layer.table.shape[-1]))
    places = np.arange(table.shape[-1])
    ends = (np.round((end - least) / step) for end in (arriving.low, arriving.high))
    first, last = (np.clip(end, 0, len(places) - 1)[..., None] for end in ends)
    reached = (first <= places) & (places <= last)
    low, high = np.where(reached, table, np.inf).min(axis=-1), np.where(reached, table, -np.inf).max(axis=-1)
    fraction = next(n for n in range(_FINEST + 1) if n == _FINEST or not (np.ldexp(table, n) % 1).any())
    return Interval(low, high, fraction)


def _monotone(layer: layers.Layer, *arriving: Interval) -> Interval:
    """Return the range of a layer whose value never falls while its arguments rise, on the grid of its arguments."""
    compute = functools.partial(layer.compute, quantised=True)
    low, high = (run(compute, *(getattr(each, end) for each in arriving)) for end in ("low", "high"))
    return Interval(low, high, max(interval.fraction for interval in arriving))


def _top(layer: layers.TopK, arriving: Interval) -> Interval:
    """Return the range of channels that may be let through or not; where all are, as they are."""
    if layer.k == arriving.low.shape[-1]:
        return arriving
    return Interval(np.minimum(arriving.low, 0), np.maximum(arriving.high, 0), arriving.fraction)


def _looked_up(layer: layers.Layer, *arriving: Interval) -> Interval:
    """Return the range of what rounds to a result type."""
    return Interval(*reach(layer, *arriving), _of_result(layer)).outward()


def _activation(layer: layers.Activation, arriving: Interval) -> Interval:
    """Return the range of a function; one that hardware looks up needs a result type to have a grid."""
    return _monotone(layer, arriving) if layer.function == "linear" else _looked_up(layer, arriving)


def _of_result(layer: layers.Layer) -> int:
    """Return the fractional bits that what rounds to the layer's result type is bounded to: one more than its own."""
    if layer.result is None:
        raise refused(layer.name, f"({type(layer).__name__}) has no fixed-point form without a result type")
    return layer.result.fraction + 1


def _layer_norm(layer: layers.LayerNorm, arriving: Interval) -> Interval:
    """Return the range of a value of n with mean 0 and variance 1, which is at most sqrt(n - 1), scaled and shifted."""
    if layer.types:
        return _in_steps(layer, arriving)
    reach = np.sqrt(len(layer.scale) - 1.0) * layer.scale.abs().numpy()
    low, high = (np.broadcast_to(layer.shift.numpy() + sign * reach, arriving.low.shape) for sign in (-1, 1))
    return Interval(low, high, _of_result(layer)).outward()


def _in_steps(layer: layers.Layer, arriving: Interval) -> Interval:
    def rule(node: Node, *read: Interval) -> Interval:
        return functools.reduce(quantise, node.results, RANGES.find(node.layer)(node.layer, *read))

    steps = parts(layer, arriving.low.shape)
    return steps.interpret(rule, known={INPUT: arriving})[steps.output.name]


def _argmax(_: layers.Argmax, arriving: Interval) -> Interval:
    *places, n_values = arriving.low.shape
    return Interval(np.zeros((*places, 1)), np.full((*places, 1), n_values - 1.0), 0)


def _softmax(layer: layers.Softmax, arriving: Interval) -> Interval:
    if layer.types:
        return _in_steps(layer, arriving)
    return Interval(np.zeros_like(arriving.low), np.ones_like(arriving.low), _of_result(layer))


def is_exact_mean(layer: layers.Pool | layers.GlobalPool, shape: layers.Shape) -> bool:
    """Return whether a mean of values of that shape is over a power of two of them everywhere, so that it is exact."""
    window = math.prod(layer.size) if isinstance(layer, layers.Pool) else math.prod(shape[:-1])
    return not window & (window - 1) and not (isinstance(layer, layers.Pool) and any(map(any, layer.padding)))


def _pool(layer: layers.Pool | layers.GlobalPool, arriving: Interval) -> Interval:
    """Return the range of a pooling: exact for a maximum, and for a mean over a power of two."""
    if layer.kind == "max":
        return _monotone(layer, arriving)
    if not is_exact_mean(layer, arriving.low.shape):
        return _looked_up(layer, arriving)
    window = math.prod(layer.size) if isinstance(layer, layers.Pool) else math.prod(arriving.low.shape[:-1])
    found = _monotone(layer, arriving)
    return Interval(found.low, found.high, arriving.fraction + window.bit_length() - 1)


def _merge(layer: layers.Merge, *arriving: Interval) -> Interval:
    if layer.operation == "average" and len(arriving) & (len(arriving) - 1):
        return _looked_up(layer, *arriving)
    if layer.operation in {"multiply", "subtract"}:
        return functools.reduce(operator.mul if layer.operation == "multiply" else operator.sub, arriving)
    found = _monotone(layer, *arriving)
    more = len(arriving).bit_length() - 1 if layer.operation == "average" else 0
    return Interval(found.low, found.high, found.fraction + more)


def _einsum(layer: layers.Einsum, left: Interval, right: Interval) -> Interval:
    """Return the range of a contraction, from centres and radii: never too narrow, at times too wide."""
    centres, radii = zip(*(((i.low + i.high) / 2, (i.high - i.low) / 2) for i in (left, right)), strict=True)
    contract = functools.partial(layer.compute, quantised=True)
    centre = run(contract, *centres)
    reach = [np.abs(centre_) + radius for centre_, radius in zip(centres, radii, strict=True)]
    radius = run(contract, *reach) - run(contract, np.abs(centres[0]), np.abs(centres[1]))
    fraction = left.fraction + right.fraction
    return Interval(centre - radius, centre + radius, fraction).outward()


RANGES: Rules[Callable[..., Interval]] = Rules(
    lacks="has no range that follows from what comes in",
    fix="give it a result type, and what reads it sees values of that type",
    table={
        layers.Input: port,
        layers.Weighted: _weighted,
        layers.BatchNorm: _batch_norm,
        layers.Activation: _activation,
        layers.Lookup: _looked_up_each,
        layers.Softmax: _softmax,
        layers.PReLU: _looked_up,
        layers.LayerNorm: _layer_norm,
        layers.Argmax: _argmax,
        layers.Recurrent: cell_range,
        layers.Pool: _pool,
        layers.GlobalPool: _pool,
        layers.Merge: _merge,
        layers.TopK: _top,
        layers.Einsum: _einsum,
        **dict.fromkeys((layers.ReLU, *layers.MOVING), _monotone),
    },
)
