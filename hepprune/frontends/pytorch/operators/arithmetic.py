"""Sums and products of two values, or of a value and a constant."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hepprune.errors import NetworkError, refused
from hepprune.frontends.pytorch.building import Assembly, Held
from hepprune.frontends.pytorch.operators.elementwise import bounded
from hepprune.frontends.pytorch.operators.normalisation import per_channel
from hepprune.frontends.pytorch.operators.registry import constant, jets_value, operator, picked, unchanged
from hepprune.frontends.pytorch.program import Call
from hepprune.frontends.pytorch.values import Constant, Value
from hepprune.network import Merge, Network

Sizes = Callable[[Network], Sequence[int]]
# With a constant and a factor of it: the scale and the shift, and how a layer that has these gives the constant back.
_WAYS: dict[str, tuple[Callable[[Tensor, float], tuple[Any, Any]], Callable[[Any, float], Tensor]]] = {
    "add": (lambda constant, alpha: (1, alpha * constant), lambda at, alpha: at.used_shift() / alpha),
    "sub": (lambda constant, alpha: (1, -alpha * constant), lambda at, alpha: -at.used_shift() / alpha),
    "rsub": (lambda constant, alpha: (-alpha, constant), lambda at, _: at.used_shift()),
    "mul": (lambda constant, _: (constant, 0), lambda at, _: at.used_scale()),
    "div": (lambda constant, _: (1 / constant, 0), lambda at, _: 1 / at.used_scale()),
}


@operator("add", "sub", "rsub", "mul", "div", "maximum", "minimum", "neg")
def arithmetic(built: Assembly, call: Call, x: Any, *, other: Any = -1, **options: Any) -> Any:
    """Combine two values, or a value and a constant; constants become a batch norm."""
    kind, y = call.operator, other
    if options.get("rounding_mode") is not None:
        raise NetworkError(f"'{call.name}' ({call.target}) rounds, which no Network does")
    alpha = float(options.get("alpha") or 1)
    if kind == "rsub":
        x, y, kind = y, x, "sub"
    if isinstance(x, Value) and isinstance(y, Value):
        return _merged(built, call, x, y, kind=kind, alpha=alpha)
    number = y.tensor if isinstance(y, Constant) else None if isinstance(y, Value) else torch.tensor(float(y))
    if kind in {"maximum", "minimum"} and number is not None and number.numel() == 1:
        ends = (float(number), None) if kind == "maximum" else (None, float(number))
        return bounded(built, call, x, *ends)
    if isinstance(y, Value):
        return _with_constant(built, call, y, x, kind={"sub": "rsub", "div": "rdiv"}.get(kind, kind), alpha=alpha)
    return _with_constant(built, call, jets_value(x, call), y, kind="mul" if kind == "neg" else kind, alpha=alpha)


_MERGES = {"add": "add", "sub": "subtract", "mul": "multiply", "maximum": "maximum", "minimum": "minimum"}


def _merged(built: Assembly, call: Call, x: Value, y: Value, *, kind: str, alpha: float) -> Value:
    title = built.title(call)
    if kind not in _MERGES:
        raise NetworkError(f"'{call.name}' ({call.target}) of two values is not a layer of a Network")
    if alpha != 1:
        y = unchanged(y, built.affine(y.layer, alpha, 0.0, f"{title}.alpha"))
    merge = Merge(built.name(title), _MERGES[kind])
    if built.shapes[x.layer] == built.shapes[y.layer] and torch.equal(x.index, y.index):
        return unchanged(x, built.add(merge, x.layer, y.layer))
    rank = max(x.index.ndim, y.index.ndim)
    shape = torch.Size(np.broadcast_shapes(x.shape, y.shape))
    x, y = (v.moved(v.index.reshape((1,) * (rank - v.index.ndim) + v.shape)) for v in (x, y))
    if x.shape == y.shape:
        x, y = built.split(x), built.split(y)
    if x.index.ndim != y.index.ndim or built.jets(x) != built.jets(y):
        raise refused(title, "combines the values of different jets")
    full = x if x.shape == shape or y.shape != shape else y
    axes = built.axes(full)
    layers = [built.place(v, axes, f"{title}.arranged") for v in (x, y)]
    return built.value(built.add(merge, *layers), axes, shape)


def _with_constant(built: Assembly, call: Call, x: Value, other: Any, *, kind: str, alpha: float) -> Value:
    title = built.title(call)
    tensor = other.tensor if isinstance(other, Constant) else torch.tensor(float(other))
    constant(Constant(tensor=tensor), title, "a constant")
    of_parameter = isinstance(other, Constant) and not other.fixed
    held: Held | None = None if not of_parameter else "scale" if kind in {"add", "sub", "rsub"} else "shift"
    scale, shift = _affine(kind, tensor.double(), alpha, title)
    if tensor.numel() == 1:
        name = built.affine(x.layer, scale.float().reshape(1), shift.float().reshape(1), title, held=held)
        _stored(built, name, other, kind=kind, alpha=alpha, order=torch.zeros(1, dtype=torch.long))
        return unchanged(x, name)
    if np.broadcast_shapes(tuple(tensor.shape), x.shape) != x.shape:
        raise refused(title, f"spreads values of shape {x.shape} over a constant of {tuple(tensor.shape)}")
    sizes = (1,) * (x.index.ndim - tensor.ndim) + tuple(tensor.shape)
    if sizes[built.jets(x)] != 1:
        raise refused(title, "has a constant for each jet")
    scale, shift = scale.expand(tensor.shape).reshape(sizes), shift.expand(tensor.shape).reshape(sizes)
    wide = [axis for axis, size in enumerate(sizes) if size > 1]
    if len(wide) == 1:
        source, order, value_of = per_channel(built, x, wide[0], title)
        scale, shift = scale.reshape(-1), shift.reshape(-1)
    else:
        source, place = built.flat(x, f"{title}.flatten")
        order, jets = place.reshape(-1), built.jets(x)
        scale, shift = (v.expand(x.shape).select(jets, 0).reshape(-1) for v in (scale, shift))

        def value_of(layer: str) -> Value:
            return Value(layer, x.index)

    inverse = torch.argsort(order)
    name = built.affine(source, scale.float()[inverse], shift.float()[inverse], title, held=held)
    if len(order) == tensor.numel():
        sizes_of = built.sizes_of(x) if len(wide) > 1 else None
        spread = _without_jets(sizes_of, sizes, tensor.ndim)
        _stored(built, name, other, kind=kind, alpha=alpha, order=order, sizes=spread)
    return value_of(name)


def _without_jets(sizes: Sizes | None, given: tuple[int, ...], rank: int) -> Sizes | None:
    """Return what gives a constant's last `rank` sizes: those of a value, and 1 where it was spread."""
    if sizes is None:
        return None
    first = len(given) - rank
    return lambda net: [1 if old == 1 else now for old, now in zip(given, sizes(net), strict=True)][first:]


def _affine(kind: str, constant: Tensor, alpha: float, title: str) -> tuple[Tensor, Tensor]:
    if kind not in _WAYS:
        raise refused(title, f"is not a sum or product with a constant ({kind})")
    scale, shift = (torch.zeros_like(constant) + each for each in _WAYS[kind][0](constant, alpha))
    if not torch.isfinite(scale).all():
        raise refused(title, "divides by zero")
    return scale, shift


def _stored(
    built: Assembly, name: str, other: Any, *, kind: str, alpha: float, order: Tensor, sizes: Sizes | None = None
) -> None:
    """Say how a constant of the model comes back from scale and shift."""
    if isinstance(other, Constant):
        shape, back = other.tensor.shape, _WAYS[kind][1]
        built.stored(name, other, lambda at: _back(picked(back(at, alpha), order), shape), sizes=sizes)


def _back(values: Tensor, shape: torch.Size) -> Tensor:
    """Return a constant in its shape; after surgery one of several axes has sizes that only the network knows."""
    sizes = [size if size == 1 or values.numel() == shape.numel() else -1 for size in shape]
    return values.reshape(sizes) if sizes.count(-1) < 2 else values
