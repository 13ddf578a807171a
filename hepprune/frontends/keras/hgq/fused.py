"""Layers of HGQ2 that fold a batch normalisation into their kernel: QEinsumDenseBatchnorm and QBatchNormDense.

The folded kernel is what is quantised. It is computed in float32, as HGQ2 does. Written back, the normalisation is one
that leaves the kernel as it is.
"""

from collections.abc import Callable, Mapping

import numpy as np
import torch
from torch import Tensor

from hepprune.frontends.keras.hgq.kernels import (
    fill_one_kernel,
    neurons_last,
    of_einsum,
    one_kernel,
    with_counts,
    without_counts,
)
from hepprune.frontends.keras.layers import einsum, weighted
from hepprune.frontends.keras.layers.contraction import contraction
from hepprune.frontends.keras.layers.einsum import now
from hepprune.frontends.keras.registry import Fill, Floats, Lower, Native, Parts
from hepprune.network import Layer, Shape

_EPSILON = 1e-7  # of Keras, where a layer has none of its own
Fold = Callable[[Native], Native]  # to a layer with a kernel and a bias


def _statistics(native: Native, shape: Shape, epsilon: float, *before: Shape) -> tuple[Tensor, ...]:
    """Return the arrays before a normalisation, its scale and its mean, all in float32."""
    scaled = bool(native.config.get("scale", True))
    arrays = [array.float() for array in native.expect(*before, *[shape] * (2 + scaled))]
    *kept, mean, variance = arrays
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
    kernel, bias, scale, mean = _statistics(
        native, axes.shape(along), _EPSILON, axes.shape(axes.kernel), axes.bias_shape
    )
    spread = scale.reshape([axes.sizes[c] if c in along else 1 for c in axes.kernel])
    held = "".join(c for c in axes.puts if c in named)
    shift = (-mean * scale).permute([along.index(c) for c in held])
    first = len(axes.puts) - len(axes.bias_shape)
    shift = shift.reshape([axes.sizes[c] if c in named else 1 for c in axes.puts[first:]])
    return native.filled([kernel * spread, bias + shift])


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
