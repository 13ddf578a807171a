"""Layers of HGQ2, whose quantisers have a trained bit width per weight and per value (arXiv:2405.00645).

A weight of no bits is a pruned one, in and out. QKeras has layers of the same names; the configs tell them apart.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import torch

from hepprune.frontends.keras.hgq import kernels
from hepprune.frontends.keras.hgq.attention import attention, fill_attention
from hepprune.frontends.keras.hgq.contracted import contracted, fill_contracted
from hepprune.frontends.keras.hgq.filling import fill_tables
from hepprune.frontends.keras.hgq.recurrent import cell, fill_cell
from hepprune.frontends.keras.hgq.sums import MERGED, fill_merged, fill_softmax, merged, softmax, summed
from hepprune.frontends.keras.hgq.tables import tables
from hepprune.frontends.keras.hgq.types import held, plain, spread, type_of
from hepprune.frontends.keras.hgq.values import ValueQuantiser, between, value_quantiser, with_bits
from hepprune.frontends.keras.layers import normalisation
from hepprune.frontends.keras.layers.activations import with_activation
from hepprune.frontends.keras.registry import LAYERS, Floats, LayerKind, Native, Part, Parts, after, only
from hepprune.network import BatchNorm, Layer, Shape

_POOLED = ("MaxPooling", "AveragePooling", "GlobalMaxPooling", "GlobalAveragePooling")


def _batch_norm(native: Native, arriving: tuple[Shape, ...]) -> Parts:
    """Return scale and shift under their quantisers, computed in float32 as HGQ2 does."""
    shape, bare = only(native, arriving), kernels.without_counts(native)
    normalisation.check_last_axis(bare, shape)
    arrays = {key: value.float() for key, value in normalisation.affine(bare, "mean", "variance", n=shape[-1]).items()}
    scale, shift = normalisation.scale_and_shift(native, arrays | {"beta": arrays["beta"] + _centre(native)})
    kinds = (type_of(native, "kq_conf", "kq"), type_of(native, "bq_conf", "bq"))
    scales, shifts = (kind and plain(kind) for kind in kinds)
    return between(native, [Part(BatchNorm(native.name, scale, shift, scale_type=scales, shift_type=shifts))])


def _centre(native: Native) -> float:
    """Return what HGQ2 adds where a batch norm has no beta: one, where Keras adds zero."""
    return 0.0 if native.config.get("center", True) else 1.0


@torch.no_grad()
def _fill_batch_norm(native: Native, layers: Mapping[str, Layer]) -> Native:
    layer = native.holding(layers, BatchNorm)
    acting = {"scale": layer.used_scale(), "shift": layer.used_shift()}
    moved = layer.rebuilt(shift=layer.shift - _centre(native))
    filled = normalisation.fill_batch_norm(kernels.without_counts(native), {**layers, native.name: moved})
    bits: dict[str, Floats] = {}
    each = (("kq_conf", "kq", "scale", layer.scale_type), ("bq_conf", "bq", "shift", layer.shift_type))
    for key, place, name, quantiser in each:
        kind = spread(native, quantiser, tuple(acting[name].shape))
        bits |= held(native, key, place, kind=kind, acting=acting[name].double().numpy())
    return with_bits(kernels.with_counts(native, filled), layers, **bits)


def _pool(native: Native, arriving: tuple[Shape, ...]) -> Parts:
    bare = replace(native, kind=native.kind.removeprefix("Q"), weights=())
    return between(native, LAYERS[bare.kind].lower(bare, arriving))


def _looked_up(native: Native, arriving: tuple[Shape, ...]) -> Parts:
    only(native, arriving)
    return between(native, with_activation(native, []))


def _affine(native: Native, arriving: tuple[Shape, ...]) -> Parts:
    """Return one scale and one shift for all values, and a function of that."""
    only(native, arriving)
    scale, shift = (array.float() for array in kernels.without_counts(native).expect((1,), (1,)))
    return between(native, with_activation(native, [Part(BatchNorm(native.name, scale, shift))]))


def _fill_affine(native: Native, layers: Mapping[str, Layer]) -> Native:
    state = layers[native.name].state_dict()
    filled = kernels.without_counts(native).filled([state["scale"], state["shift"]])
    return with_bits(kernels.with_counts(native, filled), layers)


def _own(native: Native) -> ValueQuantiser:
    return "", "config", "", native.config.get("config")


def _quantizer(native: Native, arriving: tuple[Shape, ...]) -> Parts:
    only(native, arriving)
    parts = after([], *value_quantiser(native, _own(native)))
    if not parts:
        raise native.refuse("has no config of its quantiser")
    return parts


def _fill_quantizer(native: Native, layers: Mapping[str, Layer]) -> Native:
    return with_bits(native, layers, _own(native))


def _strange(native: Native, _arriving: tuple[Shape, ...]) -> Parts:
    raise native.refuse("is of a package that is not known here: HGQ2 has a layer of that name, with other settings")


def _refused(instead: str) -> kernels.Typed:
    def refuse(native: Native, _arriving: tuple[Shape, ...]) -> Parts:
        raise native.refuse(f"is of a class that cannot be taken over; {instead}")

    return refuse, with_bits


def _enter(way: kernels.Typed, *kinds: str, pads: bool = False) -> None:
    """Enter what lowers and what fills layer classes, beside those of QKeras where it has some of the same names."""
    lower, fill = way
    for kind in kinds:
        other = LAYERS.get(kind, LayerKind(lower=_strange))
        either = partial(_either, lower, other.lower), partial(_either, fill, other.fill)
        LAYERS[kind] = LayerKind(lower=either[0], fill=either[1], groups=other.groups, typed=True, pads=pads)


def _either(ours: Callable[..., Any], other: Callable[..., Any], native: Native, given: Any) -> Any:
    is_hgq = any(key.endswith("_conf") or key == "config" for key in native.config)
    return ours(native, given) if is_hgq else other(native, given)


_ATTENTION = ("QMultiHeadAttention", "QLinformerAttention")
_enter(kernels.DENSE, "QDense")
_enter(kernels.FOLDED_DENSE, "QBatchNormDense")
_enter(kernels.EINSUM, "QEinsumDense")
_enter(kernels.FOLDED_EINSUM, "QEinsumDenseBatchnorm")
_enter(kernels.CONV, "QConv1D", "QConv2D", "QConv3D")
_enter((_batch_norm, _fill_batch_norm), "QBatchNormalization")
_enter((_looked_up, with_bits), "QUnaryFunctionLUT")
_enter((_affine, _fill_affine), "QAffinedUnaryFunctionLUT")
_enter((tables, fill_tables), "QDenseT", "QConvT1D", "QConvT2D", pads=True)
_enter((contracted, fill_contracted), "QEinsumDenseT", pads=True)
_enter((cell, fill_cell), "QSimpleRNN", "QGRU")
_enter((summed, with_bits), "QSum", "QMeanPow2")
_enter((softmax, fill_softmax), "QSoftmax")
_enter((attention, fill_attention), *_ATTENTION)
_enter((attention, fill_attention), *(f"{kind}T" for kind in _ATTENTION), pads=True)
_enter((_quantizer, _fill_quantizer), "Quantizer")
_enter((_pool, with_bits), *(f"Q{kind}{rank}D" for kind in _POOLED for rank in (1, 2, 3)))
_enter((merged, fill_merged), *MERGED)
_enter(_refused("a QMultiHeadAttention or QLinformerAttention can be, which have no convolution"), "QSALTAttention")
_enter(_refused("a QSimpleRNN or QGRU can be, whose states are no spikes"), "QSimpleSNN", "QLIF")
