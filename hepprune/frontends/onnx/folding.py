"""What depends on constants alone: the sizes that exporters compute, and weights that they build from parts."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hepprune.errors import NetworkError, explained
from hepprune.frontends.onnx.arrays import FileConstant
from hepprune.frontends.onnx.building import OnnxNode
from hepprune.frontends.onnx.operators.registry import counted, spans

_MAX_CONSTANT = 2**26


# Those that torch has by the same name.
_NAMED = ("Abs", "Add", "Exp", "Floor", "Mul", "Neg", "Pow", "Reciprocal", "Sqrt", "Sub", "Tanh", "Where")
_ELEMENTWISE: dict[str, Callable[..., Tensor]] = {
    **{kind: getattr(torch, kind.lower()) for kind in _NAMED},
    "Div": lambda x, y: torch.div(x, y, rounding_mode=None if x.is_floating_point() else "trunc"),
    "Equal": torch.eq,
    "Greater": torch.gt,
    "Less": torch.lt,
    "Max": torch.maximum,
    "Min": torch.minimum,
    "Mod": torch.remainder,
    "Not": torch.logical_not,
}


def shape_of(node: OnnxNode, x: Any) -> FileConstant:
    """Return the shape of a value as a constant."""
    start, end = node.attributes.get("start", 0), node.attributes.get("end", len(x.shape))
    return FileConstant(tensor=torch.tensor(x.shape[start:end]))


def folded(node: OnnxNode, given: list[FileConstant | None]) -> FileConstant:
    """Return the constant that an operator makes of constants.

    Raises:
        NetworkError: the operator is not known on constants, or would make more than 2**26 numbers.
    """
    tensors = [None if array is None else array.acting for array in given]
    fixed = all(array is None or array.fixed for array in given)
    damage = (RuntimeError, ValueError, TypeError, IndexError, KeyError, AttributeError)
    with explained(NetworkError, f"'{node.name}' ({node.kind}) cannot be computed:", *damage):
        if node.kind in _ELEMENTWISE:
            present = [tensor for tensor in tensors if tensor is not None]
            _check(node, np.broadcast_shapes(*(tuple(tensor.shape) for tensor in present)))
            return FileConstant(tensor=_ELEMENTWISE[node.kind](*present), fixed=fixed)
        if node.kind in _MAKING:
            return FileConstant(tensor=_MAKING[node.kind](node, *given), fixed=fixed)
    raise NetworkError(f"'{node.name}' uses {node.kind} on constants, which is not known")


def _check(node: OnnxNode, shape: Any) -> tuple[int, ...]:
    sizes = tuple(int(size) for size in shape)
    if any(size < 0 for size in sizes) or math.prod(sizes) > _MAX_CONSTANT:
        raise NetworkError(f"'{node.name}' ({node.kind}) makes a constant of the shape {sizes}")
    return sizes


def _concatenated(node: OnnxNode, *parts: FileConstant) -> Tensor:
    _check(node, [sum(part.tensor.numel() for part in parts)])
    return torch.cat([part.acting for part in parts], dim=node.attributes["axis"])


def _gathered(node: OnnxNode, x: FileConstant, places: FileConstant) -> Tensor:
    axis, chosen = counted(node.attributes.get("axis", 0), x.tensor.ndim, node), places.tensor.long()
    shape = (*x.tensor.shape[:axis], *chosen.shape, *x.tensor.shape[axis + 1 :])
    _check(node, shape)
    return x.acting.index_select(axis, chosen.reshape(-1) % x.tensor.shape[axis]).reshape(shape)


def _filled(node: OnnxNode, shape: FileConstant) -> Tensor:
    content = node.attributes.get("value")
    return torch.full(_check(node, shape.tensor), 0.0 if content is None else content.reshape(-1)[0].item())


def _range(node: OnnxNode, start: FileConstant, limit: FileConstant, step: FileConstant) -> Tensor:
    first, last, by = (array.tensor.item() for array in (start, limit, step))
    _check(node, [max(math.ceil((last - first) / by), 0)])
    return torch.arange(first, last, by)


def _expanded(node: OnnxNode, x: FileConstant, shape: FileConstant) -> Tensor:
    wide = _check(node, np.broadcast_shapes(tuple(x.tensor.shape), tuple(shape.tensor.tolist())))
    return x.acting.expand(wide).clone()


def _sliced(node: OnnxNode, x: FileConstant, *bounds: FileConstant) -> Tensor:
    starts, ends, axes, steps = spans(node, bounds)
    cuts = [slice(None)] * x.tensor.ndim
    for place, start in enumerate(starts):
        cuts[axes[place] if axes else place] = slice(start, ends[place], steps[place] if steps else 1)
    return torch.from_numpy(x.acting.numpy()[tuple(cuts)].copy())  # torch takes no steps below zero


def _product(node: OnnxNode, x: FileConstant, y: FileConstant) -> Tensor:
    lead = np.broadcast_shapes(*(tuple(v.tensor.shape[:-2]) for v in (x, y)))
    _check(node, (*lead, x.tensor.shape[-2], y.tensor.shape[-1]))
    return x.acting @ y.acting


_MAKING: dict[str, Callable[..., Tensor]] = {
    "Concat": _concatenated,
    "ConstantOfShape": _filled,
    "Expand": _expanded,
    "Gather": _gathered,
    "MatMul": _product,
    "Range": _range,
    "Slice": _sliced,
}

# The operators that are known on constants, not all of them on values of the jets.
FOLDED = frozenset({"Shape", *_ELEMENTWISE, *_MAKING})
