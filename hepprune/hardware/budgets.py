"""Budgets as people write them: `lut=10%`, `latency=100ns`, `interval=1`; with their units checked."""

import math
import re
from collections.abc import Iterable

from hepprune.errors import RecipeError, unknown
from hepprune.hardware.resources import RESOURCES, Budget
from hepprune.hardware.targets import Target

_NS = {"ns": 1.0, "us": 1e3, "ms": 1e6, "s": 1e9}
_SHORT = {"latency": "latency_ns", "interval": "interval_cycles", "ii": "interval_cycles", "bram": "bram18"}
_FIGURES = ("latency_ns", "interval_cycles", *RESOURCES)
_MOST = 1e15  # more than any chip has, or than anything takes; also in other units it is still a finite number
_VALUE = re.compile(r"((?:[0-9]*\.)?[0-9]+(?:[eE][+-]?[0-9]+)?)\s*([A-Za-z%]*)")


def resolve(target: Target, written: Iterable[str] = ()) -> Budget:
    """Return a target's budget, what is written of it in its place, checked.

    Raises:
        RecipeError: a limit cannot be read, has the wrong unit, or is more than the chip or less than a cycle.
    """
    budget = target.budget.holding(dict(read(target, text) for text in written))
    check(target, budget)
    return budget


def read(target: Target, text: str) -> tuple[str, float]:
    """Return the name and value of one limit, in ns, cycles or cells."""
    name, equals, rest = (part.strip() for part in text.partition("="))
    name = _SHORT.get(name.lower(), name.lower())
    if not equals:
        raise RecipeError(f"'{text}' is not a limit; write for example lut=20000, lut=10%, latency=100ns or interval=1")
    if name not in _FIGURES:
        raise RecipeError(unknown("limit", name, (*_FIGURES, *_SHORT)))
    value, unit = _number(text, rest, name)
    if name == "latency_ns":
        if unit not in {"", "cycles", *_NS}:
            raise RecipeError(f"the limit '{text}' is not a time; give ns (also us, ms, s or cycles)")
        return name, value * (target.period_ns if unit == "cycles" else _NS.get(unit, 1.0))
    if name == "interval_cycles":
        if unit not in {"", "cycles"} or value != int(value):
            raise RecipeError(f"the limit '{text}' is not a whole number of clock cycles, such as interval=1")
        return name, value
    if unit.lower() not in {"", "k", "%", name}:
        raise RecipeError(f"the limit '{text}' is not a count of cells; write a number, or a share of the chip as 10%")
    return name, _cells(target, name, value, unit)


def _number(text: str, written: str, name: str) -> tuple[float, str]:
    """Return the number of a limit and its unit."""
    match = _VALUE.fullmatch(written)
    if written.startswith("-") and _VALUE.fullmatch(written[1:]):
        raise RecipeError(f"the limit '{text}' is below zero; write for example {_example(name)}")
    if not match:
        raise RecipeError(f"the limit '{text}' holds no number, such as {_example(name)}")
    if float(match[1]) > _MOST:
        raise RecipeError(f"the limit '{text}' is too large; write for example {_example(name)}")
    return float(match[1]), match[2]


def _cells(target: Target, name: str, value: float, unit: str) -> float:
    if unit == "%":
        return float(math.floor(value / 100 * getattr(target.device, name)))
    return value * 1000 if unit.lower() == "k" else value


def _example(name: str) -> str:
    return {"latency_ns": "latency=100ns", "interval_cycles": "interval=1"}.get(name, f"{name}=1000 or {name}=10%")


def check(target: Target, budget: Budget) -> None:
    """Refuse limits whose unit is certainly another, and clocks that do not tick.

    Raises:
        RecipeError: a clock of zero, a latency below one cycle, a fraction of a cell, or more cells than the chip has.
    """
    if target.clock_ns is not None and not 0 < target.clock_ns < math.inf:
        raise RecipeError(f"target '{target.name}' has a clock period of {target.clock_ns:g} ns; it must be above 0")
    for name, limit in budget.limits().items():
        if not 0 <= limit < math.inf:
            raise RecipeError(f"the limit {name} of {limit:g} is not a finite number from 0 up")
    latency = budget.latency_ns
    if latency is not None and latency < target.period_ns:
        raise RecipeError(f"a latency of {latency:g} ns is less than one cycle of {target.period_ns:g} ns; it is in ns")
    if budget.interval_cycles is not None and budget.interval_cycles < 1:
        raise RecipeError(f"an interval of {budget.interval_cycles} cycles is not possible; the smallest is 1")
    for name, limit in budget.resources.known().items():
        if 0 < limit < 1:
            raise RecipeError(f"a limit of {limit:g} {name} is less than one cell; a share of the chip is written 10%")
        whole = getattr(target.known_device, name, None)
        if whole is not None and limit > whole:
            raise RecipeError(f"a limit of {limit:,.0f} {name} is more than the {whole:,.0f} that {target.part} has")
