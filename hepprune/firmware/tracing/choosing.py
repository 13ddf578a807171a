"""Layers that choose by comparison: the index of the largest value, and the k largest channels."""

import itertools
from typing import Any

from hepprune.firmware.tracing import arithmetic
from hepprune.firmware.tracing.base import TRACES, Values, array
from hepprune.firmware.verilog import adders
from hepprune.network import Argmax
from hepprune.network.layers import TopK


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
