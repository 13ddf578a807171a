"""Activations and heads."""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch

from hepprune.errors import NetworkError, refused
from hepprune.fixed.quantisers import FixedPoints
from hepprune.frontends.pytorch.building import Assembly
from hepprune.frontends.pytorch.operators.normalisation import per_channel
from hepprune.frontends.pytorch.operators.registry import constant, jets_value, operator, picked, unchanged
from hepprune.frontends.pytorch.operators.weighted import again
from hepprune.frontends.pytorch.program import Call
from hepprune.frontends.pytorch.values import Constant, Value, rearranged
from hepprune.network import Activation, Argmax, Layer, Merge, PReLU, ReLU, Softmax


def added(built: Assembly, call: Call, x: Any, make: Callable[[str], Layer], *others: str) -> Value:
    """Add a layer that leaves every value at its place, and may read layers that lie as the value does."""
    source = jets_value(x, call)
    return unchanged(source, built.add(make(built.name(built.title(call))), source.layer, *others))


def _function(built: Assembly, call: Call, x: Any, function: str, **parameters: float) -> Value:
    return added(built, call, x, lambda name: Activation(name, function, parameters))


def in_types(built: Assembly, call: Call, x: Any, kind: FixedPoints, looked_up: tuple[str, dict[str, float]]) -> Value:
    """Add a function of values, or themselves, in types that lie as torch's values do."""
    source = jets_value(x, call)
    if any(own not in {1, size} for own, size in zip(kind.width.shape[::-1], source.shape[::-1], strict=False)):
        raise refused(built.title(call), f"has types of shape {kind.width.shape} for {source.shape}")
    result = rearranged(kind, partial(built.lying, source))
    found = added(built, call, x, lambda name: Activation(name, *looked_up, result))
    owner = call.scope[0].split("@")[0] + ("" if looked_up[0] == "linear" else ".output_quantizer")
    index = source.index.select(built.jets(source), 0)
    built.traces.typed[owner] = found.layer, index, tuple(index.shape)
    return found


@operator("hardtanh")
def hard_tanh(built: Assembly, call: Call, x: Any, *, min_val: float = -1, max_val: float = 1) -> Value:
    """min(max(x, -1), 1), or with other bounds."""
    if (min_val, max_val) == (-1, 1):
        return _function(built, call, x, "hard_tanh", slope=0.5)
    return bounded(built, call, x, min_val, max_val)


@operator("clamp", "clamp_min", "clamp_max")
def clamp(built: Assembly, call: Call, x: Any, **bounds: Any) -> Value:
    """min(max(x, min), max)."""
    low, high = bounds.get("min"), bounds.get("max")
    if not all(bound is None or isinstance(bound, int | float) for bound in (low, high)):
        raise NetworkError(f"'{call.name}' ({call.target}) has bounds that are not numbers")
    return bounded(built, call, x, low, high)


def bounded(built: Assembly, call: Call, x: Any, low: float | None, high: float | None) -> Value:
    """Return min(max(x, low), high): a ReLU, with a shift before and after it where `low` is not 0."""
    if low == 0:
        return added(built, call, x, lambda name: ReLU(name, maximum=None if high is None else float(high)))
    source, title = jets_value(x, call), built.title(call)
    sign, start = (1.0, low) if low is not None else (-1.0, high or 0.0)
    shifted = built.affine(source.layer, sign, -sign * start, f"{title}.shift")
    span = None if low is None or high is None else float(high - low)
    bounded = built.add(ReLU(built.name(title), maximum=span), shifted)
    return unchanged(source, built.affine(bounded, sign, float(start), f"{title}.back"))


# Functions with parameters: the layers', each with its name and default in torch, and torch's that are always the same.
_PARAMETRIC: dict[str, tuple[str, dict[str, tuple[str, float]], dict[str, float]]] = {
    "leaky_relu": ("leaky_relu", {"slope": ("negative_slope", 0.01)}, {}),
    "elu": ("elu", {"alpha": ("alpha", 1.0)}, {"scale": 1, "input_scale": 1}),
    "softplus": ("softplus", {}, {"beta": 1, "threshold": 20}),
    "threshold": ("thresholded_relu", {"theta": ("threshold", 0.0)}, {"value": 0}),
}


@operator(*_PARAMETRIC)
def parametric(built: Assembly, call: Call, x: Any, **given: float) -> Value:
    """Apply a function with parameters."""
    function, own, only = _PARAMETRIC[call.operator]
    for name, value in only.items():
        if given.get(name, value) != value:
            raise NetworkError(f"'{call.name}' ({call.target}) has {name} = {given[name]}; only {value} is known")
    parameters = {key: float(given.get(name, default)) for key, (name, default) in own.items()}
    return _function(built, call, x, function, **parameters)


@operator("hardswish")
def hard_swish(built: Assembly, call: Call, x: Any) -> Value:
    """The value times its hard sigmoid."""
    gate = Activation(built.name(f"{built.title(call)}.gate"), "hard_sigmoid", {"slope": 1 / 6, "shift": 0.5})
    gated = built.add(gate, jets_value(x, call).layer)
    return added(built, call, x, partial(Merge, operation="multiply"), gated)


_SAME = {"sigmoid": "sigmoid", "tanh": "tanh", "silu": "swish", "selu": "selu", "exp": "exponential"}
_PLAIN: dict[str, Callable[[str], Layer]] = {
    "relu": ReLU,
    "relu6": partial(ReLU, maximum=6.0),
    "hardsigmoid": partial(Activation, function="hard_sigmoid", parameters={"slope": 1 / 6, "shift": 0.5}),
    **{own: partial(Activation, function=known) for own, known in _SAME.items()},
}


@operator(*_PLAIN)
def plain(built: Assembly, call: Call, x: Any) -> Value:
    """Apply a function that takes nothing but the value."""
    return added(built, call, x, _PLAIN[call.operator])


@operator("gelu")
def gelu(built: Assembly, call: Call, x: Any, *, approximate: str = "none") -> Value:
    """The value times the normal distribution's integral up to it."""
    return _function(built, call, x, "gelu", **({"tanh": True} if approximate == "tanh" else {}))


@operator("abs")
def absolute(built: Assembly, call: Call, x: Any) -> Value:
    """The larger of x and -x."""
    negative = built.affine(jets_value(x, call).layer, -1.0, 0.0, f"{built.title(call)}.negative")
    return added(built, call, x, partial(Merge, operation="maximum"), negative)


@operator("square", "pow")
def square(built: Assembly, call: Call, x: Any, *, exponent: Any = 2) -> Value:
    """The square of the value."""
    if exponent != 2:
        raise NetworkError(f"'{call.name}' ({call.target}) takes the power {exponent}; 2 is known")
    return added(built, call, x, partial(Merge, operation="multiply"), jets_value(x, call).layer)


@operator("prelu")
def prelu(built: Assembly, call: Call, x: Any, *, weight: Any, axis: int = 1) -> Value:
    """The value, its negative part times a slope, one for all or one per place along an axis."""
    title = built.title(call, weight if isinstance(weight, Constant) else None)
    slopes, values = constant(weight, title, "weight"), jets_value(x, call)
    key = ("prelu", slopes.key)
    if slopes.tensor.numel() == 1:
        known = again(built, key if slopes.origin else None, title, values.layer)
        if known is None:
            known = built.add(PReLU(built.name(title), slopes.tensor.detach().float().reshape(1)), values.layer)
            built.stored(known, slopes, lambda at: at.slope.reshape(slopes.tensor.shape))
            built.placed[key] = known
        return unchanged(values, known)
    source, order, value_of = per_channel(built, values, axis, title)
    name = built.add(PReLU(built.name(title), slopes.tensor.detach().float()[torch.argsort(order)]), source)
    built.stored(name, slopes, lambda at: picked(at.slope, order))
    return value_of(name)


@operator("softmax", "_softmax")
def softmax(built: Assembly, call: Call, x: Any, *, dim: int, **_: Any) -> Value:
    """exp(x) / sum(exp(x)) along an axis."""
    source, title = jets_value(x, call), built.title(call)
    axis = dim % source.index.ndim
    if source.index.ndim == 2 and axis == 1 and built.jets(source) == 0:
        layer, _order = built.flat(source, f"{title}.flatten")
        return Value(built.add(Softmax(built.name(title)), layer), source.index)
    split = built.split(source)
    along = split.index.ndim - source.index.ndim + axis
    if split.shape[along] != source.shape[axis] or built.jets(split) == along:
        raise NetworkError(f"the values of layer '{source.layer}' mix jets with each other")
    axes = built.axes(split)
    place = axes.index(along)
    layer = built.place(split, axes, f"{title}.arranged")
    head = Softmax(built.name(title), axis=-1 if place == len(axes) - 1 else place - 1)
    return built.value(built.add(head, layer), axes, source.shape)


@operator("argmax")
def argmax(built: Assembly, call: Call, x: Any, *, dim: int | None = None, keepdim: bool = False) -> Value:
    """The index of the largest value of the last axis."""
    source, title = jets_value(x, call), built.title(call)
    if dim is None or source.index.ndim != 2 or dim % 2 != 1:
        raise NetworkError(f"'{call.name}' ({call.target}) takes the largest of more than one axis of values")
    layer = built.place(source, (0, 1), f"{title}.arranged")
    found = built.value(built.add(Argmax(built.name(title)), layer))
    return found if keepdim else found.moved(found.index.squeeze(1))
