"""What an expression may call: functions of numbers, and of the constituents of a jet."""

import ast
from collections.abc import Callable
from dataclasses import dataclass
from functools import reduce
from typing import Any

import numpy as np

from hepprune.data import awkward as ak
from hepprune.data.files import branches

OPERATORS: dict[type[ast.AST], Callable[..., Any]] = {
    ast.Add: np.add,
    ast.Sub: np.subtract,
    ast.Mult: np.multiply,
    ast.Div: np.true_divide,
    ast.FloorDiv: np.floor_divide,
    ast.Mod: np.remainder,
    ast.Pow: np.float_power,
    ast.LShift: np.left_shift,
    ast.RShift: np.right_shift,
    ast.BitAnd: np.bitwise_and,
    ast.BitOr: np.bitwise_or,
    ast.And: np.logical_and,
    ast.Or: np.logical_or,
    ast.USub: np.negative,
    ast.UAdd: np.positive,
    ast.Not: np.logical_not,
    ast.Invert: np.invert,
    ast.Lt: np.less,
    ast.LtE: np.less_equal,
    ast.Gt: np.greater,
    ast.GtE: np.greater_equal,
    ast.Eq: lambda left, right: left == right,  # of text too, for which awkward has a rule and numpy has none
    ast.NotEq: lambda left, right: left != right,
}


@dataclass(frozen=True, kw_only=True)
class Function:
    """What an expression can call: how it is written, and with how many arguments."""

    call: Callable[..., Any]
    usage: str
    least: int = 1
    most: int = 1


_OF_ANY = {"max": "any", "min": "all"}  # of yes and no


def _lists(values: Any, name: str) -> Any:
    if getattr(values, "ndim", 0) < 2:
        raise TypeError(f"{name}(...) takes a value for each constituent, and was given one for each jet")
    return values


def _over_constituents(name: str) -> Callable[[Any], Any]:
    """Return the sum, mean, ... over the constituents of each jet; of none of them that of an empty list, or NaN."""

    def reduced(values: Any) -> Any:
        if branches.leaf(_lists(values, name)) == "bool" and name in _OF_ANY:
            return getattr(ak, _OF_ANY[name])(values, axis=1)
        return ak.fill_none(getattr(ak, name)(values, axis=1), np.nan)

    return reduced


def _extreme(name: str, of_two: Callable[[Any, Any], Any]) -> Function:
    def extreme(*values: Any) -> Any:
        return reduce(of_two, values) if len(values) > 1 else _over_constituents(name)(*values)

    return Function(call=extreme, usage=f"{name}(x) over constituents, or {name}(x, y)", most=16)


def _first(values: Any, n: Any) -> Any:
    if not isinstance(n, int) or n < 1:
        raise TypeError(f"first(x, n) takes a number of constituents, not {n}")
    return _lists(values, "first")[:, :n]


def item(values: Any, index: Any) -> Any:
    """Return of each list the value at one place, 0 where it ends before, or those values that pass a condition."""
    lists = ak.from_regular(_lists(values, "[...]"), axis=1)
    if isinstance(index, int):
        longest = int(ak.max(ak.num(lists), initial=0))
        index = min(index, longest)  # beyond the longest list there is nothing in any
        return ak.fill_none(ak.pad_none(lists, index + 1, axis=1)[:, index], 0)
    if branches.leaf(index) != "bool" or index.ndim < 2:
        raise TypeError("x[...] takes a place in each list, or a condition on its constituents")
    return lists[ak.from_regular(index, axis=1)]


def _of_numbers(function: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Return a function that takes yes and no as the numbers 1 and 0, which numpy would give 16 bits."""
    return lambda values: function(1 * values)


def _where(condition: Any, yes: Any, no: Any) -> Any:
    return ak.where(condition, yes, no)


_PLAIN = ("abs", "sqrt", "exp", "log", "log1p", "sin", "cos", "tan", "sinh", "cosh", "tanh")  # of numpy
FUNCTIONS = {
    **{name: Function(call=_of_numbers(getattr(np, name)), usage=f"{name}(x)") for name in _PLAIN},
    **{name: _extreme(name, of_two) for name, of_two in (("min", np.minimum), ("max", np.maximum))},
    **{name: Function(call=_over_constituents(name), usage=f"{name}(x)") for name in ("sum", "mean", "count")},
    "clip": Function(
        call=lambda x, low, high: np.minimum(np.maximum(x, low), high), usage="clip(x, low, high)", least=3, most=3
    ),
    "where": Function(call=_where, usage="where(condition, yes, no)", least=3, most=3),
    "first": Function(call=_first, usage="first(x, n)", least=2, most=2),
}
