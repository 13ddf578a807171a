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
from hepprune.fixed import FixedPoint, Quantiser, digits
from hepprune.fixed.quantisers import FixedPoints
from hepprune.fixed.quantisers.per_value import fraction_bits
from hepprune.frontends.keras.hgq import types
from hepprune.frontends.keras.hgq.floats import ValueTypes
from hepprune.frontends.keras.hgq.values import ValueQuantiser, read_affine, value_quantiser, value_type
from hepprune.frontends.keras.layers import recurrent
from hepprune.frontends.keras.qkeras.layers import by_rows
from hepprune.frontends.keras.registry import Floats, Layers, Native, Parts, after
from hepprune.network import Layer, Recurrent, Shape

_KERNELS = (("weight", "kq"), ("recurrent_weight", "rkq"))
_PLACES = 24  # of a number of 1 or less that float32 holds
_NONE = 99  # fewer bits than any type has


def _values(native: Native, name: str, suffix: str = "") -> ValueQuantiser:
    described: Any = native.config.get(f"{name}_conf")
    if name == "praq" and _affine(described) is not None:
        described = {**described, "config": {**described["config"], "affine": None}}
    return suffix, f"{name}_conf", f"cell/{name}", described


def _affine(described: Any) -> Any:
    """Return by what a quantiser makes a gate of what it holds: a slope and a shift, None where it does not."""
    config = described.get("config") if isinstance(described, dict) else None
    if not isinstance(config, dict):
        return None
    return {**types.IMPLIED.get(str(described.get("class_name")), {}), **config}.get("affine")


def cell(native: Native, arriving: tuple[Shape, ...]) -> Parts:
    """Return the cell with its types, after the quantiser of what comes in."""
    if not types.is_none(native.config.get("oq_conf")):
        raise native.refuse("quantises what it puts out by oq_conf, which cannot be taken over")
    (part,) = recurrent.recurrent(native, arriving)
    kernel, again, *biases = native.weights
    changes: dict[str, Any] = {}
    for (name, place), array in zip(_KERNELS, (kernel, again), strict=True):
        kind = types.type_of(native, f"{place}_conf", f"cell/{place}", weights=array)
        if kind is None:
            raise native.refuse(f"has no quantiser {place} for its kernel")
        changes |= _typed(name, _fitted(native, kind, array), array)
    if biases and (found := types.type_of(native, "bq_conf", "cell/bq", weights=biases[0])) is not None:
        changes |= _biases(_fitted(native, found, biases[0], np.asarray), biases[0])
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


def _fitted(native: Native, kind: types.AnyTypes, array: Floats, arrange: Any = by_rows) -> types.AnyTypes:
    with explained(native.refuse, "has bit widths that do not fit its kernels or its bias", ValueError):
        return types.arranged(kind, arrange, array.shape)


def _typed(name: str, kind: ValueTypes, array: Floats) -> dict[str, Any]:
    """Return a kernel, its type and its limit; weights of no bits are pruned."""
    limit = torch.where(torch.as_tensor(types.nothing(kind)), 0, digits.UNLIMITED).to(torch.uint8)
    weight = torch.as_tensor(by_rows(array.astype(np.float32)).copy())
    key = "digit_limit" if name == "weight" else "recurrent_digit_limit"
    return {name: weight * (limit > 0), f"{name}_type": types.plain(kind), key: limit}


@torch.no_grad()
def fill_cell(native: Native, layers: Layers) -> Native:
    """Return the native layer with the kernels, bias and types that the network has now."""
    layer = native.holding(layers, Recurrent)
    acting = {name: layer.used(name) for name, _ in _KERNELS}
    kept = {name: acting[name] for name, place in _KERNELS if types.keeps_no_range(native, f"{place}_conf")}
    filled = recurrent.fill_recurrent(native, {**layers, native.name: layer.rebuilt(**kept) if kept else layer})
    bits: dict[str, Floats] = {}
    for name, place in _KERNELS:
        limit = layer.digit_limit if name == "weight" else layer.recurrent_digit_limit
        kind = types.spread(native, getattr(layer, f"{name}_type"), tuple(limit.shape))
        if isinstance(kind, FixedPoints):
            kind = replace(kind, width=np.where(limit.numpy() == 0, 0, kind.width))
        turned = types.each(kind, np.transpose)
        bits |= _held(native, place, turned, acting[name].double().numpy().T)
    if layer.bias_type is not None:
        both = torch.stack(layer.used_biases()) if layer.cell == "gru" and layer.reset_after else layer.used_biases()[0]
        bias = both.double().numpy()
        kind = types.spread(native, layer.bias_type, bias.shape)
        bits |= _held(native, "bq", kind, bias)
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


def _held(native: Native, place: str, kind: ValueTypes, acting: Floats) -> dict[str, Floats]:
    return types.held(native, f"{place}_conf", f"cell/{place}", kind=kind, acting=acting)
