"""Dense layers and convolutions of Keras: plain and grouped, depthwise, and separable ones as two."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hepprune.frontends.keras.layers.activations import activated
from hepprune.frontends.keras.registry import Floats, Native, Part, Parts, channels_last, only, register, single
from hepprune.network import Conv, Dense, Layer, Shape
from hepprune.network.layers.weighted import Padding, same_padding


def bias_or_zeros(arrays: tuple[Tensor, ...], n_out: int) -> Tensor:
    """Return the bias after the kernel, zeros where the layer has none."""
    return single(arrays[-1]) if len(arrays) > 1 else torch.zeros(n_out)


def used(native: Native, bias: Tensor) -> bool:
    """Return whether the native layer needs its bias: it has one, or surgery gave it one."""
    return bool(native.config.get("use_bias", True)) or bool(bias.any())


def kernel_and_bias(native: Native, kernel: Floats, bias: Tensor) -> list[Floats]:
    """Return the arrays of a layer, the bias only where it needs one."""
    return [kernel, bias.detach().numpy()] if used(native, bias) else [kernel]


def dense(native: Native, arriving: tuple[Shape, ...]) -> Parts:
    """Return the kernel of a dense layer, without its activation."""
    n_in, n_out = only(native, arriving)[-1], native.size("units")
    shapes = [(n_in, n_out), (n_out,)] if native.config.get("use_bias", True) else [(n_in, n_out)]
    arrays = native.expect(*shapes)
    return [Part(Dense(native.name, single(arrays[0].T), bias_or_zeros(arrays, n_out)))]


def fill_dense(native: Native, layers: Mapping[str, Layer]) -> Native:
    """Return the native layer with the kernel and bias the network has now."""
    state = layers[native.name].state_dict()
    weights = kernel_and_bias(native, np.asarray(state["weight"].T), state["bias"])
    return native.filled(weights, units=int(state["weight"].shape[0]), use_bias=used(native, state["bias"]))


register("Dense", fill=fill_dense)(activated(dense))


def places(native: Native, shape: Shape) -> dict[str, Any]:
    """Return strides, dilation and padding of a convolution over a value of this shape."""
    rank = native.rank
    channels_last(native, shape)
    kernel, strides = native.sizes("kernel_size", rank), native.sizes("strides", rank, 1)
    dilation = native.sizes("dilation_rate", rank, 1)
    return {"strides": strides, "dilation": dilation, "padding": _padding(native, shape, (kernel, strides, dilation))}


def _padding(native: Native, shape: Shape, sizes: tuple[Shape, Shape, Shape]) -> Padding:
    kernel, strides, dilation = sizes
    kind = native.config.get("padding", "valid")
    if kind == "valid":
        return ((0, 0),) * len(kernel)
    if kind == "same":
        return same_padding(shape[:-1], kernel, strides, dilation)
    if kind == "causal" and len(kernel) == 1:
        return (((kernel[0] - 1) * dilation[0], 0),)
    raise native.refuse(f"has the padding {str(kind)[:40]}, which cannot be taken over; known are valid, same, causal")


def _arrays(native: Native, *shapes: tuple[int, ...], n_out: int) -> tuple[Tensor, ...]:
    biased = native.config.get("use_bias", True)
    arrays = native.expect(*shapes, *([(n_out,)] if biased else []))
    return (*arrays[: len(shapes)], bias_or_zeros(arrays, n_out) if biased else torch.zeros(n_out))


def conv(native: Native, arriving: tuple[Shape, ...]) -> Parts:
    """Return the kernel of a convolution, without its activation."""
    shape, groups, n_out = only(native, arriving), native.size("groups", 1), native.size("filters")
    where = places(native, shape)
    if shape[-1] % groups:
        raise native.refuse(f"shares {shape[-1]} channels among {groups} groups")
    wanted = (*native.sizes("kernel_size", native.rank), shape[-1] // groups, n_out)
    kernel, bias = _arrays(native, wanted, n_out=n_out)
    return [Part(Conv(native.name, single(kernel.movedim(-1, 0)), bias, groups=groups, **where))]


def fill_conv(native: Native, layers: Mapping[str, Layer]) -> Native:
    """Return the native convolution with the kernel and bias the network has now."""
    layer = native.holding(layers, Conv)
    weights = kernel_and_bias(native, layer.weight.detach().movedim(0, -1).numpy(), layer.bias)
    sizes = {"kernel_size": list(layer.kernel), "groups": layer.groups}
    return native.filled(weights, filters=layer.n_out, use_bias=used(native, layer.bias), **sizes)


def _depthwise_weight(kernel: Tensor) -> Tensor:
    """Return (n_in * multiplier, *kernel, 1) for Keras' (*kernel, n_in, multiplier)."""
    moved = kernel.movedim((-2, -1), (0, 1))
    return single(moved.reshape(-1, *moved.shape[2:], 1))


def _depthwise_kernel(layer: Conv) -> np.ndarray[Any, np.dtype[np.float64]]:
    split = layer.weight.detach().squeeze(-1).reshape(layer.groups, layer.n_out // layer.groups, *layer.kernel)
    return split.movedim((0, 1), (-2, -1)).double().numpy()


def depthwise(native: Native, arriving: tuple[Shape, ...]) -> Parts:
    """Return the kernel of a depthwise convolution, without its activation."""
    shape, multiplier = only(native, arriving), native.size("depth_multiplier", 1)
    where, n_in = places(native, shape), shape[-1]
    wanted = (*native.sizes("kernel_size", native.rank), n_in, multiplier)
    kernel, bias = _arrays(native, wanted, n_out=n_in * multiplier)
    return [Part(Conv(native.name, _depthwise_weight(kernel), bias, groups=n_in, **where))]


def fill_depthwise(native: Native, layers: Mapping[str, Layer]) -> Native:
    """Return the native depthwise convolution with the kernel and bias the network has now."""
    layer = native.holding(layers, Conv)
    weights = kernel_and_bias(native, _depthwise_kernel(layer), layer.bias)
    return native.filled(weights, depth_multiplier=layer.n_out // layer.groups, use_bias=used(native, layer.bias))


def separable(native: Native, arriving: tuple[Shape, ...]) -> Parts:
    """Return a separable convolution's two kernels, without its activation."""
    shape, multiplier = only(native, arriving), native.size("depth_multiplier", 1)
    rank, where, n_in, n_out = native.rank, places(native, shape), shape[-1], native.size("filters")
    wanted = (*native.sizes("kernel_size", rank), n_in, multiplier)
    deep, point, bias = _arrays(native, wanted, ((1,) * rank + (n_in * multiplier, n_out)), n_out=n_out)
    zeros = torch.zeros(n_in * multiplier)
    first = Conv(native.part("depthwise"), _depthwise_weight(deep), zeros, groups=n_in, **where)
    return [Part(first), Part(Conv(native.name, single(point.movedim(-1, 0)), bias), (first.name,))]


def fill_separable(native: Native, layers: Mapping[str, Layer]) -> Native:
    """Return the native separable convolution with the kernels and bias the network has now."""
    deep, point = native.holding(layers, Conv, native.part("depthwise")), native.holding(layers, Conv)
    if deep.bias.any():
        raise native.refuse("has no place for a bias between its two kernels")
    rest = kernel_and_bias(native, point.weight.detach().movedim(0, -1).numpy(), point.bias)
    sizes = {"depth_multiplier": deep.n_out // deep.groups, "filters": point.n_out}
    return native.filled([_depthwise_kernel(deep), *rest], use_bias=used(native, point.bias), **sizes)


_KINDS = ("Conv1D", "Conv2D", "Conv3D", "Convolution1D", "Convolution2D", "Convolution3D")
register(*_KINDS, fill=fill_conv)(activated(conv))
register("DepthwiseConv1D", "DepthwiseConv2D", fill=fill_depthwise)(activated(depthwise))
_SEPARABLE = ("SeparableConv1D", "SeparableConv2D", "SeparableConvolution1D", "SeparableConvolution2D")
register(*_SEPARABLE, fill=fill_separable)(activated(separable))
