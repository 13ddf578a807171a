"""Layers around QKeras' that other packages add: pruning wrappers, and the projections of interaction networks."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import torch

from hepprune.fixed import FixedPoint
from hepprune.frontends.keras.qkeras.layers import by_channels, by_rows
from hepprune.frontends.keras.registry import LAYERS, Floats, Native, Part, Parts, keep, only, register, single, wrapped
from hepprune.network import Dense, Layer, Permute, Shape, Weighted

_BIT = FixedPoint(1, 1, False, "RND_CONV", "SAT")
# What tensorflow_model_optimization keeps for every kernel, after the arrays of the layer: mask, threshold, step.
_PER_KERNEL = 2


def _pruned(native: Native) -> tuple[Native, int, tuple[Floats, ...]]:
    """Return the wrapped layer, and of the wrapper's arrays how many are its kernels once more, and the rest."""
    kind, entry = wrapped(native, LAYERS.keys() - {native.kind}, ", which is not known here")
    scalars = sum(not array.ndim for array in native.weights)
    n_kernels = max(scalars - 1, 0)
    before = len(native.weights) - n_kernels * _PER_KERNEL - bool(scalars)
    in_layer = sum(place.lstrip("_").startswith("layer/vars/") for place in native.stored)
    repeated = before - in_layer if in_layer else 0
    if before < 0 or repeated not in {0, n_kernels}:
        raise native.refuse("has other masks than arrays")
    inner = replace(native, kind=kind, config=entry.get("config", {}), weights=native.weights[: before - repeated])
    return inner, repeated, native.weights[before:]


def _fill_pruned(native: Native, layers: Mapping[str, Layer]) -> Native:
    inner, repeated, rest = _pruned(native)
    filled, more = LAYERS[inner.kind].fill(inner, layers), list(rest)
    for place, kernel in zip(range(0, len(more) - 1, _PER_KERNEL), filled.weights, strict=False):
        more[place] = (kernel != 0).astype(np.float64)
    arrays = [*filled.weights, *filled.weights[:repeated], *more]
    return native.filled(arrays, layer={**native.config["layer"], "config": dict(filled.config)})


@register("PruneLowMagnitude", fill=_fill_pruned, groups=("layer", ""))
def _prune_low_magnitude(native: Native, arriving: tuple[Shape, ...]) -> Parts:
    inner, _, rest = _pruned(native)
    masks = list(rest[:-1:_PER_KERNEL])
    return [_masked(native, part, masks) for part in LAYERS[inner.kind].lower(inner, arriving)]


def _masked(native: Native, part: Part, masks: list[np.ndarray]) -> Part:
    """Return a part whose weights that are zero under a mask count as pruned."""
    layer = part.layer
    if not isinstance(layer, Weighted) or not masks:
        return part
    mask = masks.pop(0)
    arrange = by_channels if "Depthwise" in str(native.config["layer"]["class_name"]) else by_rows
    allowed = torch.as_tensor(arrange(mask.astype(np.float32)).copy())
    if allowed.shape != layer.weight.shape:
        raise native.refuse(f"has a mask of shape {mask.shape} for weights of shape {tuple(layer.weight.shape)}")
    limit = torch.where((allowed == 0) & (layer.weight == 0), torch.zeros_like(layer.digit_limit), layer.digit_limit)
    return replace(part, layer=layer.rebuilt(digit_limit=limit))


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
