"""Networks of steps under construction, and the steps of softmax, layer norm, top k and argmax."""

import itertools
import math

import torch

from hepprune.fixed import FixedPoint, Quantiser
from hepprune.network import layers
from hepprune.network.graph import Network
from hepprune.network.layers import Dense, Input, Layer, Permute, Reshape, Shape
from hepprune.network.layers.base import checked_axis

INPUT = "x"
BIT = FixedPoint(1, 1, signed=False)


class Building:
    """Layers and what each reads, in the order they run; the first is the input."""

    def __init__(self, shape: Shape) -> None:
        self.layers: list[Layer] = [Input(INPUT, shape)]
        self.sources: dict[str, tuple[str, ...]] = {}

    def add(self, layer: Layer, *sources: str) -> str:
        """Add a layer that reads others, without any the last one, and return its name."""
        self.sources[layer.name] = sources or (self.layers[-1].name,)
        self.layers.append(layer)
        return layer.name

    def sum(self, name: str, n_values: int, *sources: str, result: Quantiser | None = None, scale: float = 1.0) -> str:
        """Add the sum over the last axis, times a power of two; the axis stays, of size one."""
        kind = FixedPoint(1, 1 + round(math.log2(scale)), signed=False)
        ones, zeros = torch.full((1, n_values), scale, dtype=torch.float64), torch.zeros(1, dtype=torch.float64)
        return self.add(Dense(name, ones, zeros, weight_type=kind, bias_type=BIT, result=result), *sources)

    def rows(self, axis: int) -> str:
        """Bring an axis of the last layer's value to the front, all others behind it as one."""
        shape = self.network().shapes[self.layers[-1].name]
        outer, inner = math.prod(shape[:axis]), math.prod(shape[axis + 1 :])
        if outer > 1:
            self.add(Reshape("blocks", (outer, shape[axis], inner)))
            self.add(Permute("turned", (1, 0, 2)))
        return self.add(Reshape("rows", (shape[axis], outer * inner)))

    def columns(self, shape: Shape, axis: int) -> str:
        """Bring rows back to the shape and the axis that they are from."""
        outer, inner = math.prod(shape[:axis]), math.prod(shape[axis + 1 :])
        if outer > 1:
            self.add(Reshape("columns", (shape[axis], outer, inner)))
            self.add(Permute("back", (1, 0, 2)))
        return self.add(Reshape("ordered", shape))

    def network(self) -> Network:
        """Return the network."""
        return Network(self.layers, self.sources)


_SIGN = FixedPoint(2, 2)
_SIDE = FixedPoint(2, 2, True, "TRN", "SAT")  # which rounds what is below zero to a number below zero
_HALVES = FixedPoint(2, 1)  # of what is counted in halves: 1/2 and -1/2


def softmax(layer: layers.Softmax, shape: layers.Shape) -> Network:
    """Return the steps of a softmax with types; values that are compared are along the first axis, jets beside."""
    axis, types = checked_axis(layer.name, layer.axis, len(shape)), layer.types
    steps, n_values = Building(shape), shape[axis]
    rows = steps.rows(axis)
    steps.add(layers.GlobalPool("largest", "max", keep_axes=True))
    steps.add(layers.Merge("distance", "subtract", types["distance_type"]), "largest", rows)
    steps.add(layers.Activation("exponential", "decay", result=types["exponential_type"]))
    steps.add(layers.Permute("beside", (1, 0)))
    steps.sum("total", n_values, result=types["total_type"])
    steps.add(layers.Activation("inverse", "reciprocal", result=types["inverse_type"]))
    steps.add(layers.Reshape("above", (1, -1)))
    steps.add(layers.Merge("probability", "multiply"), "exponential", "above")
    steps.columns(shape, axis)
    return steps.network()


def layer_norm(layer: layers.LayerNorm, shape: layers.Shape) -> Network:
    """Return the steps of a layer norm with types; channels are along the first axis until they are scaled."""
    n_channels, n_bits, types = len(layer.scale), layer.n_bits, layer.types
    steps = Building(shape)
    rows = steps.rows(len(shape) - 1)
    steps.add(layers.Permute("beside", (1, 0)), rows)
    steps.sum("total", n_channels, scale=2.0**-n_bits)
    mean = steps.add(layers.Reshape("mean", (1, -1)))
    share = FixedPoint(max(n_bits, 1) + 1, 1, signed=False)
    factor, zero = torch.tensor([layer.share], dtype=torch.float64), torch.zeros(1, dtype=torch.float64)
    steps.add(layers.BatchNorm("part", factor, zero, scale_type=share, shift_type=BIT), rows)
    steps.add(layers.Merge("centred", "subtract", types["centred_type"]), "part", mean)
    steps.add(layers.Einsum("squares", "ij,ij->j", types["squares_type"]), "centred", "centred")
    steps.add(layers.Activation("root", "inverse_root", layer.root, types["root_type"]))
    steps.add(layers.Reshape("above", (1, -1)))
    steps.add(layers.Merge("normal", "multiply", types["normal_type"]), "centred", "above")
    steps.columns(shape, len(shape) - 1)
    scale, shift, (scale_type, shift_type) = layer.scale, layer.shift, (types["scale_type"], types["shift_type"])
    steps.add(layers.BatchNorm("scaled", scale.double(), shift.double(), scale_type=scale_type, shift_type=shift_type))
    return steps.network()


def top(layer: layers.TopK, shape: layers.Shape) -> Network:
    """Return the gates of the k largest, and the values that these let through."""
    steps = Building(shape)
    if _gates(steps, layer.k, shape[-1]):
        steps.add(layers.Merge("top", "multiply"), INPUT, "gate")
    else:
        steps.add(layers.Activation("top", "linear"))
    return steps.network()


def index(_: layers.Argmax, shape: layers.Shape) -> Network:
    """Return the gates of the largest, and which of them is open."""
    steps, n_values = Building(shape), shape[-1]
    gates = _gates(steps, 1, n_values)
    kind = FixedPoint((n_values - 1).bit_length() or 1, (n_values - 1).bit_length() or 1, signed=False)
    places = torch.arange(n_values if gates else 1, dtype=torch.float64)[None]
    steps.add(layers.Dense("index", places, torch.zeros(1, dtype=torch.float64), weight_type=kind, bias_type=kind))
    return steps.network()


def _gates(steps: Building, k: int, n_values: int) -> bool:
    """Add comparisons, each 1 where the first is not below the second, their counts, and a gate for each value.

    There is nothing to compare where there is one value.
    """
    pairs = list(itertools.combinations(range(n_values), 2))
    differences = torch.zeros(len(pairs), n_values, dtype=torch.float64)
    for number, (first, second) in enumerate(pairs):
        differences[number, first], differences[number, second] = 1.0, -1.0
    if pairs:
        steps.add(_dense("difference", differences, 0.0, _SIGN))
        steps.add(layers.Activation("first", "binary_tanh", result=_SIGN))
        steps.add(_dense("ahead", differences.T / 2, k - 1 - (n_values - 1) / 2, _HALVES))
        steps.add(layers.Activation("passes", "binary_tanh", result=_SIGN))
        half = torch.full((1,), 0.5, dtype=torch.float64)
        steps.add(layers.BatchNorm("gate", half, half, scale_type=_HALVES, shift_type=_HALVES))
    return bool(pairs)


def _dense(name: str, weight: torch.Tensor, bias: float, kind: FixedPoint) -> layers.Dense:
    """Return a matrix with the same bias in every row, a multiple of 1/2, of whose values only the sign is kept."""
    biases = torch.full((len(weight),), bias, dtype=torch.float64)
    return layers.Dense(name, weight, biases, weight_type=kind, bias_type=FixedPoint(32, 31), result=_SIDE)
