"""What functions of one variable cost: a comparison and a slope, or a table, parted where that is smaller."""

import functools
import math
from dataclasses import dataclass, field, replace

import numpy as np
import torch

from hepprune.errors import NetworkError
from hepprune.fixed import FixedPoint
from hepprune.fixed.quantisers import singles
from hepprune.hardware.cost.circuits import operations
from hepprune.hardware.cost.circuits.operations import Bill
from hepprune.hardware.cost.circuits.wires import FINEST, Floats, Wires, constants, last_place
from hepprune.network.layers import Activation, Layer
from hepprune.network.stairs import SMALL, of_layer, ramp_constant


@dataclass(frozen=True)
class TabledLayer:
    """A layer that is a function of every value, known by what its text says; `rises` says that it never falls."""

    text: str
    rises: bool
    layer: Layer = field(compare=False)


def looked_up(bill: Bill, function: TabledLayer, arriving: Wires) -> Wires:
    """Return a function of wires, each range priced once.

    Raises:
        NetworkError: the function has no table for such arguments.
    """
    flat = arriving.planes.reshape(len(arriving.planes), -1)
    ranges, places = np.unique(flat[[0, 1, 2, 5]], axis=1, return_inverse=True)
    found = [_priced(function, *column) for column in ranges.T.tolist()]
    lut = np.array([cost for cost, _ in found])[places.ravel()]
    bill.lut += float(lut.sum())
    planes = np.stack([made for _, made in found], axis=1)[:, places.ravel()]
    made = Wires(planes.reshape(arriving.planes.shape))
    return made.replaced(level=made.level + arriving.level, smooth=made.smooth + arriving.smooth)


def in_type(bill: Bill, layer: Activation, arriving: Wires) -> Wires:
    """Return a function of wires in types that only tables bring them into, those of one type at a time."""
    values, kinds = arriving.reshaped(-1), singles(layer.result, arriving.shape)
    planes = np.empty_like(values.planes)
    for kind in dict.fromkeys(kinds):
        chosen = np.array([own == kind for own in kinds])
        single = of(layer.rebuilt(result=kind), rises=False)
        planes[:, chosen] = looked_up(bill, single, values[chosen]).planes
    return Wires(planes).reshaped(*arriving.shape)


@functools.lru_cache(maxsize=4096)
def _priced(function: TabledLayer, low: float, high: float, fraction: float, negated: float) -> tuple[float, Floats]:
    """Return the LUT of one value's function, and the planes of what comes out."""
    bill, value = Bill(), Wires.of(*(np.array([each]) for each in (low, high, fraction, 0.0, 0.0, negated)))
    if low == high:
        return 0.0, constants(_run(function.layer, np.array([low]))).planes[:, 0]
    straight = _ramp(bill, function.layer, value)
    made = straight or _table(bill, function, value)
    return bill.lut, made.planes[:, 0]


def _ramp(bill: Bill, layer: Layer, value: Wires) -> Wires | None:
    """Return a function of two straight lines, None where it is of another kind or a table is smaller."""
    constant = ramp_constant(layer, int(value.width[0]))
    if constant is None:
        return None
    if isinstance(layer, Activation) and layer.function == "thresholded_relu":
        key = operations.plus(bill, operations.negative(value), np.array([constant]))
        made = operations.choose(bill, key, value, constants(np.zeros(1)))
    else:
        made = operations.choose(bill, value, operations.times(bill, value, np.array([constant])), value)
    return made if layer.fixed_result is None else operations.quantise(bill, made, layer.fixed_result)


def _table(bill: Bill, function: TabledLayer, value: Wires) -> Wires:
    """Return what a table puts out, in the narrowest address where the function is the same beyond."""
    run, n_bits = functools.partial(_run, function.layer), int(value.width[0])
    step = np.float64(2.0 ** -value.fraction[0])
    ends = int(value.low[0] / step), int(value.high[0] / step)
    found = of_layer(function.layer, run, ends, step=step, rises=function.rises, n_bits=n_bits)
    if not len(found.changes):
        return constants(found.outputs[:1])
    if n_bits > SMALL:
        changing = (float(number * step) for number in (int(found.changes[0]) - 1, int(found.changes[-1])))
        narrow = FixedPoint.covering(*changing, fraction=int(value.fraction[0]))
        value = operations.quantise(bill, value, replace(narrow, overflow="SAT"))
    fraction = float(last_place(found.outputs[found.outputs != 0]).max())
    low = found.low_bits(int(value.width[0]), 2.0**-fraction)
    made = Wires.of(found.outputs.min(keepdims=True), found.outputs.max(keepdims=True), fraction)
    levels = _looked_up(bill, value.width[0] - low, made.width[0])
    if np.any(found.changes % 2**low):  # low bits are compared with where a segment turns, and choose its end
        _looked_up(bill, value.width[0] - low, made.width[0])
        levels = _looked_up(bill, value.width[0] - low, low) + 2
        bill.lut += low + 1 + made.width[0]
    return made.replaced(level=value.level + levels, smooth=value.smooth + levels)


def _looked_up(bill: Bill, address: float, width: float) -> float:
    """Return the levels of a table."""
    bill.lut += 2.0 ** max(address - 5, 0) * math.ceil(width / 2) * min(1.0, address / 5)
    return max(address - 6, 1.0)


@torch.no_grad()
def _run(layer: Layer, values: Floats) -> Floats:
    found: Floats = layer(torch.as_tensor(values)).numpy()
    if not (np.abs(found * 2.0**FINEST) < 2.0**62).all() or not (found * 2.0**FINEST % 1 == 0).all():
        raise NetworkError(f"layer '{layer.name}' ({type(layer).__name__}) has no fixed-point form without a type")
    return found


def of(layer: Layer, *, rises: bool) -> TabledLayer:
    """Return a layer as the function that it is."""
    arrays = [array.detach().numpy().tobytes() for array in layer.state_dict().values()]
    settings = {key: value for key, value in layer.settings().items() if key != "name"}
    return TabledLayer(f"{type(layer).__name__} {settings} {arrays}", rises, layer)
