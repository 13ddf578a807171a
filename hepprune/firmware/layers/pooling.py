"""Pooling for hls4ml, with an accumulator so fine that its means round as the exact ones do."""

import math
from typing import Any

from hepprune.firmware.layers.base import PARALLEL, HlsLayer, Place, after, before
from hepprune.firmware.layers.shaping import padding, reshaped
from hepprune.firmware.layers.weighted import axes
from hepprune.fixed import FixedPoint
from hepprune.network.layers import GlobalPool, Pool

_CLASSES = {"max": "Max", "average": "Average"}


def pool(place: Place, layer: Pool) -> list[HlsLayer]:
    """Describe a pooling; zeros are put around values without a sign, for hls4ml's own padding would exceed them."""
    if len(layer.size) > 2:
        raise place.refused("pools three axes of positions, which hls4ml has no layer for", fix="write it as Verilog")
    padded = any(size for pair in layer.padding for size in pair)
    if padded and layer.kind == "max" and not place.arriving_types[0].signed:
        shape = tuple(n + sum(pair) for n, pair in zip(place.arriving[0][:-1], layer.padding, strict=True))
        around = [padding(before(place, "pad", shape=(*shape, place.shape[-1])), layer.padding)]
        return [*around, _pool(after(place, around, shape=(*shape, place.shape[-1])), layer, ((0, 0),) * len(shape))]
    if padded and place.streams:
        raise place.refused("is padded, which hls4ml cannot stream", fix=f"pad before it, or {PARALLEL}")
    return [_pool(place, layer, layer.padding)]


def _pool(place: Place, layer: Pool, borders: tuple[tuple[int, int], ...]) -> HlsLayer:
    rank = len(layer.size)
    if place.streams and rank == 2 and layer.strides != layer.size:
        raise place.refused("has strides unlike its size, which hls4ml cannot stream in 2D", fix=PARALLEL)
    sizes: dict[str, Any] = {"n_filt": place.shape[-1], "count_pad": False}
    each = zip(place.arriving[0][:-1], place.shape[:-1], layer.size, layer.strides, borders, strict=True)
    for (side, ends), (n_in, n_out, size, stride, (low, high)) in zip(axes(rank), each, strict=True):
        names = (f"in_{side}", f"out_{side}") if rank == 2 else ("n_in", "n_out")
        sizes |= dict(zip(names, (n_in, n_out), strict=True)) | {f"pool_{side}": size, f"stride_{side}": stride}
        sizes |= {f"pad_{ends[0]}": low, f"pad_{ends[1]}": high}
    accumulator = _accumulator(place, layer.kind, math.prod(layer.size))
    return place.node(f"{_CLASSES[layer.kind]}Pooling{rank}D", sizes, accum=accumulator)


def global_pool(place: Place, layer: GlobalPool) -> list[HlsLayer]:
    """Describe a pooling over all positions; axes that stay as ones are a reshape after it."""
    positions, channels = place.arriving[0][:-1], place.arriving[0][-1]
    if len(positions) > 2:
        raise place.refused("pools more than two axes of positions", fix="reshape them into one axis before it")
    names = ("in_height", "in_width")[: len(positions)] if len(positions) == 2 else ("n_in",)
    sizes = dict(zip(names, positions, strict=True)) | {"n_filt": channels}
    accumulator = _accumulator(place, layer.kind, math.prod(positions))
    pooled = before(place, "pooled", shape=(channels,), result=place.result)
    target = pooled if layer.keep_axes else place
    nodes = [target.node(f"Global{_CLASSES[layer.kind]}Pooling{len(positions)}D", sizes, accum=accumulator)]
    return [*nodes, *reshaped(after(place, nodes, shape=(channels,)))] if layer.keep_axes else nodes


def _accumulator(place: Place, kind: str, window: int) -> FixedPoint:
    """Return a type for the sum of a window with so many places that dividing it there rounds no result differently.

    A mean lies on a place of the result, or half between two, or at least 1 / (window * 2**places) away from either.
    """
    argument = place.arriving_types[0]
    if kind == "max":
        return argument
    places = max(argument.fraction, place.result.fraction + 1) + math.ceil(math.log2(window)) + 1
    return FixedPoint.covering(window * argument.minimum, window * argument.maximum, fraction=places)
