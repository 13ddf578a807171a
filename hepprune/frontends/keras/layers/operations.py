"""Layers of Keras that combine values, and operations: `keras.ops` of Keras 3 and TensorFlow's functions of Keras 2.

A file names an operation; nothing of it is run. `LAYERS["ops.Matmul"]` is Keras 3's, `LAYERS["tf.linalg.matmul"]` the
same function of TensorFlow.
"""

from functools import partial
from typing import Any

import numpy as np
import torch

from hepprune.frontends.keras.layers.activations import ACTIVATIONS
from hepprune.frontends.keras.registry import LAYERS, LayerKind, Lower, Native, Part, Parts, after, only, register
from hepprune.network import BatchNorm, Concatenate, Einsum, Merge, Reshape, Shape, Softmax

_ARITHMETIC = {
    "add": ("ops.Add", "tf.__operators__.add", "tf.math.add"),
    "subtract": ("ops.Subtract", "tf.math.subtract"),
    "multiply": ("ops.Multiply", "tf.math.multiply"),
    "divide": ("ops.TrueDivide", "ops.Divide", "tf.math.truediv", "tf.math.divide"),
    "maximum": ("ops.Maximum", "tf.math.maximum"),
    "minimum": ("ops.Minimum", "tf.math.minimum"),
}
# Activations without parameters; TensorFlow's are in two of its modules.
_FUNCTIONS = ("relu", "relu6", "sigmoid", "tanh", "selu", "softplus", "softsign", "silu")
_SECOND = ("y", "b", "x2")  # by which name the second of two values is passed


def enter(lower: Lower, *kinds: str, several: bool = False) -> None:
    """Enter an operation under its names; with `several` each of its parts is a value of its own."""
    LAYERS.update(dict.fromkeys(kinds, LayerKind(lower=lower, is_operation=True, several=several)))


def given(native: Native, *names: str, default: Any = None) -> Any:
    """Return an argument by the first of its names that the config or the call has; "1" is the second by position."""
    for name in names:
        for known in (native.config, native.call):
            if known.get(name) is not None:
                return known[name]
    return default


def axes_of(native: Native, axes: Any, rank: int) -> list[int]:
    """Return axes counted from 0, the jets' axis left out, in order."""
    listed = axes if isinstance(axes, list | tuple) else [axes]
    if not listed or any(isinstance(axis, bool) or not isinstance(axis, int) for axis in listed):
        raise native.refuse(f"works along {str(axes)[:40]}, which are not axes")
    found = sorted({axis - 1 if axis > 0 else axis + rank for axis in listed})
    if 0 in listed or not 0 <= found[0] <= found[-1] < rank:
        raise native.refuse(f"works along {str(axes)[:40]}, which takes in the jets or is not there")
    return found


def _arithmetic(native: Native, arriving: tuple[Shape, ...], *, operation: str) -> Parts:
    if len(arriving) == 1:
        # a value and one number, before or after it: a scale and a shift
        before = given(native, "0", "x1")
        number = given(native, "1", *_SECOND) if before is None else before
        if isinstance(number, bool) or not isinstance(number, int | float) or not np.isfinite(number):
            raise native.refuse(f"is called on the constant {str(number)[:40]}; numbers can be taken over")
        scale, shift = {
            "add": (1.0, number),
            "subtract": (1.0, -number) if before is None else (-1.0, number),
            "multiply": (number, 0.0),
            "divide": (1 / number if number and before is None else None, 0.0),
        }.get(operation, (None, 0.0))
        if scale is None:
            raise native.refuse(f"is called on the constant {number}, of which no scale and shift follows")
        return [Part(BatchNorm(native.name, torch.tensor([float(scale)]), torch.tensor([float(shift)]), fixed=True))]
    if operation == "divide":
        raise native.refuse("divides by a value, which no Network does")
    _two(native, arriving)
    return [Part(Merge(native.name, operation), (0, 1))]


def _two(native: Native, arriving: tuple[Shape, ...]) -> None:
    """Refuse other than two values in their order."""
    if len(arriving) != 2 or native.arguments[0] is not None or native.arguments[1] not in (None, *_SECOND):
        raise native.refuse(f"is called on {len(arriving)} values by the names {native.arguments}")


def _matmul(native: Native, arriving: tuple[Shape, ...]) -> Parts:
    _two(native, arriving)
    ranks = {len(shape) for shape in arriving}
    odd = [key for key in ("adjoint_a", "adjoint_b", "a_is_sparse", "b_is_sparse") if native.call.get(key)]
    if ranks == {1} or len(ranks) > 1 or odd:
        raise native.refuse(f"multiplies the shapes {arriving} {odd or ''}, which are no two lots of matrices")
    lead = "cdefgh"[: ranks.pop() - 2]
    left = lead + ("ba" if native.call.get("transpose_a") else "ab")
    right = lead + ("zb" if native.call.get("transpose_b") else "bz")
    return [Part(Einsum(native.name, f"{left},{right}->{lead}az"), (0, 1))]


def contracted(native: Native, arriving: tuple[Shape, ...], *, key: str = "subscripts") -> Parts:
    """Return the contraction of two values by the equation under a key of the config."""
    equation = str(native.config.get(key))[:99].replace(" ", "")
    terms = equation.replace("->", ",").split(",")
    jets = terms[0][:1]
    if len(arriving) != 2 or len(terms) != 3 or any(term[:1] != jets or term.count(jets) != 1 for term in terms):
        raise native.refuse(f"contracts by {equation[:60]}; two values, the jets first, as in bij,bjk->bik, are known")
    left, right, out = (term[1:] for term in terms)
    return [Part(Einsum(native.name, f"{left},{right}->{out}"), (0, 1))]


def _concatenate(native: Native, arriving: tuple[Shape, ...]) -> Parts:
    axis = given(native, "axis", default=0)
    axes_of(native, axis, len(arriving[0]))
    return [Part(Concatenate(native.name, axis), tuple(range(len(arriving))))]


def _function(native: Native, arriving: tuple[Shape, ...], *, kind: str) -> Parts:
    only(native, arriving)
    return after([], ACTIVATIONS[kind](native, native.name))


def _softmax(native: Native, arriving: tuple[Shape, ...]) -> Parts:
    rank = len(only(native, arriving))
    (axis,) = axes_of(native, given(native, "axis", default=-1), rank)
    return [Part(Softmax(native.name, axis=-1 if axis == rank - 1 else axis))]


for _operation, _kinds in _ARITHMETIC.items():
    enter(partial(_arithmetic, operation=_operation), *_kinds)
enter(_matmul, "ops.Matmul", "tf.linalg.matmul")
enter(contracted, "ops.Einsum")
enter(_concatenate, "ops.Concatenate", "tf.concat")
enter(_softmax, "ops.Softmax", "tf.nn.softmax")
for _kind in _FUNCTIONS:
    enter(partial(_function, kind=_kind), f"ops.{_kind.title()}", f"tf.nn.{_kind}", f"tf.math.{_kind}")


@register("Add", "Subtract", "Multiply", "Average", "Maximum", "Minimum")
def _merge(native: Native, arriving: tuple[Shape, ...]) -> Parts:
    return [Part(Merge(native.name, native.kind.removeprefix("Q").lower()), tuple(range(len(arriving))))]


@register("Concatenate")
def _joined(native: Native, arriving: tuple[Shape, ...]) -> Parts:
    axis = native.config.get("axis", -1)
    if isinstance(axis, bool) or not isinstance(axis, int):
        raise native.refuse(f"joins along axis {str(axis)[:40]}, which is not an axis")
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
