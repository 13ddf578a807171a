"""Which types each kind of layer gets, from what it was seen to read and put out."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from hepprune.fixed import FixedPoint
from hepprune.network import layers
from hepprune.network.precision import tables
from hepprune.network.precision.choice import activation_type, argument_type, bias_type, weight_type
from hepprune.network.ranges import Interval
from hepprune.network.ranges.rules import is_exact_mean
from hepprune.network.rules import Rules

Types = dict[str, FixedPoint]  # by the constructor's names


@dataclass(frozen=True, kw_only=True)
class Precision:
    """Bits per value: the type of every input or of each by its name, and the widths of weights and activations.

    `layer_bits` holds exceptions by the name of a layer.
    """

    inputs: FixedPoint | Mapping[str, FixedPoint]
    weight_bits: int = 6
    activation_bits: int = 6
    overflow: str = "SAT"
    layer_bits: Mapping[str, int] | None = None

    def bits(self, layer: layers.Layer, default: int) -> int:
        """Return the width of a layer's weights or activations."""
        return (self.layer_bits or {}).get(layer.name, default)


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What a layer's types are chosen from: its values in float at all its places, and what arrived at each of them.

    `narrow` says that what reads its values multiplies them or looks them up, which few bits make cheap.
    """

    values: Tensor
    arriving: tuple[Tensor, ...]
    narrow: bool
    precision: Precision

    def weights(self, layer: layers.Layer) -> int:
        """Return the width of the layer's weights."""
        return self.precision.bits(layer, self.precision.weight_bits)

    def narrowed(self) -> Types:
        """Return the type of values that are multiplied or looked up next; others stay exact."""
        if not self.narrow:
            return {}
        return {"result": activation_type(self.values, self.precision.activation_bits, self.precision.overflow)}


def takes_bits(layer: layers.Layer) -> bool:
    """Return whether a layer has weights, or values of its own, that a width can be asked for."""
    tabled = isinstance(layer, layers.Activation) and layer.function != "linear"
    return (
        tabled
        or bool(layer.kernels)
        or isinstance(layer, layers.ReLU | layers.PReLU | layers.Softmax | layers.LayerNorm | layers.BatchNorm)
    )


# `rule(layer, *arriving, seen=)`: the types a layer gets for ranges that arrive at the first of its places.
PRECISION: Rules[Callable[..., Types]] = Rules(
    lacks="gets no fixed-point types here",
    fix="train it with a quantiser (QKeras, HGQ, Brevitas) and give the quantised model",
)


@PRECISION.of(layers.Input)
def _input(layer: layers.Input, *, seen: Seen) -> Types:
    kinds = seen.precision.inputs
    return {"result": kinds if isinstance(kinds, FixedPoint) else kinds[layer.name]}


@PRECISION.of(layers.Weighted)
def _weighted(layer: layers.Weighted, arriving: Interval, *, seen: Seen) -> Types:
    kind = weight_type(layer.weight, seen.weights(layer))
    biases = bias_type(layer.bias, kind.fraction + arriving.fraction)
    return {"weight_type": kind, "bias_type": biases} | seen.narrowed()


@PRECISION.of(layers.BatchNorm)
def _batch_norm(layer: layers.BatchNorm, arriving: Interval, *, seen: Seen) -> Types:
    kind = weight_type(layer.scale, seen.weights(layer))
    shifts = bias_type(layer.shift, kind.fraction + arriving.fraction)
    return {"scale_type": kind, "shift_type": shifts} | seen.narrowed()


@PRECISION.of(layers.ReLU)
def _relu(layer: layers.ReLU, _: Interval, *, seen: Seen) -> Types:
    width = seen.precision.bits(layer, seen.precision.activation_bits)
    return {"result": activation_type(seen.values, width, seen.precision.overflow)}


@PRECISION.of(layers.PReLU)
def _prelu(layer: layers.PReLU, *arriving: Interval, seen: Seen) -> Types:
    kind = weight_type(layer.slope, seen.precision.weight_bits, headroom=True)
    return {"slope_type": kind} | _table(layer, *arriving, seen=seen)


def _table(layer: layers.Layer, *_: Interval, seen: Seen) -> Types:
    width = seen.precision.bits(layer, seen.precision.activation_bits)
    return {"result": activation_type(seen.values, width, seen.precision.overflow, table=True)}


@PRECISION.of(layers.Softmax)
def _softmax(layer: layers.Softmax, arriving: Interval, *, seen: Seen) -> Types:
    width = seen.precision.bits(layer, seen.precision.activation_bits)
    return tables.softmax_types(layer, arriving, width) | _table(layer, arriving, seen=seen)


@PRECISION.of(layers.LayerNorm)
def _layer_norm(layer: layers.LayerNorm, arriving: Interval, *, seen: Seen) -> Types:
    width, weight_bits = seen.precision.bits(layer, seen.precision.activation_bits), seen.precision.weight_bits
    steps = tables.layer_norm_types(layer, seen.arriving, width=width, weight_bits=weight_bits)
    return steps | _table(layer, arriving, seen=seen)


@PRECISION.of(layers.Activation)
def _activation(layer: layers.Activation, *arriving: Interval, seen: Seen) -> Types:
    return {} if layer.function == "linear" else _table(layer, *arriving, seen=seen)


@PRECISION.of(layers.Pool, layers.GlobalPool)
def _pool(layer: layers.Pool | layers.GlobalPool, arriving: Interval, *, seen: Seen) -> Types:
    if layer.kind == "max":
        return {}
    return seen.narrowed() if is_exact_mean(layer, arriving.low.shape) else _table(layer, arriving, seen=seen)


@PRECISION.of(layers.Merge)
def _merge(layer: layers.Merge, *arriving: Interval, seen: Seen) -> Types:
    divides = layer.operation == "average" and bool(len(arriving) & (len(arriving) - 1))
    return _table(layer, *arriving, seen=seen) if divides else seen.narrowed()


@PRECISION.of(layers.Einsum)
def _einsum(layer: layers.Einsum, *_: Interval, seen: Seen) -> Types:
    del layer
    return seen.narrowed()


@PRECISION.of(
    layers.Reshape,
    layers.Permute,
    layers.Pad,
    layers.Crop,
    layers.UpSample,
    layers.Concatenate,
    layers.Slice,
    layers.TopK,
    layers.Argmax,
    layers.Lookup,
)
def _exact(layer: layers.Layer, *_: Interval, seen: Seen) -> Types:
    """Return no type: values are moved, picked or counted as they are."""
    del layer, seen
    return {}


@PRECISION.of(layers.Recurrent)
def _recurrent(layer: layers.Recurrent, arriving: Interval, *, seen: Seen) -> Types:
    own, asked = tables.states(layer, seen.arriving), seen.precision
    types = {f"{kernel.array}_type": weight_type(kernel.weight, seen.weights(layer)) for kernel in layer.kernels}
    types["state_type"] = activation_type(own.read, asked.activation_bits, asked.overflow)
    for name, values in (("activation_type", own.act), ("recurrent_activation_type", own.gate)):
        if len(values):
            types[name] = activation_type(values, asked.activation_bits, asked.overflow, table=True)
    if own.looked_up:
        types["argument_type"] = argument_type(own.looked_up, tables.addressed(asked.activation_bits))
    reads = (("weight_type", arriving), ("recurrent_weight_type", types["state_type"]))
    fraction = max(types[name].fraction + read.fraction for name, read in reads)
    types["bias_type"] = bias_type(torch.cat([layer.bias, layer.recurrent_bias]), fraction)
    return types | seen.narrowed()
