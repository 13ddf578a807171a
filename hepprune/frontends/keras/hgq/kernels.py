"""Layers of HGQ2 with one kernel, each weight of which has a bit width of its own; of no bits, it is a pruned one."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hepprune.errors import explained
from hepprune.fixed import FixedPoint
from hepprune.fixed.quantisers import FixedPoints
from hepprune.frontends.keras.hgq import types
from hepprune.frontends.keras.hgq.floats import ValueTypes
from hepprune.frontends.keras.hgq.values import between, with_bits
from hepprune.frontends.keras.layers import einsum, weighted
from hepprune.frontends.keras.layers.activations import with_activation
from hepprune.frontends.keras.layers.einsum import contraction, now
from hepprune.frontends.keras.layers.weighted import Arrange, Form, Layout
from hepprune.frontends.keras.registry import Fill, Floats, Lower, Native, Part, Parts
from hepprune.network import Kernel, Layer, Shape, Weighted

_EPSILON = 1e-7  # of Keras, where a layer has none of its own
Fold = Callable[[Native], Native]  # to a layer with a kernel and a bias
Typed = tuple[Lower, Fill]  # of a layer with quantisers


def without_counts(native: Native) -> Native:
    """Return the layer without the scalars that only training reads."""
    return replace(native, weights=tuple(array for array in native.weights if array.ndim))


def with_counts(native: Native, filled: Native) -> Native:
    """Return a filled layer with the scalars of the native one in their places."""
    arrays = iter(filled.weights)
    weights = tuple(next(arrays) if array.ndim else array for array in native.weights)
    if next(arrays, None) is not None:
        raise native.refuse("has no bias, nor a quantiser for the one that the network has")
    return replace(filled, weights=weights)


def _typed(native: Native, part: Part, layout: Layout) -> Part:
    """Return the layer with a kernel, with the types of its weights; of no bits, they are pruned."""
    kernel, *biases = native.weights
    found, layer = types.type_of(native, "kq_conf", "kq", weights=kernel), part.layer
    if not isinstance(layer, Weighted) or (found is None and not types.is_none(native.config.get("kq_conf"))):
        raise native.refuse("has no quantiser for its kernel")
    bias = types.type_of(native, "bq_conf", "bq", weights=biases[0]) if biases else None
    # of the zeros that stand in for a bias, and stay that in training
    none = None if biases else FixedPoint(1, 1, False, "RND", "SAT")
    with explained(native.refuse, "has bit widths that do not fit its kernel or its bias", ValueError):
        weight_type = None if found is None else types.arranged(found, layout.rows, kernel.shape)
        bias_type = none if bias is None else types.plain(types.arranged(bias, layout.bias_rows, biases[0].shape))
    changes = {} if weight_type is None else typed(layer.matrix, weight_type)
    return replace(part, layer=layer.rebuilt(**changes, bias_type=bias_type))


def typed(kernel: Kernel, kind: ValueTypes) -> dict[str, Any]:
    """Return a layer's changes for the types of a kernel's weights; those of no bits are pruned."""
    limit = torch.where(torch.as_tensor(types.nothing(kind)), 0, kernel.digit_limit).to(torch.uint8)
    key = kernel.array.replace("weight", "digit_limit")
    return {kernel.array: kernel.weight * (limit > 0), f"{kernel.array}_type": types.plain(kind), key: limit}


def one_kernel(form: Form) -> Typed:
    """Return what lowers and what fills a layer with its quantisers, from what does without them."""

    def lower(native: Native, arriving: tuple[Shape, ...]) -> Parts:
        native = without_counts(native)
        bare, layout = form.lower(native, arriving), form.layout(native, None)
        parts = [_typed(native, part, layout) if part.layer.name == native.name else part for part in bare]
        return between(native, with_activation(native, parts))

    def fill(native: Native, layers: Mapping[str, Layer]) -> Native:
        layer, bare = native.holding(layers, Weighted), without_counts(native)
        filled = form.fill(bare, {**layers, native.name: _in_range(native, layer)})
        return with_bits(with_counts(native, filled), layers, **_bits(native, layer, form.layout(bare, layer)))

    return lower, fill


@torch.no_grad()
def _in_range(native: Native, layer: Weighted) -> Weighted:
    """Return the layer with the weights that act where the file keeps no range that would bring them back."""
    arrays = {"weight": layer.used_weight()} if types.keeps_no_range(native, "kq_conf") else {}
    arrays |= {"bias": layer.used_bias()} if types.keeps_no_range(native, "bq_conf") else {}
    return layer.rebuilt(**arrays) if arrays else layer


@torch.no_grad()
def _bits(native: Native, layer: Weighted, layout: Layout) -> dict[str, Floats]:
    """Return the widths of a kernel and of a bias."""
    bias, bits = layer.used_bias().double().numpy(), dict[str, Floats]()
    if not types.is_none(native.config.get("kq_conf")):
        bits |= kernel_bits(native, layer.matrix, layout.columns, "kq")
    if not types.is_none(native.config.get("bq_conf")):
        shared = types.each(types.spread(native, layer.bias_type, bias.shape), layout.bias_columns)
        bits |= types.held(native, "bq_conf", "bq", kind=shared, acting=layout.bias_columns(bias))
    return bits


def kernel_bits(native: Native, kernel: Kernel, columns: Arrange, place: str) -> dict[str, Floats]:
    """Return the widths of a kernel in the layout of Keras, none where a weight is pruned."""
    kind = types.spread(native, kernel.type, tuple(kernel.weight.shape))
    if isinstance(kind, FixedPoints):
        kind = replace(kind, width=np.where(kernel.digit_limit.numpy() == 0, 0, kind.width))
    acting, key = columns(kernel.used().double().numpy()), f"{place.rpartition('/')[2]}_conf"
    return types.held(native, key, place, kind=types.each(kind, columns), acting=acting)


def _statistics(native: Native, shape: Shape, epsilon: float, *before: Shape) -> tuple[Tensor, ...]:
    """Return the arrays before a normalisation, its scale and its mean, all in float32."""
    scaled = bool(native.config.get("scale", True))
    *kept, mean, variance = [array.float() for array in native.expect(*before, *[shape] * (2 + scaled))]
    gamma = kept.pop() if scaled else torch.ones(shape)
    scale = gamma / torch.sqrt(variance + epsilon)
    if not torch.isfinite(scale).all():
        raise native.refuse("has a variance that is not positive")
    return *kept, scale, mean


def _folded_einsum(native: Native) -> Native:
    """Return the kernel times a scale along the normalised axes, and the bias less the mean times that scale."""
    axes = contraction(native)
    named = str(native.config.get("normalize_axes") or axes.biased)
    if not axes.biased or not set(named) <= set(axes.biased):
        raise native.refuse(f"normalises along {named[:40]}, along which it has no bias")
    along = "".join(c for c in axes.kernel if c in named)
    shapes = (axes.shape(axes.kernel), axes.bias_shape)
    kernel, bias, scale, mean = _statistics(native, axes.shape(along), _EPSILON, *shapes)
    factor = scale.reshape([axes.sizes[c] if c in along else 1 for c in axes.kernel])
    put_out = "".join(c for c in axes.puts if c in named)
    shift = (-mean * scale).permute([along.index(c) for c in put_out])
    first = len(axes.puts) - len(axes.bias_shape)
    shift = shift.reshape([axes.sizes[c] if c in named else 1 for c in axes.puts[first:]])
    return native.filled([kernel * factor, bias + shift])


def _folded_dense(native: Native) -> Native:
    """Return the kernel times a scale for each input, and the bias less what the kernel makes of the mean.

    HGQ2 leaves that scale out of the bias.
    """
    shape, units = native.arriving[0][-1:], native.size("units")
    before = ((*shape, units), (units,))
    kernel, bias, scale, mean = _statistics(native, shape, native.number("epsilon", 1e-3), *before)
    return native.filled([scale[:, None] * kernel, bias - mean @ kernel])


def _folded(fold: Fold, typed: Typed, normalised: Callable[[Native, Weighted], Shape]) -> Typed:
    """Return what lowers a layer as a folded one, and fills it from one with a normalisation that changes nothing."""

    def lower(native: Native, arriving: tuple[Shape, ...]) -> Parts:
        return typed[0](fold(without_counts(native)), arriving)

    def fill(native: Native, layers: Mapping[str, Layer]) -> Native:
        folded = fold(without_counts(native))
        filled, shape = typed[1](folded, layers), normalised(folded, native.holding(layers, Weighted))
        epsilon = native.number("epsilon", _EPSILON)
        statistics: list[Floats] = [np.ones(shape)] if native.config.get("scale", True) else []
        statistics += [np.zeros(shape), np.full(shape, float(np.float32(1 - epsilon)))]
        return with_counts(native, filled.filled([*filled.weights, *statistics]))

    return lower, fill


def _along(native: Native, layer: Weighted) -> Shape:
    axes, named = now(native, layer), native.config.get("normalize_axes")
    return axes.shape("".join(c for c in axes.kernel if c in (named or axes.biased)))


DENSE, EINSUM, CONV = one_kernel(weighted.DENSE), one_kernel(einsum.EINSUM), one_kernel(weighted.CONV)
FOLDED_EINSUM = _folded(_folded_einsum, EINSUM, _along)
FOLDED_DENSE = _folded(_folded_dense, DENSE, lambda _native, layer: (layer.weight.shape[1],))
