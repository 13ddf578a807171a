"""Signed digits: how many terms a constant costs when it is multiplied by shifts and adds.

The canonical signed-digit form writes a whole number with digits -1, 0, +1 and the fewest non-zero ones
(Reitwiesner 1960). At reuse factor 1 each non-zero digit of a weight is one term of an adder tree.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Integers = NDArray[np.int64]
UNLIMITED = 31  # more digits than any weight up to 52 bits has
_FAR = 2**60  # farther than any two numbers of 52 bits are apart


def count(integers: NDArray[np.generic]) -> NDArray[np.int64]:
    """Return the number of non-zero canonical signed digits of each whole number."""
    magnitude = np.abs(integers).astype(np.int64)
    ones: NDArray[np.uint8] = np.bitwise_count(magnitude ^ (3 * magnitude))
    return ones.astype(np.int64)


def planes(integers: NDArray[np.integer]) -> NDArray[np.int8]:
    """Return the canonical signed digits -1, 0 or +1 of whole numbers, lowest first: their shape, then n_digits."""
    plus, minus = _bits(integers.astype(np.int64))
    n_digits = int((plus | minus).max(initial=0)).bit_length()
    found = np.empty((*integers.shape, n_digits), dtype=np.int8)
    for place in range(n_digits):
        found[..., place] = ((plus >> place) & 1) - ((minus >> place) & 1)
    return found


def _bits(integers: Integers) -> tuple[Integers, Integers]:
    """Return where the digits of whole numbers are +1, and where -1, as bits."""
    magnitude = np.abs(integers)
    plus, minus = (3 * magnitude & ~magnitude) >> 1, (magnitude & ~(3 * magnitude)) >> 1  # 2 m = 3 m - m, bit by bit
    return np.where(integers < 0, minus, plus), np.where(integers < 0, plus, minus)


def nearest(integers: Integers, low: Any, high: Any, limit: Any) -> Integers:
    """Return the nearest to each whole number from low to high, in that range too, with at most `limit` digits.

    Ranges and limits are those of each number, or one of all. Ties go to the smaller magnitude; zero is in the range.
    """
    found, limits = integers.copy(), np.broadcast_to(limit, integers.shape)
    binding = count(integers) > limits
    given, most = integers[binding], limits[binding].astype(np.int64)
    lows, highs = (np.broadcast_to(end, integers.shape)[binding] for end in (low, high))
    below, above = _below(given, most), -_below(-given, most)
    miss_below, miss_above = np.where(below < lows, _FAR, given - below), np.where(above > highs, _FAR, above - given)
    take_above = (miss_above < miss_below) | ((miss_above == miss_below) & (np.abs(above) < np.abs(below)))
    found[binding] = np.where(take_above, above, below)
    return found


def _below(integers: Integers, limit: Integers) -> Integers:
    """Return the largest whole number below each that has at most `limit` digits, fewer than it has itself.

    Numbers are ordered as their digits are, the highest first: all that may follow one is less than its half. What is
    next below has the same digits down to some place, a smaller one there, and then all that is left, every second.
    """
    plus, minus = _bits(integers)
    found = np.full_like(integers, -_FAR)
    for place in range(int(np.abs(integers).max(initial=0)).bit_length() + 2):
        same, other = plus >> (place + 1), minus >> (place + 1)
        left = limit - np.bitwise_count(same) - np.bitwise_count(other)
        before, here = (same - other) << (place + 1), (plus >> place) & 1
        nothing = before + _most(place - 1, left)
        found = np.where((here == 1) & (left >= 0), np.maximum(found, nothing), found)
        free = ((plus | minus) >> place) & 3 == 0  # digits have no neighbours
        negative = before - (1 << place) + _most(place - 2, left - 1)
        found = np.where(free & (left >= 1), np.maximum(found, negative), found)
    return found


def _most(place: int, n_digits: Integers) -> Integers:
    """Return the largest number of so many digits that has none above a place."""
    sums = np.cumsum([0, *(1 << each for each in range(place, -1, -2))], dtype=np.int64)
    return np.take(sums, n_digits, mode="clip")
