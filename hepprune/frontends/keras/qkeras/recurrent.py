"""Recurrent layers of QKeras: a quantiser for each kernel, the bias, and the state that a step reads."""

from collections.abc import Mapping

import numpy as np
import torch

from hepprune.fixed import FixedPoint, Quantiser
from hepprune.frontends.keras.layers import recurrent as plain
from hepprune.frontends.keras.qkeras.functions import activation, is_quantiser
from hepprune.frontends.keras.qkeras.layers import Float32s, as_layer, naming, quantiser
from hepprune.frontends.keras.qkeras.quantisers import held, parse, scale_of, weights
from hepprune.frontends.keras.qkeras.scales import fixed_point
from hepprune.frontends.keras.registry import Floats, Native, Part, Parts, register
from hepprune.network import Layer, Recurrent, Shape

_KERNELS = {"weight": "kernel_quantizer", "recurrent_weight": "recurrent_quantizer"}
_ACTIVATIONS = ("activation", "recurrent_activation")


def _lower(native: Native, arriving: tuple[Shape, ...]) -> Parts:
    quantised = [key for key in _ACTIVATIONS if is_quantiser(native.config.get(key))]
    (part,) = plain.recurrent(native.filled(None, **dict.fromkeys(quantised, "linear")), arriving)
    changes: dict[str, object] = {"state_type": _state(native)}
    for key in quantised:
        with naming(native, key):
            found = activation(native.config[key])
        if len(found) > 1:
            raise native.refuse(f"has a {key} with a slope on its negative side, which no recurrent layer has")
        changes |= plain.function_arguments(native, key, as_layer(found[0], "function"))
    for (name, key), array in zip(_KERNELS.items(), native.weights, strict=False):
        with naming(native, key):
            kind, latent = weights(quantiser(native, key, kernel=True), _single(array), arrange=np.transpose)
        changes |= {name: torch.as_tensor(latent.copy()), f"{name}_type": kind}
    for bias in native.weights[2:]:
        with naming(native, "bias_quantizer"):
            kind, latent = weights(quantiser(native, "bias_quantizer"), _single(bias))
        rows = torch.as_tensor(np.atleast_2d(latent).copy())
        changes |= {"bias_type": kind, "bias": rows[0]}
        changes |= {"recurrent_bias": rows[1]} if len(rows) > 1 else {}
    return [Part(part.layer.rebuilt(**changes))]


def _state(native: Native) -> Quantiser | None:
    with naming(native, "state_quantizer"):
        found = parse(native.config.get("state_quantizer"))
        if found is None:
            return None
        if found.kind != "quantized_bits" or found.settings["alpha"] not in (None, 1, 1.0):
            raise native.refuse("quantises its state by other than quantized_bits with alpha=1")
        kind = fixed_point(found.settings)
    return kind if isinstance(kind, FixedPoint) else None


def _single(array: Floats) -> Float32s:
    return array.astype(np.float32)


@torch.no_grad()
def _fill(native: Native, layers: Mapping[str, Layer]) -> Native:
    filled, layer = plain.fill_recurrent(native, layers), native.holding(layers, Recurrent)
    arrays = list(filled.weights)
    changes: dict[str, object] = {}
    for number, (name, key) in enumerate(_KERNELS.items()):
        kind, acting = getattr(layer, f"{name}_type"), layer.used(name).numpy()
        scale = np.broadcast_to(scale_of(kind), acting.shape).astype(np.float32)
        with naming(native, key):
            described = quantiser(native, key, kernel=True)
            config, array = held(described, kind, latent=_single(arrays[number]), acting=acting.T, scale=scale.T)
        arrays[number] = array.astype(np.float64)
        changes |= {} if config is None else {key: config}
    biases = dict(zip(("bias", "recurrent_bias"), layer.used_biases(), strict=True))
    settled = plain.fill_recurrent(native, {native.name: layer.rebuilt(**biases)})
    for number, bias in enumerate(settled.weights[2:], 2):
        scale = np.broadcast_to(scale_of(layer.bias_type), bias.shape).astype(np.float32)
        latent, acting = _single(arrays[number]), _single(bias)
        with naming(native, "bias_quantizer"):
            described = quantiser(native, "bias_quantizer")
            config, array = held(described, layer.bias_type, latent=latent, acting=acting, scale=scale)
        arrays[number] = array.astype(np.float64)
        changes |= {} if config is None else {"bias_quantizer": config}
    return filled.filled(arrays, **changes)


_QUANTISERS = (*_KERNELS.values(), "bias_quantizer", "state_quantizer")
register("QSimpleRNN", "QLSTM", "QGRU", fill=_fill, groups=("cell",), quantisers=_QUANTISERS)(_lower)
