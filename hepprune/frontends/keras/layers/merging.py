"""Layers of Keras that combine several values."""

from hepprune.frontends.keras.registry import Native, Part, Parts, register
from hepprune.network import Concatenate, Einsum, Merge, Reshape, Shape


@register("Add", "Subtract", "Multiply", "Average", "Maximum", "Minimum")
def _merge(native: Native, arriving: tuple[Shape, ...]) -> Parts:
    return [Part(Merge(native.name, native.kind.lower()), tuple(range(len(arriving))))]


@register("Concatenate")
def _concatenate(native: Native, arriving: tuple[Shape, ...]) -> Parts:
    axis = native.config.get("axis", -1)
    if isinstance(axis, bool) or not isinstance(axis, int):
        raise native.refuse(f"joins along axis {str(axis)[:40]}, which is no axis")
    return [Part(Concatenate(native.name, axis), tuple(range(len(arriving))))]


@register("Dot")
def _dot(native: Native, arriving: tuple[Shape, ...]) -> Parts:
    if len(arriving) != 2 or native.config.get("normalize"):
        raise native.refuse("is called on other than two values, or normalises, which cannot be taken over")
    left, right = "abcdefgh"[: len(arriving[0])], "ijklmnop"[: len(arriving[1])]
    axes = native.config.get("axes")
    pair = [axes, axes] if isinstance(axes, int) else axes
    if not isinstance(pair, list | tuple) or len(pair) != 2 or not all(isinstance(axis, int) for axis in pair):
        raise native.refuse(f"sums along the axes {str(axes)[:40]}; one axis of each value can be taken over")
    found = [axis - 1 if axis > 0 else axis + len(shape) for axis, shape in zip(pair, arriving, strict=True)]
    if any(not 0 <= axis < len(shape) for axis, shape in zip(found, arriving, strict=True)):
        raise native.refuse(f"sums along the axes {str(axes)[:40]}, which the shapes {arriving} have not")
    first, second = found
    right = right.replace(right[second], left[first])
    out = left.replace(left[first], "") + right.replace(left[first], "")
    if out:
        return [Part(Einsum(native.name, f"{left},{right}->{out}"), (0, 1))]
    row = Reshape(native.part("row"), (1, *arriving[0]))  # two vectors: their product keeps an axis of one value
    return [Part(row), Part(Einsum(native.name, f"z{left},{right}->z"), (row.name, 1))]
