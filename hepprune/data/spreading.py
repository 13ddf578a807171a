"""Texts that stand for several features: one-hot codes, and the first of a list."""

import ast
from collections.abc import Callable
from typing import Any

from hepprune.data.expressions import grammar
from hepprune.errors import DataError

_MAX_LEADING = 1000


def expanded(text: str) -> tuple[str, ...]:
    """Return the features that one text stands for.

    `one_hot(x, 1, 2)` stands for `x == 1` and `x == 2`, `leading(x, 2)` for `x[0]` and `x[1]`.

    Raises:
        DataError: they are written otherwise.
    """
    try:
        node = grammar.parsed(text)
    except DataError:
        return (text,)
    name = grammar.dotted(node.func) if isinstance(node, ast.Call) else ""
    if name not in _SPREAD:
        return (text,)
    return _SPREAD[name](node, text)


def _one_hot(node: Any, text: str) -> tuple[str, ...]:
    codes = [ast.unparse(code) for code in node.args[1:] if isinstance(_constant(code), int | str)]
    if len(codes) != len(node.args) - 1 or not codes or node.keywords:
        raise DataError(f"'{text}': one_hot(x, 1, 2, 3) takes a column and its codes, whole numbers or text")
    return tuple(f"{_whole(node.args[0])} == {code}" for code in codes)


def _leading(node: Any, text: str) -> tuple[str, ...]:
    n = _constant(node.args[1]) if len(node.args) == 2 and not node.keywords else None
    if not isinstance(n, int) or not 0 < n <= _MAX_LEADING:
        raise DataError(f"'{text}': leading(x, n) takes a column of lists and how many of each, 1 to {_MAX_LEADING}")
    return tuple(f"{_whole(node.args[0])}[{index}]" for index in range(n))


def _whole(node: ast.expr) -> str:
    """Return the text of a part that something can follow."""
    text = ast.unparse(node)
    return text if isinstance(node, ast.Name | ast.Attribute | ast.Call | ast.Subscript) else f"({text})"


def _constant(node: ast.expr) -> Any:
    try:
        return ast.literal_eval(node)
    except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError):
        return None


_SPREAD: dict[str, Callable[[Any, str], tuple[str, ...]]] = {"one_hot": _one_hot, "leading": _leading}
