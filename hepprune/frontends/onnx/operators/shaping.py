"""Operators that only move values, or take parts of them along an axis."""

import itertools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hepprune.errors import NetworkError, refused
from hepprune.frontends.onnx.building import Graph, OnnxNode
from hepprune.frontends.onnx.fitting import END, open_sizes
from hepprune.frontends.onnx.operators.registry import constant, counted, jets_value, number, numbers, operator, spans
from hepprune.frontends.pytorch.operators import pooling, shaping
from hepprune.frontends.pytorch.values import Value


def reshaped(x: Any, shape: tuple[int, ...], node: OnnxNode) -> Any:
    """Return values of the jets or a constant under another shape."""
    if math.prod(shape) != math.prod(x.shape):
        raise NetworkError(f"'{node.name}' ({node.kind}) cannot bring {x.shape} into the shape {shape}")
    return x.moved(x.index.reshape(shape), node.name) if isinstance(x, Value) else x.reshaped(shape)


@operator("Transpose")
def transpose(_: Graph, node: OnnxNode, x: Any) -> Any:
    """The axes in another order, reversed without one."""
    rank = len(x.shape)
    order = tuple(node.attributes.get("perm", range(rank)[::-1]))
    if sorted(order) != list(range(rank)):
        raise NetworkError(f"'{node.name}' ({node.kind}) orders the axes {order} of {rank}")
    return x.moved(x.index.permute(order), node.name) if isinstance(x, Value) else x.transposed(order)


@operator("Flatten")
def flatten(_: Graph, node: OnnxNode, x: Any) -> Any:
    """Two axes: those before `axis`, and the others."""
    shape = x.shape
    axis = node.attributes.get("axis", 1)
    lead = math.prod(shape[: axis % len(shape) if axis < 0 else axis])
    return reshaped(x, (lead, math.prod(shape) // max(lead, 1)), node)


@operator("Reshape")
def reshape(built: Graph, node: OnnxNode, x: Any, shape: Any) -> Any:
    """Another shape; 0 keeps a size, -1 is what is left."""
    before, target = x.shape, constant(shape, node, "shape")
    sizes = [int(size) for size in target.tensor.reshape(-1)]
    if not node.attributes.get("allowzero"):
        sizes = [before[i] if size == 0 and i < len(before) else size for i, size in enumerate(sizes)]
    known = math.prod(size for size in sizes if size != -1)
    wanted = tuple(math.prod(before) // max(known, 1) if size == -1 else size for size in sizes)
    if built.fitting is None or not isinstance(x, Value):
        return reshaped(x, wanted, node)
    now = built.fitting.shape(node.outputs[0]) or _fitted(wanted, math.prod(before), node)
    found = reshaped(x, now, node)
    if now != wanted:
        built.change(node, 1, np.array(open_sizes(found.index, built.n_jets, node.name)))
    return found


def _fitted(sizes: tuple[int, ...], total: int, node: OnnxNode) -> tuple[int, ...]:
    """Return sizes of which the largest but the first takes what is left after surgery."""
    if math.prod(sizes) == total:
        return sizes
    axis = max(range(1, len(sizes)), key=lambda place: sizes[place], default=0)
    rest = math.prod(size for place, size in enumerate(sizes) if place != axis)
    if not axis or total % rest:
        raise NetworkError(f"'{node.name}' ({node.kind}) has the sizes {sizes}, which {total} values cannot fit")
    return tuple(total // rest if place == axis else size for place, size in enumerate(sizes))


@operator("Squeeze")
def squeeze(built: Graph, node: OnnxNode, x: Any, axes: Any = None) -> Any:
    """Without axes of size 1."""
    shape, gone = x.shape, [int(axis) for axis in numbers(axes, node, "axes")]
    if not gone:
        sizes = built.before(node, x) if isinstance(x, Value) else shape
        gone = [axis for axis, size in enumerate(sizes) if size == 1]
        if sizes.count(1) != shape.count(1):  # more are of size 1 now
            built.change(node, "axes" if built.opset < 13 else 1, np.array(gone))
    left = {counted(axis, len(shape), node) for axis in gone}
    return reshaped(x, tuple(size for axis, size in enumerate(shape) if axis not in left), node)


@operator("Unsqueeze")
def unsqueeze(_: Graph, node: OnnxNode, x: Any, axes: Any = None) -> Any:
    """With new axes of size 1."""
    given, sizes = numbers(axes, node, "axes"), list(x.shape)
    rank = len(sizes) + len(given)
    for axis in sorted(counted(int(axis), rank, node) for axis in given):
        sizes.insert(axis, 1)
    return reshaped(x, tuple(sizes), node)


@operator("Concat")
def concatenate(built: Graph, node: OnnxNode, *parts: Any) -> Value:
    """Values one after the other along an axis."""
    return shaping.concatenate(built, node.call("cat"), list(parts), dim=node.attributes["axis"])


@operator("Tile")
def tiled(built: Graph, node: OnnxNode, x: Any, repeats: Any) -> Value:
    """Values once more along some axes."""
    given = [int(size) for size in numbers(repeats, node, "sizes")]
    return pooling.copied(built, node.call("tile"), jets_value(x, node), dims=given)


@operator("Expand")
def expanded(built: Graph, node: OnnxNode, x: Any, sizes: Any) -> Value:
    """Values once more along axes of size 1."""
    value, given = jets_value(x, node), tuple(int(size) for size in numbers(sizes, node, "sizes"))
    now = (built.fitting.shape(node.outputs[0]) if built.fitting else None) or np.broadcast_shapes(value.shape, given)
    kept = (1,) * (len(now) - value.index.ndim) + value.shape
    if any(size not in {1, wide} for size, wide in zip(given[::-1], now[::-1], strict=False)):
        built.change(node, 1, np.array([1 if size == old else size for size, old in zip(now, kept, strict=True)]))
    repeats = [wide // size for wide, size in zip(now, kept, strict=True)]
    return pooling.copied(built, node.call("tile"), value, dims=repeats)


@operator("Pad")
def pad(built: Graph, node: OnnxNode, x: Any, *inputs: Any) -> Value:
    """Zeros around some axes."""
    pads, filling, axes = [*inputs, None, None, None][:3]
    value, given = jets_value(x, node), [int(size) for size in numbers(pads, node, "pads")]
    rank = value.index.ndim
    over = [counted(int(axis), rank, node) for axis in numbers(axes, node, "axes")] or list(range(rank))
    pairs = dict(zip(over, zip(given[: len(over)], given[len(over) :], strict=True), strict=True))
    flat = [size for axis in range(rank)[::-1] for size in pairs.get(axis, (0, 0))]
    content = float(node.attributes.get("value", 0)) if filling is None else number(filling, node, "value")
    mode = node.attributes.get("mode", "constant")
    return pooling.padded(built, node.call("pad"), value, pad=flat, mode=mode, value=content)


@operator("Resize", "Upsample")
def resize(built: Graph, node: OnnxNode, x: Any, *given: Any) -> Value:
    """Every position repeated."""
    value = jets_value(x, node)
    position = 0 if node.kind == "Upsample" or built.opset < 11 else 1
    inputs = [*given, None, None, None]
    scales = numbers(inputs[position], node, "scales")
    sizes = numbers(inputs[2], node, "sizes")
    computed = list(sizes[:2]) == list(value.shape[:2])  # by the graph itself, or nothing has left
    before = value.shape if computed else built.before(node, value)
    factors = [n / old for n, old in zip(sizes, before, strict=True)] if sizes else scales
    whole = len(factors) == value.index.ndim and all(float(factor).is_integer() for factor in factors)
    if not whole or factors[:2] != [1, 1] or not all(_repeats(node, int(factor)) for factor in factors[2:]):
        raise refused(node.name, f"resizes by {factors}, other than by repeating every position")
    if sizes and not computed:
        built.change(node, 2, np.asarray(factors, np.float32))
        built.change(node, 3, None)
    after = [int(n * factor) for n, factor in zip(value.shape[2:], factors[2:], strict=True)]
    return pooling.upsample(built, node.call("upsample"), value, output_size=after)


_PLACES: dict[str, Callable[[Tensor, int], Tensor]] = {
    "asymmetric": lambda place, factor: place / factor,
    "half_pixel": lambda place, factor: (place + 0.5) / factor - 0.5,
    "pytorch_half_pixel": lambda place, factor: (place + 0.5) / factor - 0.5,
}
_NEAREST: dict[str, Callable[[Tensor], Tensor]] = {
    "floor": torch.floor,
    "ceil": torch.ceil,
    "round_prefer_floor": lambda place: torch.ceil(place - 0.5),
    "round_prefer_ceil": lambda place: torch.floor(place + 0.5),
}


def _repeats(node: OnnxNode, factor: int) -> bool:
    """Return whether the nearest position of each new one is that which a repetition takes."""
    if node.attributes.get("mode", "nearest") != "nearest":
        return False
    known = node.kind == "Resize"
    where = node.attributes.get("coordinate_transformation_mode", "half_pixel" if known else "asymmetric")
    how = node.attributes.get("nearest_mode", "round_prefer_floor" if known else "floor")
    if where not in _PLACES or how not in _NEAREST:
        return False
    new = torch.arange(3 * factor, dtype=torch.float64)
    old = _NEAREST[how](_PLACES[where](new, factor)).clamp(0, 2)
    return torch.equal(old, torch.div(new, factor, rounding_mode="floor"))


# The opsets from which on a slice has its bounds, and a split its sizes, as inputs; and from which on a split that
# gives no sizes may have a smaller last part.
_SLICE_INPUTS, _INPUTS, _OPEN = 10, 13, 18


@operator("Split")
def split(built: Graph, node: OnnxNode, x: Any, sizes: Any = None) -> list[Value | None]:
    """Values in parts along an axis, of given sizes or in equal ones."""
    value = jets_value(x, node)
    axis = counted(node.attributes.get("axis", 0), value.index.ndim, node)
    each = -(-value.shape[axis] // len(node.outputs))  # in equal parts, the last one smaller where that must be
    equal = [min(each, value.shape[axis] - each * place) for place in range(len(node.outputs))]
    given = [int(size) for size in numbers(sizes, node, "split")] or equal
    read = map(built.is_read, node.outputs)
    if built.fitting is not None:
        first, cut_of = len(built.traces.cuts), built.fitting.cut
        cuts = ((place, cut_of(first + place)) for place in range(len(given)))
        bounds = {place: (cut.start, cut.stop, 1) for place, cut in cuts if cut is not None}
        now = shaping.sizes(bounds, len(given), value.shape[axis]) if bounds or len(given) == 1 else given
        _resize(built, node, sizes, given, now)
        given = now
    elif sum(given) != value.shape[axis] or any(size < needed for size, needed in zip(given, read, strict=False)):
        raise refused(node.name, f"splits {value.shape[axis]} values into {given}")
    found: list[Value | None] = []
    for place, (size, end) in enumerate(zip(given, itertools.accumulate(given), strict=True)):
        if size:
            found.append(shaping.part(built, value, axis, (end - size, end, 1), title=f"{node.name}.{place}"))
        else:
            built.traces.cuts.append(None)  # so that the parts after it keep their numbers
            found.append(None)
    return found


def _resize(built: Graph, node: OnnxNode, given: Any, before: list[int], now: list[int]) -> None:
    """Note the sizes of parts where the file says others, or none and could not mean these."""
    is_equal = given is None and "split" not in node.attributes
    if now != before or (is_equal and built.opset < _OPEN and len(set(now)) > 1):
        built.change(node, "split" if built.opset < _INPUTS else 1, np.array(now))
        built.change(node, "num_outputs", None)


@operator("Slice")
def slice_(built: Graph, node: OnnxNode, x: Any, *bounds: Any) -> Value:
    """x[start:end:step] along axes."""
    value = jets_value(x, node)
    starts, ends, axes, steps = spans(node, bounds)
    found, changed = [], False
    for number_, start in enumerate(starts):
        axis = counted(axes[number_] if axes else number_, value.index.ndim, node)
        own = (start, min(ends[number_], END), steps[number_] if steps else 1)
        now, places = shaping.bounds_now(built, value, axis, own), range(value.shape[axis])
        changed |= places[slice(*own)] != places[slice(*now)]
        found.append(now)
        value = shaping.part(built, value, axis, now, title=node.name)
    if changed:
        built.change(node, "starts" if built.opset < _SLICE_INPUTS else 1, np.array([start for start, _, _ in found]))
        built.change(node, "ends" if built.opset < _SLICE_INPUTS else 2, np.array([stop for _, stop, _ in found]))
    return value


@operator("Gather")
def gather(built: Graph, node: OnnxNode, x: Any, places: Any) -> Value:
    """Values at constant places along an axis."""
    value, chosen = jets_value(x, node), constant(places, node, "places").tensor.long()
    axis = counted(node.attributes.get("axis", 0), value.index.ndim, node)
    size = built.before(node, value)[axis]
    if chosen.ndim > 1 or chosen.numel() == 0 or int(chosen.min()) < -size or int(chosen.max()) >= size:
        raise refused(node.name, "takes values that are not there, or not by a list of places")
    title, left = f"{node.name}.part" if chosen.ndim else node.name, value.shape[axis]
    parts, now = shaping.parts_at(built, value, axis, [int(place) % size for place in chosen.reshape(-1)], title=title)
    if now != [place + left if place < 0 else place for place in chosen.reshape(-1).tolist()]:
        built.change(node, 1, np.array(now) if chosen.ndim else np.array(now[0]))
    if chosen.ndim:
        return shaping.joined(built, parts, axis, title=node.name)
    return parts[0].moved(parts[0].index.squeeze(axis))
