"""The rules by which layers become adder graphs, and what all of them have in common."""

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hepprune.errors import NetworkError, refused
from hepprune.firmware.tracing import rounding
from hepprune.firmware.verilog import adders
from hepprune.fixed import FixedPoint, Quantiser
from hepprune.fixed.quantisers import FixedPoints, spread
from hepprune.network import Activation, Input, Layer, Node, ReLU, Rules, Shape

Variables = NDArray[Any]  # variables, of the shape of one jet's value

TRACES: Rules[Callable[..., Variables]] = Rules(
    lacks="cannot be traced into an adder graph",
    fix="build the network by way of hls4ml, which takes it (`hepprune.firmware.hls`)",
)


def trace(node: Node, *arriving: Variables) -> Variables:
    """Return the variables that a node puts out for those that come in, in symbolic arithmetic.

    Raises:
        NetworkError: no rule traces the layer, it lacks a type, or is wider than da4ml can represent.
    """
    values = applied(node.layer, *arriving)
    for quantiser in node.results[node.layer.result is not None :]:
        values = typed(rounding.quantise, values, quantiser, name=node.name)
    return values


def applied(layer: Layer, *arriving: Variables) -> Variables:
    """Return what a layer puts out, in its result type."""
    values = TRACES.find(layer)(layer, *arriving)
    if layer.result is None or isinstance(layer, Input | ReLU):  # those come in their type
        return values
    if isinstance(layer, Activation) and layer.is_tabled:
        return values
    return typed(rounding.quantise, values, layer.result, name=layer.name)


def array(values: Iterable[Any], shape: Shape) -> Variables:
    """Return variables in an array."""
    flat = list(values)
    found = np.empty(len(flat), dtype=object)
    found[:] = flat
    return found.reshape(shape)


def each(function: Callable[[Any], Any], values: Variables) -> Variables:
    """Return a function of every variable, made once for one that stands at several places."""
    made = {key: function(value) for key, value in {id(value): value for value in values.flat}.items()}
    return array((made[id(value)] for value in values.flat), values.shape)


def typed(function: Callable[[Any, FixedPoint], Any], values: Variables, quantiser: Quantiser, name: str) -> Variables:
    """Return a function of every variable and its type; a value without bits is zero.

    Raises:
        NetworkError: the layer of that name has a quantiser that is not a fixed-point type, nor one per value.
    """
    made: dict[tuple[int, FixedPoint | None], Any] = {}
    pairs = list(zip(values.flat, _types(name, quantiser, values.shape), strict=True))
    for value, kind in pairs:
        if (id(value), kind) not in made:
            made[id(value), kind] = adders.constant(0.0) if kind is None else function(value, kind)
    return array((made[id(value), kind] for value, kind in pairs), values.shape)


def _types(name: str, quantiser: Quantiser, shape: Shape) -> list[FixedPoint | None]:
    """Return the type of each value, None of one without bits."""
    if not isinstance(quantiser, FixedPoint | FixedPoints):
        raise refused(name, f"has a {type(quantiser).__name__} result, no single fixed-point type")
    return spread(quantiser, shape)


def moved(run: Callable[..., Tensor], *arriving: Variables, padding: Any = None) -> Variables:
    """Return what a function that only moves values (1, *shape) makes of variables; zeros of its own are `padding`."""
    pool, places = [padding], []
    for values in arriving:
        numbers = torch.arange(len(pool), len(pool) + values.size, dtype=torch.float64)
        places.append(numbers.reshape(1, *values.shape))
        pool += values.flat
    found = run(*places)[0].to(torch.int64).numpy()
    return array((pool[place] for place in found.flat), found.shape)


@TRACES.of(Input)
def _ports(layer: Input) -> Variables:
    kind = layer.result
    if kind is None:
        raise NetworkError(f"input '{layer.name}' has no fixed-point type")
    return array(map(adders.port, _types(layer.name, kind, layer.features_shape)), layer.features_shape)


def result_type(layer: Layer) -> FixedPoint:
    """Return the type of a layer whose value has no exact form without one.

    Raises:
        NetworkError: it has none.
    """
    kind = layer.fixed_result
    if kind is None:
        raise refused(layer.name, f"({type(layer).__name__}) has no fixed-point form without a result type")
    return kind
