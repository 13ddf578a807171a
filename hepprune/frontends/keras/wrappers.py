"""Layers of Keras that are dense layers under another name: TimeDistributed, and EinsumDense where it is one."""

import re
from collections.abc import Mapping
from dataclasses import replace

from hepprune.frontends.keras.activations import with_activation
from hepprune.frontends.keras.registry import LAYERS, Native, Parts, only, register, rewrapped
from hepprune.frontends.keras.weighted import dense, fill_dense
from hepprune.network import Layer, Shape

# Layers that treat every position alike, so that running them on all at once is the same.
POSITIONWISE = frozenset(
    {
        *("Dense", "QDense", "Activation", "QActivation", "ReLU", "LeakyReLU", "ELU", "Dropout"),
        *("BatchNormalization", "QBatchNormalization", "LayerNormalization"),
    }
)
_EQUATION = re.compile(r"((?:\.\.\.)?[a-zA-Z]*)([a-zA-Z]),([a-zA-Z])([a-zA-Z])->((?:\.\.\.)?[a-zA-Z]*)([a-zA-Z])")


def _inner(native: Native) -> Native:
    entry = native.config.get("layer")
    kind = str(entry.get("class_name")) if isinstance(entry, dict) else "nothing"
    if not isinstance(entry, dict) or kind not in POSITIONWISE or kind not in LAYERS:
        raise native.refuse(f"wraps {kind[:60]}; known are {', '.join(sorted(POSITIONWISE & LAYERS.keys()))}")
    return replace(native, kind=kind, config=entry["config"])


def _fill_time_distributed(native: Native, layers: Mapping[str, Layer]) -> Native:
    inner = _inner(native)
    filled = LAYERS[inner.kind].fill(inner, layers)
    return native.filled(filled.weights, layer=rewrapped(native.config["layer"], filled))


@register("TimeDistributed", fill=_fill_time_distributed, groups=("layer",))
def _time_distributed(native: Native, arriving: tuple[Shape, ...]) -> Parts:
    inner, shape = _inner(native), only(native, arriving)
    if len(shape) < 2:
        raise native.refuse(f"is called on the shape {shape}, which has no positions")
    return LAYERS[inner.kind].lower(inner, (shape[1:],))


def _as_dense(native: Native) -> Native:
    """Return an EinsumDense as the Dense layer it is, and refuse one that contracts anything but the last axis."""
    match = _EQUATION.fullmatch(str(native.config.get("equation")).replace(" ", ""))
    bias, shape = native.config.get("bias_axes"), native.config.get("output_shape")
    if match is None or match[2] != match[3] or match[1] != match[5] or match[4] != match[6]:
        raise native.refuse(f"computes {str(native.config.get('equation'))[:40]}, which is no dense layer")
    if bias is not None and bias != match[4]:
        raise native.refuse(f"adds a bias along {str(bias)[:40]}, which no dense layer does")
    units = shape[-1] if isinstance(shape, list | tuple) and shape else shape
    return replace(native, config={**native.config, "units": units, "use_bias": bias is not None})


def _fill_einsum_dense(native: Native, layers: Mapping[str, Layer]) -> Native:
    filled = fill_dense(_as_dense(native), layers)
    shape, units = native.config["output_shape"], filled.config["units"]
    axes = str(native.config["equation"]).strip()[-1] if filled.config["use_bias"] else None
    output = [*shape[:-1], units] if isinstance(shape, list | tuple) else units
    return native.filled(filled.weights, output_shape=output, bias_axes=axes)


@register("EinsumDense", fill=_fill_einsum_dense)
def _einsum_dense(native: Native, arriving: tuple[Shape, ...]) -> Parts:
    return with_activation(native, dense(_as_dense(native), arriving))
