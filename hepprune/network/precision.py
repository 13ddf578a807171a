"""Choose fixed-point types from the data: how a float Network becomes a quantised one."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hepprune.errors import DataError, NetworkError
from hepprune.fixed import FixedPoint
from hepprune.network.graph import Network, as_tuple
from hepprune.network.layers import (
    Activation,
    BatchNorm,
    Concatenate,
    Crop,
    Dense,
    GlobalPool,
    Input,
    Layer,
    Merge,
    Pad,
    Permute,
    Pool,
    ReLU,
    Reshape,
    Slice,
    TopK,
    UpSample,
)

# What gets types, and what only moves, adds or picks values, which are then exact.
_KNOWN = (Input, Dense, ReLU, Merge, TopK, Reshape, Permute, Slice, Concatenate, Pad, Crop, UpSample)


@dataclass(frozen=True)
class Precision:
    """Bits per value: the input's type, and the widths of weights and activations, with exceptions per layer name."""

    inputs: FixedPoint
    weight_bits: int = 6
    activation_bits: int = 6
    overflow: str = "SAT"
    layer_bits: Mapping[str, int] | None = None

    def bits(self, layer: Layer, default: int) -> int:
        """Return the width of a layer's weights or activations."""
        return (self.layer_bits or {}).get(layer.name, default)


@torch.no_grad()
def quantise(network: Network, features: Any, precision: Precision) -> Network:
    """Return a copy with types for every layer: widths as asked, integer bits from the values seen on `features`.

    Features have shape (n_jets, *shape), one array for each input. Weights, and activations that saturate, take the
    integer bits of least squared error; activations that wrap hold all values seen; a bias keeps every fractional bit
    of its products and two bits of headroom, so that constants of removed neurons fit.

    Raises:
        NetworkError: a batch norm has not been folded, a layer is of a kind that gets no types here, or a layer is
            named that does not exist.
        DataError: the features are not what the network takes.
    """
    for name in precision.layer_bits or {}:
        _ = network[name]
    for layer in network:
        _check_kind(network.runs(layer))
    values = network.activations(_jets(network, features), quantised=False)
    changed: dict[str, Layer] = {}
    fractions: dict[str, int] = {}
    for layer in network.clone():
        arriving = max((fractions[source] for source in network.sources.get(layer.name, ())), default=0)
        fractions[layer.name] = _set_types(layer, values[layer.name], arriving, precision)
        changed[layer.name] = layer
    return network.replacing(changed)


def _check_kind(layer: Layer) -> None:
    """Refuse a layer that would stay in float."""
    if isinstance(layer, BatchNorm):
        raise NetworkError(f"layer '{layer.name}' is a batch norm; fold it before quantising")
    moves = isinstance(layer, Activation) and layer.function in {"linear", "thresholded_relu"}
    exact = isinstance(layer, Pool | GlobalPool) and layer.kind == "max"
    if not (isinstance(layer, _KNOWN) or layer.is_head or layer.result or moves or exact):
        raise NetworkError(
            f"layer '{layer.name}' ({type(layer).__name__}) gets no fixed-point types here, where Dense and ReLU do; "
            "train it with a quantiser (QKeras, HGQ, Brevitas) and give the quantised model"
        )


def _jets(network: Network, features: Any) -> list[Tensor]:
    """Return features as the network takes them, one tensor for each input."""
    jets = [np.asarray(each) for each in as_tuple(features)]
    shapes = [layer.features_shape for layer in network.inputs]
    numbers = all(each.dtype.kind in "biuf" for each in jets)
    if not numbers or [each.shape[1:] for each in jets] != shapes or not len(jets[0]):
        raise DataError(
            f"the network takes jets of {' and '.join(map(str, shapes))} numbers and is given an array of "
            + " and ".join(f"shape {each.shape} and type '{each.dtype}'" for each in jets)
        )
    return [torch.as_tensor(each.astype(np.float32)) for each in jets]


def _set_types(layer: Layer, values: Tensor, arriving: int, precision: Precision) -> int:
    """Give one layer its types in place, and return the fractional bits of its result."""
    if isinstance(layer, Input):
        layer.result = precision.inputs
    elif isinstance(layer, Dense):
        layer.weight_type = weight_type(layer.weight, precision.bits(layer, precision.weight_bits))
        layer.bias_type = bias_type(layer.bias, layer.weight_type.fraction + arriving)
        return layer.bias_type.fraction
    elif isinstance(layer, ReLU):
        layer.result = activation_type(values, precision.bits(layer, precision.activation_bits), precision.overflow)
    return layer.result.fraction if layer.result else arriving


def weight_type(weight: Tensor, width: int) -> FixedPoint:
    """Return the signed type of that width with the least squared error on the weights; it rounds and saturates."""
    top = _integer_bits(float(weight.abs().max())) + 1
    return _closest(weight, [FixedPoint(width, integer, True, "RND", "SAT") for integer in range(top - 3, top + 1)])


def bias_type(bias: Tensor, fraction: int) -> FixedPoint:
    """Return a signed type with that many fractional bits and a range four times the largest bias, at least +-4."""
    integer = max(3 + max(0, int(np.ceil(np.log2(max(float(bias.abs().max()), 1.0))))), 1 - fraction)
    return FixedPoint(integer + fraction, integer, True, "RND", "SAT")


def activation_type(values: Tensor, width: int, overflow: str) -> FixedPoint:
    """Return the unsigned type of that width for activations (n_jets, n_out); it truncates, which costs no adder.

    One that wraps holds all of them; one that saturates has the least squared error.
    """
    top = _integer_bits(float(values.max()))
    if overflow != "SAT":
        return FixedPoint(width, top, False, "TRN", overflow)
    return _closest(values, [FixedPoint(width, integer, False, "TRN", "SAT") for integer in range(top - 5, top + 1)])


def _integer_bits(largest: float) -> int:
    return int(np.ceil(np.log2(max(largest, 2.0**-16))))


def _closest(values: Tensor, kinds: Sequence[FixedPoint]) -> FixedPoint:
    return min(kinds, key=lambda kind: float(((kind(values) - values) ** 2).sum()))
