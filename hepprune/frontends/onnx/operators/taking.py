"""Operators that take parts of a value along an axis; the bounds they have now come from the network's slices."""

import itertools
from typing import Any

import numpy as np

from hepprune.errors import refused
from hepprune.frontends.onnx.building import Graph, OnnxNode
from hepprune.frontends.onnx.fitting import END
from hepprune.frontends.onnx.operators.registry import constant, counted, jets_value, numbers, operator, slice_numbers
from hepprune.frontends.pytorch.operators import shaping
from hepprune.frontends.pytorch.values import Value

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
    ends, read = list(itertools.accumulate(given, initial=0)), map(built.is_read, node.outputs)
    if built.fit is not None:
        ends = built.fit.ends(node.key, ends, value.shape[axis])
        _resize(built, node, sizes, (given, ends))
    elif ends[-1] != value.shape[axis] or any(size < needed for size, needed in zip(given, read, strict=False)):
        raise refused(node.name, f"splits {value.shape[axis]} values into {given}")
    found: list[Value | None] = []
    for place, bounds in enumerate(itertools.pairwise(ends)):
        title, some = f"{node.name}.{place}", bounds[1] > bounds[0]
        found.append(built.part(node, place, value, axis=axis, bounds=(*bounds, 1), title=title) if some else None)
    return found


def _resize(built: Graph, node: OnnxNode, given: Any, sizes: tuple[list[int], list[int]]) -> None:
    """Note the sizes of parts where the file says others, or none and could not mean these."""
    before, ends = sizes
    now = [stop - start for start, stop in itertools.pairwise(ends)]
    is_equal = given is None and "split" not in node.attributes
    if now != before or (is_equal and built.opset < _OPEN and len(set(now)) > 1):
        built.change(node, "split" if built.opset < _INPUTS else 1, np.array(now))
        built.change(node, "num_outputs", None)


@operator("Slice")
def slice_(built: Graph, node: OnnxNode, x: Any, *bounds: Any) -> Value:
    """x[start:end:step] along axes."""
    value = jets_value(x, node)
    starts, ends, axes, steps = slice_numbers(node, bounds)
    found, changed = [], False
    for number_, start in enumerate(starts):
        axis = counted(axes[number_] if axes else number_, value.index.ndim, node)
        own = (start, min(ends[number_], END), steps[number_] if steps else 1)
        now, places = built.bounds(node, number_, own), range(value.shape[axis])
        changed |= places[slice(*own)] != places[slice(*now)]
        found.append(now)
        value = built.part(node, number_, value, axis=axis, bounds=now, title=node.name)
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
    given = shaping.runs([int(place) % size for place in chosen.reshape(-1)])
    bounds = [built.bounds(node, number_, run) for number_, run in enumerate(given)]
    title = f"{node.name}.part" if chosen.ndim else node.name
    parts = [built.part(node, number_, value, axis=axis, bounds=run, title=title) for number_, run in enumerate(bounds)]
    now = [place for run in bounds for place in range(value.shape[axis])[slice(*run)]]
    left = value.shape[axis]
    if now != [place + left if place < 0 else place for place in chosen.reshape(-1).tolist()]:
        built.change(node, 1, np.array(now) if chosen.ndim else np.array(now[0]))
    if chosen.ndim:
        return shaping.joined(built, parts, axis, title=node.name)
    return parts[0].moved(parts[0].index.squeeze(axis))
