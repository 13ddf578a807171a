"""Functions of one variable: a ReLU, two straight lines compared, else a table of what the layer itself computes."""

import dataclasses
import functools
from typing import Any

import numpy as np
import torch

from hepprune.errors import refused
from hepprune.firmware.tracing import arithmetic, rounding
from hepprune.firmware.tracing.base import TRACES, Variables, array, each, result_type, typed
from hepprune.firmware.verilog import adders
from hepprune.fixed import FixedPoint
from hepprune.fixed.quantisers import singles
from hepprune.network import Activation, Layer, Lookup, PReLU, ReLU
from hepprune.network.stairs import SMALL, Floats, Integers, Stairs, of_layer, ramp_constant, too_wide

_MAX_ADDRESS = 16  # bits


@TRACES.of(ReLU)
def _relu(layer: ReLU, arriving: Variables) -> Variables:
    if layer.maximum is not None:
        # Rounding keeps order and zero, so it comes first.

        def clamped(value: Any, kind: FixedPoint) -> Any:
            wide = dataclasses.replace(kind, width=52, integer=52 - kind.fraction, signed=True)
            return rounding.rounded(value, kind).relu().min_of(float(wide(np.array([layer.maximum]))[0]))

        def within(value: Any, kind: FixedPoint) -> Any:
            return rounding.quantise(clamped(value, kind), kind)

        if layer.result is not None:
            return typed(within, arriving, layer.result, name=layer.name)
        exact = FixedPoint(52, 52 - adders.MAX_FRACTION) if _is_exact(np.array([layer.maximum])) else result_type(layer)
        return each(functools.partial(clamped, kind=exact), arriving)
    if layer.result is None:
        return each(functools.partial(rounding.relu, kind=None), arriving)
    return typed(rounding.relu, arriving, layer.result, name=layer.name)


@TRACES.of(Activation)
def _activation(layer: Activation, arriving: Variables) -> Variables:
    if layer.is_tabled:
        each_ = zip(singles(layer.result, arriving.shape), arriving.flat, strict=True)
        made = (_tabled(layer.rebuilt(result=kind), value, rises=False) for kind, value in each_)
        return array(made, arriving.shape)
    if layer.function == "linear":
        return arriving
    return each(functools.partial(_looked_up, layer, rises=layer.rises), arriving)


@TRACES.of(PReLU)
def _prelu(layer: PReLU, arriving: Variables) -> Variables:
    slopes = torch.broadcast_to(layer.used_slope().detach(), arriving.shape).reshape(-1, 1)
    each_ = zip((layer.rebuilt(slope=slope) for slope in slopes), arriving.flat, strict=True)
    return array((_looked_up(single, value, rises=bool(single.slope >= 0)) for single, value in each_), arriving.shape)


@TRACES.of(Lookup)
def _lookup(layer: Lookup, arriving: Variables) -> Variables:
    each_ = zip(layer.singles(arriving.shape), arriving.flat, strict=True)
    return array((_looked_up(single, value, rises=False) for single, value in each_), arriving.shape)


def _looked_up(layer: Layer, value: Any, *, rises: bool) -> Any:
    """Return what a layer makes of a variable; `rises` says that its function never falls."""
    straight = ramp(layer, value)
    return _tabled(layer, value, rises=rises) if straight is None else straight


def _tabled(layer: Layer, value: Any, *, rises: bool) -> Any:
    run = torch.no_grad()(lambda values: layer(torch.as_tensor(values)).numpy())
    ends = int(value.low / value.step), int(value.high / value.step)
    found = of_layer(layer, run, ends, step=np.float64(value.step), rises=rises, n_bits=sum(value.kif))
    if not _is_exact(found.outputs):
        result_type(layer)
        raise refused(layer.name, f"({type(layer).__name__}) has values of more bits than da4ml takes")
    value = _saturated(value, found.changes)
    if adders.is_constant(value):
        return adders.constant(float(found.outputs[0]))
    dropped = found.low_bits(sum(value.kif), adders.last_place(found.outputs))
    if sum(value.kif) - dropped > _MAX_ADDRESS:
        raise too_wide(layer, sum(value.kif))
    return _parted(value, found, dropped)


def _is_exact(outputs: Floats) -> bool:
    """Return whether values are multiples of a step that da4ml knows, and no larger than its tables hold."""
    fractions = outputs * 2.0**adders.MAX_FRACTION
    if not (np.abs(fractions) < 2.0**62).all() or not (fractions == np.round(fractions)).all():
        return False
    return bool((np.abs(outputs) < 2.0**31 * adders.last_place(outputs)).all())


def _saturated(value: Any, changes: Integers) -> Any:
    """Return a wide argument in fewer bits, where the function is the same all the way beyond."""
    if not len(changes):
        return adders.constant(float(value.low))
    if sum(value.kif) <= SMALL:
        return value
    low, high = (float(number * value.step) for number in (int(changes[0]) - 1, int(changes[-1])))
    kind = FixedPoint.covering(low, high, fraction=value.kif[2])
    return rounding.quantise(value, dataclasses.replace(kind, overflow="SAT"))


def _parted(value: Any, found: Stairs, low: int) -> Any:
    """Return the output for a variable, whose `low` last bits choose between the ends of a segment."""
    fraction = value.kif[2]
    segment = rounding.rounded(value, FixedPoint(52, 52 - fraction + low))
    numbers = np.arange(int(segment.low / value.step), int(segment.high / value.step) + 1, 2**low)
    before = adders.look_up(segment, found.at(numbers))
    inside = found.changes[found.changes % 2**low != 0]
    if not len(inside):
        return before
    turns = np.zeros(len(numbers))
    turns[(inside - numbers[0]) >> low] = inside % 2**low * float(value.step)
    rest = value.quantize(0, low - fraction, fraction) - adders.look_up(segment, turns)
    return arithmetic.where_negative(rest, before, adders.look_up(segment, found.at(numbers + 2**low - 1)))


def ramp(layer: Layer, value: Any) -> Any | None:
    """Return a function of a variable, None where it is of another kind or a table is smaller."""
    constant = None if adders.is_constant(value) else ramp_constant(layer, sum(value.kif))
    if constant is None:
        return None
    if isinstance(layer, Activation) and layer.function == "thresholded_relu":
        return arithmetic.where_negative(adders.constant(constant) - value, value, adders.constant(0.0))
    return arithmetic.where_negative(value, value * constant, value)
