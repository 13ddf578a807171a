"""Element-wise functions for hls4ml: exact tables where the argument is narrow, else hls4ml's own functions."""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from hepprune.errors import NetworkError
from hepprune.firmware.layers.base import HlsLayer, Place, cast, fixed
from hepprune.firmware.layers.precision import constant_type
from hepprune.fixed import FixedPoint
from hepprune.network import Activation, PReLU, ReLU

TABLE_BITS = 12  # of the argument; a table of 4096 entries fits two BRAM
_FUNCTION_TABLE = FixedPoint(18, 5, rounding="RND", overflow="SAT")
_TABLE_SIZE = 4096
_PARAMETER_BITS = 18


def relu(place: Place, layer: ReLU) -> list[HlsLayer]:
    """Describe max(x, 0), with an upper end where the result type saturates no earlier."""
    saturates = place.result.overflow != "WRAP" and layer.result is place.result
    top = place.result.maximum if saturates else math.inf
    if isinstance(layer.result, FixedPoint | None) and (layer.maximum is None or layer.maximum >= top):
        return [place.node("Activation", {"activation": "relu", "n_in": place.n_values})]
    return [table(place)]


def activation(place: Place, layer: Activation) -> list[HlsLayer]:
    """Describe a function: a cast, an exact table, or what hls4ml computes in its place."""
    typed = isinstance(layer.result, FixedPoint | None)
    if layer.function == "linear" and typed:
        return [cast(place)]
    narrow = place.arriving_types[0].width <= TABLE_BITS
    if narrow or not typed or layer.function not in _FUNCTIONS:
        return [table(place)]
    return [_FUNCTIONS[layer.function](place, layer)]


def prelu(place: Place, layer: PReLU) -> list[HlsLayer]:
    """Describe PReLU, one slope per value; exact where 18 bits hold the slopes."""
    slopes = layer.used_slope().numpy()
    kind, exact = _parameter(place, slopes)
    data = np.broadcast_to(slopes, place.arriving[0]).ravel().copy()
    attributes = {"activation": "prelu", "n_in": place.n_values, "param_data": data}
    return [replace(place.node("PReLU", attributes, param=kind), exact=exact)]


@torch.no_grad()
def table(place: Place) -> HlsLayer:
    """Return the node that looks up the layer's own value for every argument that can arrive.

    Raises:
        NetworkError: the argument has more than 12 bits.
    """
    argument = place.arriving_types[0]
    if argument.width > TABLE_BITS:
        said = f"would be looked up from an argument of {argument.width} bits, more than {TABLE_BITS}"
        raise place.refused(said, f"give what it reads a result type of at most {TABLE_BITS} bits")
    patterns = np.arange(2**argument.width)
    signed = np.where(argument.signed & (patterns >= 2 ** (argument.width - 1)), patterns - 2**argument.width, patterns)
    values = place.layer(torch.as_tensor(signed * argument.step), quantised=True).numpy()
    attributes = {"activation": "unary_lut", "table_data": values, "n_in": place.n_values}
    return place.node("UnaryLUT", attributes, table=place.result)


def _parameter(place: Place, values: Any) -> tuple[FixedPoint, bool]:
    """Return the type of a function's parameter, and whether it holds it exactly."""
    try:
        kind = constant_type(place.name, values)
    except NetworkError:
        kind = FixedPoint(40, 20)
    if kind.width <= _PARAMETER_BITS:
        return kind, True
    largest = float(np.abs(values).max())
    integer = max(math.ceil(math.log2(largest or 1)), -8) + 2
    return FixedPoint(_PARAMETER_BITS, integer, rounding="RND", overflow="SAT"), False


def _with_parameter(class_name: str, name: str) -> Callable[[Place, Activation], HlsLayer]:
    def describe(place: Place, layer: Activation) -> HlsLayer:
        value = np.array([layer.parameter(name)])
        kind, exact = _parameter(place, value)
        attributes = {"activation": layer.function, "n_in": place.n_values, "activ_param": float(kind(value)[0])}
        node = place.node(class_name, attributes | _own_table(), param=kind)
        return replace(node, exact=exact and layer.function != "elu")

    return describe


def _thresholded(place: Place, layer: Activation) -> HlsLayer:
    """Describe x where x > theta; a threshold between two steps of the argument is the lower one."""
    step = place.arriving_types[0].step
    theta = math.floor(layer.parameter("theta") / step) * step
    attributes = {"activation": "thresholded_relu", "n_in": place.n_values, "activ_param": theta}
    return place.node("ThresholdedReLU", attributes, param=constant_type(place.name, np.array([theta])))


def _hard(place: Place, layer: Activation) -> HlsLayer:
    values = {name: layer.parameter(name) for name in ("slope", "shift")}
    kinds = {name: _parameter(place, np.array([value])) for name, value in values.items()}
    types = {f"{name}_prec": fixed(kind) for name, (kind, _) in kinds.items()}
    attributes = {"activation": layer.function, "n_in": place.n_values} | values | types
    exact = all(exact for _, exact in kinds.values())
    return replace(place.node("HardActivation", attributes), exact=exact)


def _looked_up(place: Place, layer: Activation) -> HlsLayer:
    attributes = {"activation": layer.function, "n_in": place.n_values} | _own_table()
    return replace(place.node("Activation", attributes), exact=False)


def _own_table() -> dict[str, Any]:
    return {"table_t": fixed(_FUNCTION_TABLE), "table_size": _TABLE_SIZE}


_FUNCTIONS: dict[str, Callable[[Place, Activation], HlsLayer]] = {
    "leaky_relu": _with_parameter("LeakyReLU", "slope"),
    "elu": _with_parameter("ELU", "alpha"),
    "thresholded_relu": _thresholded,
    "hard_sigmoid": _hard,
    "hard_tanh": _hard,
    **dict.fromkeys(("sigmoid", "tanh", "selu", "softplus", "softsign"), _looked_up),
}
