"""Layers of PQuantML (github.com/cern-nextgen/PQuantML): those of Keras, pruned and between quantisers.

They become what HGQ2's layers of the same kind do, whose quantisers hold all that PQuantML's can (see `pquant`).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from hepprune.frontends.keras import pquant
from hepprune.frontends.keras.hgq import kernels
from hepprune.frontends.keras.hgq.sums import fill_softmax, softmax
from hepprune.frontends.keras.hgq.types import type_of
from hepprune.frontends.keras.hgq.values import between, ends, value_quantiser, with_bits
from hepprune.frontends.keras.layers import normalisation, weighted
from hepprune.frontends.keras.pquant import BIAS, ENDS, INPUT, KERNEL, OUTPUT, WEIGHT, QuantiserPlace
from hepprune.frontends.keras.qkeras.layers import by_channels
from hepprune.frontends.keras.registry import LAYERS, Fill, Floats, LayerKind, Lower, Native, Part, Parts, after, only
from hepprune.network import Activation, BatchNorm, Conv, Layer, ReLU, Shape, Weighted

_TABLES = tuple(
    QuantiserPlace(here=f"{table}_table/{here}", there=f"{table}_table/{there}_quantizer", used=used, table=f"{table}_")
    for table, used in (("exp", "stable"), ("inv", ""))
    for here, there, used in (("iq", "input", used), ("oq", "output", ""))
)
_FUNCTIONS = {"tanh": ("tanh", {}), "hard_tanh": ("hard_tanh", {"slope": 0.5, "shift": 0.5})}


@dataclass(frozen=True, kw_only=True)
class _Form:
    """How a layer with a kernel is lowered and filled without quantisers, and how its kernel lies."""

    lower: Lower
    fill: Fill
    layout: kernels.FindLayout = kernels.neurons_last
    depthwise: bool = False


def _arrays(native: Native) -> tuple[Floats, ...]:
    """Return kernel and bias; a depthwise layer has those that Keras gave it before its own, and does not read them."""
    arrays = kernels.without_counts(native).weights
    return arrays[-2 if native.config.get("use_bias", True) else -1 :]


def _kernel(form: _Form) -> Lower:
    def lower(native: Native, arriving: tuple[Shape, ...]) -> Parts:
        arrays = _arrays(native)
        if not arrays or arrays[0].ndim < 2:
            raise native.refuse("has no kernel")
        acts = pquant.mask(native, arrays[0], depthwise=form.depthwise)
        pruned = replace(pquant.translated(native, KERNEL), weights=(arrays[0] * acts, *arrays[1:]))
        if pruned.config[WEIGHT.key] is None:
            return form.lower(pruned, arriving)
        _on_grid(pruned)
        layout = form.layout(pruned, None)
        parts = kernels.one_kernel(form.lower, form.layout)(pruned, arriving)
        return [_masked(part, layout.rows(acts.astype(np.float32)), native.name) for part in parts]

    return lower


def _on_grid(native: Native) -> None:
    """Refuse weights that PQuantML takes as they are and its quantisers would change."""
    if not native.config.get("final_compression_done"):
        return
    for place, array in zip((WEIGHT, BIAS), native.weights, strict=False):
        kind = type_of(native, place.key, place.here, weights=array)
        values = torch.as_tensor(array, dtype=torch.float64)
        if kind is not None and not torch.equal(kind(values), values):
            raise native.refuse(f"is compressed for good, but has values that its {place.there} does not hold")


def _masked(part: Part, acts: Any, name: str) -> Part:
    layer = part.layer
    if layer.name != name or not isinstance(layer, Weighted):
        return part
    limit = torch.where(torch.as_tensor(np.ascontiguousarray(acts)) > 0, layer.digit_limit, 0).to(torch.uint8)
    return replace(part, layer=layer.rebuilt(digit_limit=limit))


def _fill_kernel(form: _Form) -> Fill:
    def fill(native: Native, layers: Mapping[str, Layer]) -> Native:
        old = _arrays(native)
        bare = replace(pquant.translated(native, KERNEL), weights=old)
        if bare.config[WEIGHT.key] is None:
            found = form.fill(bare, layers)
        else:
            found = kernels.fill_one_kernel(form.fill, form.layout)(bare, layers)
        if len(found.weights) != len(old):
            raise native.refuse("has no bias, nor a quantiser for the one that the network has")
        again = found.weights * (2 if form.depthwise else 1)
        found = kernels.with_counts(native, pquant.restored(native, replace(found, weights=again), KERNEL))
        if found.weights[0].shape == native.weights[0].shape:
            return found
        n_in = found.weights[0].shape[-2] * found.config.get("groups", 1)
        ends = ((INPUT, (n_in,)), (OUTPUT, native.shapes[native.name][-1:]))
        own = zip((WEIGHT, BIAS), (array.shape for array in _arrays(found)), strict=False)
        for place, sizes in (*ends, *own):
            found = pquant.resized(found, place, *sizes)
        return pquant.without_pruning(found)

    return fill


def _channels(_native: Native, layer: Layer | None) -> kernels.Layout:
    """Return the layout of a depthwise convolution."""

    def columns(kernel: Any) -> Any:
        groups = layer.groups if isinstance(layer, Conv) else 1
        split = kernel[..., 0].reshape(groups, -1, *kernel.shape[1:-1])
        return np.moveaxis(split, (0, 1), (-2, -1))

    return kernels.Layout(by_channels, columns)


def _batch_norm(native: Native, arriving: tuple[Shape, ...]) -> Parts:
    """Return gamma and beta under their quantisers with the statistics, in float32 as PQuantML computes them."""
    shape = only(native, arriving)
    normalisation.check_last_axis(native, shape)
    scale, shift = _affine(native, shape[-1])
    return between(pquant.translated(native, (INPUT,)), [Part(BatchNorm(native.name, scale, shift))])


def _affine(native: Native, n: int) -> tuple[torch.Tensor, torch.Tensor]:
    bare = pquant.translated(kernels.without_counts(native), (WEIGHT, BIAS))
    arrays = normalisation.affine(bare, "mean", "variance", n=n)
    quantises = native.config.get("quantize_parameters", True) and not native.config.get("final_compression_done")
    for name, place in (("gamma", WEIGHT), ("beta", BIAS)):
        kind = type_of(bare, place.key, place.here, weights=arrays[name].numpy()) if quantises else None
        if kind is not None and native.config.get("scale" if name == "gamma" else "center", True):
            arrays[name] = kind(arrays[name])
    single = {name: array.float() for name, array in arrays.items()}
    scale = single["gamma"] / torch.sqrt(single["variance"] + native.number("epsilon", 1e-3))
    shift = single["beta"] - single["mean"] * scale
    if not (torch.isfinite(scale).all() and torch.isfinite(shift).all()):
        raise native.refuse("has a variance that is not positive")
    return scale, shift


def _fill_batch_norm(native: Native, layers: Mapping[str, Layer]) -> Native:
    """Return the native layer with those of its channels that the network has; no others are on its grids."""
    state, n = layers[native.name].state_dict(), len(kernels.without_counts(native).weights[-1])
    kept = normalisation.kept_channels(_affine(native, n), (state["scale"], state["shift"]))
    if kept is None:
        raise native.refuse("has gamma and beta on grids, which do not hold the network's scale and shift")
    picked = [array[kept] if array.ndim else array for array in native.weights]
    chosen = {key: array[kept] for key, array in native.stored.items() if _is_per_channel(key, array, n)}
    found = pquant.resized(with_bits(pquant.translated(native.filled(picked), (INPUT,)), layers), INPUT, len(kept))
    return pquant.restored(native, replace(found, stored={**found.stored, **chosen}), (INPUT,))


def _is_per_channel(key: str, array: Floats, n: int) -> bool:
    return key.startswith((WEIGHT.there, BIAS.there)) and array.shape == (n,) and n > 1


def _activation(native: Native, arriving: tuple[Shape, ...]) -> Parts:
    only(native, arriving)
    kind, settings = str(native.config.get("activation")), pquant.section(native, "quantization_parameters")
    if kind != "relu" and kind not in _FUNCTIONS:
        raise native.refuse(f"computes {kind[:40]}; known are relu, {', '.join(_FUNCTIONS)}")
    if kind == "relu" and pquant.section(native, "fitcompress_parameters").get("enable_fitcompress"):
        raise native.refuse("is quantised or not depending on a phase of FITcompress, which its file does not keep")
    typed = pquant.translated(native, ENDS)
    incoming, outgoing = (value_quantiser(typed, values) for values in ends(typed))
    layer: Layer = ReLU(native.name) if kind == "relu" else Activation(native.name, *_FUNCTIONS[kind])
    fine = settings.get("use_high_granularity_quantization")
    multiplied = kind == "relu" and bool(settings.get("use_relu_multiplier")) and not fine
    parts = [Part(_multiplier(native))] if multiplied else []
    return after(parts, *incoming, layer, *outgoing)


def _multiplier(native: Native) -> BatchNorm:
    """Return the power of two by which a ReLU multiplies what it is given."""
    (exponent,) = native.expect((1,))
    scale = torch.exp2(torch.round(exponent)).float()
    return BatchNorm(native.part("multiplier"), scale, torch.zeros(1), fixed=True)


def _pool(kind: str) -> Lower:
    def lower(native: Native, arriving: tuple[Shape, ...]) -> Parts:
        bare = replace(native, kind=kind, weights=())
        return between(pquant.translated(native, ENDS), LAYERS[kind].lower(bare, arriving))

    return lower


def _fill_pool(native: Native, layers: Mapping[str, Layer]) -> Native:
    n_out = native.shapes[native.name][-1]
    found = replace(
        pquant.restored(native, with_bits(pquant.translated(native, ENDS), layers), ENDS), weights=native.weights
    )
    return pquant.resized(pquant.resized(found, INPUT, n_out), OUTPUT, n_out)


def _softmax(native: Native, arriving: tuple[Shape, ...]) -> Parts:
    return softmax(_as_softmax(native), arriving)


def _as_softmax(native: Native) -> Native:
    typed = pquant.translated(native, (*ENDS, *_TABLES))
    return replace(typed, config={**typed.config, "axes": native.config.get("axis", [-1])})


def _filling(fill: Fill, places: tuple[QuantiserPlace, ...], known: Callable[[Native], Native] | None = None) -> Fill:
    """Return what fills a layer that has nothing of its own but quantisers."""

    def filled(native: Native, layers: Mapping[str, Layer]) -> Native:
        typed = pquant.translated(native, places) if known is None else known(native)
        found = replace(pquant.restored(native, fill(typed, layers), places), weights=native.weights)
        for place in places:
            found = pquant.resized(found, place, native.shapes[native.name][-1])
        return found

    return filled


_DENSE = _Form(lower=weighted.dense, fill=weighted.fill_dense)
_CONV = _Form(lower=weighted.conv, fill=weighted.fill_conv)
_DEPTHWISE = _Form(lower=weighted.depthwise, fill=weighted.fill_depthwise, layout=_channels, depthwise=True)
_FORMS = {"PQDense": _DENSE, "PQConv1d": _CONV, "PQConv2d": _CONV, "PQDepthwiseConv2d": _DEPTHWISE}
for _kind, _form in _FORMS.items():
    LAYERS[_kind] = LayerKind(lower=_kernel(_form), fill=_fill_kernel(_form), typed=True)
LAYERS["PQBatchNormalization"] = LayerKind(lower=_batch_norm, fill=_fill_batch_norm, typed=True)
LAYERS["PQActivation"] = LayerKind(lower=_activation, fill=_filling(with_bits, ENDS), typed=True)
LAYERS["PQAvgPool1d"] = LayerKind(lower=_pool("AveragePooling1D"), fill=_fill_pool, typed=True)
LAYERS["PQAvgPool2d"] = LayerKind(lower=_pool("AveragePooling2D"), fill=_fill_pool, typed=True)
LAYERS["PQSoftmax"] = LayerKind(lower=_softmax, fill=_filling(fill_softmax, (*ENDS, *_TABLES), _as_softmax), typed=True)
