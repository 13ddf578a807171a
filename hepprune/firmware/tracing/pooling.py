"""Pooling, padded places left out, and layers that choose by comparison: the largest index, the k largest channels."""

import functools
import itertools
import math
from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from hepprune.firmware.tracing import arithmetic
from hepprune.firmware.tracing.base import TRACES, Values, array, moved, result_type
from hepprune.firmware.verilog import adders
from hepprune.network import Argmax, GlobalPool, Layer, Pool
from hepprune.network.layers import TopK


@TRACES.of(Pool)
def _pooled(layer: Pool, arriving: Values) -> Values:
    windows = moved(functools.partial(_windows, layer), arriving)
    return _reduced(layer, windows, layer.shape(arriving.shape))


def _windows(layer: Pool, values: Tensor) -> Tensor:
    """Return what each output looks at, (n_jets, *places, channels, size of a window)."""
    borders = [size for pair in reversed(layer.padding) for size in pair]
    windows = nn.functional.pad(values.movedim(-1, 1), borders)
    for axis, (size, stride) in enumerate(zip(layer.size, layer.strides, strict=True), start=2):
        windows = windows.unfold(axis, size, stride)
    rank = len(layer.size)
    return windows.movedim(1, rank + 1).flatten(rank + 2)


@TRACES.of(GlobalPool)
def _pooled_whole(layer: GlobalPool, arriving: Values) -> Values:
    return _reduced(layer, arriving.reshape(-1, arriving.shape[-1]).T, layer.shape(arriving.shape))


def _reduced(layer: Pool | GlobalPool, windows: Values, shape: tuple[int, ...]) -> Values:
    flat = windows.reshape(math.prod(shape), -1)
    return array((_value(layer, [value for value in window if value is not None]) for window in flat), shape)


def _value(layer: Pool | GlobalPool, window: list[Any]) -> Any:
    return arithmetic.combined(arithmetic.larger, window) if layer.kind == "max" else mean(layer, window)


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
def _argmax(layer: Argmax, arriving: Values) -> Values:
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
def _top(layer: TopK, arriving: Values) -> Values:
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
