"""The grammar of expressions: a small, safe part of Python's own; what has more is refused, and nothing is ever run."""

import ast
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache
from typing import Any

from hepprune.data.expressions.functions import FUNCTIONS, OPERATORS
from hepprune.errors import DataError, unknown

_APPLIED = ast.UnaryOp | ast.BinOp | ast.BoolOp
_MAX_LENGTH, _MAX_DEPTH = 2000, 100  # characters, and parts within parts: as far as Python itself goes
_MAX_LEADING = 1000


def columns(texts: Iterable[str], known: Sequence[str]) -> list[str]:
    """Return the columns that texts name, each once: those that they are, or those in the expressions that they are.

    Raises:
        DataError: a text is not an expression.
    """
    found = ((text,) if text in known else names(text) for text in texts)
    return list(dict.fromkeys(name for each in found for name in each))


def names(text: str) -> tuple[str, ...]:
    """Return the columns that an expression names.

    Raises:
        DataError: it is not an expression, has more than the grammar, or names no column.
    """
    found = tuple(dict.fromkeys(_names(parsed(text), text)))
    if not found:
        raise DataError(f"the expression '{text}' names no column")
    return found


def mentioned(text: str) -> frozenset[str]:
    """Return the columns that a text may stand for, read without knowing which there are."""
    try:
        return frozenset({text, *names(text)})
    except DataError:
        return frozenset({text})


def applied(node: Any) -> tuple[ast.AST, list[ast.expr]]:
    """Return the operator of a node and what it is applied to."""
    if isinstance(node, ast.UnaryOp):
        return node.op, [node.operand]
    return node.op, [node.left, node.right] if isinstance(node, ast.BinOp) else node.values


@cache
def parsed(text: str) -> ast.expr:
    """Return the syntax tree of a text, of which nothing is known yet.

    Raises:
        DataError: it is not an expression.
    """
    if len(text) > _MAX_LENGTH:
        raise DataError(f"an expression of {len(text)} characters is longer than {_MAX_LENGTH}: '{text[:40]} ...'")
    try:
        with warnings.catch_warnings(action="ignore"):  # about what is refused anyway
            tree = ast.parse(_line(text), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as problem:
        raise DataError(f"'{text}' is neither a column nor an expression") from problem
    level: list[ast.AST] = [tree]
    for _ in range(_MAX_DEPTH):
        level = [child for node in level for child in ast.iter_child_nodes(node)]
    if level:
        raise DataError(f"'{text}' has parts within parts, more than {_MAX_DEPTH} deep")
    return tree


def _line(text: str) -> str:
    return text.replace("\n", " ").strip()


def _names(node: ast.AST, text: str) -> Iterator[str]:
    """Yield the columns of an expression, and refuse whatever is not of the grammar."""
    if name := dotted(node):
        yield name
        return
    _check(node, text)
    for part in _parts(node):
        yield from _names(part, text)


def _parts(node: ast.AST) -> Sequence[ast.expr]:
    """Return what a call, a comparison or an operator is applied to; text that is compared with is not part."""
    if isinstance(node, ast.Call):
        return node.args
    if isinstance(node, ast.Subscript):
        return [node.value, node.slice]
    if isinstance(node, ast.Compare):
        return [side for side in (node.left, *node.comparators) if not _is_constant(side, str)]
    return [] if isinstance(node, ast.Constant) else applied(node)[1]


def _check(node: ast.AST, text: str) -> None:
    if isinstance(node, ast.Call):
        _check_call(node, text)
    elif isinstance(node, ast.Compare) and {*map(type, node.ops)} <= OPERATORS.keys():
        _check_sides(node, text)
    elif not (
        _is_item(node)
        or _is_constant(node, int | float)
        or (isinstance(node, _APPLIED) and type(applied(node)[0]) in OPERATORS)
    ):
        part = ast.get_source_segment(_line(text), node) or text
        raise DataError(
            f"'{part}' in '{text}' is none of what an expression may have: columns, numbers, + - * / // % **, << >>, "
            f"comparisons, & | ~, x[0], x[condition], and the functions {', '.join([*FUNCTIONS, *SPREAD])}"
        )


def _is_item(node: ast.AST) -> bool:
    """Return whether a part is `x[0]`, one of each list, or `x[condition]`, those of each list that pass."""
    if not isinstance(node, ast.Subscript) or isinstance(node.slice, ast.UnaryOp):
        return False
    return not isinstance(node.slice, ast.Constant) or type(node.slice.value) is int


def _is_constant(node: ast.AST, kind: Any) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, kind)


def _check_sides(node: ast.Compare, text: str) -> None:
    for side in (node.left, *node.comparators):
        joins = isinstance(side, ast.BinOp | ast.UnaryOp) and isinstance(side.op, ast.BitAnd | ast.BitOr | ast.Invert)
        if joins and not _enclosed(side, text):
            raise DataError(f"in '{text}' the & | ~ bind before comparisons: put each comparison in parentheses")


def _check_call(node: ast.Call, text: str) -> None:
    name = dotted(node.func)
    if name in SPREAD:
        raise DataError(f"in '{text}' {name} is not alone: it makes several features, and nothing is done with them")
    if name not in FUNCTIONS:
        raise DataError(f"'{text}': {unknown('function', name or ast.unparse(node.func), [*FUNCTIONS, *SPREAD])}")
    function = FUNCTIONS[name]
    plain = not node.keywords and not any(isinstance(each, ast.Starred) for each in node.args)
    if not (plain and function.least <= len(node.args) <= function.most):
        raise DataError(f"'{text}': {name} is written {function.usage}")


def _enclosed(node: ast.expr, text: str) -> bool:
    line = _line(text).encode()
    before, after = line[: node.col_offset].rstrip(), line[node.end_col_offset :].lstrip()
    return before.endswith(b"(") and after.startswith(b")")


def dotted(node: ast.AST) -> str:
    """Return a name, of parts of records with dots; nothing where it is none."""
    if isinstance(node, ast.Attribute):
        before = dotted(node.value)
        return f"{before}.{node.attr}" if before else ""
    return node.id if isinstance(node, ast.Name) else ""


def expanded(text: str) -> tuple[str, ...]:
    """Return the features that one text stands for.

    `one_hot(x, 1, 2)` stands for `x == 1` and `x == 2`, `leading(x, 2)` for `x[0]` and `x[1]`.

    Raises:
        DataError: they are written otherwise.
    """
    try:
        node = parsed(text)
    except DataError:
        return (text,)
    name = dotted(node.func) if isinstance(node, ast.Call) else ""
    if name not in SPREAD:
        return (text,)
    return SPREAD[name](node, text)


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


# What stands for several features, by name.
SPREAD: dict[str, Callable[[Any, str], tuple[str, ...]]] = {"one_hot": _one_hot, "leading": _leading}
