"""Intervals: what each value of a layer can be, and the arithmetic of them, never too narrow."""

import functools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hepprune.errors import NetworkError, refused
from hepprune.fixed import FixedPoint, Quantiser
from hepprune.fixed.quantisers import FixedPoints
from hepprune.network.layers import Shape

Floats = NDArray[np.float64]
AffineMap = Callable[[Tensor, Tensor, Tensor], Tensor]  # of values, a weight and a bias
ANYTHING = 2.0**100


@dataclass(frozen=True)
class Interval:
    """What each value of a layer can be: low and high, of the layer's shape, multiples of 2**-fraction.

    `fractions` has the bits right of the point of each value, where a type says them value by value.
    """

    low: Floats
    high: Floats
    fraction: int
    fractions: NDArray[np.int64] | None = None

    @property
    def places(self) -> int | NDArray[np.int64]:
        """The bits right of the point, of all values or of each."""
        return self.fraction if self.fractions is None else self.fractions

    @classmethod
    def of(cls, kind: Quantiser, shape: Shape) -> "Interval":
        """Return all that a type holds."""
        low, high = (np.broadcast_to(np.float64(end), shape).copy() for end in (kind.minimum, kind.maximum))
        return cls(low, high, kind.fraction, _fractions(kind, shape))

    def covering(self) -> FixedPoint:
        """Return the narrowest type that holds every value of the layer."""
        return FixedPoint.covering(float(self.low.min()), float(self.high.max()), fraction=self.fraction)

    def held(self, layer: str) -> FixedPoint:
        """Return the same for a value of the layer of that name.

        Raises:
            NetworkError: it takes more bits than are computed exactly.
        """
        try:
            return self.covering()
        except NetworkError as problem:
            said = f"accumulates more bits than are computed exactly: {problem}"
            raise refused(layer, f"{said}; give what it reads a result type of fewer bits") from problem

    def outward(self) -> "Interval":
        """Return the range with its ends rounded outward to the grid."""
        low, high = (np.ldexp(end, self.fraction) for end in (self.low, self.high))
        return Interval(np.ldexp(np.floor(low), -self.fraction), np.ldexp(np.ceil(high), -self.fraction), self.fraction)

    def __add__(self, other: "Interval") -> "Interval":
        """Return the range of a sum."""
        return Interval(self.low + other.low, self.high + other.high, max(self.fraction, other.fraction))

    def __sub__(self, other: "Interval") -> "Interval":
        """Return the range of a difference."""
        return Interval(self.low - other.high, self.high - other.low, max(self.fraction, other.fraction))

    def __rsub__(self, number: float) -> "Interval":
        """Return the range of a whole number less a value."""
        return Interval(number - self.high, number - self.low, max(self.fraction, 0))

    def __mul__(self, other: "Interval") -> "Interval":
        """Return the range of a product."""
        corners = [a * b for a in (self.low, self.high) for b in (other.low, other.high)]
        low, high = (functools.reduce(end, corners) for end in (np.minimum, np.maximum))
        return Interval(low, high, self.fraction + other.fraction)


def quantise(before: Interval, kind: Quantiser | None) -> Interval:
    """Return the range after a quantiser: the type's own, unless the value always fits it."""
    if kind is None:
        return before
    inside = (before.low >= kind.minimum) & (before.high <= kind.maximum)
    if isinstance(kind, FixedPoints):
        inside &= ~kind.turns | (before.low == before.high)
    low = np.where(inside, kind(before.low), kind.minimum)
    high = np.where(inside, kind(before.high), kind.maximum)
    return Interval(low, high, kind.fraction, _fractions(kind, low.shape))


def _fractions(kind: Quantiser, shape: Shape) -> NDArray[np.int64] | None:
    return np.broadcast_to(kind.fractions, shape) if isinstance(kind, FixedPoints) else None


def run(function: Callable[..., Tensor], *values: Floats) -> Floats:
    """Return what a function of tensors (1, *shape) makes of one jet's values."""
    arrays = (torch.as_tensor(np.ascontiguousarray(value), dtype=torch.float64)[None] for value in values)
    return function(*arrays)[0].numpy()


def affine(linear: AffineMap, weight: Tensor, bias: Tensor, arriving: Interval, *, fraction: int) -> Interval:
    """Return the range of `linear(values, weight, bias)`, exact for each value, on the grid of `fraction` bits."""
    positive, negative, none = weight.clamp(min=0), weight.clamp(max=0), torch.zeros_like(bias)

    def end(rising: Floats, falling: Floats) -> Floats:
        return run(lambda x, y: linear(x, positive, bias) + linear(y, negative, none), rising, falling)

    return Interval(end(arriving.low, arriving.high), end(arriving.high, arriving.low), fraction)
