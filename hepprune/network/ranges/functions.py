"""What functions of one variable, and others of many, make of ranges: their values at the ends and where they turn."""

import functools
import math

import numpy as np

from hepprune.network.layers import Activation, Layer, PReLU
from hepprune.network.ranges.interval import ANYTHING, Floats, Interval, run

# Where functions that fall and then rise have their least value.
_DIPS = {"swish": -1.278464542761074, "gelu": -0.7517915246935645, "gelu_tanh": -0.7524614220710163}


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
        return _around(-layer.parameters_of.get("epsilon", 1e-7), arriving[0])
    if layer.function == "thresholded_relu":  # zero up to a threshold below it, and the least value just above
        return _around(layer.parameters_of["theta"], arriving[0])
    dip = _DIPS.get("gelu_tanh" if layer.parameters_of.get("tanh") else layer.function)
    return () if dip is None else (dip,)


def _around(point: float, arriving: Interval) -> tuple[float, float]:
    """Return the last argument that is not above a point, and the next."""
    step = 2.0**-arriving.fraction
    below = math.floor(point / step) * step
    return below, below + step
