"""Which types each kind of layer gets, from what it was seen to read and put out."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from hepprune.fixed import FixedPoint
from hepprune.network import layers
from hepprune.network.precision import tables
from hepprune.network.precision.tables import activation_type, argument_type, bias_type, constant_type, weight_type
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

    def values_bits(self, layer: layers.Layer) -> int:
        """Return the width of the layer's values."""
        return self.precision.bits(layer, self.precision.activation_bits)

    def typed(self, layer: layers.Layer, *, table: bool = True) -> Types:
        """Return the type of values that are the layer's own, as those that a table puts out."""
        return {"result": activation_type(self.values, self.values_bits(layer), self.precision.overflow, table=table)}

    def narrowed(self) -> Types:
        """Return the type of values that are multiplied or looked up next; others stay exact."""
        if not self.narrow:
            return {}
        return {"result": activation_type(self.values, self.precision.activation_bits, self.precision.overflow)}


def takes_bits(layer: layers.Layer) -> bool:
    """Return whether a layer has weights, or values of its own, that a width can be asked for."""
    if isinstance(layer, layers.Activation):
        return layer.function != "linear"
    rounded = (layers.ReLU, layers.PReLU, layers.Softmax, layers.LayerNorm, layers.BatchNorm)
    return bool(layer.kernels) or isinstance(layer, rounded)


def _affine(factor: str, added: str, layer: layers.Layer, arriving: Interval, *, seen: Seen) -> Types:
    """Return the types of what multiplies values and of what is added; fixed ones are to keep their values."""
    factors, shifts, width = getattr(layer, factor), getattr(layer, added), seen.weights(layer)
    # of a sum alone the factor is one
    headroom = getattr(layer, "held", None) == factor
    kind = constant_type(factors, width) if layer.fixed else weight_type(factors, width, headroom=headroom)
    fraction = kind.fraction + arriving.fraction
    fraction = max(fraction, constant_type(shifts, width).fraction) if layer.fixed else fraction
    return {f"{factor}_type": kind, f"{added}_type": bias_type(shifts, fraction)} | seen.narrowed()


def _layer_norm(layer: layers.LayerNorm, _: Interval, *, seen: Seen) -> Types:
    width, weight_bits = seen.values_bits(layer), seen.precision.weight_bits
    return tables.layer_norm_types(layer, seen.arriving, width=width, weight_bits=weight_bits) | seen.typed(layer)


def _pool(layer: layers.Pool | layers.GlobalPool, arriving: Interval, *, seen: Seen) -> Types:
    if layer.kind == "max":
        return {}
    return seen.narrowed() if is_exact_mean(layer, arriving.low.shape) else seen.typed(layer)


def _merge(layer: layers.Merge, *arriving: Interval, seen: Seen) -> Types:
    divides = layer.operation == "average" and bool(len(arriving) & (len(arriving) - 1))
    return seen.typed(layer) if divides else seen.narrowed()


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


def _input(layer: layers.Input, *, seen: Seen) -> Types:
    kinds = seen.precision.inputs
    return {"result": kinds if isinstance(kinds, FixedPoint) else kinds[layer.name]}


def _prelu(layer: layers.PReLU, _: Interval, *, seen: Seen) -> Types:
    return {"slope_type": weight_type(layer.slope, seen.precision.weight_bits, headroom=True)} | seen.typed(layer)


def _softmax(layer: layers.Softmax, arriving: Interval, *, seen: Seen) -> Types:
    return tables.softmax_types(layer, arriving, seen.values_bits(layer)) | seen.typed(layer)


# `rule(layer, *arriving, seen=)`: the types a layer gets for ranges that arrive at the first of its places.
PRECISION: Rules[Callable[..., Types]] = Rules(
    lacks="gets no fixed-point types here",
    fix="train it with a quantiser (QKeras, HGQ, Brevitas) and give the quantised model",
    table={
        layers.Input: _input,
        layers.Weighted: partial(_affine, "weight", "bias"),
        layers.BatchNorm: partial(_affine, "scale", "shift"),
        layers.ReLU: lambda layer, _, *, seen: seen.typed(layer, table=False),
        layers.PReLU: _prelu,
        layers.Activation: lambda layer, _, *, seen: {} if layer.function == "linear" else seen.typed(layer),
        layers.Softmax: _softmax,
        layers.LayerNorm: _layer_norm,
        layers.Recurrent: _recurrent,
        layers.Pool: _pool,
        layers.GlobalPool: _pool,
        layers.Merge: _merge,
        layers.Einsum: lambda *_, seen: seen.narrowed(),
        # values that are moved, picked or counted as they are
        **dict.fromkeys((*layers.MOVING, layers.TopK, layers.Argmax, layers.Lookup), lambda *_, **__: {}),
    },
)
