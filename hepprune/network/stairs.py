"""A function of fixed-point values as the stairs it is: where its value changes, and to what."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from hepprune.errors import NetworkError, refused
from hepprune.fixed import FixedPoint, digits
from hepprune.network.layers import Activation, Layer, PReLU

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
FloatFunction = Callable[[Floats], Floats]
_FEW = 2**12  # arguments that are all looked at without asking
_MOST = 2**22  # arguments that are all looked at where nothing else helps
SMALL = 6  # bits that one LUT looks up
_WIDE = 8  # bits of an argument for which a table is larger than a comparison and a slope
_RAMPS = {"leaky_relu": "slope", "thresholded_relu": "theta"}  # of two straight lines, with the parameter of each
_SLOPE_FRACTION, _SLOPE_DIGITS = 16, 3  # of a slope, so that a product is a sum or two


@dataclass(frozen=True)
class Stairs:
    """Runs of equal outputs: the argument in steps at which each begins, in order, and its output."""

    starts: Integers
    outputs: Floats

    @property
    def changes(self) -> Integers:
        """The arguments whose output is not that of the one before."""
        return self.starts[1:]

    def low_bits(self, n_bits: int, last_place: float) -> int:
        """Return how many low bits of an argument of `n_bits` are best not looked up.

        In no segment that they count through may the output change twice; outputs are multiples of `last_place`.
        """
        width = math.ceil(math.log2(np.ptp(np.append(self.outputs, 0.0)) / last_place + 1))
        costs = {0: _memory(n_bits, width)}
        for low in range(1, n_bits):
            inside = self.changes[self.changes % 2**low != 0]
            if len(np.unique(inside >> low)) < len(inside):
                break
            chosen = width + low + _memory(n_bits - low, width + low) if len(inside) else 0
            costs[low] = _memory(n_bits - low, width) + chosen
        return min(costs, key=lambda low: costs[low])

    def at(self, numbers: Integers) -> Floats:
        """Return the outputs at arguments; beyond the ends those of the ends."""
        runs = np.searchsorted(self.starts, numbers, side="right") - 1
        return self.outputs[np.clip(runs, 0, None)]


def _memory(address: int, width: int) -> float:
    """Return about the LUTs of a table."""
    return float(2 ** max(address - SMALL, 0) * width)


def stairs(function: FloatFunction, ends: tuple[int, int], step: np.float64, *, rises_in: FixedPoint | None) -> Stairs:
    """Return a function of the arguments from end to end, in steps, all looked at unless it is known to rise.

    With `rises_in`, the type of its outputs, it never falls, and each output's first argument is found by bisection.
    """
    first, last = ends
    if rises_in is not None and last - first >= _FEW:
        least, most = function(np.array(ends) * step)
        levels = np.arange(round((most - least) / rises_in.step)) * rises_in.step + least + rises_in.step
        below, reached = (np.full(len(levels), end, dtype=np.int64) for end in ends)
        while len(levels) and (reached - below).max() > 1:
            middle = (below + reached) // 2
            there = function(middle * step) >= levels
            below, reached = np.where(there, below, middle), np.where(there, middle, reached)
        starts = np.unique(np.append(reached, ends[0]))
    else:
        outputs = function(np.arange(first, last + 1) * step)
        starts = np.append(0, np.flatnonzero(outputs[1:] != outputs[:-1]) + 1) + first
    return Stairs(starts, function(starts * step))


def of_layer(
    layer: Layer, run: FloatFunction, ends: tuple[int, int], *, step: np.float64, rises: bool, n_bits: int
) -> Stairs:
    """Return the stairs of a layer, computed by `run`, for arguments of `n_bits`; `rises` says that it never falls.

    Raises:
        NetworkError: the arguments are too many to look at each.
    """
    kind = None if isinstance(layer, Activation) and layer.is_tabled else layer.fixed_result
    if kind is not None and kind.overflow == "WRAP":  # which falls where it wraps
        whole = layer.compute(torch.tensor(ends, dtype=torch.float64) * float(step), quantised=True)
        rises = rises and bool(((whole >= kind.minimum) & (whole <= kind.maximum)).all())
    if ends[1] - ends[0] >= _MOST and not (rises and kind):
        raise too_wide(layer, n_bits)
    return stairs(run, ends, step, rises_in=kind if rises else None)


def too_wide(layer: Layer, n_bits: int) -> NetworkError:
    """Return the error that a layer would look up arguments of so many bits."""
    fix = "give the layer before it a narrower result type, or it a coarser one of its own"
    return refused(layer.name, f"({type(layer).__name__}) would look up an argument of {n_bits} bits; {fix}")


def ramp_constant(layer: Layer, n_bits: int) -> float | None:
    """Return the slope below zero, or the threshold, of a function of two straight lines.

    None where it is of another kind, or a table of arguments of `n_bits` is smaller than what computes it.
    """
    if isinstance(layer, PReLU):
        constant = float(layer.slope.detach())
    elif isinstance(layer, Activation) and not layer.is_tabled and layer.function in _RAMPS:
        constant = layer.parameter(_RAMPS[layer.function])
    else:
        return None
    whole = abs(constant) * 2.0**_SLOPE_FRACTION
    if n_bits <= _WIDE or whole != round(whole) or digits.count(np.array([round(whole)]))[0] > _SLOPE_DIGITS:
        return None
    return constant
