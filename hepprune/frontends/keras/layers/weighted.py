"""Dense layers and convolutions of Keras: plain and grouped, depthwise, and separable ones as two."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hepprune.frontends.keras.layers.activations import activated
from hepprune.frontends.keras.registry import Fill, Lower, Native, Part, Parts, channels_last, only, register, single
from hepprune.network import Conv, Dense, Layer, Shape, Weighted
from hepprune.network.layers.weighted import Padding, same_padding

AnyArray = NDArray[Any]
Arrange = Callable[[AnyArray], AnyArray]


@dataclass(frozen=True)
class Layout:
    """How a kernel and a bias, and what goes with each of their values, are laid out in the Network and in Keras."""

    rows: Arrange
    columns: Arrange
    bias_rows: Arrange = np.ravel
    bias_columns: Arrange = np.ravel


# What finds the layout of a native layer; of one that is filled, with the layer that it is filled from.
FindLayout = Callable[[Native, Weighted | None], Layout]


@dataclass(frozen=True)
class Form:
    """How a layer with one kernel is lowered and filled without its activation, in float, and how its kernel lies."""

    lower: Lower
    fill: Fill
    layout: FindLayout


def by_rows(kernel: AnyArray) -> AnyArray:
    """Return (n_out, ..., n_in) for Keras' (..., n_in, n_out)."""
    return np.moveaxis(kernel, -1, 0)


def by_columns(kernel: AnyArray) -> AnyArray:
    """Return Keras' (..., n_in, n_out) for (n_out, ..., n_in)."""
    return np.moveaxis(kernel, 0, -1)


def by_channels(kernel: AnyArray) -> AnyArray:
    """Return (n_in * multiplier, *positions, 1) for Keras' depthwise (*positions, n_in, multiplier)."""
    moved = np.moveaxis(kernel, (-2, -1), (0, 1))
    return moved.reshape(-1, *moved.shape[2:], 1)


def _neurons_last(_native: Native, _layer: Weighted | None) -> Layout:
    return Layout(by_rows, by_columns)


def _multipliers_last(_native: Native, layer: Weighted | None) -> Layout:
    def columns(kernel: AnyArray) -> AnyArray:
        groups = layer.groups if isinstance(layer, Conv) else 1
        split = kernel[..., 0].reshape(groups, -1, *kernel.shape[1:-1])
        return np.moveaxis(split, (0, 1), (-2, -1))

    return Layout(by_channels, columns)


def _laid(kernel: Tensor, arrange: Arrange = by_rows) -> Tensor:
    return single(torch.as_tensor(arrange(kernel.numpy())))


def _columns(native: Native, layer: Weighted, find: FindLayout) -> AnyArray:
    return find(native, layer).columns(layer.weight.detach().double().numpy())


def with_bias(native: Native, bias: Tensor, *kernels: Tensor | AnyArray, **sizes: Any) -> Native:
    """Return the native layer with kernels, and the bias where it has one or surgery gave it one."""
    biased = bool(native.config.get("use_bias", True)) or bool(bias.any())
    return native.filled([*kernels, *([bias.detach()] if biased else [])], use_bias=biased, **sizes)


def _filling(find: FindLayout, sizes: Callable[[Any], dict[str, Any]]) -> Fill:
    """Return what fills a native layer with the kernel, the bias and the sizes that the network has now."""

    def fill(native: Native, layers: Mapping[str, Layer]) -> Native:
        layer = native.holding(layers, Weighted)
        return with_bias(native, layer.bias, _columns(native, layer, find), **sizes(layer))

    return fill


def dense(native: Native, arriving: tuple[Shape, ...]) -> Parts:
    """Return the kernel of a dense layer, without its activation."""
    n_in, n_out = only(native, arriving)[-1], native.size("units")
    kernel, bias = _arrays(native, (n_in, n_out), n_out=n_out)
    return [Part(Dense(native.name, _laid(kernel), bias))]


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
    """Return the kernels and the bias, zeros where the layer has none."""
    if native.config.get("use_bias", True):
        *kernels, bias = native.expect(*shapes, (n_out,))
        return *kernels, single(bias)
    return *native.expect(*shapes), torch.zeros(n_out)


def conv(native: Native, arriving: tuple[Shape, ...]) -> Parts:
    """Return the kernel of a convolution, without its activation."""
    shape, groups, n_out = only(native, arriving), native.size("groups", 1), native.size("filters")
    where = places(native, shape)
    if shape[-1] % groups:
        raise native.refuse(f"shares {shape[-1]} channels among {groups} groups")
    wanted = (*native.sizes("kernel_size", native.rank), shape[-1] // groups, n_out)
    kernel, bias = _arrays(native, wanted, n_out=n_out)
    return [Part(Conv(native.name, _laid(kernel), bias, groups=groups, **where))]


def depthwise(native: Native, arriving: tuple[Shape, ...]) -> Parts:
    """Return the kernel of a depthwise convolution, without its activation."""
    shape, multiplier = only(native, arriving), native.size("depth_multiplier", 1)
    where, n_in = places(native, shape), shape[-1]
    wanted = (*native.sizes("kernel_size", native.rank), n_in, multiplier)
    kernel, bias = _arrays(native, wanted, n_out=n_in * multiplier)
    return [Part(Conv(native.name, _laid(kernel, by_channels), bias, groups=n_in, **where))]


def separable(native: Native, arriving: tuple[Shape, ...]) -> Parts:
    """Return a separable convolution's two kernels, without its activation."""
    shape, multiplier = only(native, arriving), native.size("depth_multiplier", 1)
    rank, where, n_in, n_out = native.rank, places(native, shape), shape[-1], native.size("filters")
    wanted = (*native.sizes("kernel_size", rank), n_in, multiplier)
    deep, point, bias = _arrays(native, wanted, ((1,) * rank + (n_in * multiplier, n_out)), n_out=n_out)
    zeros = torch.zeros(n_in * multiplier)
    first = Conv(native.part("depthwise"), _laid(deep, by_channels), zeros, groups=n_in, **where)
    return [Part(first), Part(Conv(native.name, _laid(point), bias), (first.name,))]


def fill_separable(native: Native, layers: Mapping[str, Layer]) -> Native:
    """Return the native separable convolution with the kernels and bias the network has now."""
    deep, point = native.holding(layers, Conv, native.part("depthwise")), native.holding(layers, Conv)
    if deep.bias.any():
        raise native.refuse("has no place for a bias between its two kernels")
    kernels = _columns(native, deep, _multipliers_last), _columns(native, point, _neurons_last)
    sizes = {"depth_multiplier": deep.n_out // deep.groups, "filters": point.n_out}
    return with_bias(native, point.bias, *kernels, **sizes)


def _conv_sizes(layer: Conv) -> dict[str, Any]:
    return {"filters": layer.n_out, "kernel_size": list(layer.kernel), "groups": layer.groups}


def _depthwise_sizes(layer: Conv) -> dict[str, Any]:
    return {"depth_multiplier": layer.n_out // layer.groups}


DENSE = Form(dense, _filling(_neurons_last, lambda layer: {"units": layer.n_out}), _neurons_last)
CONV = Form(conv, _filling(_neurons_last, _conv_sizes), _neurons_last)
DEPTHWISE = Form(depthwise, _filling(_multipliers_last, _depthwise_sizes), _multipliers_last)
_CONVOLUTIONS = ("Conv1D", "Conv2D", "Conv3D", "Convolution1D", "Convolution2D", "Convolution3D")
_SEPARABLE = ("SeparableConv1D", "SeparableConv2D", "SeparableConvolution1D", "SeparableConvolution2D")
register("Dense", fill=DENSE.fill)(activated(dense))
register(*_CONVOLUTIONS, fill=CONV.fill)(activated(conv))
register("DepthwiseConv1D", "DepthwiseConv2D", fill=DEPTHWISE.fill)(activated(depthwise))
register(*_SEPARABLE, fill=fill_separable)(activated(separable))
