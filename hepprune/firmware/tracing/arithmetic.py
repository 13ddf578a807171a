"""Exact arithmetic of variables: sums and comparisons in as few adder levels as can be, products, quotients."""

import heapq
import itertools
import math
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from hepprune.errors import NetworkError
from hepprune.firmware.tracing import rounding
from hepprune.firmware.verilog import adders
from hepprune.fixed import FixedPoint

Combine = Callable[[Any, Any], Any]


def combined(operation: Combine, values: Iterable[Any]) -> Any:
    """Return what an operation that may be done in any order makes of variables, those that come first first."""
    order = itertools.count()
    heap = [(float(value.latency), next(order), value) for value in values]
    heapq.heapify(heap)
    while len(heap) > 1:
        made = operation(heapq.heappop(heap)[-1], heapq.heappop(heap)[-1])
        heapq.heappush(heap, (float(made.latency), next(order), made))
    return heap[0][-1]


def added(left: Any, right: Any) -> Any:
    """Return the sum."""
    return left + right


def product(left: Any, right: Any) -> Any:
    """Return the product."""
    return adders.unscaled(left) * adders.unscaled(right)


def larger(left: Any, right: Any) -> Any:
    """Return the larger of two."""
    return left.max_of(right)


OPERATIONS: dict[str, Combine] = {
    "add": added,
    "multiply": product,
    "maximum": larger,
    "minimum": lambda left, right: left.min_of(right),
}


def total(values: Iterable[Any]) -> Any:
    """Return the sum of variables, the constant ones added last as one."""
    several = list(values)
    moving = [value for value in several if not adders.is_constant(value)]
    rest = sum(float(value.low) for value in several if adders.is_constant(value))
    return combined(added, moving) + rest if moving else adders.constant(rest)


def is_negative(value: Any) -> Any:
    """Return one where the value is negative, zero where it is not."""
    if value.low >= 0 or value.high < 0:
        return adders.constant(float(value.high < 0))
    _, whole, _ = value.kif
    return value.quantize(0, whole + 1, -whole) * 2.0**-whole


def where_negative(key: Any, then: Any, otherwise: Any) -> Any:
    """Return `then` where the key is negative, `otherwise` where it is not."""
    if key.low >= 0 or key.high < 0 or then is otherwise:
        return then if key.high < 0 else otherwise
    if key._factor < 0:  # noqa: SLF001 -- da4ml would swap the two and be wrong where the key is zero
        return (-key - float(key.step)).msb_mux(otherwise, then)
    return key.msb_mux(then, otherwise)


def divided(value: Any, divisor: int, kind: FixedPoint) -> Any:
    """Return value / divisor so near that it becomes the same in type `kind`, however that rounds.

    The reciprocal is as fine as tells apart all quotients and the halves of steps between which `kind` decides.

    Raises:
        NetworkError: the reciprocal would be finer than da4ml can represent.
    """
    if adders.is_constant(value):
        return adders.constant(kind(np.array([float(value.low) / divisor]))[0])
    grid = max(value.kif[2], kind.fraction + 1) + math.ceil(math.log2(divisor))
    reach = math.ceil(math.log2(max(-value.low, value.high)))
    places = grid + 1 + reach
    if places > adders.MAX_FRACTION:
        raise NetworkError(f"a quotient by {divisor} to 2**-{kind.fraction} is finer than 2**-{adders.MAX_FRACTION}")
    near = adders.unscaled(value * (round(2.0**places / divisor) * 2.0**-places))
    return rounding.rounded(near, FixedPoint(52, 52 - grid, rounding="RND"))
