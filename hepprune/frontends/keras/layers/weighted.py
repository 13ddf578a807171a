"""Dense layers of Keras, and what is one."""

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from hepprune.frontends.keras.layers.activations import activated
from hepprune.frontends.keras.registry import Floats, Native, Part, Parts, only, register, single
from hepprune.network import Dense, Layer, Shape


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
