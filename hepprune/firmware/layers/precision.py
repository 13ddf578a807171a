"""The fixed-point types of every layer, those included whose range no rule follows."""

from typing import Any

import numpy as np
import torch

from hepprune.errors import NetworkError
from hepprune.fixed import FixedPoint, Quantiser
from hepprune.network import Input, Layer, Network, Shared
from hepprune.network.layers import Activation, LayerNorm, PReLU, Recurrent, Softmax
from hepprune.network.layers.activation import MONOTONE
from hepprune.network.ranges import accumulators

_MAX_FRACTION = 32


def types(network: Network) -> dict[str, FixedPoint]:
    """Return, for each layer but the heads, the type that holds its value before the result quantiser.

    To the layers that read it, a layer without a rule for its range (a recurrent one, say) is an input of its result
    type, and that is its own entry too.

    Raises:
        NetworkError: a layer lacks a type, or accumulates more bits than are computed exactly.
    """
    return accumulators(_bounded(network))


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


def _bounded(network: Network) -> Network:
    layers: list[Layer] = []
    for layer in network:
        runs = network.runs(layer)
        if _has_no_rule(runs) and not (isinstance(runs, Softmax) and not network.readers(layer)):
            layers.append(Input(layer.name, network.shapes[layer.name], _result(layer, runs)))
        else:
            layers.append(layer)
    kept = {layer.name: layer for layer in layers}
    for index, layer in enumerate(layers):
        if isinstance(layer, Shared) and isinstance(kept[layer.of], Input):
            layers[index] = Input(layer.name, network.shapes[layer.name], _result(layer, network.runs(layer)))
    sources = {name: read for name, read in network.sources.items() if not isinstance(kept[name], Input)}
    with torch.no_grad():
        return Network(layers, sources, network.outputs)


def _has_no_rule(runs: Layer) -> bool:
    if isinstance(runs, Activation):
        return runs.function not in MONOTONE
    return isinstance(runs, PReLU | LayerNorm | Recurrent | Softmax)


def _result(layer: Layer, runs: Layer) -> FixedPoint:
    quantiser = layer.result or runs.result
    if quantiser is None:
        raise NetworkError(
            f"layer '{layer.name}' ({type(runs).__name__}) has no range that types could follow from; "
            "give it a result type"
        )
    return covering(quantiser)
