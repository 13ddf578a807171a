"""Recurrent layers of QKeras: a quantiser for each kernel, the bias, and the state that a step reads."""

import numpy as np
import torch

from hepprune.fixed import FixedPoint, Quantiser
from hepprune.frontends.keras.layers import recurrent as plain
from hepprune.frontends.keras.qkeras.functions import activation, is_quantiser
from hepprune.frontends.keras.qkeras.layers import as_layer, filling, naming, quantised, quantiser
from hepprune.frontends.keras.qkeras.quantisers import parse, weights
from hepprune.frontends.keras.qkeras.scales import fixed_point
from hepprune.frontends.keras.registry import Native, Part, Parts, register
from hepprune.network import Shape

_KERNELS = {"weight": "kernel_quantizer", "recurrent_weight": "recurrent_quantizer"}
_ACTIVATIONS = ("activation", "recurrent_activation")


def _lower(native: Native, arriving: tuple[Shape, ...]) -> Parts:
    keys = [key for key in _ACTIVATIONS if is_quantiser(native.config.get(key))]
    (part,) = plain.recurrent(native.filled(None, **dict.fromkeys(keys, "linear")), arriving)
    changes: dict[str, object] = {"state_type": _state(native)}
    for key in keys:
        with naming(native, key):
            found = activation(native.config[key])
        if len(found) > 1:
            raise native.refuse(f"has a {key} with a slope on its negative side, which no recurrent layer has")
        changes |= plain.function_arguments(native, key, as_layer(found[0], "function"))
    for bias in native.weights[2:]:
        with naming(native, "bias_quantizer"):
            kind, latent = weights(quantiser(native, "bias_quantizer"), bias)
        rows = torch.as_tensor(np.atleast_2d(latent).copy())
        changes |= {"bias_type": kind, "bias": rows[0]}
        changes |= {"recurrent_bias": rows[1]} if len(rows) > 1 else {}
    layer = part.layer.rebuilt(**changes)
    for (name, key), array in zip(_KERNELS.items(), native.weights, strict=False):
        layer = quantised(native, layer, array, key, name=name)
    return [Part(layer)]


def _state(native: Native) -> Quantiser | None:
    with naming(native, "state_quantizer"):
        found = parse(native.config.get("state_quantizer"))
        if found is None:
            return None
        if found.kind != "quantized_bits" or found.settings["alpha"] not in (None, 1, 1.0):
            raise native.refuse("quantises its state by other than quantized_bits with alpha=1")
        kind = fixed_point(found.settings)
    return kind if isinstance(kind, FixedPoint) else None


_QUANTISERS = (*_KERNELS.values(), "bias_quantizer", "state_quantizer")
_fill = filling(plain.fill_recurrent, *_KERNELS.values())
register("QSimpleRNN", "QLSTM", "QGRU", fill=_fill, groups=("cell",), quantisers=_QUANTISERS)(_lower)
