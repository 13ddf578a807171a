"""Columns worked out from others, over awkward arrays: one value for each jet, or for each of its constituents."""

import ast
from functools import reduce
from typing import Any

import numpy as np

from hepprune.data import awkward as ak
from hepprune.data.expressions import grammar
from hepprune.data.expressions.functions import FUNCTIONS, OPERATORS, item
from hepprune.data.files import branches, trees
from hepprune.errors import DataError

_ARITHMETIC = ast.Add | ast.Sub | ast.Mult | ast.USub | ast.UAdd
_DIVIDE_WHOLE = ast.FloorDiv | ast.Mod  # a whole number divided by nought is nought to numpy, and no number to us


def evaluate(text: str, chunk: Any) -> Any:
    """Return a text's values in a chunk of columns: one for each jet, or for each constituent of each.

    A text that is the name of a column is that column, as it is; in expressions numbers have 64 bits.

    Raises:
        DataError: the columns are of kinds that do not go together.
    """
    if text in chunk.fields:
        return chunk[text]
    known = {name: _wide(chunk[name], f"column '{name}' in '{text}'") for name in grammar.names(text)}
    with trees.sound(f"'{text}' cannot be worked out"), np.errstate(all="ignore"):  # NaN is refused by whoever asked
        return _value(grammar.parsed(text), known)


def _value(node: ast.AST, known: dict[str, Any]) -> Any:
    if isinstance(node, ast.Constant):
        return node.value
    if isinstance(node, ast.Name | ast.Attribute):
        return known[grammar.dotted(node)]
    if isinstance(node, ast.Call):
        return FUNCTIONS[grammar.dotted(node.func)].call(*(_value(each, known) for each in node.args))
    if isinstance(node, ast.Subscript):
        return item(_value(node.value, known), _value(node.slice, known))
    if isinstance(node, ast.Compare):
        sides = [_value(each, known) for each in (node.left, *node.comparators)]
        pairs = zip(node.ops, sides, sides[1:], strict=False)
        return reduce(np.logical_and, [OPERATORS[type(operator)](left, right) for operator, left, right in pairs])
    operator, operands = grammar.applied(node)
    values = [_value(each, known) for each in operands]
    apply = OPERATORS[type(operator)]
    if isinstance(operator, _ARITHMETIC):  # yes and no are one and nought; numpy makes yes and no of their sum again
        values = [1 * v if isinstance(v, bool | np.bool_) or branches.leaf(v) == "bool" else v for v in values]
    with np.errstate(divide="raise" if isinstance(operator, _DIVIDE_WHOLE) else "ignore"):
        return reduce(apply, values) if len(values) > 1 else apply(*values)


def _wide(values: Any, where: str) -> Any:
    """Return numbers in 64 bits, in which whole ones do not wrap around; text, and yes and no, as they are."""
    kind = branches.leaf(values)
    if kind is None:
        raise DataError(f"{where} is '{ak.type(values).content}' and holds no numbers")
    if kind in {"bool", "string"}:
        return values
    if kind == "uint64" and (largest := int(ak.max(values, axis=None, initial=0))) >= 2**63:
        raise DataError(f"{where} has {largest}, beyond the 63 bits that whole numbers have here")
    return ak.values_astype(values, np.float64 if kind.startswith("float") else np.int64)
