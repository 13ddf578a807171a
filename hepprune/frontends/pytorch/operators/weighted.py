"""Dense layers and convolutions."""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from hepprune.errors import NetworkError, refused
from hepprune.fixed import digits
from hepprune.frontends.pytorch.building import Assembly
from hepprune.frontends.pytorch.operators.registry import array, constant, jets_value, operator, optional, picked
from hepprune.frontends.pytorch.program import Call
from hepprune.frontends.pytorch.values import Constant, Rows, Value
from hepprune.network import Conv, Dense, Shared


@operator("linear")
def linear(built: Assembly, call: Call, x: Any, *, weight: Any, bias: Any = None) -> Value:
    """Weight @ x + bias over the last axis."""
    title = built.title(call, weight if isinstance(weight, Constant) else None)
    arrays = constant(weight, title, "weight"), optional(bias, title, "bias")
    return dense(built, jets_value(x, call), *arrays, title=title)


@operator("addmm")
def addmm(built: Assembly, call: Call, bias: Any, *, mat1: Any, mat2: Any, beta: float = 1, alpha: float = 1) -> Value:
    """Bias + x @ weight, as a decomposed linear layer has it."""
    if (beta, alpha) != (1, 1) or not isinstance(mat2, Constant):
        raise NetworkError(f"'{call.name}' ({call.target}) is not a dense layer")
    return linear(built, call, mat1, weight=transposed(mat2), bias=bias)


def transposed(weight: Constant) -> Constant:
    """Return a matrix with its axes exchanged."""
    axes = None if weight.axes == (1, 0) else (1, 0)
    kept = None if weight.kept is None else weight.kept.t()
    return replace(weight, tensor=weight.tensor.t(), axes=axes, kept=kept)


def dense(built: Assembly, x: Value, weight: Constant, bias: Constant | None, *, title: str) -> Value:
    """Add a dense layer over the last axis, its columns in the order in which the values lie."""
    if weight.tensor.ndim != 2:
        raise refused(title, f"has a weight with {weight.tensor.ndim} axes, where a dense one has two")
    shape = (*x.shape[:-1], len(weight.tensor))
    x = built.split(x)
    if x.shape[-1] != weight.tensor.shape[1]:
        raise refused(title, f"takes {weight.tensor.shape[1]} values and is given {x.shape[-1]}")
    if x.index.ndim == 2 and built.jets(x) == 0:
        source, order = built.flat(x, f"{title}.flatten")
        axes: tuple[int, ...] = (0, 1)
    else:
        axes = built.axes(x, x.index.ndim - 1)
        source, order = built.place(x, axes, f"{title}.arranged"), torch.arange(x.shape[-1])
    key = ("dense", weight.key, bias.key if bias else None, tuple(order.tolist()))
    name = again(built, key if weight.origin else None, title, source)
    if name is None:
        inverse = torch.argsort(order)
        layer = Dense(built.name(title), **_arrays(weight, bias, lambda values: values[:, inverse]))
        name = built.add(layer, source)
        kept = lambda at: picked(at.digit_limit, order) > 0  # noqa: E731
        built.stored(name, weight, lambda at: picked(at.used_weight(), order), kept=kept)
        built.stored(name, bias, lambda at: at.used_bias())
        built.placed[key] = name
        if title.endswith("in_proj"):
            built.packed[name] = weight, bias
    return built.value(name, axes, shape)


def unpacked(built: Assembly, chosen: Tensor, packed: str, *, title: str) -> Value | None:
    """Return the values that an index chooses of a packed dense layer by a layer of its own; None if it mixes rows.

    Torch packs queries, keys and values into one matrix, `in_proj`.
    """
    weight, bias = built.packed[packed]
    before = built.layer(packed)
    n_out = len(weight.tensor)
    rows = torch.unique(chosen % n_out)
    n_places = built.n_jets * math.prod(built.shapes[packed][:-1])
    if not isinstance(before, Dense) or chosen.numel() != n_places * len(rows):
        return None
    arrays = {name: getattr(before, name)[rows] for name in ("weight", "bias", "digit_limit")}
    layer = before.rebuilt(name=built.name(title), **arrays)
    name = built.add(layer, *built.sources[packed])
    for found, native in ((weight, Dense.used_weight), (bias, Dense.used_bias)):
        if found is not None:
            known = found.rows or Rows(torch.arange(n_out), found.tensor)
            built.stored(name, replace(found, rows=Rows(known.numbers[rows], known.whole)), native)
    place = torch.div(chosen, n_out, rounding_mode="floor")
    return Value(name, place * len(rows) + torch.searchsorted(rows, chosen % n_out))


def again(built: Assembly, key: Any, title: str, source: str) -> str | None:
    """Add a layer that shares the weights of an earlier one with the same key; None where there is none."""
    if key is None or key not in built.placed:
        return None
    return built.add(Shared(built.name(title), built.placed[key]), source)


def _arrays(weight: Constant, bias: Constant | None, laid: Callable[[Tensor], Tensor]) -> dict[str, Any]:
    """Return what a layer's constructor takes of its arrays, the weight `laid` as the layer has it."""
    limit = None if weight.kept is None else torch.where(laid(weight.kept), digits.UNLIMITED, 0).to(torch.uint8)
    return {
        "weight": laid(weight.tensor.detach().float()),
        "bias": array(bias, weight.tensor, 0.0),
        "digit_limit": limit,
        "fixed": weight.fixed,
        "weight_type": weight.typed(laid),
        "bias_type": None if bias is None else bias.typed(lambda kind: kind),
    }


@operator("conv1d", "conv2d")
def convolution(
    built: Assembly, call: Call, x: Any, *, weight: Any, bias: Any = None, groups: int = 1, **window: Any
) -> Value:
    """Convolve channels-first values."""
    title = built.title(call, weight if isinstance(weight, Constant) else None)
    kernel, shift = constant(weight, title, "weight"), optional(bias, title, "bias")
    values, rank = jets_value(x, call), kernel.tensor.ndim - 2
    if rank not in {1, 2} or values.index.ndim != rank + 2:
        raise refused(title, f"convolves values of shape {values.shape}; 1 and 2 axes of positions are known")
    if built.fitting is not None and groups * kernel.tensor.shape[1] != values.shape[1]:
        groups = values.shape[1] // kernel.tensor.shape[1]
        built.rewrite(call, groups=groups)
    strides, spread = (several(window.get(name, 1), rank) for name in ("stride", "dilation"))
    borders = _borders(window.get("padding", 0), tuple(kernel.tensor.shape[2:]), spread)
    places: dict[str, Any] = {"strides": strides, "padding": borders, "dilation": spread, "groups": groups}
    axes = (0, *range(2, rank + 2), 1)
    source = built.place(values, axes, f"{title}.arranged")
    key = ("conv", kernel.key, shift.key if shift else None, *places.values())
    name = again(built, key if kernel.origin else None, title, source)
    if name is None:
        arrays = _arrays(kernel, shift, lambda values: values.movedim(1, -1))
        name = built.add(Conv(built.name(title), **arrays, **places), source)
        kept = lambda at: at.digit_limit.movedim(-1, 1) > 0  # noqa: E731
        built.stored(name, kernel, lambda at: at.used_weight().movedim(-1, 1), kept=kept)
        built.stored(name, shift, lambda at: at.used_bias())
        built.placed[key] = name
    return built.value(name, axes)


@operator("convolution")
def decomposed_convolution(built: Assembly, call: Call, x: Any, *, transposed: bool, **options: Any) -> Value:
    """Convolve, as the core operators have it."""
    if transposed:
        raise NetworkError(f"'{call.name}' is a transposed convolution, not known here; upsample and convolve instead")
    return convolution(built, call, x, **options)


def several(sizes: Any, rank: int) -> tuple[int, ...]:
    """Return one size per axis of positions."""
    given = (sizes,) if isinstance(sizes, int) else tuple(sizes)
    return given * rank if len(given) == 1 else given


def _borders(padding: Any, kernel: tuple[int, ...], dilation: tuple[int, ...]) -> tuple[tuple[int, int], ...]:
    """Return (before, after) for each axis; torch's "same" puts the odd zero at the end."""
    if padding == "valid":
        return ((0, 0),) * len(kernel)
    if padding == "same":
        totals = [(k - 1) * d for k, d in zip(kernel, dilation, strict=True)]
        return tuple((total // 2, total - total // 2) for total in totals)
    pads: list[Any] = [*several(padding, len(kernel))]
    return tuple(p if isinstance(p, tuple) else (p, p) for p in pads)
