"""Wires: what is known of the values in an adder graph before it is made, and how many bits they have."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
FINEST = 32  # bits right of the point that a constant may have


class _Plane:
    """One of the planes of wires, by its place."""

    def __init__(self, place: int) -> None:
        self.place = place

    def __get__(self, wires: "Wires", _: object = None) -> Floats:
        found: Floats = wires.planes[self.place]
        return found


@dataclass(frozen=True, eq=False)
class Wires:
    """Values of one shape: planes (8, *shape), which a layer that only moves values moves like eight jets.

    They are the ends of the range, the bits right of the point, the adder level at which a value is there and the same
    without rounding up, how likely the graph has only its negative, the constant that was added last, and one, which
    padding leaves zero.
    """

    planes: Floats
    low, high, fraction, level = _Plane(0), _Plane(1), _Plane(2), _Plane(3)
    smooth, negated, added = _Plane(4), _Plane(5), _Plane(6)

    @classmethod
    def of(cls, low: Floats, high: Floats, fraction: Floats | float, *rest: Floats | float) -> "Wires":
        """Return wires of ranges and fractions, and of levels and what follows where those are not zero."""
        filled = (low, high, fraction, *rest, *(0.0,) * (4 - len(rest)), 1.0)
        planes = np.empty((len(filled), *np.broadcast(*filled[:5]).shape))
        for plane, values in enumerate(filled):
            planes[plane, ...] = values
        return cls(planes)

    @property
    def present(self) -> Bools:
        """Which are values, and no padding."""
        found: Bools = self.planes[7] > 0
        return found

    @property
    def moving(self) -> Bools:
        """Which are not always the same."""
        return self.low < self.high

    @property
    def width(self) -> Floats:
        """The bits of each, sign and all."""
        found: Floats = (self.low < 0) + _whole(np.maximum(-self.low, self.high + 2.0**-self.fraction)) + self.fraction
        return np.maximum(found, 0)

    @property
    def shape(self) -> tuple[int, ...]:
        """Their shape."""
        return self.planes.shape[1:]

    def reshaped(self, *shape: int) -> "Wires":
        """Return the same in another shape."""
        return Wires(self.planes.reshape(len(self.planes), *shape))

    def __getitem__(self, places: object) -> "Wires":
        """Return some of them, by what numpy takes for the axes of their shape."""
        return Wires(self.planes[(slice(None), *(places if isinstance(places, tuple) else (places,)))])

    def replaced(self, **planes: Floats | float) -> "Wires":
        """Return the same with other planes, by the names above."""
        found = self.planes.copy()
        for name, values in planes.items():
            found[_PLANES.index(name)] = values
        return Wires(found)


_PLANES = ("low", "high", "fraction", "level", "smooth", "negated", "added")


def where(condition: Bools, then: Wires, otherwise: Wires) -> Wires:
    """Return the ones or the others."""
    return Wires(np.where(condition, then.planes, otherwise.planes))


def constants(values: Floats) -> Wires:
    """Return values that are always the same."""
    return Wires.of(values, values, last_place(values))


def joined(parts: Sequence[Wires], *, axis: int) -> Wires:
    """Return wires side by side along an axis of their shape."""
    return Wires(np.concatenate([part.planes for part in parts], axis=axis if axis < 0 else axis + 1))


def last_place(values: Floats) -> Floats:
    """Return the bits right of the point that constants have, no more than are known."""
    whole = np.minimum(np.abs(values) * 2.0**FINEST, 2.0**62).astype(np.int64)
    bit = np.where(whole, whole & -whole, 2**FINEST)
    found: Floats = FINEST + 1.0 - np.frexp(bit.astype(np.float64))[1]
    return found


def constant_bits(values: Floats) -> Floats:
    """Return the bits of constants from the first to the last one, which adding them costs."""
    fraction = last_place(values)
    return np.where(values == 0, 0.0, _whole(np.abs(values) + 2.0**-fraction) + fraction)


def together(a: Wires, b: Wires) -> Floats:
    """Return the bits of adding two values, or of choosing between them: those above the coarser one's last place."""
    ends = [np.abs(end) for one in (a, b) for end in (one.low, one.high + 2.0**-one.fraction)]
    sign = (a.low < 0) | (b.low < 0)
    found: Floats = sign + _whole(np.maximum.reduce(ends)) + np.minimum(a.fraction, b.fraction)
    return np.maximum(found, 0)


def _whole(size: Floats) -> Floats:
    """Return ceil(log2(size)), exactly."""
    mantissa, exponent = np.frexp(np.maximum(size, 2.0**-60))
    found: Floats = exponent - (mantissa == 0.5)
    return found.astype(np.float64)
