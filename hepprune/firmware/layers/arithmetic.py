"""Layers that combine the values of several layers, for hls4ml."""

import functools
import itertools
from collections.abc import Callable

import numpy as np

from hepprune.firmware.layers.base import HlsLayer, Place, after, before
from hepprune.firmware.layers.normalisation import affine
from hepprune.firmware.layers.precision import constant_type
from hepprune.firmware.layers.shaping import chained
from hepprune.fixed import FixedPoint
from hepprune.network.layers import Einsum, Layer, Merge

_ENDS: dict[str, Callable[[float, float], float]] = {
    "add": lambda a, b: a + b,
    "subtract": lambda a, b: a - b,
    "multiply": lambda a, b: a * b,
    "average": lambda a, b: a + b,
    "maximum": max,
    "minimum": min,
}


def merge(place: Place, layer: Merge) -> list[HlsLayer]:
    """Describe an operation between two values; several are a chain, and their average a sum and a product."""
    for shape in place.arriving:
        # hls4ml has one broadcast: the smaller value again and again, in io_parallel
        repeated = tuple(itertools.dropwhile(lambda size: size == 1, shape))
        fits = repeated == place.shape[len(place.shape) - len(repeated) :] and place.shape in place.arriving
        if shape != place.shape and (place.streams or not fits):
            raise place.refused(
                f"broadcasts {shape} to {place.shape}, which hls4ml does not do in {place.io_type}",
                cure="repeat the smaller value before it",
            )
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
        raise place.refused(
            f"averages {n_sources} values, whose exact mean hls4ml does not compute", cure="add them and scale the sum"
        )
    whole = before(place, "sum", shape=place.shape, result=total)
    between = functools.partial(_between, "add")
    nodes = chained(whole, lambda step: step.node("Merge", {"op": "add"}), between=between)
    scale, shift = np.full(place.shape[-1], 1 / n_sources), np.zeros(place.shape[-1])
    types = {"scale": constant_type(place.name, scale), "bias": constant_type(place.name, shift)}
    return [*nodes, affine(after(place, nodes, shape=place.shape), scale, shift, types)]


def einsum(place: Place, layer: Einsum) -> list[HlsLayer]:
    """Describe a contraction of two values."""
    if place.streams:
        raise place.refused("has no io_stream form in hls4ml", cure="export with io_parallel")
    left, right, out = (set(term) for term in layer.terms)
    if alone := (left ^ right) - out:
        raise place.refused(
            f"sums axis {'and '.join(sorted(alone))} of one value alone, which hls4ml does not do",
            cure="sum it before the contraction",
        )
    shapes = {"inp0_shape": place.arriving[0], "inp1_shape": place.arriving[1], "out_shape": place.shape}
    return [place.node("Einsum", {"equation": layer.equation} | shapes, accum=place.before)]


def compared(place: Place, _layer: Layer) -> list[HlsLayer]:
    """Refuse a top-k or an argmax in streams; elsewhere it is described by its steps."""
    raise place.refused("has no io_stream form in hls4ml", cure="export with io_parallel")
