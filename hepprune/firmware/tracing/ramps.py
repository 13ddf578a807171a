"""Functions of two straight lines through zero, or one that begins at a threshold: a comparison, and no table."""

from typing import Any

import numpy as np

from hepprune import digits
from hepprune.firmware.tracing import arithmetic
from hepprune.firmware.verilog import adders
from hepprune.network import Layer
from hepprune.network.layers import Activation, PReLU

_FRACTION = 16  # of a constant that is taken for exact
_FEW = 3  # digits, so that a product is a sum or two
_WIDE = 8  # bits of an argument for which a table is larger


def ramp(layer: Layer, value: Any) -> Any | None:
    """Return a function of a variable, None where it is of another kind or a table is smaller."""
    constant = _constant(layer)
    if constant is None or adders.is_constant(value) or sum(value.kif) <= _WIDE or not _is_short(constant):
        return None
    if isinstance(layer, Activation) and layer.function == "thresholded_relu":
        return arithmetic.where_negative(adders.constant(constant) - value, value, adders.constant(0.0))
    return arithmetic.where_negative(value, value * constant, value)


def _constant(layer: Layer) -> float | None:
    """Return the slope below zero, or the threshold."""
    if isinstance(layer, PReLU):
        return float(layer.slope)
    if isinstance(layer, Activation) and layer.function == "leaky_relu":
        return layer.parameters_of.get("slope", 0.3)
    if isinstance(layer, Activation) and layer.function == "thresholded_relu":
        return layer.parameters_of.get("theta", 1.0)
    return None


def _is_short(constant: float) -> bool:
    whole = constant * 2.0**_FRACTION
    return whole == round(whole) and int(digits.count(np.array([round(abs(whole))]))[0]) <= _FEW
