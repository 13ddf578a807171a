"""Floats of a few bits among HGQ2's quantisers: mantissa, exponent and what is added to it, each trained."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hepprune.errors import NetworkError, explained
from hepprune.fixed.quantisers import FixedPoints, Minifloat
from hepprune.frontends.keras.registry import Floats, Native
from hepprune.network import Shape

ValueTypes = FixedPoints | Minifloat  # one per value, as arrays that broadcast
FIELDS = {"m": "mantissa", "e": "exponent", "e0": "offset"}
_FINEST = 4e-7  # a step beside which what HGQ2 adds to a magnitude before it takes the exponent changes nothing


def floats(native: Native, key: str, arrays: Mapping[str, NDArray[np.int64]], shift: int) -> Minifloat:
    """Return the type of a quantiser from its arrays, the point moved by `shift` places."""
    with explained(native.refuse, f"has a {key} that cannot be taken over:", NetworkError, ValueError):
        found = Minifloat(**{FIELDS[name]: array + shift * (name == "e0") for name, array in arrays.items()})
    if shift and 2.0**-found.fraction < _FINEST * max(2.0**shift, 1.0):
        raise native.refuse(f"has a {key} with a scaler, and floats too fine for HGQ2 to round them by one rule")
    return found


def _as_floats(native: Native, key: str, kind: ValueTypes) -> Minifloat:
    """Return fixed-point types as floats of one exponent, which hold the same but for the most negative value."""
    if isinstance(kind, Minifloat):
        return kind
    whole = kind.integer - kind.signed
    mantissa = np.where(kind.width > 0, kind.width - kind.signed - 1, -1)
    with explained(native.refuse, f"would have a {key} that no float holds:", NetworkError):
        return Minifloat(mantissa=mantissa, exponent=np.zeros_like(whole), offset=whole - 1)


def held_floats(
    native: Native, key: str, places: Mapping[str, str], kind: ValueTypes, *, shift: int, acting: Floats | None
) -> dict[str, Floats]:
    """Return the arrays of floats, in the shape that the file has them in.

    Raises:
        NetworkError: the file keeps one width where the types have several, or they do not hold the acting weights.
    """
    kind = _as_floats(native, key, kind)
    if acting is not None and not np.array_equal(kind(acting.astype(np.float64)), acting):
        raise native.refuse(f"has a {key} of floats, which do not hold the weights that the network has now")
    arrays = {"m": kind.mantissa, "e": kind.exponent, "e0": kind.offset - shift}
    return as_stored(native, key, places, arrays, np.ones(kind.mantissa.shape, bool))


def as_stored(
    native: Native, key: str, places: Mapping[str, str], bits: Mapping[str, NDArray[Any]], used: NDArray[np.bool_]
) -> dict[str, Floats]:
    """Return the bits of values, by name, in the shape that the file has a quantiser's arrays in, by their places.

    Raises:
        NetworkError: the file keeps one width where the used values have several.
    """
    old = native.stored[next(iter(places.values()))].shape
    arrays = shared(native, f"a {key} with one width", old, used, *(bits[name] for name in places))
    return dict(zip(places.values(), arrays, strict=True))


def shared(native: Native, what: str, old: Shape, used: NDArray[np.bool_], *bits: NDArray[Any]) -> list[Floats]:
    """Return bits of values in the shape that an array of the file has, one for those that share them there.

    Raises:
        NetworkError: the file has one for used values that have several.
    """
    old = (1,) * (used.ndim - len(old)) + old
    shape = tuple(1 if size == 1 else now for size, now in zip(old, used.shape, strict=True))
    with explained(native.refuse, f"has {what} where the network has several", ValueError):
        return [_grouped(each, used, shape) for each in bits]


def _grouped(bits: NDArray[Any], used: NDArray[np.bool_], shape: Shape) -> Floats:
    """Return the bits of values that share them: those of the used ones, zero where there is none."""
    axes = tuple(axis for axis, size in enumerate(shape) if size != bits.shape[axis])
    whole = bits.astype(np.float64)
    high = np.where(used, whole, -np.inf).max(axis=axes, keepdims=True)
    low = np.where(used, whole, np.inf).min(axis=axes, keepdims=True)
    if (low < high).any():
        raise ValueError("several widths")
    found: Floats = np.where(used.any(axis=axes, keepdims=True), high, whole.max(axis=axes, keepdims=True))
    return found
