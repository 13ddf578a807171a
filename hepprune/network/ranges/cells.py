"""The range of what a recurrent layer puts out, in whatever order and number its steps run."""

import functools
import math
import operator

import numpy as np
import torch

from hepprune.errors import refused
from hepprune.network.layers import Activation, Layer, PReLU, Recurrent
from hepprune.network.layers.recurrent import CellArithmetic, CellFunction
from hepprune.network.ranges.interval import ANYTHING, Floats, Interval, affine, quantise, run

_linear = torch.nn.functional.linear
# Where functions that fall and then rise have their least value.
_DIPS = {"swish": -1.278464542761074, "gelu": -0.7517915246935645, "gelu_tanh": -0.7524614220710163}


def cell_range(layer: Recurrent, arriving: Interval) -> Interval:
    """Return the range of the states: what the functions of the cell make of all that its types let them see.

    Raises:
        NetworkError: its kernels, functions or states lack a type, or it accumulates more bits than are exact.
    """
    kinds = {f"{kernel.array}_type": kernel.type for kernel in layer.kernels}
    kinds |= {"bias_type": layer.bias_type, "activation_type": layer.act.result}
    if layer.cell != "simple":
        kinds |= {"recurrent_activation_type": layer.gate.result, "state_type": layer.state_type}
    if missing := [name for name, kind in kinds.items() if kind is None]:
        raise refused(layer.name, f"(Recurrent) has no range without its {' and '.join(missing)}")
    inputs = Interval(arriving.low.min(axis=0), arriving.high.max(axis=0), arriving.fraction)
    state = Interval.of(layer.state_type or layer.act.result, (layer.n_out,))  # type: ignore[arg-type]

    def product(kind: str, values: Interval, rows: slice) -> Interval:
        made = _kernel(layer, kind, values)
        return Interval(made.low[rows], made.high[rows], made.fraction)

    def function(of: CellFunction, values: Interval) -> Interval:
        argument = quantise(_exact(layer, values), layer.argument_of(of))
        return quantise(Interval(*reach(of, argument), argument.fraction), of.result)

    def parted(values: Interval, n: int) -> list[Interval]:
        ends = (np.split(end, n) for end in (_exact(layer, values).low, values.high))
        return [Interval(low, high, values.fraction) for low, high in zip(*ends, strict=True)]

    by = CellArithmetic(product=product, typed=quantise, function=function, times=operator.mul, parted=parted)
    found, _ = layer.stepped(product("weight", inputs, slice(None)), (state, state), by)
    shape = (*arriving.low.shape[:1], layer.n_out) if layer.return_sequences else (layer.n_out,)
    low, high = (np.broadcast_to(end, shape).copy() for end in (found.low, found.high))
    return Interval(low, high, found.fraction)


def _kernel(layer: Recurrent, kind: str, values: Interval) -> Interval:
    """Return the range of what a kernel and its bias make of values, (rows,)."""
    kernel = next(kernel for kernel in layer.kernels if kernel.array == kind)
    bias = layer.used_biases()[kind != "weight"]
    fraction = max(kernel.type.fraction + values.fraction, layer.bias_type.fraction)  # type: ignore[union-attr]
    return _exact(layer, affine(_linear, kernel.used(), bias, values, fraction=fraction))


def _exact(layer: Recurrent, interval: Interval) -> Interval:
    """Return a range that is computed exactly, and refuse others."""
    _ = interval.held(layer.name)
    return interval


def reach(layer: Layer, *arriving: Interval) -> tuple[Floats, Floats]:
    """Return the least and the largest value before the result type, from the ends and where the function turns."""
    knees = turns(layer, *arriving)
    points = [[getattr(each, end) for each in arriving] for end in ("low", "high")]
    points += [[np.clip(knee, each.low, each.high) for each in arriving] for knee in knees]
    found = [run(lambda *x: layer.compute(*x, quantised=True), *values) for values in points]
    low, high = (functools.reduce(end, found) for end in (np.minimum, np.maximum))
    return np.clip(low, -ANYTHING, ANYTHING), np.clip(high, -ANYTHING, ANYTHING)


def turns(layer: Layer, *arriving: Interval) -> tuple[float, ...]:
    """Return the arguments, between the ends, of what can be a function's least or largest value."""
    if isinstance(layer, PReLU):
        return (0.0,)
    if not isinstance(layer, Activation) or layer.rises:
        return ()
    if layer.function in {"leaky_relu", "elu"}:
        return (0.0,)
    if layer.function == "reciprocal":  # next to its pole, on both sides
        return _around(-layer.parameter("epsilon"), arriving[0])
    if layer.function == "thresholded_relu":  # zero up to a threshold below it, and the least value just above
        return _around(layer.parameter("theta"), arriving[0])
    dip = _DIPS.get("gelu_tanh" if layer.parameters_of.get("tanh") else layer.function)
    return () if dip is None else (dip,)


def _around(point: float, arriving: Interval) -> tuple[float, float]:
    """Return the last argument that is not above a point, and the next."""
    step = 2.0**-arriving.fraction
    below = math.floor(point / step) * step
    return below, below + step
