"""Layers that combine, move or are the steps of others: merges with broadcast, contractions, and places looked up."""

import functools
import math
from typing import Any

import numpy as np

from hepprune.firmware.tracing import arithmetic
from hepprune.firmware.tracing.base import TRACES, Values, array, moved, trace
from hepprune.firmware.tracing.pooling import mean
from hepprune.firmware.verilog import adders
from hepprune.network import Layer, LayerNorm, Softmax
from hepprune.network.layers import Concatenate, Crop, Einsum, Merge, Pad, Permute, Reshape, Slice, UpSample
from hepprune.network.parts import INPUT, parts


@TRACES.of(Merge)
def _merged(layer: Merge, *arriving: Values) -> Values:
    several = np.broadcast_arrays(*arriving)
    each = zip(*(values.flat for values in several), strict=True)
    return array((_value(layer, values) for values in each), several[0].shape)


def _value(layer: Merge, values: tuple[Any, ...]) -> Any:
    if layer.operation == "average":
        return mean(layer, values)
    if layer.operation == "subtract":
        return values[0] - values[1]
    return arithmetic.combined(arithmetic.OPERATIONS[layer.operation], values)


@TRACES.of(Einsum)
def _contracted(layer: Einsum, left: Values, right: Values) -> Values:
    """Return sums of products, the axes of each operand brought to (kept axes, summed axes) of the contraction."""
    of_left, of_right, out = layer.terms
    sizes = dict(zip(of_left + of_right, left.shape + right.shape, strict=True))
    summed = [axis for axis in sizes if axis not in out]
    axes = [*out, *summed]
    operands = []
    for term, values in ((of_left, left), (of_right, right)):
        order = [term.index(axis) for axis in axes if axis in term]
        shape = [sizes[axis] if axis in term else 1 for axis in axes]
        operands.append(np.broadcast_to(values.transpose(order).reshape(shape), [sizes[axis] for axis in axes]))
    pairs = (values.reshape(-1, math.prod(sizes[axis] for axis in summed)) for values in operands)
    totals = (_dot(*rows) for rows in zip(*pairs, strict=True))
    return array(totals, tuple(sizes[axis] for axis in out))


def _dot(left: Values, right: Values) -> Any:
    return arithmetic.total(arithmetic.product(*pair) for pair in zip(left, right, strict=True))


@TRACES.of(Concatenate, Crop, Pad, Permute, Reshape, Slice, UpSample)
def _moved(layer: Layer, *arriving: Values) -> Values:
    return moved(functools.partial(layer.compute, quantised=True), *arriving, padding=adders.constant(0.0))


@TRACES.of(Softmax, LayerNorm)
def _in_steps(layer: Softmax | LayerNorm, arriving: Values) -> Values:
    steps = parts(layer, arriving.shape)
    return steps.interpret(trace, known={INPUT: arriving})[steps.output.name]
