"""Layers of QKeras: those of Keras with a quantiser for each array and each activation."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from hepprune.errors import NetworkError, explained
from hepprune.frontends.keras.layers import activations, einsum, weighted
from hepprune.frontends.keras.layers.einsum import contraction
from hepprune.frontends.keras.qkeras.functions import QuantisedFunction, activation, is_quantiser
from hepprune.frontends.keras.qkeras.quantisers import Described, held, parse, scale_of, used, weights
from hepprune.frontends.keras.registry import LAYERS, Fill, Floats, Lower, Native, Part, Parts, after, only, register
from hepprune.network import Activation, BatchNorm, Layer, Merge, ReLU, Shape, Weighted

Float32s = NDArray[np.float32]
Arrange = Callable[[Float32s], Float32s]


def as_is(array: Float32s) -> Float32s:
    """Return the array, of a layout that the network shares."""
    return array


def by_rows(kernel: Float32s) -> Float32s:
    """Return (n_out, ..., n_in) for Keras' (..., n_in, n_out)."""
    return np.moveaxis(kernel, -1, 0) if kernel.ndim > 2 else kernel.T


def by_channels(kernel: Float32s) -> Float32s:
    """Return (n_in * multiplier, *positions, 1) for Keras' depthwise (*positions, n_in, multiplier)."""
    moved = np.moveaxis(kernel, (-2, -1), (0, 1))
    return moved.reshape(-1, *moved.shape[2:], 1)


def naming(native: Native, key: str) -> AbstractContextManager[None]:
    """Let an error about a quantiser name the layer that has it."""
    return explained(native.refuse, f"has a {key} that cannot be taken over:", NetworkError)


def quantiser(native: Native, key: str, *, kernel: bool = False) -> Described | None:
    """Return the quantiser under a key of the config; a kernel's without a scale gets one from its weights."""
    with naming(native, key):
        found = parse(native.config.get(key))
        return found.scaled_to_weights() if found and kernel else found


def quantised(native: Native, layer: Layer, array: Floats, key: str, arrange: Arrange = by_rows) -> Weighted:
    """Return the layer with the kernel of an array and its quantiser, both as QKeras uses them."""
    described = quantiser(native, key, kernel=True)
    with naming(native, key):
        weight_type, latent = weights(described, array.astype(np.float32), arrange=arrange)
    found: Weighted = layer.rebuilt(weight=torch.as_tensor(latent.copy()), weight_type=weight_type)  # type: ignore[assignment]
    return found


def with_bias(native: Native, layer: Weighted, array: Float32s | None = None, arrange: Arrange = as_is) -> Weighted:
    """Return the layer with the quantiser of its bias; without one the bias stays float."""
    described = quantiser(native, "bias_quantizer")
    with naming(native, "bias_quantizer"):
        array = layer.bias.detach().numpy() if array is None else array
        bias_type, latent = weights(described, array, arrange=arrange)
    return layer.rebuilt(bias=torch.as_tensor(latent.copy()), bias_type=bias_type)


def functions(native: Native, described: Any, name: str | None = None, *, source: int | str = 0) -> Parts:
    """Return the layers of an activation quantiser, the last one under the name or named after its function."""
    with naming(native, "activation"):
        found = activation(described)
    if len(found) == 1:
        return [Part(as_layer(found[0], name or native.part(found[0].name)), (source,))]
    sides = [as_layer(side, native.part(end)) for side, end in zip(found, ("positive", "negative"), strict=True)]
    last = Merge(name or native.part(found[-1].name), "maximum")
    return [*(Part(side, (source,)) for side in sides), Part(last, tuple(side.name for side in sides))]


def as_layer(function: QuantisedFunction, name: str) -> Layer:
    """Return the layer that computes a function."""
    if function.name == "relu":
        return ReLU(name, function.result, function.parameters.get("maximum"))
    return Activation(name, function.name, function.parameters, function.result)


def with_activation(native: Native, parts: Parts) -> Parts:
    """Return the parts of a layer with its activation after them, quantised or Keras' own."""
    described = native.config.get("activation")
    if not is_quantiser(described):
        return activations.with_activation(native, parts)
    return [*parts, *functions(native, described, source=parts[-1].layer.name)]


def filling(plain: Fill, *keys: str) -> Fill:
    """Return a fill that finds, after the plain one, arrays and quantisers of which QKeras makes the weights that act.

    `keys` name the quantisers of the kernels in the order of Keras' arrays; the array after them is the bias.
    """

    def fill(native: Native, layers: Mapping[str, Layer]) -> Native:
        filled = plain(native, layers)
        kernels = [layer for layer in layers.values() if isinstance(layer, Weighted)]
        types = [*(layer.weight_type for layer in kernels), kernels[-1].bias_type]
        others = (_arrays(plain, native, layers, change) for change in (_used, _scales))
        arrays, changes = [], dict[str, Any]()
        for key, kind, *values in zip((*keys, "bias_quantizer"), types, _float32(filled), *others, strict=False):
            with naming(native, key):
                described = quantiser(native, key, kernel=key in keys)
                config, array = held(described, kind, latent=values[0], acting=values[1], scale=values[2])
            arrays.append(array.astype(np.float64))
            changes |= {} if config is None else {key: config}
        return filled.filled(arrays, **changes)

    return fill


def _float32(native: Native) -> list[Float32s]:
    return [np.asarray(array, np.float32) for array in native.weights]


def _arrays(
    plain: Fill, native: Native, layers: Mapping[str, Layer], change: Callable[[Weighted], Layer]
) -> list[Float32s]:
    changed = {name: change(layer) if isinstance(layer, Weighted) else layer for name, layer in layers.items()}
    found = _float32(plain(native, changed))
    return found if len(found) > len(layers) else [*found, np.zeros_like(found[-1][..., :1])]


def _used(layer: Weighted) -> Layer:
    return layer.rebuilt(weight=layer.used_weight(), bias=layer.used_bias())


def _scales(layer: Weighted) -> Layer:
    scale = torch.as_tensor(scale_of(layer.weight_type), dtype=layer.weight.dtype)
    bias = torch.as_tensor(scale_of(layer.bias_type) * hasattr(layer.bias_type, "scale"), dtype=layer.bias.dtype)
    return layer.rebuilt(weight=scale.expand_as(layer.weight), bias=bias.expand_as(layer.bias))


def _one_kernel(lower: Lower, key: str, arrange: Arrange) -> Lower:
    def quantised_lower(native: Native, arriving: tuple[Shape, ...]) -> Parts:
        (part,) = lower(native, arriving)
        layer = under_mask(native, quantised(native, part.layer, native.weights[0], key, arrange))
        return with_activation(native, [replace(part, layer=with_bias(native, layer))])

    return quantised_lower


def under_mask(native: Native, layer: Weighted) -> Weighted:
    """Return the layer without the places of its window that a mask, which later QKeras has, multiplies by zero."""
    given = native.config.get("mask")
    if given is None:
        return layer
    window = layer.weight.shape[1:-1]
    mask = np.asarray(given, dtype=np.float64)
    if mask.size != np.prod(window) or not np.isin(mask, (0, 1)).all():
        raise native.refuse(f"has a mask of shape {mask.shape}, none of 0 and 1 for its window {tuple(window)}")
    allowed = torch.as_tensor(mask.reshape(1, *window, 1) != 0)
    limit = torch.where(allowed, layer.digit_limit, torch.zeros_like(layer.digit_limit))
    return layer.rebuilt(weight=torch.where(allowed, layer.weight, 0.0), digit_limit=limit)


# Classes of layers with one kernel, how Keras' own are lowered and filled, the quantiser's key, the kernel's layout.
ONE_KERNEL: tuple[tuple[tuple[str, ...], Lower, Fill, str, Arrange], ...] = (
    (("QDense",), weighted.dense, weighted.fill_dense, "kernel_quantizer", by_rows),
    (("QConv1D", "QConv2D"), weighted.conv, weighted.fill_conv, "kernel_quantizer", by_rows),
    (("QDepthwiseConv2D",), weighted.depthwise, weighted.fill_depthwise, "depthwise_quantizer", by_channels),
)
for _kinds, _lower, _fill, _key, _arrange in ONE_KERNEL:
    _entered = register(*_kinds, fill=filling(_fill, _key), quantisers=(_key, "bias_quantizer"))
    _entered(_one_kernel(_lower, _key, _arrange))


_OF_KERNEL = ("kernel_quantizer", "bias_quantizer")
_OF_KERNELS = ("depthwise_quantizer", "pointwise_quantizer")


@register("QEinsumDense", fill=filling(einsum.fill_einsum_dense, _OF_KERNEL[0]), quantisers=_OF_KERNEL)
def _einsum(native: Native, arriving: tuple[Shape, ...]) -> Parts:
    axes = contraction(native)
    parts = einsum.einsum_dense(native, arriving)
    at = next(number for number, part in enumerate(parts) if part.layer.name == native.name)
    layer = quantised(native, parts[at].layer, native.weights[0], "kernel_quantizer", axes.rows)
    layer = with_bias(native, layer, native.weights[1].astype(np.float32), axes.bias_rows) if axes.biased else layer
    parts[at] = replace(parts[at], layer=layer)
    return with_activation(native, parts)


_fill_separable = filling(weighted.fill_separable, *_OF_KERNELS)


@register("QSeparableConv1D", "QSeparableConv2D", fill=_fill_separable, quantisers=(*_OF_KERNELS, "bias_quantizer"))
def _separable(native: Native, arriving: tuple[Shape, ...]) -> Parts:
    deep, point = weighted.separable(native, arriving)
    first = quantised(native, deep.layer, native.weights[0], "depthwise_quantizer", by_channels)
    second = quantised(native, point.layer, native.weights[1], "pointwise_quantizer")
    return with_activation(native, [replace(deep, layer=first), replace(point, layer=with_bias(native, second))])


@register("QActivation")
def _activation(native: Native, arriving: tuple[Shape, ...]) -> Parts:
    only(native, arriving)
    described = native.config.get("activation")
    if is_quantiser(described):
        return functions(native, described, native.name)
    return after([], activations.activation(native, native.name))


@register("QAveragePooling2D", "QGlobalAveragePooling2D", quantisers=("average_quantizer",))
def _average(native: Native, arriving: tuple[Shape, ...]) -> Parts:
    """Return the mean, times what quantising one over the number of values did to it."""
    plain = native.kind.removeprefix("Q")
    parts = LAYERS[plain].lower(replace(native.filled(average_quantizer=None), kind=plain), arriving)
    described = quantiser(native, "average_quantizer")
    if described is not None:
        shape = only(native, arriving)
        if native.config.get("padding") == "same":
            raise native.refuse("quantises a mean over windows of different sizes (padding same)")
        area = np.prod(native.sizes("pool_size", 2) if "Global" not in plain else shape[:-1])
        factor = torch.as_tensor(np.float32(area) * used(described, np.asarray(1 / area)).reshape(1))
        parts = after(parts, BatchNorm(native.part("factor"), factor, torch.zeros(1), fixed=True))
    return with_activation(native, parts)
