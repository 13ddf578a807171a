"""Operators that only move values. Those that keep every value run on indices; slices and joins are layers."""

import itertools
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import torch

from hepprune.errors import NetworkError, refused
from hepprune.frontends.pytorch.building import Assembly
from hepprune.frontends.pytorch.operators.registry import jets_value, operator
from hepprune.frontends.pytorch.operators.weighted import unpacked
from hepprune.frontends.pytorch.program import Call
from hepprune.frontends.pytorch.values import Constant, Value
from hepprune.network import Concatenate, Slice

# Run by torch itself, on an index or on a constant.
MOVES = frozenset({
    "adjoint", "flatten", "mT", "moveaxis", "movedim", "numpy_T", "permute", "reshape", "squeeze", "swapaxes",
    "swapdims", "t", "transpose", "unflatten", "unsqueeze", "view", "_unsafe_view", "_reshape_copy", "view_copy",
})  # fmt: skip
# Those that leave the values as they are in eval mode.
SAME = frozenset({
    "_to_copy", "alias", "alpha_dropout", "clone", "contiguous", "detach", "dropout", "feature_alpha_dropout",
    "feature_dropout", "lift_fresh", "lift_fresh_copy", "native_dropout", "to", "type_as",
})  # fmt: skip
_END = 2**62


def part(built: Assembly, x: Value, dim: int, bounds: tuple[int, int, int], *, title: str) -> Value:
    """Return x[start:stop:step] along an axis."""
    axis, (start, stop, step) = dim % x.index.ndim, bounds
    size, number = x.shape[axis], len(built.traces.cuts)
    inside = range(*slice(start, stop, step).indices(size))
    built.traces.cuts.append(None)
    is_cut = built.fitting is not None and bool(built.fitting.before.cuts[number])  # still, although it may be all now
    if inside == range(size) and not is_cut:
        built.traces.cuts[number] = ""
        return x
    first = x.index.narrow(axis, 0, 1)
    if not is_cut and inside and torch.equal(first.expand_as(x.index), x.index):  # the same value all along the axis
        return x.moved(x.index.narrow(axis, 0, len(inside)))
    if x.layer in built.packed:
        chosen = x.index.narrow(axis, inside.start, len(inside)) if inside.step == 1 else x.index
        found = unpacked(built, chosen, x.layer, title=f"{x.layer}.{inside.start}")
        if found is not None and inside.step == 1:
            return found
    split = built.split(x)
    axis += split.index.ndim - x.index.ndim
    if axis == built.jets(split) or split.shape[axis] != size:
        raise refused(title, "takes some of the jets")
    if not inside or inside.step < 1:
        raise refused(title, f"takes {start}:{stop}:{step} of {size} values")
    found = cut(built, split, axis, inside, title=title)
    built.traces.cuts[number] = found.layer
    shape = list(x.shape)
    shape[dim % x.index.ndim] = len(inside)
    return found.moved(found.index.reshape(shape))


def cut(built: Assembly, x: Value, axis: int, inside: range, *, title: str) -> Value:
    """Return a value's numbers inside a range along an axis, by a Slice."""
    axes = built.axes(x)
    source = built.place(x, axes, f"{title}.arranged")
    place = axes.index(axis)
    at = -1 if place == len(axes) - 1 else place
    name = built.add(Slice(built.name(title), inside.start, inside[-1] + 1, axis=at, step=inside.step), source)
    return built.value(name, axes)


def bounds_now(built: Assembly, x: Value, dim: int, bounds: tuple[int, int, int]) -> tuple[int, int, int]:
    """Return the bounds of the part that is taken next: as given, or as the network has them to which it is fitted."""
    return bounds if built.fitting is None else built.fitting.bounds(len(built.traces.cuts), x.shape[dim], bounds)


def shape_before(built: Assembly, call: Call, x: Value) -> tuple[int, ...]:
    """Return the shape that arrives at a call, or did before the network shrank to which the program is fitted."""
    built.traces.sizes[call.name] = x.shape, x.shape
    return (built.traces if built.fitting is None else built.fitting.before).sizes[call.name][0]


@operator("slice")
def slice_(
    built: Assembly, call: Call, x: Any, *, dim: int = 0, start: Any = None, end: Any = None, step: int = 1
) -> Value:
    """x[start:stop:step] along an axis."""
    source, bounds = jets_value(x, call), (start or 0, _END if end is None else end, step)
    now = bounds_now(built, source, dim, bounds)
    size = source.shape[dim]  # bounds that are open or beyond the end may still say what is wanted
    if now != bounds and range(size)[slice(*bounds)] != range(size)[slice(*now)]:
        built.rewrite(call, start=now[0], end=now[1])
    return part(built, source, dim, now, title=built.title(call))


@operator("narrow")
def narrow(built: Assembly, call: Call, x: Any, *, dim: int, start: int, length: int) -> Value:
    """x[start:start + length] along an axis."""
    source, bounds = jets_value(x, call), (start, start + length, 1)
    now = bounds_now(built, source, dim, bounds)
    if now != bounds:
        built.rewrite(call, start=now[0], length=now[1] - now[0])
    return part(built, source, dim, now, title=built.title(call))


@operator("select")
def select(built: Assembly, call: Call, x: Any, *, dim: int, index: int) -> Value:
    """x[index] along an axis."""
    source = jets_value(x, call)
    place = _place_now(built, source, dim, index)
    if place != index % source.shape[dim]:
        built.rewrite(call, index=place)
    return _one(built, source, dim, place, title=built.title(call))


def _place_now(built: Assembly, x: Value, dim: int, index: int) -> int:
    start = index % x.shape[dim]
    return bounds_now(built, x, dim, (start, start + 1, 1))[0]


def _one(built: Assembly, x: Value, dim: int, place: int, *, title: str) -> Value:
    found = part(built, x, dim, (place, place + 1, 1), title=title)
    return found.moved(found.index.squeeze(dim))


@operator("unbind")
def unbind(built: Assembly, call: Call, x: Any, *, dim: int = 0) -> list[Any]:
    """Each x[i] along an axis."""
    source, title = jets_value(x, call), built.title(call)
    found: dict[int, Value] = {}
    for i in _read(built, call, range(source.shape[dim])):
        place = _place_now(built, source, dim, i)
        found[i] = _one(built, source, dim, place, title=f"{title}.{i}")
        for pick in built.readers.get(call.name, ()) if place != i and built.fitting else ():
            if pick.args[1] == i and built.fitting:
                built.fitting.calls[pick.name] = replace(pick, args=(pick.args[0], place))
                built.fitting.titles[call.name] = title
    return [found.get(i) for i in range(max(found) + 1)]


def _read(built: Assembly, call: Call, parts: Iterable[int]) -> list[int]:
    """Return which of several outputs anything reads, all where that is not known."""
    picks = {pick.args[1] for pick in built.readers.get(call.name, ()) if pick.target == "getitem"}
    return sorted(picks) or list(parts)


@operator("split", "split_with_sizes", "chunk", "tensor_split")
def split(built: Assembly, call: Call, x: Any, *, dim: int = 0, **parts: Any) -> list[Any]:
    """X in parts along an axis, of given sizes, up to given places, or in equal ones."""
    source, title = jets_value(x, call), built.title(call)
    size = source.shape[dim]
    (given,) = parts.values()
    each = _parts(call, given, shape_before(built, call, source)[dim])
    found: dict[int, Value] = {}
    now: dict[int, tuple[int, int, int]] = {}
    for i in _read(built, call, range(len(each))):
        now[i] = bounds_now(built, source, dim, each[i])
        found[i] = part(built, source, dim, now[i], title=f"{title}.{i}")
    torchs = dict(enumerate(_parts(call, given, size)))
    if any(bounds != torchs.get(i) for i, bounds in now.items()):
        built.rewrite(call, target="aten.split_with_sizes.default", split_sizes=sizes(now, len(each), size), dim=dim)
    return [found.get(i) for i in range(len(each))]


def _parts(call: Call, given: Any, size: int) -> list[tuple[int, int, int]]:
    """Return the bounds of the parts that torch makes of `size` values."""
    if call.operator == "tensor_split":
        sizes = [len(part) for part in torch.arange(size).tensor_split(given)]
    elif isinstance(given, int):
        step = -(-size // given) if call.operator == "chunk" else given
        sizes = [min(step, size - start) for start in range(0, size, step)]
    else:
        sizes = list(given)
    ends = list(itertools.accumulate(sizes))
    return [(end - length, end, 1) for end, length in zip(ends, sizes, strict=True)]


def sizes(now: dict[int, tuple[int, int, int]], n_parts: int, size: int) -> list[int]:
    """Return the sizes of all parts; between those that are read, the others take what is left."""
    found, end = [], 0
    for i in range(n_parts):
        later = min((bounds[0] for j, bounds in now.items() if j >= i), default=size)
        stop = now[i][1] if i in now else later
        found.append(stop - end)
        end = stop
    return found


@operator("index_select", "index")
def gathered(built: Assembly, call: Call, x: Any, *, dim: int = 0, index: Any = None, indices: Any = None) -> Value:
    """X at constant places along one axis, as slices that are joined again."""
    source, title = jets_value(x, call), built.title(call)
    given = [(axis, entry) for axis, entry in enumerate(indices or ()) if entry is not None] or [(dim, index)]
    if len(given) != 1 or not isinstance(given[0][1], Constant) or given[0][1].tensor.ndim != 1:
        raise NetworkError(f"'{call.name}' ({call.target}) picks values by an index that is not a constant list")
    axis, places = given[0][0] % source.index.ndim, given[0][1].tensor
    picked = torch.nonzero(places).flatten() if places.dtype == torch.bool else places
    if axis == built.jets(source):
        raise refused(title, "takes some of the jets")
    size = shape_before(built, call, source)[axis]
    wanted = [int(place) % size for place in picked]
    parts, now = parts_at(built, source, axis, wanted, title=f"{title}.part")
    if now != wanted and built.fitting is not None:
        at = built.fitting.constant(call, now)
        changed: Any = {"index": at} if call.operator == "index_select" else {"indices": [*[None] * axis, at]}
        built.rewrite(call, **changed)
    return joined(built, parts, axis, title=title)


def parts_at(built: Assembly, x: Value, axis: int, places: list[int], *, title: str) -> tuple[list[Value], list[int]]:
    """Return what is at places along an axis, a part for each run of consecutive ones, and where that is now."""
    parts, now = list[Value](), list[int]()
    for run in _runs(places):
        bounds = bounds_now(built, x, axis, run)
        now += range(*bounds)
        parts.append(part(built, x, axis, bounds, title=title))
    return parts, now


def _runs(places: list[int]) -> list[tuple[int, int, int]]:
    """Return places as runs of consecutive ones, (start, stop, 1)."""
    found: list[tuple[int, int, int]] = []
    for place in places:
        if found and found[-1][1] == place:
            found[-1] = (found[-1][0], place + 1, 1)
        else:
            found.append((place, place + 1, 1))
    return found


def joined(built: Assembly, parts: list[Value], dim: int, *, title: str) -> Value:
    """Return values one after the other along an axis."""
    if len(parts) == 1:
        return parts[0]
    axis = dim % parts[0].index.ndim
    shape = list(parts[0].shape)
    shape[axis] = sum(x.shape[axis] for x in parts)
    if axis == 1 and parts[0].index.ndim == 2 and all(built.jets(x) == 0 for x in parts):
        flat = [built.flat(x, f"{title}.flatten") for x in parts]
        name = built.add(Concatenate(built.name(title)), *(layer for layer, _ in flat))
        sizes = [len(order) for _, order in flat]
        order = torch.cat([order + sum(sizes[:i]) for i, (_, order) in enumerate(flat)])
        return Value(name, order + sum(sizes) * torch.arange(built.n_jets).view(-1, 1))
    if any(x.index.ndim != len(shape) or built.jets(x) != built.jets(parts[0]) for x in parts):
        raise refused(title, "joins the values of different jets")
    if axis == built.jets(parts[0]):
        raise refused(title, "joins along the axis of jets")
    axes = built.axes(parts[0])
    layers = [built.place(x, axes, f"{title}.arranged") for x in parts]
    place = axes.index(axis)
    join = Concatenate(built.name(title), -1 if place == len(axes) - 1 else place)
    return built.value(built.add(join, *layers), axes, shape)


@operator("cat", "concat", "concatenate")
def concatenate(built: Assembly, call: Call, parts: list[Any], *, dim: int = 0) -> Value:
    """Values one after the other along an axis."""
    return joined(built, [jets_value(x, call) for x in parts], dim, title=built.title(call))


@operator("stack")
def stack(built: Assembly, call: Call, parts: list[Any], *, dim: int = 0) -> Value:
    """Values one after the other along a new axis."""
    values = [jets_value(x, call) for x in parts]
    axis = dim % (values[0].index.ndim + 1)
    return joined(built, [x.moved(x.index.unsqueeze(axis)) for x in values], axis, title=built.title(call))
