"""Layers that combine, move, pool or choose: merges, contractions, places looked up, windows, the largest."""

import functools
import itertools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from hepprune.firmware.tracing import arithmetic
from hepprune.firmware.tracing.base import TRACES, Variables, array, moved, result_type, trace
from hepprune.firmware.verilog import adders
from hepprune.network import Argmax, GlobalPool, Layer, LayerNorm, Pool, Softmax
from hepprune.network.layers import Concatenate, Crop, Einsum, Merge, Pad, Permute, Reshape, Slice, TopK, UpSample
from hepprune.network.parts import INPUT, parts


@TRACES.of(Merge)
def _merged(layer: Merge, *arriving: Variables) -> Variables:
    several = np.broadcast_arrays(*arriving)
    each = zip(*(values.flat for values in several), strict=True)
    return array((_value(layer, values) for values in each), several[0].shape)


def _value(layer: Merge, values: tuple[Any, ...]) -> Any:
    if layer.operation == "average":
        return mean(layer, values)
    if layer.operation == "subtract":
        return values[0] - values[1]
    return arithmetic.combined(arithmetic.OPERATIONS[layer.operation], values)


@TRACES.of(Einsum)
def _contracted(layer: Einsum, left: Variables, right: Variables) -> Variables:
    shape = layer.shape(left.shape, right.shape)
    pairs = (values.reshape(math.prod(shape), -1) for values in layer.aligned(left, right))
    totals = (arithmetic.total(map(arithmetic.product, *rows)) for rows in zip(*pairs, strict=True))
    return array(totals, shape)


@TRACES.of(Concatenate, Crop, Pad, Permute, Reshape, Slice, UpSample)
def _moved(layer: Layer, *arriving: Variables) -> Variables:
    return moved(functools.partial(layer.compute, quantised=True), *arriving, padding=adders.constant(0.0))


@TRACES.of(Softmax, LayerNorm)
def _in_steps(layer: Softmax | LayerNorm, arriving: Variables) -> Variables:
    steps = parts(layer, arriving.shape)
    return steps.interpret(trace, known={INPUT: arriving})[steps.output.name]


@TRACES.of(Pool)
def _pooled(layer: Pool, arriving: Variables) -> Variables:
    return _reduced(layer, moved(layer.windows, arriving), layer.shape(arriving.shape))


@TRACES.of(GlobalPool)
def _pooled_whole(layer: GlobalPool, arriving: Variables) -> Variables:
    return _reduced(layer, arriving.reshape(-1, arriving.shape[-1]).T, layer.shape(arriving.shape))


def _reduced(layer: Pool | GlobalPool, windows: Variables, shape: tuple[int, ...]) -> Variables:
    rows = ([value for value in row if value is not None] for row in windows.reshape(math.prod(shape), -1))
    if layer.kind == "max":
        return array((arithmetic.combined(arithmetic.larger, row) for row in rows), shape)
    return array((mean(layer, row) for row in rows), shape)


def mean(layer: Layer, values: Sequence[Any]) -> Any:
    """Return the mean of variables, exact in the layer's result type, without which it has to be over a power of two.

    Raises:
        NetworkError: it is not, or cannot be divided so finely.
    """
    divisor, whole = len(values), arithmetic.total(values)
    if divisor & (divisor - 1) == 0:
        return whole * (1 / divisor)
    return arithmetic.divided(whole, divisor, result_type(layer))


@TRACES.of(Argmax)
def _argmax(layer: Argmax, arriving: Variables) -> Variables:
    rows = arriving.reshape(-1, arriving.shape[-1])
    return array((_index(list(row)) for row in rows), layer.shape(arriving.shape))


def _index(row: list[Any]) -> Any:
    """Return the index of the largest, the first of equals; neighbours are compared first, so earlier is left."""
    pairs = [(value, adders.constant(place)) for place, value in enumerate(row)]
    while len(pairs) > 1:
        halves = itertools.zip_longest(pairs[::2], pairs[1::2])
        pairs = [left if right is None else _first_largest(left, right) for left, right in halves]
    return pairs[0][1]


def _first_largest(left: tuple[Any, Any], right: tuple[Any, Any]) -> tuple[Any, Any]:
    (ours, here), (theirs, there) = left, right
    return arithmetic.larger(ours, theirs), arithmetic.where_negative(ours - theirs, there, here)


@TRACES.of(TopK)
def _top(layer: TopK, arriving: Variables) -> Variables:
    rows = arriving.reshape(-1, arriving.shape[-1])
    return array((value for row in rows for value in _largest(list(row), layer.k)), arriving.shape)


def _largest(row: list[Any], k: int) -> list[Any]:
    """Return the k largest as they are and zero for the others, counting how many come before each."""
    ahead: list[list[Any]] = [[] for _ in row]
    for first, second in itertools.combinations(range(len(row)), 2):
        loses = arithmetic.is_negative(row[first] - row[second])  # of equals the first one is ahead
        ahead[first].append(loses)
        ahead[second].append(adders.constant(1.0) - loses)
    zero = adders.constant(0.0)
    counts = [arithmetic.total(each) if each else zero for each in ahead]
    return [arithmetic.where_negative(count - float(k), value, zero) for count, value in zip(counts, row, strict=True)]
