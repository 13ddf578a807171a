"""Simple recurrent layers and GRUs of HGQ2: quantisers of both kernels, of what a step reads, and of its functions.

A simple cell quantises what its function is given, a GRU what its functions put out, each gate by itself, and what its
reset gate multiplies. HGQ2 0.2.0 writes no `enable_sq`, and so has no quantiser of states in a simple layer that it
loads, nor is there one here.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from hepprune.errors import NetworkError, explained
from hepprune.fixed import FixedPoint, Quantiser
from hepprune.fixed.quantisers import FixedPoints
from hepprune.fixed.quantisers.per_value import fraction_bits
from hepprune.frontends.keras.hgq import types
from hepprune.frontends.keras.hgq.floats import ValueTypes
from hepprune.frontends.keras.hgq.kernels import kernel_bits, typed
from hepprune.frontends.keras.hgq.values import ValueQuantiser, read_affine, value_quantiser, value_type
from hepprune.frontends.keras.layers import recurrent
from hepprune.frontends.keras.layers.weighted import Arrange, by_columns, by_rows
from hepprune.frontends.keras.registry import Floats, Layers, Native, Parts, after
from hepprune.network import Layer, Recurrent, Shape

_KERNELS = ("kq", "rkq")  # their quantisers
_PLACES = 24  # of a number of 1 or less that float32 holds
_NONE = 99  # fewer bits than any type has


def _values(native: Native, name: str, suffix: str = "") -> ValueQuantiser:
    described: Any = native.config.get(f"{name}_conf")
    if name == "praq" and _affine(described) is not None:
        described = {**described, "config": {**described["config"], "affine": None}}
    return suffix, f"{name}_conf", f"cell/{name}", described


def _affine(described: Any) -> Any:
    """Return by what a quantiser makes a gate of what it holds: a slope and a shift, None where it does not."""
    return (types.config_of(described) or {}).get("affine")


def cell(native: Native, arriving: tuple[Shape, ...]) -> Parts:
    """Return the cell with its types, after the quantiser of what comes in."""
    if not types.is_none(native.config.get("oq_conf")):
        raise native.refuse("quantises what it puts out by oq_conf, which cannot be taken over")
    (part,) = recurrent.recurrent(native, arriving)
    changes: dict[str, Any] = {}
    for kernel, place, array in zip(part.layer.kernels, _KERNELS, native.weights, strict=False):
        kind = types.type_of(native, f"{place}_conf", f"cell/{place}", weights=array)
        if kind is None:
            raise native.refuse(f"has no quantiser {place} for its kernel")
        changes |= typed(kernel, _fitted(native, kind, array, by_rows))
    for bias in native.weights[2:]:
        found = types.type_of(native, "bq_conf", "cell/bq", weights=bias)
        changes |= {} if found is None else _biases(_fitted(native, found, bias, np.asarray), bias)
    for name, place in _places(native, part.layer).items():
        changes[name] = value_type(native, _values(native, place))
    if part.layer.cell == "gru" and _affine(native.config.get("praq_conf")) is not None:
        changes |= _ramp(native, changes["argument_type"], native.size("units"))
    return after([], *value_quantiser(native, _values(native, "iq", "input")), part.layer.rebuilt(**changes))


def _places(native: Native, layer: Layer) -> dict[str, str]:
    """Return the places of quantisers of values by the settings of the cell that they are."""
    if isinstance(layer, Recurrent) and layer.cell == "gru":
        is_ramp = _affine(native.config.get("praq_conf")) is not None
        gates = "argument_type" if is_ramp else "recurrent_activation_type"
        return {gates: "praq", "activation_type": "paq", "state_type": "sq", "passed_type": "rhq"}
    looked_up = native.config.get("activation") not in (None, "linear")
    found = {"argument_type" if looked_up else "activation_type": "paq"}
    return found | ({"state_type": "sq"} if native.config.get("enable_sq", False) else {})


def _ramp(native: Native, kind: Quantiser | None, n_out: int) -> dict[str, Any]:
    """Return the function of the gates that rises over all that the type holds, and the types of both its sides."""
    if native.config.get("recurrent_activation") not in (None, "linear"):
        raise native.refuse("has a recurrent_activation before a praq_conf with affine, which cannot be taken over")
    argument = types.spread(native, kind, (2 * n_out,))
    if not isinstance(argument, FixedPoints):
        raise native.refuse("has a praq_conf of floats with affine, which cannot be taken over")
    slope, shift = read_affine(native, "praq_conf", _affine(native.config.get("praq_conf"))) or (1.0, 0.0)
    ends = np.stack([argument.minimum, argument.maximum]) * slope + shift
    with explained(native.refuse, "has a praq_conf whose gates would be rounded:", NetworkError):
        places = max(argument.fraction + fraction_bits(slope), fraction_bits(shift) if shift else 0, 0)
    if ends.min() < 0 or ends.max() > 1 or places > _PLACES:
        raise native.refuse("has a praq_conf whose gates would leave 0 to 1, or would be rounded")
    whole = int(ends.max() == 1)
    return {
        "argument_type": argument,
        "recurrent_activation": "hard_sigmoid",
        "recurrent_activation_parameters": {"slope": slope, "shift": shift},
        "recurrent_activation_type": FixedPoint(max(places, 1) + whole, whole, signed=False),  # holds each exactly
    }


def _biases(kind: ValueTypes, bias: Floats) -> dict[str, Any]:
    """Return the biases and their type: of two rows, rounded here, the one that holds the types of both."""
    if bias.ndim == 1:
        return {"bias_type": types.plain(kind)}
    rounded = torch.as_tensor(kind(bias.astype(np.float64)).astype(np.float32))
    kind = types.holder(kind)
    none = kind.width == 0
    whole, fraction = (
        np.where(none, -_NONE, bits).max(axis=0) for bits in (kind.integer - kind.signed, kind.width - kind.integer)
    )
    signed, used = (kind.signed & ~none).any(axis=0), ~none.all(axis=0)
    width, integer = np.where(used, signed + whole + fraction, 0), np.where(used, signed + whole, 0)
    joint = FixedPoints(width=width, integer=integer, signed=signed, rounding=kind.rounding, overflow=kind.overflow)
    return {"bias_type": types.plain(joint), "bias": rounded[0], "recurrent_bias": rounded[1]}


def _fitted(native: Native, kind: types.AnyTypes, array: Floats, arrange: Arrange) -> types.AnyTypes:
    with explained(native.refuse, "has bit widths that do not fit its kernels or its bias", ValueError):
        return types.arranged(kind, arrange, array.shape)


@torch.no_grad()
def fill_cell(native: Native, layers: Layers) -> Native:
    """Return the native layer with the kernels, bias and types that the network has now."""
    layer = native.holding(layers, Recurrent)
    pairs, bits = list(zip(layer.kernels, _KERNELS, strict=True)), dict[str, Floats]()
    kept = {kernel.array: kernel.used() for kernel, place in pairs if types.keeps_no_range(native, f"{place}_conf")}
    filled = recurrent.fill_recurrent(native, {**layers, native.name: layer.rebuilt(**kept) if kept else layer})
    for kernel, place in pairs:
        bits |= kernel_bits(native, kernel, by_columns, f"cell/{place}")
    if layer.bias_type is not None:
        biases = layer.used_biases()
        bias = (torch.stack(biases) if recurrent.has_two_biases(layer) else biases[0]).double().numpy()
        kind = types.spread(native, layer.bias_type, bias.shape)
        bits |= types.held(native, "bq_conf", "cell/bq", kind=kind, acting=bias)
    for place, quantiser, n in _of_values(native, layer, layers):
        if quantiser is not None:
            kind = types.spread(native, quantiser, (1, n))  # the same at every step
            _, key, where, described = _values(native, place)
            bits |= types.held(native, key, where, kind=kind, described=described)
    return replace(filled, stored={**native.stored, **bits})


def _of_values(native: Native, layer: Recurrent, layers: Layers) -> Iterator[tuple[str, Quantiser | None, int]]:
    """Yield the places of quantisers of values, what is there now, and for how many values."""
    incoming = layers.get(native.part("input"))
    yield "iq", None if incoming is None else incoming.result, layer.n_in
    kinds = layer.settings()
    for name, place in _places(native, layer).items():
        yield place, kinds.get(name), layer.n_out * (1 + (place == "praq"))
