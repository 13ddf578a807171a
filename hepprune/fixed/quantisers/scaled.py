"""Quantisers with a scale per channel: fixed-point, binary and ternary weights."""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from hepprune.errors import NetworkError
from hepprune.fixed import Array, FixedPoint, library
from hepprune.fixed.quantisers.per_value import fraction_bits, like


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
        object.__setattr__(self, "scale", tuples(scale.tolist()))

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

    def __post_init__(self) -> None:
        """Keep the scale as numbers that compare."""
        object.__setattr__(self, "scale", _comparable(self.scale))

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

    def __post_init__(self) -> None:
        """Keep threshold and scale as numbers that compare."""
        for name in ("threshold", "scale"):
            object.__setattr__(self, name, _comparable(getattr(self, name)))

    def __call__(self, values: Array) -> Array:
        """Return the scale with the sign of each value that is large enough, else zero."""
        large = abs(values) > like(self.threshold, values)
        return library(values).sign(values) * large * like(self.scale, values)  # type: ignore[no-any-return]


def _comparable(numbers: Any) -> Any:
    return tuples(np.asarray(numbers, dtype=np.float64).tolist())


def tuples(value: Any) -> Any:
    """Return nested lists as nested tuples, which compare and hash."""
    return tuple(tuples(entry) for entry in value) if isinstance(value, list) else value
