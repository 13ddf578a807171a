"""The fixed-point types of every layer, those included whose range no rule follows."""

from dataclasses import replace
from typing import Any

import numpy as np

from hepprune.errors import NetworkError, explained, refused
from hepprune.firmware.layers.base import PARALLEL, HlsLayer, Place, before
from hepprune.firmware.names import PART
from hepprune.fixed import FixedPoint, Quantiser
from hepprune.fixed.quantisers import FixedPoints, by_table
from hepprune.network import Activation, Layer, LayerNorm, Network, Node, PReLU, Recurrent, Softmax
from hepprune.network.parts import has_steps
from hepprune.network.ranges import accumulators

_MAX_FRACTION = 32
# What is rounded to a finer grid downwards first, and then in one of these ways, is as if it were rounded at once.
_ROUNDED_ONCE = ("TRN", "RND")


def types(network: Network) -> dict[str, FixedPoint]:
    """Return, for each layer but the heads, the type that holds its value before the result quantiser.

    To the layers that read it, a layer without a rule for its range (a recurrent one, say) is an input of its result
    type, and that is its own entry too.

    Raises:
        NetworkError: a layer lacks a type, or accumulates more bits than are computed exactly.
    """
    return accumulators(network, {node.name: _result(node) for node in network.nodes if _has_no_rule(network, node)})


def held(network: Network, layer: Layer, before: FixedPoint) -> FixedPoint:
    """Return the type that holds every value a layer puts out."""
    quantiser = layer.result or network.runs(layer).result
    return before if quantiser is None else covering(layer.name, quantiser)


def covering(name: str, quantiser: Quantiser) -> FixedPoint:
    """Return the quantiser of a layer where it is a type, else the narrowest type that holds all its values.

    Raises:
        NetworkError: there is none.
    """
    if isinstance(quantiser, FixedPoint):
        return quantiser
    low, high = float(np.min(quantiser.minimum)), float(np.max(quantiser.maximum))
    sentence = f"layer '{name}' has values that no single type holds, give it closer types:"
    with explained(NetworkError, sentence, NetworkError):
        return FixedPoint.covering(low, high, fraction=quantiser.fraction)


def constant_type(name: str, values: Any, quantiser: Quantiser | None = None) -> FixedPoint:
    """Return the type of constants: their quantiser, or the narrowest type that holds each of them exactly.

    Raises:
        NetworkError: they need more than 32 bits right of the point.
    """
    if isinstance(quantiser, FixedPoint):
        return quantiser
    array = np.asarray(values, dtype=np.float64)
    for fraction in range(_MAX_FRACTION + 1):
        if np.array_equal(np.ldexp(array, fraction), np.round(np.ldexp(array, fraction))):
            return FixedPoint.covering(float(array.min()), float(array.max()), fraction=fraction)
    raise refused(name, f"has constants that no type with {_MAX_FRACTION} fractional bits holds exactly")


def _has_no_rule(network: Network, node: Node) -> bool:
    if isinstance(node.layer, Activation):
        return not node.layer.rises
    if has_steps(node.layer):
        return False
    if isinstance(node.layer, Softmax):
        return bool(network.readers(network[node.name]))
    return isinstance(node.layer, PReLU | LayerNorm | Recurrent)


def _result(node: Node) -> FixedPoint:
    if not node.results:
        raise refused(node.name, f"({type(node.layer).__name__}) has no range to set types by; give it a result type")
    return covering(node.name, node.results[-1])


def differ(layer: Layer) -> bool:
    """Return whether the values that a layer puts out have types of their own."""
    return isinstance(layer.result, FixedPoints) and layer.result.width.size > 1 and not by_table(layer.result)


def port(name: str) -> str:
    """Return the name of the node in which the values of such an input arrive."""
    return f"{name}{PART}port"


def quantiser(place: Place, kind: FixedPoints) -> HlsLayer:
    """Return the node that brings each value into its own type.

    Raises:
        NetworkError: values are streamed, which hls4ml brings into one type.
    """
    if place.streams:
        raise place.refused("has a type for each value, which no stream has", fix=PARALLEL)
    masks = (np.broadcast_to(mask, place.shape)[None] for mask in (kind.signed.astype(int), kind.width, kind.integer))
    modes: dict[str, Any] = {"RND": kind.rounding, "SAT": kind.overflow, "fusible": None, "overrides": {}}
    return place.node("FixedPointQuantizer", {"mask_kbi": tuple(masks)} | modes)


def features(place: Place, kind: FixedPoints) -> list[HlsLayer]:
    """Describe an input: a port that is as fine as what rounds its finest value, and what brings each into its type.

    Raises:
        NetworkError: values are streamed, or rounded in a way that a port of fixed point does not leave them.
    """
    if kind.rounding not in _ROUNDED_ONCE:
        raise place.refused(f"rounds by AP_{kind.rounding} to types of each value", f"round by AP_{_ROUNDED_ONCE[-1]}")
    whole, name = covering(place.name, kind), port(place.name)
    fine = replace(whole, width=whole.width + 1, rounding="TRN", overflow=kind.overflow)
    attributes = {"class_name": "InputLayer", "name": name, "input_shape": list(place.shape)}
    read = replace(place, sources=(name,), source_kinds=("",), arriving=(place.shape,), arriving_types=(fine,))
    return [HlsLayer(name=name, attributes=attributes, precision={"result": fine}), quantiser(read, kind)]


def bare(place: Place) -> Place:
    """Return the place of a helper node `<name>.whole` that computes the layer's values before they are rounded."""
    layer: Layer = place.layer.rebuilt(result=None)
    return replace(before(place, "whole", shape=place.shape, result=place.before), layer=layer)
