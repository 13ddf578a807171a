"""Layers of HGQ2, whose quantisers have a trained bit width per weight and per value (arXiv:2405.00645).

A weight of no bits is a pruned one, in and out. QKeras has layers of the same names; the configs tell them apart.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hepprune.frontends.keras import convolution, normalisation, weighted
from hepprune.frontends.keras.activations import with_activation
from hepprune.frontends.keras.hgqtypes import arranged, held, plain, spread, type_of
from hepprune.frontends.keras.qkeras import by_rows
from hepprune.frontends.keras.registry import LAYERS, Fill, Floats, Kind, Lower, Native, Part, Parts, after, only
from hepprune.network import Activation, BatchNorm, Layer, Merge, Shape, Weighted
from hepprune.quantisers import FixedPoints

# What quantises values: the end of its layer's name, its key in the config, its place in the file, and its config.
Values = tuple[str, str, str, Any]
_MERGES = {
    "QAdd": "add",
    "QSubtract": "subtract",
    "QMultiply": "multiply",
    "QMaximum": "maximum",
    "QMinimum": "minimum",
}
_POOLS = [f"{size}{kind}Pooling{rank}D" for size in ("", "Global") for kind in ("Max", "Average") for rank in (1, 2)]


def _values(native: Native, values: Values, name: str | None = None) -> Layer | None:
    """Return the layer that quantises values on their way, None where nothing does."""
    suffix, key, place, described = values
    found = type_of(native, key, place, described=described)
    if found is None:
        return None
    first: Any = 0 if found.width.ndim > 1 else ...  # the axis of jets, which share their widths
    width, integer, signed = found.width[first], found.integer[first], found.signed[first]
    kind = FixedPoints(width, integer, signed, found.rounding, found.overflow)
    return Activation(name or native.part(suffix), "linear", result=plain(kind))


def _ends(native: Native) -> tuple[Values, Values]:
    """Return what quantises the values that come in and those that go out."""
    each = (("input", "iq_conf", "iq"), ("output", "oq_conf", "oq"))
    incoming, outgoing = ((*names, native.config.get(names[1])) for names in each)
    return incoming, outgoing


def _between(native: Native, parts: Parts) -> Parts:
    """Return parts that read the arriving value with the quantisers of what comes in and what goes out."""
    incoming, outgoing = (_values(native, values) for values in _ends(native))
    if incoming is not None:
        read = [replace(part, sources=(incoming.name,)) if part.sources == (0,) else part for part in parts]
        parts = [Part(incoming), *read]
    return after(parts, outgoing)


def _value_bits(native: Native, layers: Mapping[str, Layer], values: Values, name: str | None = None) -> dict[str, Any]:
    """Return the arrays of the quantiser of a value, as the network has it now."""
    suffix, key, place, described = values
    name = name or native.part(suffix)
    if described is None or name not in layers:
        return {}
    kind = spread(native, layers[name].result, (1, *native.shapes[name]))
    return held(native, key, place, kind=kind, described=described)


def _with_bits(native: Native, layers: Mapping[str, Layer], **more: Floats) -> Native:
    ends = [_value_bits(native, layers, values) for values in _ends(native)]
    return replace(native, stored={**native.stored, **more, **ends[0], **ends[1]})


def _without_counts(native: Native) -> Native:
    """Return the layer without the scalars that only training reads."""
    return replace(native, weights=tuple(array for array in native.weights if array.ndim))


def _with_counts(native: Native, filled: Native) -> Native:
    """Return a filled layer with the scalars of the native one in their places."""
    arrays = iter(filled.weights)
    weights = tuple(next(arrays) if array.ndim else array for array in native.weights)
    if next(arrays, None) is not None:
        raise native.refuse("has no bias, nor a quantiser for the one that the network has")
    return replace(filled, weights=weights)


def _quantised(native: Native, part: Part) -> Part:
    layer, kernel = part.layer, type_of(native, "kq_conf", "kq", weights=np.asarray(native.weights[0]))
    if not isinstance(layer, Weighted) or kernel is None:
        raise native.refuse("has no quantiser for its kernel")
    try:
        weight_type = arranged(kernel, by_rows, native.weights[0].shape)
    except ValueError as problem:
        raise native.refuse("has bit widths that do not fit its kernel") from problem
    limit = torch.where(torch.as_tensor(weight_type.width == 0), 0, layer.digit_limit)
    bias = type_of(native, "bq_conf", "bq")
    types = {"weight_type": plain(weight_type), "bias_type": None if bias is None else plain(bias)}
    weight = layer.weight * (limit > 0)
    return replace(part, layer=layer.rebuilt(weight=weight, digit_limit=limit.to(torch.uint8), **types))


def _one_kernel(lower: Lower) -> Lower:
    def quantised_lower(native: Native, arriving: tuple[Shape, ...]) -> Parts:
        native = _without_counts(native)
        (part,) = lower(native, arriving)
        return _between(native, with_activation(native, [_quantised(native, part)]))

    return quantised_lower


def _fill_one_kernel(fill: Fill) -> Fill:
    def quantised_fill(native: Native, layers: Mapping[str, Layer]) -> Native:
        layer = layers[native.name]
        if not isinstance(layer, Weighted):
            raise native.refuse(f"cannot hold a {type(layer).__name__}")
        filled = fill(_without_counts(native), layers)
        bits = _kernel_bits(native, layer)
        if native.config.get("bq_conf") is not None:
            kind = spread(native, layer.bias_type, tuple(layer.bias.shape))
            bits |= held(native, "bq_conf", "bq", kind=kind, acting=layer.used_bias().detach().double().numpy())
        return _with_bits(_with_counts(native, filled), layers, **bits)

    return quantised_fill


def _kernel_bits(native: Native, layer: Weighted) -> dict[str, Floats]:
    """Return the widths of a kernel, none where a weight is pruned, in the layout of Keras."""
    weight = layer.used_weight().detach().double().numpy()
    kind = spread(native, layer.weight_type, weight.shape)
    width = np.where(layer.digit_limit.numpy() == 0, 0, kind.width)
    kept = FixedPoints(
        _by_columns(width), _by_columns(kind.integer), _by_columns(kind.signed), kind.rounding, kind.overflow
    )
    return held(native, "kq_conf", "kq", kind=kept, acting=_by_columns(weight))


def _by_columns(kernel: NDArray[Any]) -> NDArray[Any]:
    """Return Keras' (..., n_in, n_out) for (n_out, ..., n_in)."""
    return np.moveaxis(kernel, 0, -1) if kernel.ndim > 2 else kernel.T


def _einsum_dense(native: Native, arriving: tuple[Shape, ...]) -> Parts:
    return LAYERS["EinsumDense"].lower(native.filled(activation=None), arriving)


def _batch_norm(native: Native, arriving: tuple[Shape, ...]) -> Parts:
    """Return scale and shift under their quantisers, computed in float32 as HGQ2 does."""
    shape, bare = only(native, arriving), _without_counts(native)
    normalisation.check_last_axis(bare, shape)
    arrays = {key: value.float() for key, value in normalisation.affine(bare, "mean", "variance", n=shape[-1]).items()}
    scale = arrays["gamma"] / torch.sqrt(arrays["variance"] + native.number("epsilon", 1e-3))
    shift = arrays["beta"] + _centre(native) - arrays["mean"] * scale
    if not (torch.isfinite(scale).all() and torch.isfinite(shift).all()):
        raise native.refuse("has a variance that is not positive")
    kinds = (type_of(native, "kq_conf", "kq"), type_of(native, "bq_conf", "bq"))
    types = {f"{name}_type": kind and plain(kind) for name, kind in zip(("scale", "shift"), kinds, strict=True)}
    return _between(native, [Part(BatchNorm(native.name, scale, shift, **types))])


def _centre(native: Native) -> float:
    """Return what HGQ2 adds where a batch norm has no beta: one, where Keras adds zero."""
    return 0.0 if native.config.get("center", True) else 1.0


@torch.no_grad()
def _fill_batch_norm(native: Native, layers: Mapping[str, Layer]) -> Native:
    layer = layers[native.name]
    if not isinstance(layer, BatchNorm):
        raise native.refuse(f"cannot hold a {type(layer).__name__}")
    acting = {"scale": layer.used_scale(), "shift": layer.used_shift()}
    moved = layer.rebuilt(shift=layer.shift - _centre(native))
    filled = normalisation.fill_batch_norm(_without_counts(native), {**layers, native.name: moved})
    bits = _affine_bits(native, layer, acting)
    return _with_bits(_with_counts(native, filled), layers, **bits)


def _affine_bits(native: Native, layer: BatchNorm, acting: Mapping[str, Tensor]) -> dict[str, Floats]:
    bits: dict[str, Floats] = {}
    each = (("kq_conf", "kq", "scale", layer.scale_type), ("bq_conf", "bq", "shift", layer.shift_type))
    for key, place, name, quantiser in each:
        kind = spread(native, quantiser, tuple(acting[name].shape))
        bits |= held(native, key, place, kind=kind, acting=acting[name].double().numpy())
    return bits


def _pool(native: Native, arriving: tuple[Shape, ...]) -> Parts:
    bare = replace(native, kind=native.kind.removeprefix("Q"), weights=())
    return _between(native, LAYERS[bare.kind].lower(bare, arriving))


def _looked_up(native: Native, arriving: tuple[Shape, ...]) -> Parts:
    only(native, arriving)
    return _between(native, with_activation(native, []))


def _merged(native: Native, n_values: int) -> list[Values]:
    """Return what quantises each of the values that a merge is called on."""
    described = native.config.get("iq_confs") or [None] * n_values
    described = [described] * n_values if isinstance(described, dict) else described
    if len(described) != n_values:
        raise native.refuse(f"has {len(described)} quantisers for {n_values} values")
    places = ("iq/quantizers/quantizer" + (f"_{number}" if number else "") for number in range(n_values))
    each = zip(places, described, strict=True)
    return [(f"input_{number}", "iq_confs", place, config) for number, (place, config) in enumerate(each)]


def _merge(native: Native, arriving: tuple[Shape, ...]) -> Parts:
    parts: Parts = []
    sources: list[int | str] = []
    for number, values in enumerate(_merged(native, len(arriving))):
        layer = _values(native, values) if values[3] else None
        parts += [Part(layer, (number,))] if layer else []
        sources.append(layer.name if layer else number)
    parts.append(Part(Merge(native.name, _MERGES[native.kind]), tuple(sources)))
    return after(parts, _values(native, _ends(native)[1]))


def _fill_merge(native: Native, layers: Mapping[str, Layer]) -> Native:
    n_values = sum(name.removeprefix(f"{native.name}_").startswith("input_") for name in layers)
    bits: dict[str, Any] = {}
    for values in _merged(native, n_values) if n_values else []:
        bits |= _value_bits(native, layers, values)
    return _with_bits(native, layers, **bits)


def _quantizer(native: Native, arriving: tuple[Shape, ...]) -> Parts:
    only(native, arriving)
    layer = _values(native, ("", "config", "", native.config.get("config")), native.name)
    if layer is None:
        raise native.refuse("has no config of its quantiser")
    return [Part(layer)]


def _fill_quantizer(native: Native, layers: Mapping[str, Layer]) -> Native:
    bits = _value_bits(native, layers, ("", "config", "", native.config.get("config")), native.name)
    return replace(native, stored={**native.stored, **bits})


def _is_hgq(native: Native) -> bool:
    return not native.config.keys().isdisjoint({"kq_conf", "iq_conf"})


def _enter(kind: str, lower: Lower, fill: Fill = _with_bits) -> None:
    """Enter a layer class, beside that of QKeras where it has one of the same name."""
    other = LAYERS.get(kind)
    if other is None:
        LAYERS[kind] = Kind(lower, fill, typed=True)
        return

    def either(native: Native, arriving: tuple[Shape, ...]) -> Parts:
        return lower(native, arriving) if _is_hgq(native) else other.lower(native, arriving)

    def fill_either(native: Native, layers: Mapping[str, Layer]) -> Native:
        return fill(native, layers) if _is_hgq(native) else other.fill(native, layers)

    LAYERS[kind] = Kind(either, fill_either, other.groups, typed=True)


_enter("QDense", _one_kernel(weighted.dense), _fill_one_kernel(weighted.fill_dense))
_enter("QConv1D", _one_kernel(convolution.conv), _fill_one_kernel(convolution.fill_conv))
_enter("QConv2D", _one_kernel(convolution.conv), _fill_one_kernel(convolution.fill_conv))
_enter("QEinsumDense", _one_kernel(_einsum_dense), _fill_one_kernel(LAYERS["EinsumDense"].fill))
_enter("QBatchNormalization", _batch_norm, _fill_batch_norm)
_enter("QUnaryFunctionLUT", _looked_up)
_enter("Quantizer", _quantizer, _fill_quantizer)
for _kind in _POOLS:
    _enter(f"Q{_kind}", _pool)
for _kind in _MERGES:
    _enter(_kind, _merge, _fill_merge)
