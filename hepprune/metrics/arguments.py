"""What may stand between the brackets of a metric's name: fractions, rates, whole numbers, classes, words."""

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import MISSING, Field, dataclass, field
from pathlib import Path
from typing import Any, Literal

from hepprune.errors import DataError, check_known, unknown

_QUANTITY = re.compile(r"([+-]?(?:\d{1,40}\.?\d{0,40}|\.\d{1,40})(?:[eE][+-]?\d{1,3})?)\s*([A-Za-z%]*)")
_MOST = 10**6  # bins, bunches: beyond it is a slip of the pen, and more than memory holds
_KHZ = {"Hz": 1e-3, "kHz": 1.0, "MHz": 1e3}
_FRACTIONS = {"": 1.0, "%": 0.01}
PER_JET = ("mse", "mu2")  # what makes one score of several outputs; see `discriminants`


@dataclass(frozen=True)
class Conditions:
    """What names of metrics may leave to a task.

    The names of its classes in order, the bunches that collide in an orbit, the folder of metrics of your own, and what
    makes one score of several outputs.
    """

    classes: tuple[str, ...] = ()
    n_bunches: int | None = None
    folder: Path | None = field(default=None, compare=False)  # tasks are alike wherever they lie
    of: Literal["mse", "mu2"] | None = None


@dataclass(frozen=True)
class Sides:
    """Classes, by their numbers, that are told from others: from all the rest where there is no background."""

    signal: tuple[int, ...]
    background: tuple[int, ...] | None = None


Of = Sides | Literal["mse", "mu2"]
Reader = Callable[[str, Conditions], Any]


def fraction(text: str, _: Conditions) -> float:
    """Read a fraction between 0 and 1, such as 0.5 or 50 %."""
    value = _quantity(text, _FRACTIONS, "a fraction such as 0.01 or 1 %")
    if not 0 < value < 1:
        raise DataError(f"the fraction {text} does not lie between 0 and 1")
    return value


def rate(text: str, _: Conditions) -> float:
    """Read a rate, such as 5 kHz, in kHz."""
    return _positive(_quantity(text, _KHZ, "a rate with its unit, such as 5 kHz"), text)


def number(text: str, _: Conditions) -> float:
    """Read a number."""
    return _quantity(text, {"": 1.0}, "a number")


def positive(text: str, _: Conditions) -> float:
    """Read a number above zero."""
    return _positive(_quantity(text, {"": 1.0}, "a number"), text)


def whole(text: str, _: Conditions) -> int:
    """Read a whole number from 1 to a million."""
    value = _quantity(text, {"": 1.0}, "a whole number")
    if not 1 <= value <= _MOST or value != round(value):
        raise DataError(f"'{text}' is not a whole number from 1 to {_MOST}")
    return int(value)


def yes(text: str, _: Conditions) -> bool:
    """Read true or false."""
    check_known("value", text, ("true", "false"), DataError)
    return text == "true"


def of(text: str, conditions: Conditions) -> Of:
    """Read what is told from what: t, t/q, t/q+g by names or numbers of classes, or mse and mu2 of values."""
    if text in PER_JET and text not in conditions.classes:
        return "mse" if text == "mse" else "mu2"
    if text in conditions.classes:  # its own name may hold a slash
        return Sides((conditions.classes.index(text),))
    signal, slash, background = text.partition("/")
    sides = Sides(_classes(signal, conditions), _classes(background, conditions) if slash else None)
    if set(sides.signal) & set(sides.background or ()):
        raise DataError(f"'{text}' names a class as signal and as background")
    return sides


def argument(read: Reader, default: Any = MISSING, *, kw_only: bool = False) -> Any:
    """Declare an argument of a metric and how it is read."""
    return field(default=default, kw_only=kw_only, metadata={"read": read})


def parse(name: str, text: str, fields: Sequence[Field[Any]], conditions: Conditions) -> dict[str, Any]:
    """Return the arguments that a metric's name gives between its brackets, by their names.

    Raises:
        DataError: they are none of the metric's, too many, given twice, or missing.
    """
    known = {each.name: each for each in fields}
    places = [each.name for each in fields if not each.kw_only and each.metadata["read"] is not yes]
    found: dict[str, Any] = {}
    for part in text.split(",") if text.strip() else ():
        key, value = _assigned(name, part.strip(), known, places)
        if key in found:
            raise DataError(f"'{name}' gives {key} twice")
        found[key] = known[key].metadata["read"](value, conditions)
    return found


def _assigned(name: str, part: str, known: dict[str, Field[Any]], places: list[str]) -> tuple[str, str]:
    """Return the argument that a part means: by its name, a yes by its word alone, any other by its place."""
    key, equals, value = (each.strip() for each in part.partition("="))
    if equals:
        check_known(f"argument of '{name}'", key, known, DataError)
        return key, value
    if part in known and known[part].metadata["read"] is yes:
        return part, "true"
    if not places:
        raise DataError(f"'{name}' has an argument too many, '{part}'; it takes: {', '.join(known) or 'none'}")
    return places.pop(0), part


def _quantity(text: str, units: dict[str, float], wanted: str) -> float:
    found = _QUANTITY.fullmatch(text)
    if not found or found[2] not in units or not math.isfinite(float(found[1])):
        raise DataError(f"'{text}' is not {wanted}")
    return float(found[1]) * units[found[2]]


def _positive(value: float, text: str) -> float:
    if value <= 0:
        raise DataError(f"'{text}' is not above zero")
    return value


def _classes(text: str, conditions: Conditions) -> tuple[int, ...]:
    return tuple(_class(each.strip(), conditions.classes) for each in text.split("+"))


def _class(name: str, classes: tuple[str, ...]) -> int:
    if name in classes:
        return classes.index(name)
    if re.fullmatch(r"[0-9]{1,6}", name):
        return int(name)
    if not classes:
        raise DataError(f"'{name}' is not the number of a class, counted from 0, and the classes have no names here")
    raise DataError(unknown("class", name, classes))
