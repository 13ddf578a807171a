"""Layers of HGQ 1 (arXiv:2405.00645), in and out: fraction bits of every weight and value, and no range.

A weight gets the range that it needs. What ranges values need HGQ 1 keeps in no file; 24 integer bits and a sign stand
in, and its proxy models have them all. Written back, a layer has the weights that act, and a batch normalisation that
it has folded in changes nothing. Its proxy models, which `to_proxy_model` writes for hls4ml, are plain layers of Keras
whose weights are those that act, and FixedPointQuantizer layers that hold the type of every value.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from hepprune.errors import NetworkError, explained
from hepprune.fixed import OVERFLOW, ROUNDING
from hepprune.fixed.quantisers import FixedPoints
from hepprune.frontends.checking import acting_arrays
from hepprune.frontends.keras.hgq.floats import shared
from hepprune.frontends.keras.hgq.types import arranged, each, holding, plain, spread
from hepprune.frontends.keras.layers import activations, weighted
from hepprune.frontends.keras.layers.weighted import Form, by_columns, by_rows
from hepprune.frontends.keras.registry import LAYERS, Floats, LayerKind, Native, Part, Parts, after, only
from hepprune.network import Activation, Layer, Merge, Shape, Weighted

_INTEGER = 25  # bits of a value, its sign included; float32 holds no more
_EPSILON = 1e-3  # of a batch normalisation, which HGQ 1 saves no other of
_PASSIVE = (
    *("Reshape", "Flatten", "Concatenate", "Dropout", "Permute"),
    *(f"{kind}Pooling{rank}D" for kind in ("Max", "Average") for rank in (1, 2)),
)


def _is_folded(native: Native) -> bool:
    """Return whether a layer has folded in a batch normalisation; HGQ 1 saves none without a scale."""
    return native.kind.endswith("BatchNorm")


def _names(native: Native) -> list[str]:
    """Return the names that HGQ 1 gives to the weights; archives only number them, those that are trained first."""
    if "vars/0" not in native.stored:
        return [place.rpartition("/")[2].removesuffix(":0") for place in native.stored]
    config, kernel, folded = native.config, native.kind.startswith(("HDense", "HConv")), _is_folded(native)
    biased = kernel and bool(config.get("use_bias", True))
    there = {"kernel": kernel, "bias": biased, "kernel_bw": kernel, "activation_bw": True}
    there |= {"bn_beta": folded and biased, "bn_gamma": folded}
    there |= {"moving_mean": folded and biased, "moving_variance": folded}
    fixed = {"moving_mean", "moving_variance"}
    for name, key in (("kernel_bw", "kq_conf"), ("activation_bw", "paq_conf")):
        conf = config.get(key)
        if not (config.get("trainable", True) and isinstance(conf, dict) and conf.get("trainable", True)):
            fixed.add(name)
    ordered = iter(sorted((name for name in there if there[name]), key=lambda name: name in fixed))
    return [next(ordered, "") if array.ndim else "" for array in native.weights]


def _arrays(native: Native) -> dict[str, Floats]:
    """Return the arrays by the names that HGQ 1 gives them."""
    return dict(zip(_names(native), native.weights, strict=True))


def _array(native: Native, name: str, shape: Shape) -> Floats:
    """Return an array, and refuse a file that has none of the name or one that does not broadcast to the shape."""
    found = _arrays(native).get(name)
    rank = None if found is None else found.ndim
    if found is None or rank != len(shape) or any(n not in {1, m} for n, m in zip(found.shape, shape, strict=True)):
        raise native.refuse(f"has no array '{name}' for the shape {shape}")
    return found


def _bits(native: Native, name: str, key: str, shape: Shape) -> Floats:
    """Return fraction bits as whole numbers, within the ends that the config gives."""
    config = native.config.get(key)
    ends = config.get("bw_clip") if isinstance(config, dict) else None
    bits = _array(native, name, shape)
    if isinstance(ends, list | tuple) and len(ends) == 2 and all(isinstance(end, int | float) for end in ends):
        bits = np.clip(bits, *ends)
    return np.asarray(np.round(np.clip(bits, -_INTEGER + 1, 27)), dtype=np.float64)


def _rounding(native: Native, key: str, *, covered: bool = False) -> str:
    """Return how values are rounded; `auto` rounds to the nearest where a bias covers that, and down elsewhere."""
    config = native.config.get(key)
    strategy = config.get("rnd_strategy") if isinstance(config, dict) else None
    if strategy == "auto":
        return "RND" if covered else "TRN"
    return "TRN" if strategy in ("floor", 3) else "RND"


def _held(values: Floats, fraction: Floats, rounding: str) -> FixedPoints:
    """Return types that just hold the rounded values, of no bits where they are zero."""
    places = np.broadcast_to(fraction, values.shape).astype(np.int64)
    sign, integer = holding(values, (np.zeros_like(places), -places, places), rounding)
    bits, signed = sign + integer, sign > 0
    return FixedPoints(width=bits + places, integer=bits, signed=signed, rounding=rounding, overflow="SAT")


def _result(native: Native, shape: Shape, rounding: str) -> Any:
    """Return the type of a layer's values."""
    fraction = _bits(native, "activation_bw", "paq_conf", (1, *shape))[0].astype(np.int64)
    whole = np.full_like(fraction, _INTEGER)
    width, signed = fraction + whole, whole > 0
    return plain(FixedPoints(width=width, integer=whole, signed=signed, rounding=rounding, overflow="SAT"))


def _folded(native: Native, kernel: Floats, bias: Floats) -> tuple[Floats, Floats]:
    """Return kernel and bias with the batch normalisation that a layer has folded in, in float32 as HGQ 1 does."""
    if not _is_folded(native):
        return kernel, bias
    shape, centred = bias.shape, bool(native.config.get("use_bias", True))
    single = {name: torch.as_tensor(array).float() for name, array in (("kernel", kernel), ("bias", bias))}
    names = ("bn_gamma", "moving_variance", *(("bn_beta", "moving_mean") if centred else ()))
    single |= {name: torch.as_tensor(_array(native, name, shape)).float() for name in names}
    scale = single["bn_gamma"] * torch.rsqrt(single["moving_variance"] + _EPSILON)
    moved = single["bias"]
    if centred:
        moved = moved - single["moving_mean"] * scale + single["bn_beta"]
    if not (torch.isfinite(scale).all() and torch.isfinite(moved).all()):
        raise native.refuse("has a variance that is not positive")
    return (single["kernel"] * scale).double().numpy(), moved.double().numpy()


def _kernel(form: Form) -> LayerKind:
    """Return what lowers and what fills a layer with a kernel."""

    def lower(native: Native, arriving: tuple[Shape, ...]) -> Parts:
        if native.config.get("padding") == "causal" or native.config.get("data_format") == "channels_first":
            raise native.refuse("pads causally or keeps channels first, which cannot be taken over")
        named, biased = _arrays(native), bool(native.config.get("use_bias", True))
        if "kernel" not in named or named["kernel"].ndim < 2:
            raise native.refuse("has no array 'kernel'")
        n_out = named["kernel"].shape[-1]
        bias = _array(native, "bias", (n_out,)) if biased else np.zeros(n_out)
        kernel, bias = _folded(native, named["kernel"], bias)
        bare = replace(native, kind=native.kind.removesuffix("BatchNorm"))
        (part,) = form.lower(bare.filled([kernel, bias] if biased else [kernel]), arriving)
        return after(_typed(native, part, arriving, (kernel, bias)), activations.activation(native))

    @torch.no_grad()
    def fill(native: Native, layers: Mapping[str, Layer]) -> Native:
        layer = native.holding(layers, Weighted)
        acting = layer.rebuilt(**acting_arrays(layer))
        plainly = form.fill(native, {**layers, native.name: acting})
        named = dict(zip(("kernel", "bias"), plainly.weights, strict=False))
        if not named.keys() <= set(_names(native)):
            raise native.refuse("has no bias, as the network has now")
        kind, n = _fixed(native, layer, "weight_type", tuple(layer.weight.shape)), layer.n_out
        used = replace(kind, width=np.where(acting.weight.numpy() == 0, 0, kind.width))
        named["kernel_bw"] = _grouped(native, "kernel_bw", each(used, by_columns))
        named |= {name: np.zeros(n) for name in ("bn_beta", "moving_mean")}
        named |= {"bn_gamma": np.ones(n), "moving_variance": np.full(n, float(np.float32(1 - _EPSILON)))}
        return _fill_values(_renamed(native.filled(**plainly.config), named), layers)

    return LayerKind(lower=lower, fill=fill, typed=True)


def _typed(native: Native, part: Part, arriving: tuple[Shape, ...], arrays: tuple[Floats, Floats]) -> Parts:
    """Return the layer with the types of its weights and its values."""
    (kernel, bias), shape = arrays, part.layer.shape(*arriving)
    values = _bits(native, "activation_bw", "paq_conf", (1, *shape))
    one_each = values.size == 1 or (values.shape[-1] == len(bias) and values.size == len(bias))
    rounding = _rounding(native, "paq_conf", covered=bool(native.config.get("use_bias", True)) and one_each)
    of_kernel = _bits(native, "kernel_bw", "kq_conf", kernel.shape)
    weight_type = arranged(_held(kernel, of_kernel, _rounding(native, "kq_conf")), by_rows, kernel.shape)
    bias_type = _held(bias, values.reshape(-1, values.shape[-1]).max(axis=0), rounding)
    limit = torch.where(torch.as_tensor(weight_type.width == 0), 0, part.layer.state_dict()["digit_limit"])
    types = {"weight_type": plain(weight_type), "bias_type": plain(bias_type), "digit_limit": limit.to(torch.uint8)}
    return [replace(part, layer=part.layer.rebuilt(**types, result=_result(native, shape, rounding)))]


def _quantize(native: Native, arriving: tuple[Shape, ...]) -> Parts:
    result = _result(native, only(native, arriving), _rounding(native, "paq_conf"))
    return [Part(Activation(native.name, "linear", result=result))]


def _activation(native: Native, arriving: tuple[Shape, ...]) -> Parts:
    result = _result(native, only(native, arriving), _rounding(native, "paq_conf", covered=True))
    return after(after([], activations.activation(native)), Activation(native.name, "linear", result=result))


def _add(native: Native, arriving: tuple[Shape, ...]) -> Parts:
    result = _result(native, arriving[0], _rounding(native, "paq_conf"))
    return [Part(Merge(native.name, "add", result=result), tuple(range(len(arriving))))]


def _passive(native: Native, arriving: tuple[Shape, ...]) -> Parts:
    kind = native.kind.removeprefix("P")
    return LAYERS[kind].lower(replace(native, kind=kind), arriving)


def _renamed(native: Native, arrays: Mapping[str, Floats], **config: Any) -> Native:
    """Return the native layer with other arrays under their names."""
    named = zip(_names(native), native.weights, strict=True)
    return native.filled([arrays.get(name, array) for name, array in named], **config)


def _grouped(native: Native, name: str, kind: FixedPoints) -> Floats:
    """Return the fraction bits of types in the shape that the file keeps them in, one for those that share them."""
    old = _arrays(native)[name].shape
    return shared(native, f"one '{name}'", old, kind.width > 0, kind.width - kind.integer)[0]


def _fixed(native: Native, layer: Layer, key: str, shape: Shape) -> FixedPoints:
    kind = spread(native, getattr(layer, key), shape)
    if not isinstance(kind, FixedPoints):
        raise native.refuse("would hold floats, and has fixed-point types only")
    return kind


def _fill_values(native: Native, layers: Mapping[str, Layer]) -> Native:
    """Return the native layer with the fraction bits and the rounding of the values that the network has now."""
    kind = _fixed(native, layers[native.name], "result", (1, *native.shapes[native.name]))
    rounds = {"TRN": "floor", "RND": "standard_round"}
    if kind.rounding not in rounds:
        raise native.refuse(f"would round by {kind.rounding}")
    filled = _renamed(native, {"activation_bw": _grouped(native, "activation_bw", kind)})
    conf = native.config.get("paq_conf")
    if isinstance(conf, dict) and conf.get("rnd_strategy") == "auto":  # which goes by the sizes that there are
        filled = filled.filled(paq_conf={**conf, "rnd_strategy": rounds[kind.rounding]})
    return filled


def _fill_passive(native: Native, layers: Mapping[str, Layer]) -> Native:
    kind = native.kind.removeprefix("P")
    return replace(LAYERS[kind].fill(replace(native, kind=kind), layers), kind=native.kind)


def _signature(native: Native, arriving: tuple[Shape, ...]) -> Parts:
    """Return nothing: it says which types its values have, and refuses values of another shape than those."""
    declared = np.shape(native.config.get("bits", ()))
    if any(n not in {1, m} for n, m in zip(declared[::-1], only(native, arriving)[::-1], strict=False)):
        raise native.refuse(f"says of what type values of shape {declared} are, not of {arriving[0]}")
    return []


def _modes(native: Native) -> tuple[str, str]:
    rounding, overflow = (str(native.config.get(key))[:40] for key in ("RND", "SAT"))
    if rounding not in ROUNDING or overflow not in OVERFLOW:
        raise native.refuse(f"rounds by {rounding} and overflows by {overflow}, which cannot be taken over")
    return rounding, overflow


def _fixed_quantizer(native: Native, arriving: tuple[Shape, ...]) -> Parts:
    shape, held = only(native, arriving), native.weights[0].shape if native.weights else ()
    sign, width, integer = (array.numpy() for array in native.expect(held, held, held))
    rounding, overflow = _modes(native)
    if held and (len(held) != len(shape) + 1 or any(n not in {1, m} for n, m in zip(held, (1, *shape), strict=True))):
        raise native.refuse(f"has types of shape {held} for values of {shape}")
    width = width.astype(np.int64)
    if overflow == "SAT_SYM":  # a sign alone holds nothing but zero
        width = np.where(width > (sign > 0), width, 0)
    first = 0 if held else ...  # the axis of jets, which share their types
    bits = {"width": width[first], "integer": integer.astype(np.int64)[first], "signed": sign[first] > 0}
    with explained(native.refuse, "has types that cannot be taken over:", NetworkError, ValueError):
        kind = FixedPoints(**bits, rounding=rounding, overflow=overflow)
    return [Part(Activation(native.name, "linear", result=plain(kind)))]


def _fill_fixed_quantizer(native: Native, layers: Mapping[str, Layer]) -> Native:
    """Return the native layer with the types that the network has now."""
    old, shape = native.weights[0].shape, (1, *native.shapes[native.name])
    kind = _fixed(native, layers[native.name], "result", shape)
    if (kind.rounding, kind.overflow) != _modes(native):
        raise native.refuse(f"would round by {kind.rounding} and overflow by {kind.overflow}")
    used = kind.width > 0
    arrays = shared(native, "one type", old, used, kind.signed & used, kind.width, np.where(used, kind.integer, 0))
    arrays = arrays if old else [array.reshape(()) for array in arrays]
    return native.filled(arrays, shape=list(arrays[0].shape))


_dense, _conv = _kernel(weighted.DENSE), _kernel(weighted.CONV)
for _suffix in ("", "BatchNorm"):
    LAYERS |= {f"HDense{_suffix}": _dense, f"HConv1D{_suffix}": _conv, f"HConv2D{_suffix}": _conv}
for _name, _lower in (("HQuantize", _quantize), ("HActivation", _activation), ("HAdd", _add)):
    LAYERS[_name] = LayerKind(lower=_lower, fill=_fill_values, typed=True)
LAYERS |= {"Signature": LayerKind(lower=_signature)}
LAYERS |= {f"P{kind}": LayerKind(lower=_passive, fill=_fill_passive) for kind in _PASSIVE}
LAYERS["FixedPointQuantizer"] = LayerKind(lower=_fixed_quantizer, fill=_fill_fixed_quantizer, typed=True)
