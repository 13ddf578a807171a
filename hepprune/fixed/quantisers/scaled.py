"""Quantisers with a scale per channel, fixed-point, binary and ternary, and floating-point types of a few bits."""

from dataclasses import dataclass, fields
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from hepprune.errors import NetworkError
from hepprune.fixed import MAX_WIDTH, Array, FixedPoint, library
from hepprune.fixed.quantisers.per_value import MAX_VALUES, PerValue, fraction_bits, like

_MAX_EXPONENT, _MAX_OFFSET = 6, 64
_EPSILON = 1e-7  # that HGQ2 adds to a magnitude before it takes its exponent


@dataclass(frozen=True, eq=False, kw_only=True)
class Minifloat(PerValue):
    """A sign, `mantissa` bits behind the point, `exponent` bits and an offset of the exponent; no infinity, no NaN.

    The arrays broadcast to the values. The smallest exponent has numbers below 1 (subnormal ones); half a step is
    rounded to even, and what is too large becomes the largest. The rule is `float_quantize` of the package quantizers.
    """

    mantissa: NDArray[np.int64]
    exponent: NDArray[np.int64]
    offset: NDArray[np.int64]

    def __post_init__(self) -> None:
        """Bring the arrays to one shape, and refuse what float64 cannot hold."""
        given = (np.asarray(each, np.int64) for each in (self.mantissa, self.exponent, self.offset))
        mantissa, exponent, offset = np.broadcast_arrays(*given)
        if mantissa.size > MAX_VALUES:
            raise NetworkError(f"floats of {mantissa.size:,} values, of which at most {MAX_VALUES:,} have one each")
        if not mantissa.size or mantissa.min() < -1 or exponent.min() < 0:
            raise NetworkError("a float of few bits has a mantissa of at least -1 bits, and no negative exponent bits")
        if exponent.max() > _MAX_EXPONENT or np.abs(offset).max() > _MAX_OFFSET:
            raise NetworkError(f"floats of more than {_MAX_EXPONENT} exponent bits or an offset beyond {_MAX_OFFSET}")
        self._keep(mantissa=mantissa, exponent=exponent, offset=offset)
        low, high = self._exponents
        if (high - low + mantissa).max() >= MAX_WIDTH:
            raise NetworkError(f"floats that take more than {MAX_WIDTH} bits as fixed-point numbers")

    @property
    def _exponents(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """The smallest and largest exponent."""
        half = np.maximum(np.exp2(self.exponent - 1.0), 1.0)
        return self.offset - half + 1, self.offset + half - 1

    @property
    def maximum(self) -> NDArray[np.float64]:
        """The largest values."""
        low, high = self._exponents
        largest = (np.exp2(self.mantissa + 1.0) - 1) * np.exp2(high - self.mantissa)
        found: NDArray[np.float64] = np.maximum(largest, np.where(low < high, np.exp2(high), 0))
        return found

    @property
    def minimum(self) -> NDArray[np.float64]:
        """The most negative values."""
        return -self.maximum

    @property
    def fraction(self) -> int:
        """Bits right of the point that hold every value."""
        return int((self.mantissa - self._exponents[0]).max())

    @property
    def bits(self) -> float:
        """Mean width, the sign included."""
        return float((self.mantissa + self.exponent + 1).mean())

    def __call__(self, values: Array) -> Array:
        """Return the nearest value that the type has."""
        xp = library(values)
        low, high, places = (like(each, values) for each in (*self._exponents, self.mantissa + 0.0))
        wanted = xp.floor(xp.log2(abs(values) + _EPSILON))
        taken = xp.minimum(xp.maximum(wanted, low), high)
        step = 2.0 ** (taken - places)
        most = 2.0 ** (places + 1) - like(1.0, values) * (taken == high)
        return xp.minimum(xp.maximum(xp.round(values / step), -most), most) * step  # type: ignore[no-any-return]


@dataclass(frozen=True)
class Scaled:
    """A fixed-point type times a scale per channel, given as a nested tuple that broadcasts (QKeras' `alpha`)."""

    base: FixedPoint
    scale: Any

    def __post_init__(self) -> None:
        """Refuse scales that are not positive numbers."""
        scale = np.asarray(self.scale, dtype=np.float64)
        if not (scale.size and np.isfinite(scale).all() and (scale > 0).all()):
            raise NetworkError("the scale of a quantiser must be positive and finite")
        object.__setattr__(self, "scale", _comparable(scale))

    @property
    def minimum(self) -> Any:
        """The most negative values."""
        return np.asarray(self.scale) * self.base.minimum

    @property
    def maximum(self) -> Any:
        """The largest values."""
        return np.asarray(self.scale) * self.base.maximum

    @property
    def fraction(self) -> int:
        """Bits right of the point that hold every value."""
        return self.base.fraction + fraction_bits(self.scale)

    @property
    def bits(self) -> float:
        """Bits per value before the scale."""
        return self.base.width

    def __call__(self, values: Array) -> Array:
        """Return values rounded in units of the scale."""
        scale = like(self.scale, values)
        return self.base(values / scale) * scale  # type: ignore[no-any-return]


class _Signs:
    """A sign times a scale per channel."""

    scale: Any

    def __post_init__(self) -> None:
        """Keep threshold and scale as numbers that compare."""
        for field in fields(self):  # type: ignore[arg-type]
            object.__setattr__(self, field.name, _comparable(getattr(self, field.name)))

    @property
    def minimum(self) -> Any:
        """The negative values."""
        return -np.asarray(self.scale, dtype=np.float64)

    @property
    def maximum(self) -> Any:
        """The positive values."""
        return np.asarray(self.scale, dtype=np.float64)

    @property
    def fraction(self) -> int:
        """Bits right of the point that hold every value."""
        return fraction_bits(self.scale)


@dataclass(frozen=True)
class Binary(_Signs):
    """-scale or +scale by sign, zero counting as positive (Courbariaux et al., arXiv:1511.00363)."""

    scale: Any = 1.0
    bits: ClassVar[float] = 1

    def __call__(self, values: Array) -> Array:
        """Return the scale with the sign of each value."""
        sign = library(values).where(values >= 0, like(1.0, values), like(-1.0, values))
        return sign * like(self.scale, values)  # type: ignore[no-any-return]


@dataclass(frozen=True)
class Ternary(_Signs):
    """-scale, 0 or +scale: zero where the magnitude is at most `threshold` (Li et al., arXiv:1605.04711)."""

    threshold: Any = 1 / 3
    scale: Any = 1.0
    bits: ClassVar[float] = 2

    def __call__(self, values: Array) -> Array:
        """Return the scale with the sign of each value that is large enough, else zero."""
        large = abs(values) > like(self.threshold, values)
        return library(values).sign(values) * large * like(self.scale, values)  # type: ignore[no-any-return]


def _comparable(numbers: Any) -> Any:
    return tuples(np.asarray(numbers, dtype=np.float64).tolist())


def tuples(value: Any) -> Any:
    """Return nested lists as nested tuples, which compare and hash."""
    return tuple(tuples(entry) for entry in value) if isinstance(value, list) else value
