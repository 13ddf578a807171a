"""Quantisers beside `FixedPoint`: per-value widths, small floats, scaled, binary, ternary and power-of-two weights."""

import dataclasses
import math
from typing import Any

import numpy as np

from hepprune.errors import NetworkError, refused
from hepprune.fixed import FixedPoint, Quantiser
from hepprune.fixed.quantisers.per_value import FOLDED, FixedPoints, PowerOfTwo, spread
from hepprune.fixed.quantisers.scaled import Binary, Minifloat, Scaled, Ternary

_KINDS: tuple[type[Any], ...] = (FixedPoints, Minifloat, Scaled, Binary, Ternary, PowerOfTwo)
QUANTISERS = {kind.__name__: kind for kind in _KINDS}

__all__ = ["QUANTISERS", "Binary", "FixedPoints", "Minifloat", "PowerOfTwo", "Scaled", "Ternary"]
__all__ += ["by_table", "check_shape", "from_json", "singles", "spread", "taken", "to_json"]


def by_table(quantiser: Quantiser | None) -> bool:
    """Return whether values are rounded by a rule that no adder has, so that firmware looks each of them up."""
    return isinstance(quantiser, Minifloat) or (isinstance(quantiser, FixedPoints) and quantiser.overflow == FOLDED)


def check_shape(layer: str, quantiser: Quantiser | None, shape: tuple[int, ...]) -> None:
    """Refuse types of single values that are not those of values of a shape.

    Raises:
        NetworkError: they do not broadcast to it.
    """
    types = np.shape(getattr(quantiser, "mantissa" if isinstance(quantiser, Minifloat) else "width", 0))
    if len(types) > len(shape) or any(a not in {1, b} for a, b in zip(types[::-1], shape[::-1], strict=False)):
        raise refused(layer, f"has types of shape {types} for values of {shape}")


def singles(quantiser: Any, shape: tuple[int, ...]) -> list[Any]:
    """Return the quantiser of every value of a shape, row by row."""
    fields = {field.name: getattr(quantiser, field.name) for field in dataclasses.fields(quantiser)}
    whole = {name: np.broadcast_to(a, shape).ravel() for name, a in fields.items() if isinstance(a, np.ndarray)}
    each = ({name: array[place] for name, array in whole.items()} for place in range(math.prod(shape)))
    return [dataclasses.replace(quantiser, **changes) for changes in each]


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
    found: dict[str, Any] = {"quantiser": type(quantiser).__name__}
    for field in dataclasses.fields(quantiser):  # type: ignore[arg-type]
        value = getattr(quantiser, field.name)
        plain = str(value) if isinstance(value, FixedPoint) else value
        found[field.name] = plain.tolist() if isinstance(plain, np.ndarray) else plain
    return found


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
    except (TypeError, ValueError) as problem:  # only then are types of millions of values written out
        raise NetworkError(f"{str(described)[:80]} describes no quantiser") from problem
    return quantiser
