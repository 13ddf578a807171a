"""Operations of Keras that take parts of values, move them or reduce them (see `operations`)."""

import itertools
import math
from typing import Any

import torch

from hepprune.fixed import FixedPoint
from hepprune.frontends.keras.layers.operations import axes_of, enter, given
from hepprune.frontends.keras.registry import Native, Part, Parts, after, only
from hepprune.network import BatchNorm, GlobalPool, Pad, Permute, Reshape, Shape, Slice

_ALL = slice(None)


def _part(native: Native, where: slice, *, shape: Shape, axis: int, name: str) -> Slice | None:
    """Return the layer that takes a part along an axis, None where that is everything."""
    inside = range(*where.indices(shape[axis]))
    if not inside or inside.step < 1:
        raise native.refuse(f"takes {where} of {shape[axis]} values")
    if inside == range(shape[axis]):
        return None
    at = -1 if axis == len(shape) - 1 else axis + 1
    return Slice(name, inside.start, inside[-1] + 1, axis=at, step=inside.step)


def _item(native: Native, arriving: tuple[Shape, ...]) -> Parts:
    """Return value[:, 2:4, 0] as one slice for each axis, and a reshape without those of one place."""
    shape = only(native, arriving)
    places = _places(native, given(native, "slice_spec", "1", "key"), len(shape))
    parts: Parts = []
    for axis, place in enumerate(places):
        if not isinstance(place, slice) and not -shape[axis] <= place < shape[axis]:
            raise native.refuse(f"takes place {place} of {shape[axis]} values")
        taken = place if isinstance(place, slice) else slice(place % shape[axis], place % shape[axis] + 1)
        parts = after(parts, _part(native, taken, shape=shape, axis=axis, name=native.part(f"axis_{axis + 1}")))
    left = [axis for axis, place in enumerate(places) if isinstance(place, slice)]
    sizes = tuple(len(range(*places[axis].indices(shape[axis]))) for axis in left)
    return after(parts, Reshape(native.name, sizes or (1,)))


def _places(native: Native, spec: Any, rank: int) -> list[Any]:
    """Return what is taken along each axis but that of the jets: a slice or one place."""
    listed = [_place(native, entry) for entry in spec] if isinstance(spec, list) else []
    if listed.count(...) > 1 or not listed:
        raise native.refuse(f"takes {str(spec)[:60]}, which are not slices and places")
    at = listed.index(...) if ... in listed else len(listed)
    rest = listed[at + 1 :]
    found = [*listed[:at], *[_ALL] * (rank + 1 - at - len(rest)), *rest]
    if len(found) != rank + 1 or found[0] != _ALL:
        raise native.refuse(f"takes {str(spec)[:60]}, which is a part of the jets or more axes than there are")
    return found[1:]


def _place(native: Native, entry: Any) -> Any:
    if isinstance(entry, int) and not isinstance(entry, bool):
        return entry
    ends = entry.get("config", entry) if isinstance(entry, dict) else None
    if isinstance(entry, dict) and entry.get("class_name") == "__ellipsis__":
        return ...
    if not isinstance(ends, dict) or set(ends) != {"start", "stop", "step"}:
        raise native.refuse(f"takes {str(entry)[:60]}, which is neither a slice nor a place")
    if not all(value is None or (isinstance(value, int) and not isinstance(value, bool)) for value in ends.values()):
        raise native.refuse(f"takes {str(entry)[:60]}, whose ends are not whole numbers")
    return slice(ends["start"], ends["stop"], ends["step"])


def _split(native: Native, arriving: tuple[Shape, ...]) -> Parts:
    shape = only(native, arriving)
    (axis,) = axes_of(native, given(native, "axis", default=0), len(shape))
    ends = _ends(native, shape[axis])
    parts = []
    for number, (start, stop) in enumerate(itertools.pairwise(ends)):
        name = native.part(f"part_{number}") if number else native.name
        layer = _part(native, slice(start, stop), shape=shape, axis=axis, name=name)
        parts.append(Part(layer or Reshape(name, shape)))
    return parts


def _ends(native: Native, size: int) -> list[int]:
    """Return where the parts begin and end: an equal number, or (Keras) their ends, (TensorFlow) their sizes."""
    equal, sizes = given(native, "indices_or_sections", "num_or_size_splits"), "num_or_size_splits" in native.call
    if isinstance(equal, int) and not isinstance(equal, bool) and 1 <= equal <= size and size % equal == 0:
        return list(range(0, size + 1, size // equal))
    whole = isinstance(equal, list | tuple) and all(isinstance(end, int) and end > 0 for end in equal)
    ends = [0, *(sum(equal[: n + 1]) if sizes else end for n, end in enumerate(equal)), size] if whole else []
    ends = ends[:-1] if sizes else ends
    if len(ends) < 2 or ends[-1] != size or sorted(set(ends)) != ends:
        raise native.refuse(f"splits {size} values at {str(equal)[:40]}, which leaves no whole parts")
    return ends


def _transpose(native: Native, arriving: tuple[Shape, ...]) -> Parts:
    axes, rank = given(native, "axes", "perm", "1"), len(only(native, arriving))
    if not isinstance(axes, list | tuple) or list(axes[:1]) != [0] or sorted(axes) != list(range(rank + 1)):
        raise native.refuse(f"brings the axes into the order {str(axes)[:40]}; the jets have to stay first")
    return [Part(Permute(native.name, tuple(axis - 1 for axis in axes[1:])))]


def _reshape(native: Native, arriving: tuple[Shape, ...]) -> Parts:
    target, shape = given(native, "newshape", "shape", "1"), only(native, arriving)
    sizes = list(target) if isinstance(target, list | tuple) else []
    if sizes[:1] not in ([-1], [None]) or not all(isinstance(n, int) and n > 0 for n in sizes[1:]):
        raise native.refuse(f"has the target {str(target)[:40]}; -1 for the jets and fixed sizes can be taken over")
    worked_out = Reshape(native.name, tuple(sizes[1:]) or (1,)).shape(shape)
    return [Part(Reshape(native.name, worked_out))]


def _expand(native: Native, arriving: tuple[Shape, ...]) -> Parts:
    shape = only(native, arriving)
    (axis,) = axes_of(native, given(native, "axis", "1"), len(shape) + 1)
    return [Part(Reshape(native.name, (*shape[:axis], 1, *shape[axis:])))]


def _squeeze(native: Native, arriving: tuple[Shape, ...]) -> Parts:
    shape = only(native, arriving)
    axes = axes_of(native, given(native, "axis", "1"), len(shape))
    left = tuple(size for axis, size in enumerate(shape) if axis not in axes)
    return [Part(Reshape(native.name, left or (1,)))]


def reduced(native: Native, shape: Shape, over: list[int], kind: str, *, scale: float = 1.0, keep: bool) -> Parts:
    """Return a mean, a maximum, or a sum times a power of two, over axes that are brought to the front.

    A sum is a mean of 2**n values, zeros among them, times 2**n: both are exact, in float and in fixed point.
    """
    left = [axis for axis in range(len(shape)) if axis not in over]
    rest, count = math.prod(shape[axis] for axis in left), math.prod(shape[axis] for axis in over)
    parts: Parts = []
    if [*over, *left] != list(range(len(shape))):
        parts = after(parts, Permute(native.part("front"), (*over, *left)))
    parts = after(parts, Reshape(native.part("flat"), (count, rest)))
    n_bits = (count - 1).bit_length()
    if kind == "sum" and count < 2**n_bits:
        parts = after(parts, Pad(native.part("fill"), ((0, 2**n_bits - count),)))
    parts = after(parts, GlobalPool(native.part("pool"), "max" if kind == "max" else "average"))
    if kind == "sum" and scale * 2**n_bits != 1:
        parts = after(parts, power_of_two(native.part("times"), scale * 2**n_bits))
    kept = tuple(1 if axis in over else size for axis, size in enumerate(shape))
    sizes = kept if keep else tuple(shape[axis] for axis in left)
    return after(parts, Reshape(native.name, sizes or (1,)))


def power_of_two(name: str, factor: float) -> BatchNorm:
    """Return the layer that multiplies by a power of two, in the fixed-point types that hold it."""
    place = int(math.log2(factor))
    types = {"scale_type": FixedPoint(1, place + 1, signed=False), "shift_type": FixedPoint(1, 1, signed=False)}
    return BatchNorm(name, torch.tensor([factor]), torch.zeros(1), fixed=True, **types)  # type: ignore[arg-type]


def _reduced(native: Native, arriving: tuple[Shape, ...]) -> Parts:
    shape, kind = only(native, arriving), native.kind.rpartition(".")[2].lower().removeprefix("reduce_")
    over = axes_of(native, given(native, "axis", "1"), len(shape))
    return reduced(native, shape, over, kind, keep=bool(given(native, "keepdims")))


enter(_item, "ops.GetItem", "tf.__operators__.getitem")
enter(_split, "ops.Split", "tf.split", several=True)
enter(_transpose, "ops.Transpose", "tf.compat.v1.transpose", "tf.transpose")
enter(_reshape, "ops.Reshape", "tf.reshape")
enter(_expand, "ops.ExpandDims", "tf.expand_dims")
enter(_squeeze, "ops.Squeeze", "tf.compat.v1.squeeze", "tf.squeeze")
for _kind in ("Mean", "Sum", "Max"):
    enter(_reduced, f"ops.{_kind}", f"tf.math.reduce_{_kind.lower()}")
