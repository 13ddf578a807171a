"""Layers that other packages add to QKeras': wrappers that prune or cluster, projections of interaction networks."""

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from hepprune.fixed import FixedPoint
from hepprune.frontends.keras.layers.weighted import by_channels, by_rows
from hepprune.frontends.keras.registry import LAYERS, Floats, Native, Part, Parts, keep, only, register, single, wrapped
from hepprune.network import Dense, Kernel, Layer, Permute, Shape

_BIT = FixedPoint(1, 1, False, "RND_CONV", "SAT")
# What tensorflow_model_optimization keeps for every kernel, after the arrays of the layer: mask, threshold, step.
_PER_KERNEL = 2
_CLUSTERED = ("Dense", "Conv1D", "Conv2D")  # of the layers that are known here, those of one kernel that it changes
_OF_LAYER = re.compile(r"_?layer/(\w+/)?vars/")


def _pruned(native: Native) -> tuple[Native, int, tuple[Floats, ...]]:
    """Return the wrapped layer, and of the wrapper's arrays how many are its kernels once more, and the rest."""
    inner = wrapped(native, LAYERS.keys() - {native.kind}, ", which is not known here")
    scalars = sum(not array.ndim for array in native.weights) - ("Batchnorm" in inner.kind)  # which counts its steps
    n_kernels = max(scalars - 1, 0)
    before = len(native.weights) - n_kernels * _PER_KERNEL - bool(scalars)
    in_layer = sum(bool(_OF_LAYER.match(place)) for place in native.stored)
    repeated = before - in_layer if in_layer else 0
    if before < 0 or repeated not in {0, n_kernels}:
        raise native.refuse("has other masks than arrays")
    return replace(inner, weights=native.weights[: before - repeated]), repeated, native.weights[before:]


def _fill_pruned(native: Native, layers: Mapping[str, Layer]) -> Native:
    inner, repeated, rest = _pruned(native)
    filled, more = LAYERS[inner.kind].fill(inner, layers), list(rest)
    n_masks = len(more) // _PER_KERNEL
    # Of a separable layer of Keras only the second kernel is pruned, of one of QKeras both.
    kernels = filled.weights[2 - n_masks if "Separable" in inner.kind else 0 :][:n_masks]
    for place, kernel in zip(range(0, len(more) - 1, _PER_KERNEL), kernels, strict=True):
        more[place] = (kernel != 0).astype(np.float64)
    arrays = [*filled.weights, *kernels[:repeated], *more]
    return native.filled(arrays, layer={**native.config["layer"], "config": dict(filled.config)})


@register("PruneLowMagnitude", fill=_fill_pruned, groups=("layer", "layer/cell", "layer/batchnorm", ""))
def _prune_low_magnitude(native: Native, arriving: tuple[Shape, ...]) -> Parts:
    inner, _, rest = _pruned(native)
    parts, masks = LAYERS[inner.kind].lower(inner, arriving), rest[:-1:_PER_KERNEL]
    kernels = [kernel for part in parts for kernel in part.layer.kernels]
    for kernel, mask in zip(kernels[len(kernels) - len(masks) :], masks, strict=True):
        _cut(native, kernel, mask)
    return parts


def _cut(native: Native, kernel: Kernel, mask: Floats) -> None:
    """Let weights that are zero under a mask count as pruned."""
    laid = [torch.as_tensor(arrange(mask.astype(np.float32)).copy()) for arrange in (by_rows, by_channels)[: mask.ndim]]
    allowed = next((each for each in laid if each.shape == kernel.weight.shape), None)
    if allowed is None:
        raise native.refuse(f"has a mask of shape {mask.shape} for weights of shape {tuple(kernel.weight.shape)}")
    kernel.digit_limit[(allowed == 0) & (kernel.weight == 0)] = 0


def _clustered(native: Native) -> Native:
    """Return the wrapped layer with the weights that act: each the centroid that is nearest to it in float32."""
    inner = wrapped(native, LAYERS.keys() - {native.kind}, ", which is not known here")
    if inner.kind not in _CLUSTERED:
        return inner
    if native.config.get("preserve_sparsity") or len(native.weights) not in {3, 4}:
        raise native.refuse("keeps clusters that no file holds; save the model that strip_clustering returns")
    *biases, kernel, centroids, _ = native.weights
    lists = np.atleast_2d(centroids.astype(np.float32))  # one for all, or one a channel, which come last
    distances = np.abs(kernel.astype(np.float32)[..., None] - lists)
    nearest = np.take_along_axis(np.broadcast_to(lists, distances.shape), distances.argmin(-1)[..., None], -1)
    return replace(inner, weights=(nearest[..., 0].astype(np.float64), *biases))


def _fill_clustered(native: Native, layers: Mapping[str, Layer]) -> Native:
    """Return the wrapper with as many centroids as its weights have values now."""
    inner = _clustered(native)
    filled = LAYERS[inner.kind].fill(inner, layers)
    settings: dict[str, Any] = {"layer": {**native.config["layer"], "config": dict(filled.config)}}
    if inner.kind not in _CLUSTERED:
        return native.filled(filled.weights, **settings)
    kernel, *biases = filled.weights
    centroids, places = np.unique(kernel, return_inverse=True)
    centroids = np.pad(centroids, (0, max(2 - len(centroids), 0)), mode="edge")  # two are the fewest there may be
    settings |= {"number_of_clusters": len(centroids), "cluster_per_channel": False}
    return native.filled([*biases, kernel, centroids, places.reshape(kernel.shape).astype(np.float64)], **settings)


@register("ClusterWeights", fill=_fill_clustered, groups=("layer", ""))
def _cluster_weights(native: Native, arriving: tuple[Shape, ...]) -> Parts:
    inner = _clustered(native)
    return LAYERS[inner.kind].lower(inner, arriving)


@register("ClusterWeightsRNN")
def _cluster_cell(native: Native, _arriving: tuple[Shape, ...]) -> Parts:
    raise native.refuse("is one that its own package cannot load; save the model that strip_clustering returns")


@register("QuantizeWrapper", "QuantizeWrapperV2", "QuantizeLayer", "QuantizeAnnotate")
def _affine(native: Native, _arriving: tuple[Shape, ...]) -> Parts:
    fix = "read the model as it was before quantize_model, and let a recipe give it types"
    raise native.refuse(f"quantises in steps of any size from any zero, which fixed-point types have not; {fix}")


@register("NodeEdgeProjection", fill=keep)
def _projection(native: Native, arriving: tuple[Shape, ...]) -> Parts:
    """Return the product with an adjacency matrix: nodes copied to the edges they have, or edges summed at nodes.

    Que et al., arXiv:2209.14065.
    """
    shape = only(native, arriving)
    if len(native.weights) != 1 or native.weights[0].ndim != 3 or len(shape) != 2:
        raise native.refuse(f"is called on the shape {shape} and has no single adjacency matrix")
    (adjacency,) = native.expect((1, native.weights[0].shape[1], shape[0]))
    matrix = single(adjacency[0])
    kind = _BIT if bool(((matrix == 0) | (matrix == 1)).all()) else None
    nodes = Permute(native.part("nodes_last"), (1, 0))
    zeros = torch.zeros(len(matrix))
    product = Dense(native.part("product"), matrix, zeros, weight_type=kind, bias_type=_BIT, fixed=True)
    return [Part(nodes), Part(product, (nodes.name,)), Part(Permute(native.name, (1, 0)), (product.name,))]
