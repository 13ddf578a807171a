"""Layers of HGQ2 with one kernel, each weight of which has a bit width of its own; of no bits, it is a pruned one."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hepprune.errors import explained
from hepprune.fixed import FixedPoint
from hepprune.fixed.quantisers import FixedPoints
from hepprune.frontends.keras.hgq import types
from hepprune.frontends.keras.hgq.values import between, with_bits
from hepprune.frontends.keras.layers import einsum, weighted
from hepprune.frontends.keras.layers.activations import with_activation
from hepprune.frontends.keras.layers.einsum import Contraction, contraction, now
from hepprune.frontends.keras.qkeras.layers import by_rows
from hepprune.frontends.keras.registry import Fill, Floats, Lower, Native, Part, Parts
from hepprune.network import Layer, Shape, Weighted

AnyArray = NDArray[Any]
_EPSILON = 1e-7  # of Keras, where a layer has none of its own
Fold = Callable[[Native], Native]  # to a layer with a kernel and a bias


@dataclass(frozen=True)
class Layout:
    """How a kernel and a bias, and what goes with each of their values, are laid out in the Network and in Keras."""

    rows: Callable[[AnyArray], AnyArray]
    columns: Callable[[AnyArray], AnyArray]
    bias_rows: Callable[[AnyArray], AnyArray] = np.ravel
    bias_columns: Callable[[AnyArray], AnyArray] = np.ravel


# What finds the layout of a native layer; of one that is filled, with the layer that it is filled from.
FindLayout = Callable[[Native, Layer | None], Layout]


def by_columns(kernel: AnyArray) -> AnyArray:
    """Return Keras' (..., n_in, n_out) for (n_out, ..., n_in)."""
    return np.moveaxis(kernel, 0, -1) if kernel.ndim > 2 else kernel.T


def neurons_last(_native: Native, _layer: Layer | None) -> Layout:
    """Return the layout of dense layers and convolutions."""
    return Layout(by_rows, by_columns)


def of_einsum(native: Native, layer: Layer | None) -> Layout:
    """Return the layout of an EinsumDense."""
    axes: Contraction = contraction(native) if layer is None else now(native, layer)
    return Layout(axes.rows, axes.columns, axes.bias_rows, axes.bias_columns)


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
    kinds = {"weight_type": None if weight_type is None else types.plain(weight_type), "bias_type": bias_type}
    if weight_type is None:
        return replace(part, layer=layer.rebuilt(**kinds))
    limit = torch.where(torch.as_tensor(types.nothing(weight_type)), 0, layer.digit_limit).to(torch.uint8)
    return replace(part, layer=layer.rebuilt(weight=layer.weight * (limit > 0), digit_limit=limit, **kinds))


def one_kernel(lower: Lower, find: FindLayout = neurons_last) -> Lower:
    """Return the lowering of a layer with its quantisers, from that without them."""

    def quantised_lower(native: Native, arriving: tuple[Shape, ...]) -> Parts:
        native = without_counts(native)
        bare, layout = lower(native, arriving), find(native, None)
        parts = [_typed(native, part, layout) if part.layer.name == native.name else part for part in bare]
        return between(native, with_activation(native, parts))

    return quantised_lower


def fill_one_kernel(fill: Fill, find: FindLayout = neurons_last) -> Fill:
    """Return what fills a layer with its quantisers, from what fills that without them."""

    def quantised_fill(native: Native, layers: Mapping[str, Layer]) -> Native:
        layer = native.holding(layers, Weighted)
        filled = fill(without_counts(native), {**layers, native.name: _in_range(native, layer)})
        bits = _bits(native, layer, find(without_counts(native), layer))
        return with_bits(with_counts(native, filled), layers, **bits)

    return quantised_fill


@torch.no_grad()
def _in_range(native: Native, layer: Weighted) -> Weighted:
    """Return the layer with the weights that act where the file keeps no range that would bring them back."""
    arrays = {"weight": layer.used_weight()} if types.keeps_no_range(native, "kq_conf") else {}
    arrays |= {"bias": layer.used_bias()} if types.keeps_no_range(native, "bq_conf") else {}
    return layer.rebuilt(**arrays) if arrays else layer


@torch.no_grad()
def _bits(native: Native, layer: Weighted, layout: Layout) -> dict[str, Floats]:
    """Return the widths of a kernel, none where a weight is pruned, and of a bias, in the layout of Keras."""
    weight, bias, bits = layer.used_weight().double().numpy(), layer.used_bias().double().numpy(), dict[str, Floats]()
    if not types.is_none(native.config.get("kq_conf")):
        kind = types.spread(native, layer.weight_type, weight.shape)
        if isinstance(kind, FixedPoints):
            kind = replace(kind, width=np.where(layer.digit_limit.numpy() == 0, 0, kind.width))
        laid = types.each(kind, layout.columns)
        bits |= types.held(native, "kq_conf", "kq", kind=laid, acting=layout.columns(weight))
    if not types.is_none(native.config.get("bq_conf")):
        shared = types.each(types.spread(native, layer.bias_type, bias.shape), layout.bias_columns)
        bits |= types.held(native, "bq_conf", "bq", kind=shared, acting=layout.bias_columns(bias))
    return bits


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


def _folding(fold: Fold, typed: Lower) -> Lower:
    def folded_lower(native: Native, arriving: tuple[Shape, ...]) -> Parts:
        return typed(fold(without_counts(native)), arriving)

    return folded_lower


def _unfolding(fold: Fold, typed: Fill, normalised: Callable[[Native, Layer], Shape]) -> Fill:
    """Return what fills a layer from a folded one, with a normalisation that changes nothing."""

    def unfolded_fill(native: Native, layers: Mapping[str, Layer]) -> Native:
        folded = fold(without_counts(native))
        filled, shape = typed(folded, layers), normalised(folded, layers[native.name])
        epsilon = _EPSILON if "epsilon" not in native.config else native.number("epsilon", _EPSILON)
        statistics: list[Floats] = [np.ones(shape)] if native.config.get("scale", True) else []
        statistics += [np.zeros(shape), np.full(shape, float(np.float32(1 - epsilon)))]
        return with_counts(native, filled.filled([*filled.weights, *statistics]))

    return unfolded_fill


def _along(native: Native, layer: Layer) -> Shape:
    axes, named = now(native, layer), native.config.get("normalize_axes")
    return axes.shape("".join(c for c in axes.kernel if c in (named or axes.biased)))


EINSUM = one_kernel(einsum.einsum_dense, of_einsum), fill_one_kernel(einsum.fill_einsum_dense, of_einsum)


DENSE = one_kernel(weighted.dense, neurons_last), fill_one_kernel(weighted.fill_dense, neurons_last)


FUSED_EINSUM = _folding(_folded_einsum, EINSUM[0]), _unfolding(_folded_einsum, EINSUM[1], _along)


FUSED_DENSE = (
    _folding(_folded_dense, DENSE[0]),
    _unfolding(_folded_dense, DENSE[1], lambda _native, layer: (layer.state_dict()["weight"].shape[1],)),
)
