"""Layers of PQuantML (github.com/cern-nextgen/PQuantML): those of Keras, pruned and between quantisers.

They become what HGQ2's layers of the same kind do, whose quantisers hold all that PQuantML's can (see `pquant`).
"""

from collections.abc import Callable, Mapping
from dataclasses import replace

import torch

from hepprune.frontends.keras import pquant
from hepprune.frontends.keras.hgq import kernels
from hepprune.frontends.keras.hgq.sums import fill_softmax, softmax
from hepprune.frontends.keras.hgq.types import type_of
from hepprune.frontends.keras.hgq.values import between, ends, value_quantiser, with_bits
from hepprune.frontends.keras.layers import normalisation, weighted
from hepprune.frontends.keras.layers.weighted import Form
from hepprune.frontends.keras.pquant import BIAS, ENDS, INPUT, KERNEL, OUTPUT, WEIGHT, QuantiserPlace
from hepprune.frontends.keras.registry import LAYERS, Fill, Floats, LayerKind, Native, Part, Parts, after, only
from hepprune.network import Activation, BatchNorm, Layer, ReLU, Shape, Weighted

_TABLES = tuple(
    QuantiserPlace(here=f"{table}_table/{here}", there=f"{table}_table/{there}_quantizer", used=used, table=f"{table}_")
    for table, used in (("exp", "stable"), ("inv", ""))
    for here, there, used in (("iq", "input", used), ("oq", "output", ""))
)
_FUNCTIONS = {"tanh": ("tanh", {}), "hard_tanh": ("hard_tanh", {"slope": 0.5, "shift": 0.5})}


def _arrays(native: Native) -> tuple[Floats, ...]:
    """Return kernel and bias; a depthwise layer has those that Keras gave it before its own, and does not read them."""
    arrays = kernels.without_counts(native).weights
    return arrays[-2 if native.config.get("use_bias", True) else -1 :]


def _kernel(form: Form) -> kernels.Typed:
    """Return what lowers and what fills a layer with a kernel, pruned and with quantisers unless they are off."""
    lower_typed, fill_typed = kernels.one_kernel(form)

    def lower(native: Native, arriving: tuple[Shape, ...]) -> Parts:
        arrays = _arrays(native)
        if not arrays or arrays[0].ndim < 2:
            raise native.refuse("has no kernel")
        acts = pquant.mask(native, arrays[0])
        pruned = replace(pquant.translated(native, KERNEL), weights=(arrays[0] * acts, *arrays[1:]))
        if pruned.config[WEIGHT.key] is None:
            return form.lower(pruned, arriving)
        _on_grid(pruned)
        layout = form.layout(pruned, None)
        return [_masked(part, layout.rows(acts), native.name) for part in lower_typed(pruned, arriving)]

    def fill(native: Native, layers: Mapping[str, Layer]) -> Native:
        old = _arrays(native)
        bare = replace(pquant.translated(native, KERNEL), weights=old)
        found = (form.fill if bare.config[WEIGHT.key] is None else fill_typed)(bare, layers)
        if len(found.weights) != len(old):
            raise native.refuse("has no bias, nor a quantiser for the one that the network has")
        again = found.weights * (2 if pquant.is_depthwise(native) else 1)
        found = kernels.with_counts(native, pquant.restored(native, replace(found, weights=again), KERNEL))
        if found.weights[0].shape == native.weights[0].shape:
            return found
        n_in = found.weights[0].shape[-2] * found.config.get("groups", 1)
        ends = ((INPUT, (n_in,)), (OUTPUT, native.shapes[native.name][-1:]))
        own = zip((WEIGHT, BIAS), (array.shape for array in _arrays(found)), strict=False)
        for place, sizes in (*ends, *own):
            found = pquant.resized(found, place, *sizes)
        return pquant.without_pruning(found)

    return lower, fill


def _on_grid(native: Native) -> None:
    """Refuse weights that PQuantML takes as they are and its quantisers would change."""
    if not native.config.get("final_compression_done"):
        return
    for place, array in zip((WEIGHT, BIAS), native.weights, strict=False):
        kind = type_of(native, place.key, place.here, weights=array)
        values = torch.as_tensor(array, dtype=torch.float64)
        if kind is not None and not torch.equal(kind(values), values):
            raise native.refuse(f"is compressed for good, but has values that its {place.there} does not hold")


def _masked(part: Part, acts: Floats, name: str) -> Part:
    layer = part.layer
    if layer.name != name or not isinstance(layer, Weighted):
        return part
    limit = torch.where(torch.as_tensor(acts.copy()) > 0, layer.digit_limit, 0).to(torch.uint8)
    return replace(part, layer=layer.rebuilt(digit_limit=limit))


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
    return normalisation.scale_and_shift(native, {name: array.float() for name, array in arrays.items()})


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


def _pool(native: Native, arriving: tuple[Shape, ...]) -> Parts:
    bare = replace(native, kind=f"AveragePooling{native.rank}D", weights=())
    return between(pquant.translated(native, ENDS), LAYERS[bare.kind].lower(bare, arriving))


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


_TYPED = {
    "PQDense": _kernel(weighted.DENSE),
    **dict.fromkeys(("PQConv1d", "PQConv2d"), _kernel(weighted.CONV)),
    "PQDepthwiseConv2d": _kernel(weighted.DEPTHWISE),
    "PQBatchNormalization": (_batch_norm, _fill_batch_norm),
    "PQActivation": (_activation, _filling(with_bits, ENDS)),
    **dict.fromkeys(("PQAvgPool1d", "PQAvgPool2d"), (_pool, _filling(with_bits, ENDS))),
    "PQSoftmax": (_softmax, _filling(fill_softmax, (*ENDS, *_TABLES), _as_softmax)),
}
for _name, (_lower, _fill) in _TYPED.items():
    LAYERS[_name] = LayerKind(lower=_lower, fill=_fill, typed=True)
