"""Sums and products of values and constants."""

import functools
from typing import Any

from hepprune.errors import NetworkError
from hepprune.fixed import FixedPoint
from hepprune.frontends.onnx.arrays import Array
from hepprune.frontends.onnx.building import Graph, OnnxNode
from hepprune.frontends.onnx.operators.registry import operator
from hepprune.frontends.pytorch.operators import arithmetic
from hepprune.frontends.pytorch.values import Value
from hepprune.network import BatchNorm

_KINDS = {"Add": "add", "Sub": "sub", "Mul": "mul", "Div": "div", "Neg": "neg"}
_MANY = {"Sum": "add", "Max": "maximum", "Min": "minimum"}
_BIT = FixedPoint(1, 1, signed=False)  # holds the 0 and 1 of a sum's scale and a product's shift


@operator(*_KINDS)
def combined(built: Graph, node: OnnxNode, x: Any, y: Any = -1) -> Any:
    """Combine two values, or a value and a constant."""
    if node.outputs[0] in built.values:  # the bias of a dense layer
        return built.values[node.outputs[0]]
    sides = [side.settled() if isinstance(side, Array) else side for side in (x, y)]
    found = arithmetic.arithmetic(built, node.call(_KINDS[node.kind]), sides[0], other=sides[1])
    given = next((side for side in (x, y) if isinstance(side, Array)), None)
    if given is None or given.quantisation is None or node.kind not in {"Add", "Mul"}:
        return found
    name, other = ("shift", "scale") if node.kind == "Add" else ("scale", "shift")
    layer = built.layer(found.layer)
    if not isinstance(layer, BatchNorm) or not any(slot.layer == layer.name for slot in built.slots):
        return found
    setattr(layer, f"{other}_type", _BIT)
    return built.typed(found, **{name: given})


@operator(*_MANY)
def folded(built: Graph, node: OnnxNode, *sides: Any) -> Any:
    """Combine any number of values, one after the other."""
    if not any(isinstance(side, Value) for side in sides):
        raise NetworkError(f"'{node.name}' ({node.kind}) combines constants only")
    call = node.call(_MANY[node.kind])
    plain = [side.settled() if isinstance(side, Array) else side for side in sides]
    return functools.reduce(lambda x, y: arithmetic.arithmetic(built, call, x, other=y), plain)
