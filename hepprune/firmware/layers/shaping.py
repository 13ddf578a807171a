"""Layers that only move values, and pooling, whose accumulator is so fine that means round as exact ones do."""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from hepprune.firmware.layers.base import PARALLEL, HlsLayer, Place, after, before, cast
from hepprune.firmware.layers.weighted import window
from hepprune.firmware.names import PART
from hepprune.fixed import FixedPoint
from hepprune.network.layers import Concatenate, Crop, GlobalPool, Pad, Permute, Pool, Reshape, Shape, Slice, UpSample
from hepprune.network.layers.shaping import Pairs


def reshaped(place: Place, _layer: Reshape | None = None) -> list[HlsLayer]:
    """Return the nodes of a reshape to the place's shape.

    In io_parallel it costs nothing, but hls4ml takes a Permute or an Input before a flatten for its own and reorders
    what follows; another reshape in between keeps it from that. A stream is repacked, unless one dense layer gathers
    all its values anyway.
    """
    place, typed = _typed(place)
    if not place.streams:
        if "Permute" not in place.source_kinds:
            return [*typed, _reshape(place)]
        guard = _reshape(before(place, "flat", shape=(1, place.n_values)))
        return [guard, _reshape(after(place, [guard], shape=(1, place.n_values)))]
    if len(place.shape) == 1 and place.readers == ("Dense",) and not place.is_output:
        return [*typed, _reshape(place)]
    wide, narrow = max(place.arriving[0][-1], place.shape[-1]), min(place.arriving[0][-1], place.shape[-1])
    if wide % narrow:
        raise place.refused(f"makes words of {place.shape[-1]} from those of {place.arriving[0][-1]}", PARALLEL)
    return [*typed, place.node("Repack", {"target_shape": list(place.shape)})]


def _reshape(place: Place) -> HlsLayer:
    return place.node("Reshape", {"target_shape": list(place.shape)})


def permute(place: Place, layer: Permute) -> list[HlsLayer]:
    """Describe another order of the axes."""
    if layer.order == tuple(range(len(layer.order))):
        return [cast(place)]
    place, typed = _typed(place)
    if not place.streams and place.source_kinds == ("Input",) and place.arriving[0][0] == 1:
        typed = [_reshape(before(place, "same", shape=place.arriving[0]))]
        place = after(place, typed, shape=place.arriving[0])
    return [*typed, place.node("Transpose", {"perm": list(layer.order)})]


def pad(place: Place, layer: Pad) -> list[HlsLayer]:
    """Describe zeros around the positions."""
    place, typed = _typed(place)
    return [*typed, padding(place, layer.borders)]


def padding(place: Place, borders: Pairs) -> HlsLayer:
    """Return the node that puts zeros around the positions."""
    return place.node(f"ZeroPadding{_rank(place)}D", _borders(place, "pad", borders))


def crop(place: Place, layer: Crop) -> list[HlsLayer]:
    """Describe positions without their borders."""
    place, typed = _typed(place)
    return [*typed, place.node(f"Cropping{_rank(place)}D", _borders(place, "crop", layer.borders))]


def slice_(place: Place, layer: Slice) -> list[HlsLayer]:
    """Describe a slice as what hls4ml knows: a cropping, of an image whose width is the axis."""
    if layer.step > 1:
        raise place.refused(f"takes every {layer.step}th value, and hls4ml takes all between two", fix="use step 1")
    shape = place.arriving[0]
    axis = (layer.axis - 1 if layer.axis > 0 else layer.axis) % len(shape)
    high, n_in, channels = math.prod(shape[:axis]), shape[axis], math.prod(shape[axis + 1 :])
    image, cut = (high, n_in, channels), (high, layer.stop - layer.start, channels)
    nodes = reshaped(before(place, "image", shape=image))
    window = after(before(place, "cut", shape=cut), nodes, shape=image)
    borders = ((0, 0), (layer.start, n_in - layer.stop))
    nodes.append(window.node("Cropping2D", _borders(window, "crop", borders)))
    return [*nodes, *reshaped(after(place, nodes, shape=cut))]


def upsample(place: Place, _layer: UpSample) -> list[HlsLayer]:
    """Describe every position repeated."""
    rank = _rank(place)
    names = ("in_height", "in_width", "out_height", "out_width")
    sides = (side for shape in (place.arriving[0], place.shape) for side in (1, *shape[:-1])[-2:])
    sizes = dict(zip(names, sides, strict=True)) | {"n_chan": place.shape[-1]}
    place, typed = _typed(place)
    return [*typed, place.node(f"UpSampling{rank}D", sizes | {"algorithm": "nearest"})]


def concatenate(place: Place, layer: Concatenate) -> list[HlsLayer]:
    """Describe joined values; hls4ml joins two, so several are a chain."""
    rank = len(place.shape)
    if rank > 3:
        raise place.refused(f"joins values of {rank} axes, and hls4ml up to 3", fix="reshape them before it")
    axis = (layer.axis - 1 if layer.axis > 0 else layer.axis) % rank
    attributes = {"op": f"concatenate{rank}d", "axis": axis + 1}
    joined = lambda left, right: (*left[:axis], left[axis] + right[axis], *left[axis + 1 :])  # noqa: E731
    node = lambda step: step.node("Concatenate", attributes)  # noqa: E731
    return chained(place, node, between=lambda *_: place.before, shape=joined)


def chained(
    place: Place,
    node: Callable[[Place], HlsLayer],
    *,
    between: Callable[[FixedPoint, FixedPoint], FixedPoint],
    shape: Callable[[Shape, Shape], Shape] = lambda *shapes: max(shapes, key=math.prod),
) -> list[HlsLayer]:
    """Return the nodes that combine the first source with the second, that with the third, and so on.

    `between` gives the type that holds what two types make, `shape` the shape that two shapes do.
    """
    nodes: list[HlsLayer] = []
    source, held, size = place.sources[0], place.arriving_types[0], place.arriving[0]
    rest = list(zip(place.sources[1:], place.arriving_types[1:], place.arriving[1:], strict=True))
    for index, (name, kind, read) in enumerate(rest, start=1):
        step = replace(
            place,
            name=place.name if index == len(rest) else f"{place.name}{PART}{index}",
            sources=(source, name),
            arriving=(size, read),
            arriving_types=(held, kind),
            shape=shape(size, read),
            result=place.result if index == len(rest) else between(held, kind),
        )
        nodes.append(node(step))
        source, held, size = step.name, step.result, step.shape
    return nodes


def _typed(place: Place) -> tuple[Place, list[HlsLayer]]:
    """Return the place behind a cast to the result type where one is needed, for hls4ml moves values as they are."""
    if place.arriving_types[0] == place.result:
        return place, []
    shape = place.arriving[0]
    nodes = [cast(before(place, "typed", shape=shape, result=place.result))]
    return after(place, nodes, shape=shape), nodes


def _rank(place: Place) -> int:
    rank = len(place.arriving[0]) - 1
    if rank not in {1, 2}:
        raise place.refused(f"has {rank} axes of positions, and hls4ml knows one or two", fix="reshape before it")
    return rank


def _borders(place: Place, word: str, borders: Pairs) -> dict[str, int]:
    return {"n_chan": place.arriving[0][-1]} | window(place, word, borders)


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


def _pool(place: Place, layer: Pool, borders: Pairs) -> HlsLayer:
    rank = len(layer.size)
    if place.streams and rank == 2 and layer.strides != layer.size:
        raise place.refused("has strides unlike its size, which hls4ml cannot stream in 2D", fix=PARALLEL)
    sizes: dict[str, Any] = {"n_filt": place.shape[-1], "count_pad": False}
    sizes |= window(place, "pad", borders, pool=layer.size, stride=layer.strides)
    if rank == 1:
        sizes |= {"n_in": sizes.pop("in_width"), "n_out": sizes.pop("out_width")}
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
