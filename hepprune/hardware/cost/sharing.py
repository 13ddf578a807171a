"""What outputs of one matrix share: how often the same pair of signed digits appears, and how far digits lie apart.

da4ml finds shared sums greedily: it takes the pair of digits, of two inputs, that most outputs add with the same shift
and sign between them, makes it a sum of its own, and begins again (Sun et al., arXiv:2507.04535). So how much a matrix
shares follows from how often its pairs repeat. Two outputs have a pair in common where both have both digits, one of
them perhaps shifted or negated as a whole; those digits are counted for all outputs and one shift by a matrix product.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from hepprune.fixed import digits

_MOST_PRODUCTS = 2e9  # multiplications spent on one matrix; a larger one is compared with every so many outputs only


@dataclass(frozen=True)
class Sharing:
    """The repeated digit pairs of a matrix, and the mean distance of two digits of each output in bits, (n_out,).

    Of a pair that f outputs add there are f (f - 1) `repeats`.
    """

    repeats: float
    spread: NDArray[np.float64]


def of(weight: NDArray[np.int64]) -> Sharing:
    """Return what the outputs of whole-number weights (n_out, n_in) share, kept by content."""
    return _found(weight.astype(np.int64).tobytes(), weight.shape)


@lru_cache(maxsize=512)
def _found(content: bytes, shape: tuple[int, int]) -> Sharing:
    planes = digits.planes(np.frombuffer(content, dtype=np.int64).reshape(shape))
    # the mean distance of two of each output's digits, of which it has so many at each place
    digits_at, places = np.abs(planes).sum(axis=1, dtype=np.float64), np.arange(planes.shape[2])
    total = np.maximum(digits_at.sum(axis=1), 1)
    spread = ((digits_at @ np.abs(places[:, None] - places)) * digits_at).sum(axis=1) / total**2
    spread.setflags(write=False)
    n_out, n_in, n_places = planes.shape
    signed = planes.transpose(0, 2, 1).reshape(n_out, -1).astype(np.float32)  # so that a shift is a slice
    present = np.abs(signed)
    step = 1 + int(float(n_out * n_in) * n_out * n_places**2 / _MOST_PRODUCTS)
    repeats = 0.0
    for shift in range(n_places):
        near, far = np.s_[:, shift * n_in :], np.s_[::step, : (n_places - shift) * n_in]
        both = present[near] @ present[far].T
        agree = signed[near] @ signed[far].T  # digits in common of the same sign, less those of the opposite one
        pairs = (both**2 + agree**2) / 4 - both / 2  # so many pairs of one sign and the other
        if shift == 0:
            pairs[np.arange(0, n_out, step), np.arange(pairs.shape[1])] = 0  # an output has all its pairs in common
        repeats += float(pairs.sum(dtype=np.float64)) * (2 if shift else 1)  # shifted up and down
    return Sharing(repeats * step, spread)
