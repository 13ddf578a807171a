"""How units go through each kind of layer: who makes them, hands them on or ends them, and who holds them fast."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import torch

from hepprune.network import Network, layers
from hepprune.network.layers import Reshape
from hepprune.pruning.structure.coupling.units import COUPLING, Axis, ValueAxes, Walk, loud


def _held(layer: layers.Dense | layers.Conv, axes: ValueAxes, walk: Walk) -> Axis:
    """Hold the channels that a fixed kernel reads; none of its outputs is a unit, since none can leave."""
    walk.stay(axes[-1:], f"'{layer.name}' is fixed")
    return Axis.plain(layer.n_out)


@COUPLING.of(layers.Dense)
def _dense(layer: layers.Dense, axes: ValueAxes, *, walk: Walk) -> ValueAxes:
    if layer.fixed:
        return (*loud(axes[:-1]), _held(layer, axes, walk))
    walk.put("read", layer, axes[-1].units)
    return (*loud(axes[:-1]), Axis(walk.new(layer, layer.n_out)))


def whole_groups(layer: layers.Conv) -> bool:
    """Return whether a convolution's groups leave as a whole with their channels, as those of a depthwise one."""
    return layer.groups > 1 and layer.groups in {layer.n_in, layer.n_out}


@COUPLING.of(layers.Conv)
def _convolution(layer: layers.Conv, axes: ValueAxes, *, walk: Walk) -> ValueAxes:
    walk.stay(axes[:-1], f"'{layer.name}' moves over it")
    places = tuple(Axis.plain(size) for size in walk.network.runs(layer).shape(tuple(map(len, axes)))[:-1])
    if layer.fixed:
        return (*places, _held(layer, axes, walk))
    by_group, why = axes[-1].units.reshape(layer.groups, -1), f"the groups of '{layer.name}' must stay alike"
    if whole_groups(layer) and by_group.any():
        walk.tie(by_group[:, :1], by_group, why)
        out = np.repeat(by_group[:, 0], layer.n_out // layer.groups)
        walk.put("carried", layer, out)
        return (*places, Axis(out, axes[-1].silent and not layer.used_bias().any()))
    walk.tie(by_group[:1], by_group, why)
    walk.put("read", layer, by_group[0])
    alike = walk.new(layer, layer.n_out).reshape(layer.groups, -1)
    walk.tie(alike[:1], alike, why)
    return (*places, Axis(alike.ravel()))


@COUPLING.of(layers.Recurrent)
def _recurrent(layer: layers.Recurrent, axes: ValueAxes, *, walk: Walk) -> ValueAxes:
    steps, channels = axes
    walk.stay([steps], f"'{layer.name}' steps through it")
    walk.put("read", layer, channels.units)
    states = Axis(walk.new(layer, layer.n_out), silent=not layer.act(torch.zeros(1)).any())
    other = _other_way(walk.network, layer)
    if other is not None:
        walk.tie(states.units, walk.new(other, other.n_out), f"'{layer.name}' and '{other.name}' are one layer")
    walk.put("states", layer, states.units)
    return (Axis.plain(len(steps)), states) if layer.return_sequences else (states,)


def _other_way(network: Network, layer: layers.Recurrent) -> layers.Recurrent | None:
    """Return the layer just before it that runs over the same values the other way: frameworks hold both as one."""
    before: layers.Recurrent | None = None
    for node in network:
        if not isinstance(node, layers.Recurrent) or network.sources[node.name] != network.sources[layer.name]:
            continue
        is_pair = before is not None and (before.cell, before.n_out) == (node.cell, node.n_out)
        paired = before if is_pair and before is not None and before.backwards != node.backwards else None
        if node is layer:
            return paired
        before = None if paired else node
    return None


@COUPLING.of(layers.BatchNorm)
def _batch_norm(layer: layers.BatchNorm, axes: ValueAxes, *, walk: Walk) -> ValueAxes:
    if len(layer.scale) > 1:
        walk.put("carried", layer, axes[-1].units)
    return loud(axes) if layer.used_shift().any() else axes


@COUPLING.of(layers.PReLU)
def _prelu(layer: layers.PReLU, axes: ValueAxes, *, walk: Walk) -> ValueAxes:
    if layer.slope.shape[-1:] == (len(axes[-1]),):
        walk.put("carried", layer, axes[-1].units)
    return axes


@COUPLING.of(layers.Lookup)
def _lookup(layer: layers.Lookup, axes: ValueAxes, *, walk: Walk) -> ValueAxes:
    walk.stay(axes[:-1], f"'{layer.name}' has tables for each place")
    walk.put("carried", layer, axes[-1].units)
    return loud(axes)


@COUPLING.of(layers.LayerNorm)
def _layer_norm(layer: layers.LayerNorm, axes: ValueAxes, *, walk: Walk) -> ValueAxes:
    why = f"layer norm '{layer.name}' takes mean and variance over it, and a channel that leaves would change both"
    walk.stay(axes[-1:], why)
    return loud(axes)


@COUPLING.of(layers.Softmax)
def _softmax(layer: layers.Softmax, axes: ValueAxes, *, walk: Walk) -> ValueAxes:
    over = layer.axis % len(axes)
    walk.stay([axes[over]], f"softmax '{layer.name}' divides by a sum over it")
    walk.heads += [axis.units for number, axis in enumerate(axes) if number != over]
    return loud(axes)


@COUPLING.of(layers.Argmax)
def _argmax(layer: layers.Argmax, axes: ValueAxes, *, walk: Walk) -> ValueAxes:
    walk.stay(axes[-1:], f"'{layer.name}' puts out its index")
    return (*loud(axes[:-1]), Axis.plain(1))


@COUPLING.of(layers.Pool, layers.GlobalPool)
def _pool(layer: layers.Pool | layers.GlobalPool, axes: ValueAxes, *, walk: Walk) -> ValueAxes:
    walk.stay(axes[:-1], f"'{layer.name}' pools over it")
    return (*(Axis.plain(size) for size in layer.shape(tuple(map(len, axes)))[:-1]), axes[-1])


@COUPLING.of(layers.Pad, layers.Crop, layers.UpSample)
def _positions(layer: layers.Pad | layers.Crop | layers.UpSample, axes: ValueAxes, *, walk: Walk) -> ValueAxes:
    sizes = layer.shape(tuple(map(len, axes)))
    walk.stay([axis for axis, size in zip(axes, sizes, strict=True) if len(axis) != size], f"'{layer.name}' moves it")
    return tuple(axis if len(axis) == size else Axis.plain(size) for axis, size in zip(axes, sizes, strict=True))


@COUPLING.of(layers.TopK)
def _top_k(layer: layers.TopK, axes: ValueAxes, *, walk: Walk) -> ValueAxes:
    walk.stay(axes[-1:], f"'{layer.name}' lets the largest along it through")
    return axes


@COUPLING.of(layers.Concatenate)
def _concatenate(layer: layers.Concatenate, *arriving: ValueAxes, walk: Walk) -> ValueAxes:
    along = (layer.axis - 1 if layer.axis > 0 else layer.axis) % len(arriving[0])
    joined = list(_combined(walk, layer, [[*axes[:along], *axes[along + 1 :]] for axes in arriving]))
    ids = np.concatenate([axes[along].units for axes in arriving])
    joined.insert(along, Axis(ids, all(axes[along].silent for axes in arriving)))
    return tuple(joined)


def _combined(walk: Walk, layer: layers.Layer, arriving: Sequence[Sequence[Axis]]) -> Iterator[Axis]:
    """Yield the axes of values that are combined index by index."""
    for axes in zip(*arriving, strict=True):
        size = max(map(len, axes))
        walk.stay([axis for axis in axes if len(axis) < size], f"'{layer.name}' repeats it")
        full = [axis for axis in axes if len(axis) == size]
        for axis in full[1:]:
            walk.tie(full[0].units, axis.units, f"'{layer.name}' combines it with features or positions")
        ids = next((axis.units for axis in full if axis.units.any()), full[0].units)
        yield Axis(ids, all(axis.silent for axis in axes))


@COUPLING.of(layers.Slice)
def _slice(layer: layers.Slice, axes: ValueAxes, *, walk: Walk) -> ValueAxes:
    along = (layer.axis - 1 if layer.axis > 0 else layer.axis) % len(axes)
    if layer.step > 1:
        walk.stay([axes[along]], f"'{layer.name}' takes each {layer.step}th of it")
    part = replace(axes[along], units=axes[along].units[layer.start : layer.stop : layer.step])
    return (*axes[:along], part, *axes[along + 1 :])


@COUPLING.of(layers.Einsum)
def _einsum(layer: layers.Einsum, *arriving: ValueAxes, walk: Walk) -> ValueAxes:
    found: dict[str, Axis] = {}
    for letter in dict.fromkeys("".join(layer.terms[:2])):
        axes = [value[term.index(letter)] for term, value in zip(layer.terms, arriving, strict=False) if letter in term]
        if len(axes) == 2:
            walk.tie(axes[0].units, axes[1].units, f"'{layer.name}' contracts it with features or positions")
        ids, silent = axes[0].units, any(axis.silent for axis in axes)
        if letter not in layer.terms[2] and ids.any():
            if not silent:
                walk.stay(axes, f"'{layer.name}' sums over it, and without weights it is not a zero there")
            walk.put("summed", layer, ids)
        found[letter] = Axis(ids, silent)
    return tuple(found[letter] for letter in layer.terms[2])


COUPLING.table.update(
    {
        layers.Input: lambda layer, **_: tuple(Axis.plain(size) for size in layer.features_shape),
        layers.ReLU: lambda _, axes, **__: axes,
        layers.Activation: lambda layer, axes, **_: (
            loud(axes) if layer.compute(torch.zeros(1), quantised=False).any() else axes
        ),
        layers.Permute: lambda layer, axes, **_: tuple(axes[axis] for axis in layer.order),
        layers.Merge: lambda layer, *arriving, walk: tuple(_combined(walk, layer, arriving)),
    }
)


@COUPLING.of(Reshape)
def _reshape(layer: Reshape, axes: ValueAxes, *, walk: Walk) -> ValueAxes:
    after, left = list(layer.shape(tuple(map(len, axes)))), list(axes)
    found: list[Axis] = []
    while left or after:
        block, sizes = [left.pop(0)] if left else [], [after.pop(0)] if after else []
        while (n := _volume(block)) != (m := int(np.prod(sizes, dtype=np.int64))):
            if n < m:
                block.append(left.pop(0))
            else:
                sizes.append(after.pop(0))
        found += _split(walk, layer, _flat(walk, layer, block), sizes, offset=len(found))
    return tuple(found)


def _volume(axes: Sequence[Axis]) -> int:
    return int(np.prod([len(axis) for axis in axes], dtype=np.int64))


def _flat(walk: Walk, layer: Reshape, axes: Sequence[Axis]) -> Axis:
    """Return axes laid one within the other, of which one alone may carry units."""
    carrying = [number for number, axis in enumerate(axes) if axis.units.any()]
    walk.stay([axes[number] for number in carrying[:-1]], f"'{layer.name}' mixes it with other channels")
    if not carrying:
        return Axis.plain(_volume(axes))
    last = carrying[-1]
    places = [1 if number != last else len(axis) for number, axis in enumerate(axes)]
    ids = np.broadcast_to(axes[last].units.reshape(places), [len(axis) for axis in axes])
    return Axis(ids.ravel(), axes[last].silent)


def _split(walk: Walk, layer: Reshape, axis: Axis, sizes: Sequence[int], *, offset: int) -> list[Axis]:
    """Return an axis cut into several, one of which carries the units."""
    if not axis.units.any() or not sizes:
        return [Axis.plain(size) for size in sizes]
    cube = axis.units.reshape(sizes)
    wide = [number for number, size in enumerate(sizes) if size > 1] or [0]
    by_axis = {number: np.moveaxis(cube, number, 0).reshape(sizes[number], -1) for number in wide}
    alike = [number for number, rows in by_axis.items() if (rows == rows[:, :1]).all()]
    chosen = alike[0] if alike else wide[-1 if layer.name in walk.inner else 0]
    rows = by_axis[chosen]
    if not alike:
        walk.split[layer.name] = offset + chosen
    walk.tie(rows[:, :1], rows, f"'{layer.name}' splits it unevenly")
    return [replace(axis, units=rows[:, 0]) if n == chosen else Axis.plain(size) for n, size in enumerate(sizes)]
