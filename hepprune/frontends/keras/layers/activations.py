"""Activations of Keras, as layers of their own and inside other layers."""

from collections.abc import Callable

import numpy as np

from hepprune.frontends.keras.registry import Lower, Native, Parts, after, only, register, single
from hepprune.network import Activation, Layer, PReLU, ReLU, Shape, Softmax

_PLAIN = ("sigmoid", "tanh", "elu", "selu", "softplus", "softsign", "gelu", "exponential")

Builder = Callable[[Native, str], Layer | None]


def _plain(kind: str) -> Builder:
    return lambda _native, name: Activation(name, kind)


# name -> the layer of that name; "linear" is none.
ACTIVATIONS: dict[str, Builder] = {
    "linear": lambda _native, _name: None,
    "relu": lambda _native, name: ReLU(name),
    "relu6": lambda _native, name: ReLU(name, maximum=6.0),
    "softmax": lambda _native, name: Softmax(name),
    "swish": _plain("swish"),
    "silu": _plain("swish"),
    "leaky_relu": lambda _native, name: Activation(name, "leaky_relu", {"slope": 0.2}),
    "hard_sigmoid": lambda native, name: Activation(
        name, "hard_sigmoid", {"slope": 1 / (5 if native.keras < 3 else 6)}
    ),
    **{kind: _plain(kind) for kind in _PLAIN},
}


def name_of(native: Native, key: str = "activation") -> str:
    """Return an activation's name from a config: "relu", or {"class_name": ..., "config": ...}."""
    described = "linear" if native.config.get(key) is None else native.config[key]
    if isinstance(described, dict):
        described = described.get("config" if described.get("class_name") == "function" else "class_name")
    if not isinstance(described, str):
        raise native.refuse(f"has the {key} {str(described)[:60]}, which is not a name")
    return described


def activation(native: Native, name: str | None = None, *, key: str = "activation") -> Layer | None:
    """Return the layer of the activation that a config names, None where it is linear.

    Without a name the layer is a part named after its function.
    """
    kind = name_of(native, key)
    if kind in ACTIVATIONS:
        return ACTIVATIONS[kind](native, native.part(kind) if name is None else name)
    known = ", ".join(ACTIVATIONS)
    raise native.refuse(f"has the {key} '{kind[:60]}', which cannot be taken over; known are {known}")


def with_activation(native: Native, parts: Parts) -> Parts:
    """Return the parts of a layer with its inline activation after them."""
    return after(parts, activation(native))


def activated(lower: Lower) -> Lower:
    """Return the lowering of a layer with its inline activation after it."""
    return lambda native, arriving: with_activation(native, lower(native, arriving))


@register("Activation")
def _activation(native: Native, arriving: tuple[Shape, ...]) -> Parts:
    only(native, arriving)
    return after([], activation(native, native.name))


@register("Softmax")
def _softmax(native: Native, arriving: tuple[Shape, ...]) -> Parts:
    shape, axis = only(native, arriving), native.config.get("axis", -1)
    axis = axis[0] if isinstance(axis, list) and len(axis) == 1 else axis
    if isinstance(axis, bool) or not isinstance(axis, int) or not (1 <= axis <= len(shape) or -len(shape) <= axis < 0):
        raise native.refuse(f"works along axis {str(axis)[:40]}, which the shape {shape} has not")
    return after([], Softmax(native.name, axis=-1 if axis in {-1, len(shape)} else axis - (axis > 0)))


@register("ReLU")
def _relu(native: Native, arriving: tuple[Shape, ...]) -> Parts:
    only(native, arriving)
    slope, threshold = _optional(native, "negative_slope") or 0.0, _optional(native, "threshold") or 0.0
    maximum = _optional(native, "max_value")
    if not slope and not threshold:
        return after([], ReLU(native.name, maximum=maximum))
    if threshold and not slope and maximum is None and threshold > 0:
        return after([], Activation(native.name, "thresholded_relu", {"theta": threshold}))
    if slope and not threshold and maximum is None:
        return after([], Activation(native.name, "leaky_relu", {"slope": slope}))
    raise native.refuse("mixes negative_slope, threshold and max_value, which cannot be taken over")


def _optional(native: Native, key: str) -> float | None:
    return None if native.config.get(key) is None else native.number(key, 0.0)


@register("LeakyReLU", "ELU", "ThresholdedReLU")
def _with_parameter(native: Native, arriving: tuple[Shape, ...]) -> Parts:
    only(native, arriving)
    slope = "negative_slope" if "negative_slope" in native.config else "alpha"
    function, name, key, default = {
        "LeakyReLU": ("leaky_relu", "slope", slope, 0.3),
        "ELU": ("elu", "alpha", "alpha", 1.0),
        "ThresholdedReLU": ("thresholded_relu", "theta", "theta", 1.0),
    }[native.kind]
    return after([], Activation(native.name, function, {name: native.number(key, default)}))


@register("PReLU", fill=lambda native, layers: native.filled([layers[native.name].state_dict()["slope"]]))
def _prelu(native: Native, arriving: tuple[Shape, ...]) -> Parts:
    shape, shared = only(native, arriving), native.config.get("shared_axes") or []
    if not isinstance(shared, list) or any(axis not in range(1, len(shape) + 1) for axis in shared):
        raise native.refuse(f"shares its slopes along the axes {str(shared)[:40]}, which the shape {shape} has not")
    wanted = np.where(np.isin(np.arange(1, len(shape) + 1), shared), 1, shape)
    (slope,) = native.expect(wanted.tolist())
    return after([], PReLU(native.name, single(slope)))
