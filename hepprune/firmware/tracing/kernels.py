"""Constant matrices: kernels at each of their places, also at every step of a recurrent layer; affine maps."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from hepprune.errors import refused
from hepprune.firmware.tracing import arithmetic, rounding
from hepprune.firmware.tracing.base import TRACES, Variables, applied, array, moved, typed
from hepprune.firmware.verilog import adders
from hepprune.fixed import FixedPoint, Quantiser
from hepprune.fixed.quantisers import FixedPoints, Minifloat
from hepprune.network import BatchNorm, Weighted
from hepprune.network.layers import Recurrent
from hepprune.network.layers.recurrent import KERNELS, CellArithmetic, CellFunction

Floats = NDArray[np.float64]


@TRACES.of(Weighted)
@torch.no_grad()
def _weighted(layer: Weighted, arriving: Variables) -> Variables:
    """Return the kernel, one matrix for each group of channels, at each of its places."""
    kernel = layer.matrix
    rows, bias = kernel.rows().cpu().numpy(), layer.used_bias().cpu().numpy()
    what = "weights and biases"
    check_types(layer.name, *kinds(layer.name, (what, layer.weight_type, rows), (what, layer.bias_type, bias)))
    weights, biases = (np.split(part, kernel.groups) for part in (rows, bias))
    reads = moved(kernel.reads, arriving, padding=adders.constant(0.0))  # n_places, groups, terms
    outputs = [affine(*each) for place in reads for each in zip(weights, biases, place, strict=True)]
    return array((value for part in outputs for value in part), layer.shape(arriving.shape))


def affine(weight: Floats, bias: Floats, arriving: Sequence[Any]) -> list[Any]:
    """Return weight @ arriving + bias; inputs that are constant go into the bias, so the solver sees what moves."""
    bias = bias + weight @ np.array([float(value.low) if adders.is_constant(value) else 0.0 for value in arriving])
    columns = [i for i, value in enumerate(arriving) if not adders.is_constant(value) and weight[:, i].any()]
    rows = np.flatnonzero(weight[:, columns].any(axis=1))
    outputs = [adders.constant(value) for value in bias]
    if len(rows):
        kernel = weight[rows][:, columns].T
        for row, total in zip(rows, adders.multiply([arriving[i] for i in columns], kernel), strict=True):
            outputs[row] = total + float(bias[row])
    return outputs


def kinds(name: str, *constants: tuple[str, Quantiser | None, Floats]) -> list[FixedPoint]:
    """Return the types of constants: of those that have one each, the narrowest that holds the values they are."""
    found = []
    for what, kind, values in constants:
        held = kind
        if isinstance(kind, FixedPoints | Minifloat):
            integer = 1 + math.frexp(float(np.abs(values).max(initial=0.0)))[1]
            held = FixedPoint(max(integer - round(math.log2(adders.last_place(values))), 1), integer)
        if not isinstance(held, FixedPoint):
            raise refused(name, f"has no fixed-point types for its {what}")
        found.append(held)
    return found


def check_types(name: str, weight_type: FixedPoint, bias_type: FixedPoint) -> None:
    """Refuse weights and biases that da4ml would round.

    Raises:
        NetworkError: they are too wide or too fine.
    """
    if weight_type.width > adders.MAX_WEIGHT_WIDTH:
        raise refused(name, f"has {weight_type.width}-bit weights; da4ml takes up to {adders.MAX_WEIGHT_WIDTH}")
    if max(weight_type.fraction, bias_type.fraction) > adders.MAX_FRACTION:
        raise refused(name, f"has constants finer than 2**-{adders.MAX_FRACTION}, which da4ml cannot hold")


@TRACES.of(BatchNorm)
@torch.no_grad()
def _batch_norm(layer: BatchNorm, arriving: Variables) -> Variables:
    if layer.scale_type is None or layer.shift_type is None:
        fix = "fold it into the layer before it first (`hepprune.network.folding`)"
        raise refused(layer.name, f"(BatchNorm) has no fixed-point types for its scale and shift; {fix}")
    scale, shift = (part.cpu().numpy() for part in (layer.used_scale(), layer.used_shift()))
    check_types(layer.name, *kinds(layer.name, ("scale", layer.scale_type, scale), ("shift", layer.shift_type, shift)))
    scale, shift = (np.broadcast_to(part, arriving.shape) for part in (scale, shift))
    each = zip(scale.flat, shift.flat, arriving.flat, strict=True)
    mapped = (affine(np.array([[factor]]), np.array([offset]), [value])[0] for factor, offset, value in each)
    return array(mapped, arriving.shape)


_times = np.frompyfunc(arithmetic.product, 2, 1)


@TRACES.of(Recurrent)
@torch.no_grad()
def _unrolled(layer: Recurrent, arriving: Variables) -> Variables:
    _check(layer)
    weights = {kind: layer.used(kind).cpu().numpy() for kind in KERNELS}
    biases = dict(zip(KERNELS, (bias.cpu().numpy() for bias in layer.used_biases()), strict=True))

    def product(kind: str, values: Variables, rows: slice) -> Variables:
        made = affine(weights[kind][rows], biases[kind][rows], list(values))
        return array(made, (len(made),))

    def in_type(values: Variables, kind: Quantiser | None) -> Variables:
        return values if kind is None else typed(rounding.quantise, values, kind, name=layer.name)

    def function(of: CellFunction, values: Variables) -> Variables:
        return applied(of, in_type(values, layer.argument_of(of)))

    by = CellArithmetic(product=product, typed=in_type, function=function, times=_times, parted=np.split)
    zeros = array([adders.constant(0.0)] * layer.n_out, (layer.n_out,))
    state, memory, states = zeros, zeros, []
    for now in arriving[::-1] if layer.backwards else arriving:
        state, memory = layer.stepped(product("weight", now, slice(None)), (state, memory), by)
        states.append(state)
    ordered = states[::-1] if layer.backwards and layer.in_order else states
    return np.stack(ordered) if layer.return_sequences else state


def _check(layer: Recurrent) -> None:
    for kernel, bias in zip(layer.kernels, layer.used_biases(), strict=True):
        weights = "weights", kernel.type, kernel.used().cpu().numpy()
        check_types(layer.name, *kinds(layer.name, weights, ("biases", layer.bias_type, bias.cpu().numpy())))
    layer.check_bounded()
