"""Layers of QKeras: those of Keras with a quantiser for each array and each activation."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hepprune.errors import NetworkError, explained
from hepprune.frontends.checking import acting_arrays
from hepprune.frontends.keras.layers import activations, einsum, weighted
from hepprune.frontends.keras.layers.einsum import contraction
from hepprune.frontends.keras.layers.recurrent import has_two_biases
from hepprune.frontends.keras.layers.weighted import Arrange, Form, by_rows
from hepprune.frontends.keras.qkeras.functions import QuantisedFunction, activation, is_quantiser
from hepprune.frontends.keras.qkeras.quantisers import Described, held, parse, scale_of, used, weights
from hepprune.frontends.keras.qkeras.scales import Float32s
from hepprune.frontends.keras.registry import LAYERS, Fill, Floats, L, Lower, Native, Part, Parts, after, only, register
from hepprune.network import Activation, BatchNorm, Layer, Merge, ReLU, Shape

_BIAS = "bias_quantizer"


def naming(native: Native, key: str) -> AbstractContextManager[None]:
    """Let an error about a quantiser name the layer that has it."""
    return explained(native.refuse, f"has a {key} that cannot be taken over:", NetworkError)


def quantiser(native: Native, key: str, *, kernel: bool = False) -> Described | None:
    """Return the quantiser under a key of the config; a kernel's without a scale gets one from its weights."""
    with naming(native, key):
        found = parse(native.config.get(key))
        return found.scaled_to_weights() if found and kernel else found


def quantised(
    native: Native, layer: L, array: Floats, key: str, *, arrange: Arrange = by_rows, name: str = "weight"
) -> L:
    """Return the layer with a kernel, or a bias, of an array and its quantiser, both as QKeras uses them."""
    described = quantiser(native, key, kernel=key != _BIAS)
    with naming(native, key):
        kind, latent = weights(described, array.astype(np.float32), arrange=arrange)
    return layer.rebuilt(**{name: torch.as_tensor(latent.copy()), f"{name}_type": kind})


def with_bias(native: Native, layer: L) -> L:
    """Return the layer with the quantiser of its bias; without one the bias stays float."""
    return quantised(native, layer, layer.state_dict()["bias"].numpy(), _BIAS, name="bias")


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

    @torch.no_grad()
    def fill(native: Native, layers: Mapping[str, Layer]) -> Native:
        filled, arrays, changes = plain(native, layers), list[Floats](), dict[str, Any]()
        types = [kernel.type for layer in layers.values() for kernel in layer.kernels]
        types.append(layers[native.name].settings()["bias_type"])
        others = (_arrays(plain, native, layers, change) for change in (acting_arrays, _scales))
        for key, kind, *values in zip((*keys, _BIAS), types, _float32(filled), *others, strict=False):
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
    plain: Fill, native: Native, layers: Mapping[str, Layer], change: Callable[[Layer], dict[str, Tensor]]
) -> list[Float32s]:
    found = _float32(plain(native, {name: layer.rebuilt(**change(layer)) for name, layer in layers.items()}))
    return [*found, np.zeros_like(found[-1][..., :1])]


def _scales(layer: Layer) -> dict[str, Tensor]:
    """Return the scales of the arrays of a layer: of a bias only where it has one, and once where a file has a sum."""
    found: dict[str, Tensor] = {}
    for name, array in acting_arrays(layer).items():
        kind = getattr(layer, "bias_type" if name == "recurrent_bias" else f"{name}_type")
        summed = name == "recurrent_bias" and not has_two_biases(layer)
        there = not summed and (hasattr(kind, "scale") or not name.endswith("bias"))
        found[name] = torch.as_tensor(scale_of(kind) * there, dtype=array.dtype).expand_as(array)
    return found


def _one_kernel(form: Form, key: str) -> Lower:
    def lower(native: Native, arriving: tuple[Shape, ...]) -> Parts:
        (part,) = form.lower(native, arriving)
        layer = quantised(native, part.layer, native.weights[0], key, arrange=form.layout(native, None).rows)
        return with_activation(native, [replace(part, layer=with_bias(native, under_mask(native, layer)))])

    return lower


def under_mask(native: Native, layer: L) -> L:
    """Return the layer without the places of its window that a mask, which later QKeras has, multiplies by zero."""
    given, state = native.config.get("mask"), layer.state_dict()
    if given is None:
        return layer
    window = state["weight"].shape[1:-1]
    mask = np.asarray(given, dtype=np.float64)
    if mask.size != np.prod(window) or not np.isin(mask, (0, 1)).all():
        raise native.refuse(f"has a mask of shape {mask.shape}, none of 0 and 1 for its window {tuple(window)}")
    allowed = torch.as_tensor(mask.reshape(1, *window, 1) != 0)
    return layer.rebuilt(**{name: torch.where(allowed, state[name], 0) for name in ("weight", "digit_limit")})


# Classes of layers with one kernel, those of Keras that they are without quantisers, and the key of the kernel's.
ONE_KERNEL: tuple[tuple[tuple[str, ...], Form, str], ...] = (
    (("QDense",), weighted.DENSE, "kernel_quantizer"),
    (("QConv1D", "QConv2D"), weighted.CONV, "kernel_quantizer"),
    (("QDepthwiseConv2D",), weighted.DEPTHWISE, "depthwise_quantizer"),
)
for _kinds, _form, _key in ONE_KERNEL:
    register(*_kinds, fill=filling(_form.fill, _key), quantisers=(_key, _BIAS))(_one_kernel(_form, _key))


_OF_KERNEL = ("kernel_quantizer", _BIAS)
_OF_KERNELS = ("depthwise_quantizer", "pointwise_quantizer")


@register("QEinsumDense", fill=filling(einsum.EINSUM.fill, _OF_KERNEL[0]), quantisers=_OF_KERNEL)
def _einsum(native: Native, arriving: tuple[Shape, ...]) -> Parts:
    axes, parts = contraction(native), einsum.einsum_dense(native, arriving)
    at = next(number for number, part in enumerate(parts) if part.layer.name == native.name)
    layer = quantised(native, parts[at].layer, native.weights[0], _OF_KERNEL[0], arrange=axes.rows)
    if axes.biased:
        layer = quantised(native, layer, native.weights[1], _BIAS, arrange=axes.bias_rows, name="bias")
    parts[at] = replace(parts[at], layer=layer)
    return with_activation(native, parts)


_fill_separable = filling(weighted.fill_separable, *_OF_KERNELS)


@register("QSeparableConv1D", "QSeparableConv2D", fill=_fill_separable, quantisers=(*_OF_KERNELS, _BIAS))
def _separable(native: Native, arriving: tuple[Shape, ...]) -> Parts:
    deep, point = weighted.separable(native, arriving)
    first = quantised(native, deep.layer, native.weights[0], "depthwise_quantizer", arrange=weighted.by_channels)
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
