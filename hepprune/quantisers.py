"""Quantisers beside `FixedPoint`: per-value bit widths, scaled, binary, ternary and power-of-two weights."""

import dataclasses
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from hepprune.errors import NetworkError, unknown
from hepprune.fixed import OVERFLOW, ROUNDING, Array, FixedPoint, Quantiser, library

_MAX_BITS = 52  # that float64 holds exactly
_MAX_VALUES = 2**24  # with a bit width of their own


def _like(array: Any, values: Any) -> Any:
    """Return an array in the library, floating type and place of `values`."""
    if isinstance(values, torch.Tensor):
        return torch.as_tensor(array, dtype=values.dtype, device=values.device)
    return np.asarray(array, dtype=values.dtype)


def _fraction(values: Any) -> int:
    """Return the bits right of the point that hold the values exactly.

    Raises:
        NetworkError: they need more than 52.
    """
    for bits in range(-64, _MAX_BITS + 1):
        scaled = np.ldexp(np.asarray(values, dtype=np.float64), bits)
        if np.array_equal(scaled, np.round(scaled)):
            return bits
    raise NetworkError(f"a scale such as {np.ravel(values)[0]:g} is no whole number of any power of two above 2**-52")


@dataclass(frozen=True, eq=False)
class FixedPoints:
    """A fixed-point type per channel or per value, as HGQ trains them (arXiv:2405.00645); no bits at all give zero.

    `width`, `integer` and `signed` broadcast to the values, as in `FixedPoint`.
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
        if width.size > _MAX_VALUES or not (width.size and 0 <= width.min() <= width.max() <= _MAX_BITS):
            raise NetworkError(f"fixed-point widths must lie between 0 and {_MAX_BITS}")
        if np.abs(integer).max() > 64:
            raise NetworkError("integer bits must lie between -64 and 64")
        if self.rounding not in ROUNDING:
            raise NetworkError(unknown("rounding", self.rounding, ROUNDING))
        if self.overflow not in OVERFLOW:
            raise NetworkError(unknown("overflow", self.overflow, OVERFLOW))
        for name, array in (("width", width), ("integer", integer), ("signed", signed)):
            fixed = array.copy()
            fixed.setflags(write=False)
            object.__setattr__(self, name, fixed)

    @property
    def step(self) -> NDArray[np.float64]:
        """The value of the last place."""
        return np.exp2((self.integer - self.width).astype(np.float64))

    @property
    def _ends(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """The smallest and largest whole number of steps."""
        highest = np.exp2(self.width - self.signed) - 1
        highest = np.where(self.width > 0, np.maximum(highest, 0), 0)
        lowest = np.where(self.signed & (self.width > 0), -highest - (self.overflow != "SAT_SYM"), 0)
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
        step, low, high = (_like(a, values) for a in (self.step, *self._ends))
        rounded = ROUNDING[self.rounding](values / step)
        if self.overflow == "WRAP":
            rounded = library(values).remainder(rounded - low, high - low + 1) + low
        else:
            rounded = library(values).maximum(library(values).minimum(rounded, high), low)
        return rounded * step  # type: ignore[no-any-return]

    def __eq__(self, other: object) -> bool:
        """Return whether the other is the same type everywhere."""
        return isinstance(other, FixedPoints) and to_json(self) == to_json(other)

    def __hash__(self) -> int:
        """Return a hash of the content."""
        return hash((self.width.tobytes(), self.integer.tobytes(), self.rounding, self.overflow))


@dataclass(frozen=True)
class Scaled:
    """A fixed-point type times a scale per channel, given as a nested tuple that broadcasts (QKeras' `alpha`)."""

    base: FixedPoint
    scale: Any

    def __post_init__(self) -> None:
        """Refuse scales that are no positive numbers."""
        scale = np.asarray(self.scale, dtype=np.float64)
        if not (scale.size and np.isfinite(scale).all() and (scale > 0).all()):
            raise NetworkError("the scale of a quantiser must be positive and finite")
        object.__setattr__(self, "scale", _tuples(scale.tolist()))

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
        return self.base.fraction + _fraction(self.scale)

    @property
    def bits(self) -> float:
        """Bits per value before the scale."""
        return self.base.width

    def __call__(self, values: Array) -> Array:
        """Return values rounded in units of the scale."""
        scale = _like(self.scale, values)
        return self.base(values / scale) * scale  # type: ignore[no-any-return]


@dataclass(frozen=True)
class Binary:
    """-scale or +scale by sign, zero counting as positive (Courbariaux et al., arXiv:1511.00363)."""

    scale: Any = 1.0

    def __post_init__(self) -> None:
        """Keep the scale as numbers that compare."""
        object.__setattr__(self, "scale", _tuples(np.asarray(self.scale, dtype=np.float64).tolist()))

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
        return _fraction(self.scale)

    @property
    def bits(self) -> float:
        """One."""
        return 1

    def __call__(self, values: Array) -> Array:
        """Return the scale with the sign of each value."""
        sign = library(values).where(values >= 0, _like(1.0, values), _like(-1.0, values))
        return sign * _like(self.scale, values)  # type: ignore[no-any-return]


@dataclass(frozen=True)
class Ternary:
    """-scale, 0 or +scale: zero where the magnitude is at most `threshold` (Li et al., arXiv:1605.04711)."""

    threshold: Any = 1 / 3
    scale: Any = 1.0

    def __post_init__(self) -> None:
        """Keep threshold and scale as numbers that compare."""
        for name in ("threshold", "scale"):
            object.__setattr__(self, name, _tuples(np.asarray(getattr(self, name), dtype=np.float64).tolist()))

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
        return _fraction(self.scale)

    @property
    def bits(self) -> float:
        """Two."""
        return 2

    def __call__(self, values: Array) -> Array:
        """Return the scale with the sign of each value that is large enough, else zero."""
        large = abs(values) > _like(self.threshold, values)
        return library(values).sign(values) * large * _like(self.scale, values)  # type: ignore[no-any-return]


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
        if not -_MAX_BITS <= self.lowest <= self.highest <= _MAX_BITS:
            raise NetworkError(f"exponents {self.lowest} to {self.highest} are no range between -52 and 52")

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
        smallest = 2.0 ** (self.lowest - 1)
        exponent = xp.round(xp.log2(xp.clip(abs(values), smallest, None)))
        exponent = xp.where(abs(values) < self.zero, _like(self.lowest, values), exponent)
        power = 2.0 ** xp.clip(exponent, self.lowest, self.highest)
        negative = (values < 0) if self.signed else values != values  # noqa: PLR0124 -- nowhere
        return xp.where(negative, -power, power)  # type: ignore[no-any-return]


QUANTISERS: dict[str, type[Any]] = {kind.__name__: kind for kind in (FixedPoints, Scaled, Binary, Ternary, PowerOfTwo)}


def taken(quantiser: Quantiser | None, keep: Any, *, axis: int) -> Quantiser | None:
    """Return the quantiser of the values that are kept along an axis, counted from the end.

    `keep` is a mask over that axis. A quantiser that is the same all along the axis stays as it is.
    """
    if quantiser is None or isinstance(quantiser, FixedPoint | PowerOfTwo):
        return quantiser
    mask = np.asarray(keep, dtype=bool)
    fields = {field.name: getattr(quantiser, field.name) for field in dataclasses.fields(quantiser)}  # type: ignore[arg-type]
    arrays = {name: np.asarray(value) for name, value in fields.items() if isinstance(value, np.ndarray | tuple)}
    along = {name: a for name, a in arrays.items() if a.ndim >= -axis and a.shape[axis] == len(mask) != 1}
    changed = {name: np.compress(mask, a, axis=axis) for name, a in along.items()}
    return dataclasses.replace(quantiser, **changed)  # type: ignore[type-var]


def to_json(quantiser: Quantiser | None) -> Any:
    """Return a quantiser as JSON values: the `ap_fixed` text, or its kind and fields."""
    if quantiser is None or isinstance(quantiser, FixedPoint):
        return None if quantiser is None else str(quantiser)
    fields = dataclasses.fields(quantiser)  # type: ignore[arg-type]
    return {"quantiser": type(quantiser).__name__} | {f.name: _plain(getattr(quantiser, f.name)) for f in fields}


def from_json(described: Any) -> Quantiser | None:
    """Return the quantiser that `to_json` described.

    Raises:
        NetworkError: it describes none.
    """
    if described is None:
        return None
    if isinstance(described, str):
        return FixedPoint.parse(described)
    if not isinstance(described, dict) or described.get("quantiser") not in QUANTISERS:
        raise NetworkError(f"{str(described)[:80]} describes no quantiser")
    fields = {name: value for name, value in described.items() if name != "quantiser"}
    if "base" in fields:
        fields["base"] = from_json(fields["base"])
    try:
        quantiser: Quantiser = QUANTISERS[described["quantiser"]](**fields)
    except (TypeError, ValueError) as problem:
        raise NetworkError(f"{str(described)[:80]} describes no quantiser") from problem
    return quantiser


def _plain(value: Any) -> Any:
    if isinstance(value, FixedPoint):
        return str(value)
    return value.tolist() if isinstance(value, np.ndarray) else value


def _tuples(value: Any) -> Any:
    return tuple(_tuples(entry) for entry in value) if isinstance(value, list) else value
