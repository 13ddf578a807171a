"""Pooling: the largest or the mean variable of each window, padded places left out."""

import functools
import math
from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from hepprune.firmware.tracing import arithmetic
from hepprune.firmware.tracing.base import TRACES, Values, array, moved, result_type
from hepprune.network import GlobalPool, Layer, Pool


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
