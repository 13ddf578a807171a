"""Normalisation of QKeras: on its own, and folded into the layer before it, quantised after folding."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from hepprune.frontends.keras.layers.normalisation import batch_norm, check_last_axis, fill_batch_norm, kept_channels
from hepprune.frontends.keras.layers.weighted import DEPTHWISE, Form
from hepprune.frontends.keras.qkeras import layers as base
from hepprune.frontends.keras.qkeras.quantisers import used
from hepprune.frontends.keras.qkeras.scales import Float32s
from hepprune.frontends.keras.registry import Fill, Floats, Lower, Native, Parts, only, register
from hepprune.network import Layer, Shape

_STATISTICS = ("gamma", "beta", "mean", "variance")
# Whether QKeras treats the array as a kernel, which without a scale gets one from its values.
_KERNELS = {"gamma": True, "beta": False, "mean": False, "variance": True}


def _present(native: Native) -> list[str]:
    there = {"gamma": native.config.get("scale", True), "beta": native.config.get("center", True)}
    return [name for name in _STATISTICS if there.get(name, True)]


def _quantised(native: Native) -> Native:
    named = zip(_present(native), native.weights, strict=False)
    quantisers = ((base.quantiser(native, f"{key}_quantizer", kernel=_KERNELS[key]), array) for key, array in named)
    arrays = [used(quantiser, array).astype(np.float64) for quantiser, array in quantisers]
    return replace(native, weights=(*arrays, *native.weights[len(arrays) :]))


def _fill_batch_norm(native: Native, layers: Mapping[str, Layer]) -> Native:
    """Return the layer with the channels that are left, or with scale and shift in float where they are others."""
    (before,) = batch_norm(_quantised(native), ((len(native.weights[0]),),))
    old, now = before.layer.state_dict(), layers[native.name].state_dict()
    kept = kept_channels((old["scale"], old["shift"]), (now["scale"], now["shift"]))
    if kept is not None:
        return native.filled(array[kept] for array in native.weights)
    return fill_batch_norm(native, layers).filled(**{f"{name}_quantizer": None for name in _STATISTICS})


@register("QBatchNormalization", fill=_fill_batch_norm, quantisers=[f"{name}_quantizer" for name in _STATISTICS])
def _batch_norm(native: Native, arriving: tuple[Shape, ...]) -> Parts:
    return batch_norm(_quantised(native), arriving)


def _folded(native: Native, n_out: int) -> tuple[Floats, Floats, Float32s]:
    """Return kernel, bias, and the factor per channel that was folded into them, in float32 as QKeras folds."""
    arrays = [array.astype(np.float32) for array in native.weights if array.ndim]  # without the number of steps
    biased = bool(native.config.get("use_bias", True))
    kernel, bias = arrays[0], arrays[1] if biased and len(arrays) > 1 else np.zeros(n_out, np.float32)
    names, rest = _present(native), arrays[1 + biased :]
    if [array.shape for array in rest] != [(n_out,)] * len(names):
        raise native.refuse(f"has statistics of shapes {[array.shape for array in rest]} for {n_out} channels")
    found = {"gamma": np.float32(1), "beta": np.float32(0)} | dict(zip(names, rest, strict=True))
    epsilon = np.float32(native.number("epsilon", 1e-3))
    if (found["variance"] + epsilon <= 0).any():
        raise native.refuse("has a variance that is not positive")
    factor = np.float32(1) / np.sqrt(found["variance"] + epsilon) * found["gamma"]
    folded = factor * (bias - found["mean"]) + found["beta"]
    return kernel.astype(np.float64), folded.astype(np.float64), factor.astype(np.float32)


def _folding(form: Form, key: str) -> Lower:
    def lower(native: Native, arriving: tuple[Shape, ...]) -> Parts:
        shape, layout = only(native, arriving), form.layout(native, None)
        check_last_axis(native, (*shape[:-1], 1))
        depthwise = form is DEPTHWISE
        each = "depth_multiplier" if depthwise else "units" if "units" in native.config else "filters"
        kernel, bias, factor = _folded(native, native.size(each, 1) * (shape[-1] if depthwise else 1))
        spread = factor.reshape(shape[-1], -1) if depthwise else factor
        if kernel.shape[-spread.ndim :] != spread.shape:
            raise native.refuse(f"has a kernel of shape {kernel.shape} for factors of shape {spread.shape}")
        kernel = (spread * kernel.astype(np.float32)).astype(np.float64)
        plain = native.filled([kernel, bias], use_bias=True)
        (part,) = form.lower(plain, arriving)
        layer = base.with_bias(plain, base.quantised(plain, part.layer, kernel, key, arrange=layout.rows))
        return base.with_activation(native, [replace(part, layer=layer)])

    return lower


def _unfolding(plain: Fill, key: str) -> Fill:
    """Return a fill that writes the folded kernel, and statistics that change nothing but for the bias in beta."""

    def fill(native: Native, layers: Mapping[str, Layer]) -> Native:
        filled = base.filling(plain, key)(native.filled(use_bias=True), layers)
        kernel, bias = filled.weights
        ones, zeros = np.ones_like(bias), np.zeros_like(bias)
        variance = np.full_like(bias, np.float32(1) - np.float32(native.number("epsilon", 1e-3)))
        biased = bool(native.config.get("use_bias", True))
        arrays = iter([kernel, *([zeros] if biased else []), ones, bias, zeros, variance])
        # The number of training steps, a scalar, stays where it is.
        scalars = [place for place, array in enumerate(native.weights) if not array.ndim]
        total = 5 + biased + len(scalars)
        weights = [native.weights[place] if place in scalars else next(arrays) for place in range(total)]
        return filled.filled(weights, use_bias=biased, scale=True, center=True)

    return fill


for _kinds, _form, _key in base.ONE_KERNEL:
    _fill, _groups, _read = _unfolding(_form.fill, _key), ("", "batchnorm"), (_key, "bias_quantizer")
    register(f"{_kinds[-1]}Batchnorm", fill=_fill, groups=_groups, quantisers=_read)(_folding(_form, _key))
