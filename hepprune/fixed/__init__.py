"""Fixed-point types with the rounding and overflow of `ap_fixed`, on numpy arrays and torch tensors alike."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import numpy as np
import torch

from hepprune.errors import NetworkError, check_known

Array = TypeVar("Array", np.ndarray[Any, Any], torch.Tensor)


class Quantiser(Protocol):
    """Rounds values to those that a type can hold; `FixedPoint` is the one that firmware computes with."""

    @property
    def minimum(self) -> Any:
        """The most negative value, a number or an array that broadcasts."""

    @property
    def maximum(self) -> Any:
        """The largest value, a number or an array that broadcasts."""

    @property
    def fraction(self) -> int:
        """Bits right of the point that hold every value."""

    @property
    def bits(self) -> float:
        """Bits per value, their mean where they differ."""

    def __call__(self, values: Array) -> Array:
        """Return values as the type holds them, in the floating type given."""


def library(values: Any) -> Any:
    """Return the package that computes with the values, torch or numpy."""
    return torch if isinstance(values, torch.Tensor) else np


# Arrays that functions with an underscore are given are written over where torch can; numpy's may not be arrays.
def _floor(values: Any) -> Any:
    return values.floor_() if isinstance(values, torch.Tensor) else np.floor(values)


def _ceil(values: Any) -> Any:
    return values.ceil_() if isinstance(values, torch.Tensor) else np.ceil(values)


def _clip(values: Any, low: int, high: int) -> Any:
    return values.clip_(low, high) if isinstance(values, torch.Tensor) else np.clip(values, low, high)


# Halves first: each step is exact in every floating type, while values + 0.5 would itself be rounded.
def _half_up(values: Any) -> Any:
    values *= 2
    halves = _floor(values)
    halves *= 0.5
    return _ceil(halves)


def _half_down(values: Any) -> Any:
    values *= 2
    halves = _ceil(values)
    halves *= 0.5
    return _floor(halves)


# Each takes values in units of the last place, which it may write over, and returns whole numbers (UG902,
# "Quantization Modes").
ROUNDING: dict[str, Callable[[Any], Any]] = {
    "TRN": _floor,
    "TRN_ZERO": lambda v: library(v).trunc(v),
    "RND": _half_up,
    "RND_ZERO": lambda v: library(v).where(v < 0, _half_up(1.0 * v), _half_down(1.0 * v)),
    "RND_INF": lambda v: library(v).where(v < 0, _half_down(1.0 * v), _half_up(1.0 * v)),
    "RND_MIN_INF": _half_down,
    "RND_CONV": lambda v: library(v).round(v),
}
OVERFLOW = ("WRAP", "SAT", "SAT_SYM")
MAX_WIDTH = 52  # bits that float64 holds exactly
MANTISSA = 24  # bits that float32 holds, the narrowest type networks run in


def wrapped(steps: Array, period: Any, *, signed: bool) -> Array:
    """Return whole numbers of steps less whole periods, from 0 or from -period/2 on; a period is a power of two.

    Nothing is added before it is taken off, so that the result is exact wherever its floating type can hold it.
    """
    turns = _half_up(steps * (1 / period)) if signed else _floor(steps * (1 / period))
    turns *= period
    return steps - turns  # type: ignore[no-any-return]


_TEXT = re.compile(
    r"(?:ap_)?(u?)fixed<\s*(\d{1,4})\s*,\s*(-?\d{1,4})\s*(?:,\s*(?:AP_)?(\w+)\s*(?:,\s*(?:AP_)?(\w+)\s*(?:,\s*0\s*)?)?)?>"
)


@dataclass(frozen=True)
class FixedPoint:
    """A binary fixed-point type: `width` bits in all, `integer` of them left of the point, the sign bit included."""

    width: int
    integer: int
    signed: bool = True
    rounding: str = "TRN"
    overflow: str = "WRAP"

    def __post_init__(self) -> None:
        """Refuse what `ap_fixed` does not know, and widths that float64 cannot hold exactly."""
        if not 1 <= self.width <= MAX_WIDTH:
            raise NetworkError(f"a fixed-point width of {self.width} bits is not between 1 and {MAX_WIDTH}")
        if abs(self.integer) > 64:
            raise NetworkError(f"{self.integer} integer bits are not between -64 and 64")
        check_known("rounding", self.rounding, ROUNDING, NetworkError)
        check_known("overflow", self.overflow, OVERFLOW, NetworkError)

    def __deepcopy__(self, memo: object) -> "FixedPoint":
        """Return the type itself: it never changes."""
        return self

    @property
    def fraction(self) -> int:
        """Bits right of the point; may be negative."""
        return self.width - self.integer

    @property
    def bits(self) -> float:
        """The width."""
        return self.width

    @property
    def step(self) -> float:
        """The value of the last place."""
        return 2.0**-self.fraction

    @property
    def integer_range(self) -> tuple[int, int]:
        """The smallest and largest whole number of steps, both included."""
        if not self.signed:
            return 0, 2**self.width - 1
        highest = 2 ** (self.width - 1) - 1
        # With a sign alone there is nothing to be symmetric to: ap_types then saturates as AP_SAT does.
        return (-highest if self.overflow == "SAT_SYM" and self.width > 1 else -highest - 1), highest

    @property
    def minimum(self) -> float:
        """The most negative value."""
        return self.integer_range[0] * self.step

    @property
    def maximum(self) -> float:
        """The largest value."""
        return self.integer_range[1] * self.step

    def integers(self, values: Array) -> Array:
        """Return values as whole numbers of steps, in the floating type given.

        They are exact where it holds them; of a type wider than its mantissa, those in range that are next to them.
        """
        rounded = ROUNDING[self.rounding](values * 2.0**self.fraction)  # as exact as a division, in half its time
        if self.overflow == "WRAP":
            rounded = wrapped(rounded, 2.0**self.width, signed=self.signed)
            if self.width <= MANTISSA:
                return rounded  # type: ignore[no-any-return]
        return _clip(rounded, *self._ends(values))  # type: ignore[no-any-return]

    def _ends(self, values: Any) -> tuple[int, int]:
        """Return the smallest and largest whole number of steps in range that the floating type of the values holds."""
        if self.width <= MANTISSA or values.itemsize > 4:
            return self.integer_range
        unit = 2 ** (self.width - self.signed - MANTISSA)
        lowest, highest = self.integer_range
        return -(-lowest // unit * unit), highest // unit * unit

    def __call__(self, values: Array) -> Array:
        """Return values rounded and brought into range, in the floating type given."""
        held = self.integers(values)
        held *= self.step
        return held

    def holds(self, values: Array) -> Array:
        """Return which values this type represents exactly."""
        inside: Array = (values == self(values)) & (values >= self.minimum) & (values <= self.maximum)
        return inside

    def __str__(self) -> str:
        """Return the `ap_fixed` text, as hls4ml and Vitis HLS read it."""
        kind = "ap_fixed" if self.signed else "ap_ufixed"
        modes = "" if (self.rounding, self.overflow) == ("TRN", "WRAP") else f",AP_{self.rounding},AP_{self.overflow}"
        return f"{kind}<{self.width},{self.integer}{modes}>"

    @classmethod
    def parse(cls, text: str) -> "FixedPoint":
        """Read `ap_fixed<8,3,AP_RND,AP_SAT>`, `ufixed<6,2>` and the like.

        Raises:
            NetworkError: the text is not a fixed-point type.
        """
        match = _TEXT.fullmatch(text.strip())
        if not match:
            raise NetworkError(f"'{text}' is not a fixed-point type; write for example ap_fixed<8,3,AP_RND,AP_SAT>")
        unsigned, width, integer, rounding, overflow = match.groups()
        return cls(int(width), int(integer), not unsigned, rounding or "TRN", overflow or "WRAP")

    @classmethod
    def covering(cls, low: float, high: float, *, fraction: int) -> "FixedPoint":
        """Return the narrowest type with `fraction` bits after the point that holds [low, high] without overflow."""
        lowest, highest = round(low * 2.0**fraction), round(high * 2.0**fraction)
        if not (lowest or highest):  # zero lies on every grid; that of values without bits is coarser than a type's
            fraction = max(fraction, 0)
        signed = lowest < 0
        bits = max(max(lowest, -lowest - 1).bit_length(), max(highest, -highest - 1).bit_length()) + signed
        return cls(max(bits, 1), max(bits, 1) - fraction, signed)
