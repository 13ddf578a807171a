"""Signed digits: how many terms a constant costs when it is multiplied by shifts and adds.

The canonical signed-digit form writes a whole number with digits -1, 0, +1 and the fewest non-zero ones
(Reitwiesner 1960). At reuse factor 1 each non-zero digit of a weight is one term of an adder tree.
"""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

UNLIMITED = 31  # more digits than any weight up to 52 bits has


def count(integers: NDArray[np.generic]) -> NDArray[np.int64]:
    """Return the number of non-zero canonical signed digits of each whole number."""
    magnitude = np.abs(integers).astype(np.int64)
    ones: NDArray[np.uint8] = np.bitwise_count(magnitude ^ (3 * magnitude))
    return ones.astype(np.int64)


def planes(integers: NDArray[np.integer]) -> NDArray[np.int8]:
    """Return the canonical signed digits -1, 0 or +1 of whole numbers, lowest first: their shape, then n_digits."""
    magnitude = np.abs(integers).astype(np.int64)
    plus, minus = (3 * magnitude & ~magnitude) >> 1, (magnitude & ~(3 * magnitude)) >> 1  # 2 m = 3 m - m, bit by bit
    n_digits = int((plus | minus).max(initial=0)).bit_length()
    found = np.empty((*magnitude.shape, n_digits), dtype=np.int8)
    for place in range(n_digits):
        found[..., place] = ((plus >> place) & 1) - ((minus >> place) & 1)
    found *= np.sign(integers).astype(np.int8)[..., None]
    return found


@lru_cache(maxsize=64)
def nearest(low: int, high: int, limit: int) -> NDArray[np.int64]:
    """Return, for each whole number from low to high, the nearest one in that range with at most `limit` digits.

    Ties go to the smaller magnitude. The table is read-only, of shape (high - low + 1,).
    """
    levels = np.arange(low, high + 1)
    allowed = levels[count(levels) <= limit]
    above = allowed[np.minimum(np.searchsorted(allowed, levels), len(allowed) - 1)]
    below = allowed[np.maximum(np.searchsorted(allowed, levels, side="right") - 1, 0)]
    miss_above, miss_below = np.abs(above - levels), np.abs(levels - below)
    take_above = (miss_above < miss_below) | ((miss_above == miss_below) & (np.abs(above) < np.abs(below)))
    table = np.where(take_above, above, below)
    table.setflags(write=False)
    return table
