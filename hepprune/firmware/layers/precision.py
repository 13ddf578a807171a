"""The fixed-point types of every layer, those included whose range no rule follows."""

from typing import Any

import numpy as np

from hepprune.errors import NetworkError
from hepprune.fixed import FixedPoint, Quantiser
from hepprune.network import Layer, Network, Node
from hepprune.network.layers import Activation, LayerNorm, PReLU, Recurrent, Softmax
from hepprune.network.parts import has_steps
from hepprune.network.ranges import accumulators

_MAX_FRACTION = 32


def types(network: Network) -> dict[str, FixedPoint]:
    """Return, for each layer but the heads, the type that holds its value before the result quantiser.

    To the layers that read it, a layer without a rule for its range (a recurrent one, say) is an input of its result
    type, and that is its own entry too.

    Raises:
        NetworkError: a layer lacks a type, or accumulates more bits than are computed exactly.
    """
    given = {node.name: _result(node) for node in network.nodes if _has_no_rule(network, node)}
    return accumulators(network, given)


def held(network: Network, layer: Layer, before: FixedPoint) -> FixedPoint:
    """Return the type that holds every value a layer puts out."""
    quantiser = layer.result or network.runs(layer).result
    return before if quantiser is None else covering(quantiser)


def covering(quantiser: Quantiser) -> FixedPoint:
    """Return the quantiser where it is a type, else the narrowest type that holds all its values."""
    if isinstance(quantiser, FixedPoint):
        return quantiser
    low, high = float(np.min(quantiser.minimum)), float(np.max(quantiser.maximum))
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
    raise NetworkError(f"layer '{name}' has constants that no type with {_MAX_FRACTION} fractional bits holds exactly")


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
        raise NetworkError(
            f"layer '{node.name}' ({type(node.layer).__name__}) has no range that types could follow from; "
            "give it a result type"
        )
    return covering(node.results[-1])
