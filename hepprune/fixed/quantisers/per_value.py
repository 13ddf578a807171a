"""A fixed-point type per channel or per value, and powers of two, whose products are shifts."""

import math
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray

from hepprune.errors import NetworkError, check_known, explained
from hepprune.fixed import MAX_WIDTH, OVERFLOW, ROUNDING, Array, FixedPoint, Quantiser, library, wrapped

FOLDED = "WRAP_SM"  # the overflow that HGQ2 has beside those of `FixedPoint`
MAX_VALUES = 2**24  # with a bit width of their own


def like(array: Any, values: Any) -> Any:
    """Return an array in the library, floating type and place of `values`."""
    if isinstance(values, torch.Tensor):
        return torch.as_tensor(array, dtype=values.dtype, device=values.device)
    return np.asarray(array, dtype=values.dtype)


def fraction_bits(values: Any) -> int:
    """Return the bits right of the point that hold the values exactly.

    Raises:
        NetworkError: they need more than 52.
    """
    for bits in range(-64, MAX_WIDTH + 1):
        scaled = np.ldexp(np.asarray(values, dtype=np.float64), bits)
        if np.array_equal(scaled, np.round(scaled)):
            return bits
    raise NetworkError(f"a scale such as {np.ravel(values)[0]:g} is no whole number of any power of two above 2**-52")


class PerValue:
    """What types of single values have in common: their fields are settings, and arrays that nobody can write."""

    def _keep(self, **arrays: NDArray[Any]) -> None:
        for name, array in arrays.items():
            fixed = array.copy()
            fixed.setflags(write=False)
            object.__setattr__(self, name, fixed)

    @cached_property
    def _content(self) -> list[Any]:
        values = [getattr(self, field.name) for field in fields(self)]  # type: ignore[arg-type]
        return [(each.shape, each.tobytes()) if isinstance(each, np.ndarray) else each for each in values]

    def __eq__(self, other: object) -> bool:
        """Return whether the other is the same type everywhere."""
        return isinstance(other, type(self)) and self._content == other._content

    def __hash__(self) -> int:
        """Return a hash of the content."""
        return hash(tuple(self._content))


@dataclass(frozen=True, eq=False, kw_only=True)
class FixedPoints(PerValue):
    """A fixed-point type per channel or per value, as HGQ trains them (arXiv:2405.00645); no bits at all give zero.

    `width`, `integer` and `signed` broadcast to the values, as in `FixedPoint`. One more overflow, "WRAP_SM" as HGQ2
    has it, goes back and forth between the ends.
    """

    width: NDArray[np.int64]
    integer: NDArray[np.int64]
    signed: NDArray[np.bool_]
    rounding: str = "RND"
    overflow: str = "WRAP"

    def __post_init__(self) -> None:
        """Bring the arrays to one shape, and refuse what no type can be."""
        whole = (np.asarray(self.width, np.int64), np.asarray(self.integer, np.int64), np.asarray(self.signed, bool))
        width, integer, signed = np.broadcast_arrays(*whole)
        if width.size > MAX_VALUES or not (width.size and 0 <= width.min() <= width.max() <= MAX_WIDTH):
            raise NetworkError(f"fixed-point widths must lie between 0 and {MAX_WIDTH}")
        if np.abs(integer).max() > 64:
            raise NetworkError("integer bits must lie between -64 and 64")
        check_known("rounding", self.rounding, ROUNDING, NetworkError)
        check_known("overflow", self.overflow, (*OVERFLOW, FOLDED), NetworkError)
        self._keep(width=width, integer=integer, signed=signed)

    @classmethod
    def of(cls, kind: FixedPoint, shape: tuple[int, ...]) -> Self:
        """Return the types of values of a shape that have one in common."""
        own = {"rounding": kind.rounding, "overflow": kind.overflow}
        return cls(width=np.full(shape, kind.width), integer=kind.integer, signed=kind.signed, **own)  # type: ignore[arg-type]

    @property
    def step(self) -> NDArray[np.float64]:
        """The value of the last place."""
        return np.exp2((self.integer - self.width).astype(np.float64))

    @cached_property
    def _ends(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """The smallest and largest whole number of steps."""
        highest = np.exp2(self.width - self.signed) - 1
        highest = np.where(self.width > 0, np.maximum(highest, 0), 0)
        one_more = (self.overflow != "SAT_SYM") | (self.width == 1)
        negative = self.signed | (self.overflow == FOLDED)  # which comes back below zero, sign or not
        lowest = np.where(negative & (self.width > 0), -highest - one_more, 0)
        return lowest, highest

    @property
    def minimum(self) -> NDArray[np.float64]:
        """The most negative values."""
        return self._ends[0] * self.step

    @property
    def maximum(self) -> NDArray[np.float64]:
        """The largest values."""
        return self._ends[1] * self.step

    @property
    def fraction(self) -> int:
        """Bits right of the point that hold every value."""
        return int(np.where(self.width > 0, self.width - self.integer, -64).max())

    @property
    def bits(self) -> float:
        """Mean width."""
        return float(self.width.mean())

    def __call__(self, values: Array) -> Array:
        """Return values rounded and brought into range."""
        xp, (low, high) = library(values), self._ends
        step, period, low, high = (like(array, values) for array in (self.step, high - low + 1, low, high))
        steps = values / step
        rounded = ROUNDING[self.rounding](1.0 * steps)
        if self.overflow == FOLDED:
            period = like(np.exp2(self.width), values)
            rounded = xp.where(high > low, _folded(steps, rounded, period, high), 0.0)
        elif self.overflow == "WRAP":
            both = (wrapped(rounded, period, signed=sign) for sign in (True, False))
            rounded = xp.where(low < 0, *both)
        else:
            rounded = xp.maximum(xp.minimum(rounded, high), low)
        return rounded * step  # type: ignore[no-any-return]

    @property
    def fractions(self) -> NDArray[np.int64]:
        """Bits right of the point of each value; one without bits has as few as the fewest."""
        found = np.where(self.width > 0, self.width - self.integer, self.fraction)
        return np.where(self.width > 0, found, found.min())

    @property
    def turns(self) -> NDArray[np.bool_]:
        """Which values may fall while what they are rounded from rises, all in range."""
        found: NDArray[np.bool_] = ~self.signed & (self.overflow == FOLDED)
        return found

    @property
    def shared(self) -> "FixedPoint | FixedPoints":
        """The one type that all values have, where they have one and `FixedPoint` has its overflow; else these."""
        alike = all((array == array.flat[0]).all() for array in (self.width, self.integer, self.signed))
        found = self.kind((0,) * self.width.ndim) if alike and self.overflow != FOLDED else None
        return self if found is None else found

    def kind(self, place: tuple[int, ...]) -> FixedPoint | None:
        """Return the type of one value, None where it has no bits and is zero."""
        width, integer, signed = int(self.width[place]), int(self.integer[place]), bool(self.signed[place])
        return FixedPoint(width, integer, signed, self.rounding, self.overflow) if width else None


def _folded(steps: Array, rounded: Array, period: Array, high: Array) -> Array:
    """Return rounded steps brought back below the highest as `wrap_sm_fn` of the package quantizers does."""
    xp = library(steps)
    found = (rounded - high - 1) % period + high + 1 - period
    for turned in ((steps + 0.5) / (period / 2) % 2 >= 1, (steps / period % 2 >= 1) & (abs(steps) > 0.5)):
        found = xp.where(turned, -found - 1, found)
    return found  # type: ignore[no-any-return]


def spread(quantiser: Quantiser, shape: tuple[int, ...]) -> list[FixedPoint | None]:
    """Return the type of every value of a shape, row by row; None is a value without bits, which is zero.

    Raises:
        NetworkError: the quantiser is neither a fixed-point type nor one per value, or does not fit the shape.
    """
    if isinstance(quantiser, FixedPoint):
        return [quantiser] * int(np.prod(shape))
    if not isinstance(quantiser, FixedPoints):
        raise NetworkError(f"a {type(quantiser).__name__} is not a fixed-point type")
    types = quantiser.width.shape
    kinds = np.array([quantiser.kind(place) for place in np.ndindex(types)], dtype=object).reshape(types)
    with explained(NetworkError, f"types of shape {types} do not fit values of shape {shape}", ValueError):
        return list(np.broadcast_to(kinds, shape).flat)


@dataclass(frozen=True)
class PowerOfTwo:
    """Signed powers of two between 2**lowest and 2**highest (QKeras' `quantized_po2`).

    Zero becomes the smallest, and so does every magnitude below `zero`.
    """

    lowest: int
    highest: int
    signed: bool = True
    zero: float = 0.0

    def __post_init__(self) -> None:
        """Refuse exponents in the wrong order or out of float64's reach."""
        if not -MAX_WIDTH <= self.lowest <= self.highest <= MAX_WIDTH:
            raise NetworkError(f"exponents {self.lowest} to {self.highest} are not a range between -52 and 52")

    @property
    def minimum(self) -> float:
        """The most negative value."""
        return -(2.0**self.highest) if self.signed else 0.0

    @property
    def maximum(self) -> float:
        """The largest value."""
        return 2.0**self.highest

    @property
    def fraction(self) -> int:
        """Bits right of the point that hold every value."""
        return -self.lowest

    @property
    def bits(self) -> float:
        """Bits of the exponent, and one for the sign."""
        return math.ceil(math.log2(self.highest - self.lowest + 1)) + self.signed

    def __call__(self, values: Array) -> Array:
        """Return the power of two nearest in the logarithm, with the sign of each value (positive for zero)."""
        xp = library(values)
        exponent = xp.round(xp.log2(xp.clip(abs(values), 2.0 ** (self.lowest - 1), None)))
        exponent = xp.where(abs(values) < self.zero, like(self.lowest, values), exponent)
        power = 2.0 ** xp.clip(exponent, self.lowest, self.highest)
        negative = (values < 0) if self.signed else values != values  # noqa: PLR0124 -- nowhere
        return xp.where(negative, -power, power)  # type: ignore[no-any-return]
