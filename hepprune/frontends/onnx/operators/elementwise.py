"""Activations and heads."""

import functools
from typing import Any

import torch

from hepprune.errors import NetworkError, refused
from hepprune.fixed import FixedPoint
from hepprune.frontends.onnx.arrays import FileConstant
from hepprune.frontends.onnx.building import Graph, OnnxNode
from hepprune.frontends.onnx.operators.registry import added, constant, counted, jets_value, number, operator
from hepprune.frontends.pytorch.operators import arithmetic, elementwise
from hepprune.frontends.pytorch.operators import registry as checked
from hepprune.frontends.pytorch.values import Value
from hepprune.network import Activation, BatchNorm

# The layers' functions, and the attributes of ONNX under the names of their parameters, with ONNX' defaults.
_FUNCTIONS: dict[str, tuple[str, dict[str, tuple[str, float]]]] = {
    **{kind: (kind.lower(), {}) for kind in ("Selu", "Sigmoid", "Softplus", "Softsign", "Swish", "Tanh")},
    "Exp": ("exponential", {}),
    "Elu": ("elu", {"alpha": ("alpha", 1.0)}),
    "HardSigmoid": ("hard_sigmoid", {"slope": ("alpha", 0.2), "shift": ("beta", 0.5)}),
    "LeakyRelu": ("leaky_relu", {"slope": ("alpha", 0.01)}),
    "ThresholdedRelu": ("thresholded_relu", {"theta": ("alpha", 1.0)}),
}
# What functions without parameters have as attributes all the same: those of Selu are in float32.
_ONLY = {"Selu": {"alpha": 1.67326319217681884765625, "gamma": 1.05070102214813232421875}, "Swish": {"alpha": 1.0}}
_AS_TORCH = {"Abs": "abs", "HardSwish": "hardswish", "Relu": "relu"}
_KINDS = {"Add": "add", "Sub": "sub", "Mul": "mul", "Div": "div", "Neg": "neg"}
_MANY = {"Sum": "add", "Max": "maximum", "Min": "minimum"}
_BIT = FixedPoint(1, 1, signed=False)  # holds the 0 and 1 of a sum's scale and a product's shift


@operator(*_FUNCTIONS)
def function(built: Graph, node: OnnxNode, x: Any) -> Value:
    """Apply a function, with parameters where it has some."""
    only = _ONLY.get(node.kind, {}).items()
    if any(abs(node.attributes.get(name, value) - value) > 1e-6 for name, value in only):
        raise refused(node.name, f"({node.kind}) has parameters of its own, which no Network holds")
    kind, names = _FUNCTIONS[node.kind]
    given = {own: float(node.attributes.get(name, default)) for own, (name, default) in names.items()}
    return added(built, node, x, lambda name: Activation(name, kind, given))


@operator("Clip")
def clip(built: Graph, node: OnnxNode, x: Any, low: Any = None, high: Any = None) -> Value:
    """min(max(x, low), high)."""
    ends = {"min": low, "max": high}
    found = {key: number(end, node, key) for key, end in ends.items() if end is not None}
    found |= {key: float(node.attributes[key]) for key in ends if key in node.attributes}
    limit = float(torch.finfo(torch.float32).max)
    bounds = {key: end for key, end in found.items() if abs(end) < limit}
    if not bounds:
        return jets_value(x, node)
    return elementwise.clamp(built, node.call("clamp"), x, **bounds)


@operator(*_AS_TORCH)
def as_torch(built: Graph, node: OnnxNode, x: Any) -> Any:
    """Apply what torch's operator does."""
    name = _AS_TORCH[node.kind]
    return checked.OPERATORS[name](built, node.call(name), x)


@operator("Gelu")
def gelu(built: Graph, node: OnnxNode, x: Any) -> Value:
    """The value times the normal distribution's integral up to it."""
    return elementwise.gelu(built, node.call("gelu"), x, approximate=node.attributes.get("approximate", "none"))


@operator("Pow")
def power(built: Graph, node: OnnxNode, x: Any, exponent: Any) -> Value:
    """The square."""
    return elementwise.square(built, node.call("pow"), x, exponent=number(exponent, node, "exponent"))


@operator("PRelu")
def prelu(built: Graph, node: OnnxNode, x: Any, slope: Any) -> Value:
    """The value, its negative part times a slope, one for all or one per place along an axis."""
    slopes, value = constant(slope, node, "slope").settled(), jets_value(x, node)
    if slopes.tensor.numel() == 1:
        return elementwise.prelu(built, node.call("prelu"), value, weight=slopes)
    sizes = (1,) * (value.index.ndim - slopes.tensor.ndim) + tuple(slopes.tensor.shape)
    wide = [axis for axis, size in enumerate(sizes) if size > 1]
    if len(wide) != 1 or len(sizes) != value.index.ndim or sizes[wide[0]] != value.shape[wide[0]]:
        raise refused(node.name, f"has slopes of shape {tuple(slopes.tensor.shape)}; one axis is known")
    line = slopes.reshaped((slopes.tensor.numel(),))
    return elementwise.prelu(built, node.call("prelu"), value, weight=line, axis=wide[0])


@operator("Softmax")
def softmax(built: Graph, node: OnnxNode, x: Any) -> Value:
    """exp(x) / sum(exp(x)) along an axis; before opset 13 along all axes from that one on."""
    value, call = jets_value(x, node), node.call("softmax")
    rank = value.index.ndim
    axis = counted(node.attributes.get("axis", -1 if built.opset >= 13 else 1), rank, node)
    if built.opset >= 13 or axis == rank - 1:
        return elementwise.softmax(built, call, value, dim=axis)
    found = elementwise.softmax(built, call, value.moved(value.index.flatten(axis)), dim=axis)
    return found.moved(found.index.reshape(value.shape))


@operator("ArgMax")
def argmax(built: Graph, node: OnnxNode, x: Any) -> Value:
    """The index of the largest value."""
    axis, kept = node.attributes.get("axis", 0), bool(node.attributes.get("keepdims", 1))
    if node.attributes.get("select_last_index"):
        raise refused(node.name, "takes the last of equal values; the first is known")
    return elementwise.argmax(built, node.call("argmax"), x, dim=axis, keepdim=kept)


@operator("Identity", "Dropout", "Cast")
def same(_: Graph, node: OnnxNode, x: Any, *_ignored: Any) -> Any:
    """The values as they are: a network computes in one type, and drops nothing at inference."""
    whole = node.kind == "Cast" and node.attributes.get("to") not in {1, 10, 11, 16}  # TensorProto's floating types
    if whole and isinstance(x, Value):
        raise refused(node.name, "casts values of the jets to whole numbers, which no Network does")
    if isinstance(x, FileConstant) and node.kind == "Cast":
        return FileConstant(tensor=x.acting.long()) if whole else FileConstant(tensor=x.acting.double())
    return x


@operator(*_KINDS)
def combined(built: Graph, node: OnnxNode, x: Any, y: Any = -1) -> Any:
    """Combine two values, or a value and a constant."""
    if node.outputs[0] in built.values:  # the bias of a dense layer
        return built.values[node.outputs[0]]
    sides = [side.settled() if isinstance(side, FileConstant) else side for side in (x, y)]
    found = arithmetic.arithmetic(built, node.call(_KINDS[node.kind]), sides[0], other=sides[1])
    given = next((side for side in (x, y) if isinstance(side, FileConstant)), None)
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
    plain = [side.settled() if isinstance(side, FileConstant) else side for side in sides]
    return functools.reduce(lambda x, y: arithmetic.arithmetic(built, call, x, other=y), plain)
