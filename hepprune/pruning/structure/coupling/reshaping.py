"""How units go through a reshape: axes that are laid one within the other, and an axis that is cut into several."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from hepprune.network.layers import Reshape
from hepprune.pruning.structure.coupling.units import COUPLING, Axis, ValueAxes, Walk


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
