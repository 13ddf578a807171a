"""Layers that combine the values of several layers, affine maps, and layer norm from its table, for hls4ml."""

import functools
import itertools
import math
from collections.abc import Callable
from dataclasses import replace
from operator import add, mul, sub
from typing import Any

import numpy as np

from hepprune.firmware.layers.base import PARALLEL, HlsLayer, Place, after, before, cast, fixed
from hepprune.firmware.layers.precision import constant_type
from hepprune.firmware.layers.shaping import chained
from hepprune.fixed import FixedPoint
from hepprune.network import BatchNorm, Einsum, Layer, LayerNorm, Merge

_ENDS: dict[str, Callable[[float, float], float]] = {
    "add": add,
    "subtract": sub,
    "multiply": mul,
    "average": add,
    "maximum": max,
    "minimum": min,
}
_ACCUMULATOR = FixedPoint(40, 16, rounding="RND_CONV", overflow="SAT")
_INVERSE_ROOT = FixedPoint(24, 10, False, "RND_CONV", "SAT")
_CONSTANT = FixedPoint(18, 6, rounding="RND", overflow="SAT")


def merge(place: Place, layer: Merge) -> list[HlsLayer]:
    """Describe an operation between two values; several are a chain, and their average a sum and a product."""
    for shape in place.arriving:
        # hls4ml has one broadcast: the smaller value again and again, in io_parallel
        repeated = tuple(itertools.dropwhile(lambda size: size == 1, shape))
        fits = repeated == place.shape[len(place.shape) - len(repeated) :] and place.shape in place.arriving
        if shape != place.shape and (place.streams or not fits):
            said = f"broadcasts {shape} to {place.shape}, which hls4ml does not do in {place.io_type}"
            raise place.refused(said, "repeat the smaller value before it")
    between = functools.partial(_between, layer.operation)
    if layer.operation == "average" and len(place.sources) > 2:
        return _average(place, functools.reduce(between, place.arriving_types))
    return chained(place, lambda step: step.node("Merge", {"op": layer.operation}), between=between)


def _between(operation: str, left: FixedPoint, right: FixedPoint) -> FixedPoint:
    """Return the type that holds what the operation makes of two values."""
    end = _ENDS[operation]
    ends = [end(a, b) for a, b in itertools.product((left.minimum, left.maximum), (right.minimum, right.maximum))]
    exact = left.fraction + right.fraction if operation == "multiply" else max(left.fraction, right.fraction)
    return FixedPoint.covering(min(ends), max(ends), fraction=exact)


def _average(place: Place, total: FixedPoint) -> list[HlsLayer]:
    n_sources = len(place.sources)
    if n_sources & (n_sources - 1):
        raise place.refused(f"averages {n_sources} values, which hls4ml does inexactly", "add them and scale the sum")
    whole = before(place, "sum", shape=place.shape, result=total)
    between = functools.partial(_between, "add")
    nodes = chained(whole, lambda step: step.node("Merge", {"op": "add"}), between=between)
    scale, shift = np.full(place.shape[-1], 1 / n_sources), np.zeros(place.shape[-1])
    types = {"scale": constant_type(place.name, scale), "bias": constant_type(place.name, shift)}
    return [*nodes, affine(after(place, nodes, shape=place.shape), scale, shift, types)]


def einsum(place: Place, layer: Einsum) -> list[HlsLayer]:
    """Describe a contraction of two values."""
    if place.streams:
        raise place.refused("has no io_stream form in hls4ml", fix=PARALLEL)
    left, right, out = (set(term) for term in layer.terms)
    if alone := (left ^ right) - out:
        raise place.refused(f"sums axis {'and '.join(sorted(alone))} alone, which hls4ml does not", "sum it before it")
    shapes = {"inp0_shape": place.arriving[0], "inp1_shape": place.arriving[1], "out_shape": place.shape}
    return [place.node("Einsum", {"equation": layer.equation} | shapes, accum=place.before)]


def compared(place: Place, _layer: Layer) -> list[HlsLayer]:
    """Refuse a top-k or an argmax in streams; elsewhere it is described by its steps."""
    raise place.refused("has no io_stream form in hls4ml", fix=PARALLEL)


def batch_norm(place: Place, layer: BatchNorm) -> list[HlsLayer]:
    """Describe the affine map; one that changes nothing, which hls4ml would drop with its type, is a cast."""
    scale, shift = layer.used_scale().numpy(), layer.used_shift().numpy()
    if (scale == 1).all() and (shift == 0).all():
        return [cast(place)]
    kinds = {"scale": (scale, layer.scale_type), "bias": (shift, layer.shift_type)}
    types = {name: constant_type(place.name, *kind) for name, kind in kinds.items()}
    return [affine(place, np.broadcast_to(scale, place.shape[-1:]), np.broadcast_to(shift, place.shape[-1:]), types)]


def affine(place: Place, scale: np.ndarray, shift: np.ndarray, types: dict[str, FixedPoint]) -> HlsLayer:
    """Return the node of scale * x + shift over the channels."""
    n_filt = -1 if len(place.shape) == 1 else place.shape[-1]
    attributes = {"n_in": place.n_values, "n_filt": n_filt, "scale_data": scale.copy(), "bias_data": shift.copy()}
    return place.node("BatchNormalization", attributes, **types)


def layer_norm(place: Place, layer: LayerNorm) -> list[HlsLayer]:
    """Describe layer norm, which hls4ml looks up: its table of 1 / sqrt(variance) ends at a variance of 1."""
    if place.streams:
        raise place.refused("has no io_stream form in hls4ml", fix=PARALLEL)
    power = -round(math.log10(layer.epsilon))
    if power < 1 or not math.isclose(layer.epsilon, 10.0**-power, rel_tol=1e-3):
        raise place.refused(f"has epsilon {layer.epsilon:g}; hls4ml knows 0.1, 0.01, ...", "train it with one of these")
    attributes: dict[str, Any] = {"n_in": place.n_values, "seq_len": math.prod(place.shape[:-1]), "axis": 2}
    attributes |= {"epsilon_power_of_10": power, "gamma_data": layer.scale.numpy(), "beta_data": layer.shift.numpy()}
    attributes |= {"accum_t": fixed(_ACCUMULATOR), "table_t": fixed(_INVERSE_ROOT)}
    return [replace(place.node("LayerNormalization", attributes, scale=_CONSTANT, bias=_CONSTANT), exact=False)]
