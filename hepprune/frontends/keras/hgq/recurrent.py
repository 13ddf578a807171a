"""Simple recurrent layers of HGQ2: quantisers of both kernels, of what a step reads, and of what its function is given.

HGQ2 0.2.0 writes no `enable_sq`, and so has no quantiser of states in a layer that it loads, nor is there one here.
A GRU of HGQ2 quantises what its reset gate multiplies as well, for which no cell of a Network has a type.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from hepprune import digits
from hepprune.frontends.keras.hgq.types import arranged, held, is_none, keeps_no_range, plain, spread, type_of
from hepprune.frontends.keras.hgq.values import Values, value_quantiser, value_type
from hepprune.frontends.keras.layers import recurrent
from hepprune.frontends.keras.qkeras.layers import by_rows
from hepprune.frontends.keras.registry import Floats, Native, Part, Parts
from hepprune.network import Layer, Recurrent, Shape
from hepprune.quantisers import FixedPoints

_KERNELS = (("weight", "kq"), ("recurrent_weight", "rkq"))


def _values(native: Native, name: str, suffix: str = "") -> Values:
    return suffix, f"{name}_conf", f"cell/{name}", native.config.get(f"{name}_conf")


def simple(native: Native, arriving: tuple[Shape, ...]) -> Parts:
    """Return the cell with its types, after the quantiser of what comes in."""
    if not is_none(native.config.get("oq_conf")):
        raise native.refuse("quantises what it puts out by oq_conf, which cannot be taken over")
    (part,) = recurrent.recurrent(native, arriving)
    kernel, again, *biases = native.weights
    changes: dict[str, Any] = {}
    for (name, place), array in zip(_KERNELS, (kernel, again), strict=True):
        kind = type_of(native, f"{place}_conf", f"cell/{place}", weights=array)
        if kind is None:
            raise native.refuse(f"has no quantiser {place} for its kernel")
        changes |= _typed(name, _fitted(native, kind, array), array)
    if biases and (found := type_of(native, "bq_conf", "cell/bq", weights=biases[0])) is not None:
        changes["bias_type"] = plain(_fitted(native, found, biases[0], np.ravel))
    given = value_type(native, _values(native, "paq"))
    looked_up = native.config.get("activation") not in (None, "linear")
    changes |= {"argument_type" if looked_up else "activation_type": given}
    if native.config.get("enable_sq", False):
        changes["state_type"] = value_type(native, _values(native, "sq"))
    cell = Part(part.layer.rebuilt(**changes))
    incoming = value_quantiser(native, _values(native, "iq", "input"))
    return [cell] if incoming is None else [Part(incoming), replace(cell, sources=(incoming.name,))]


def _fitted(native: Native, kind: FixedPoints, array: Floats, arrange: Any = by_rows) -> FixedPoints:
    try:
        return arranged(kind, arrange, array.shape)
    except ValueError as problem:
        raise native.refuse("has bit widths that do not fit its kernels or its bias") from problem


def _typed(name: str, kind: FixedPoints, array: Floats) -> dict[str, Any]:
    """Return a kernel, its type and its limit; weights of no bits are pruned."""
    limit = torch.where(torch.as_tensor(kind.width == 0), 0, digits.UNLIMITED).to(torch.uint8)
    weight = torch.as_tensor(by_rows(array.astype(np.float32)).copy())
    key = "digit_limit" if name == "weight" else "recurrent_digit_limit"
    return {name: weight * (limit > 0), f"{name}_type": plain(kind), key: limit}


@torch.no_grad()
def fill_simple(native: Native, layers: Mapping[str, Layer]) -> Native:
    """Return the native layer with the kernels, bias and types that the network has now."""
    layer = layers[native.name]
    if not isinstance(layer, Recurrent):
        raise native.refuse(f"cannot hold a {type(layer).__name__}")
    acting = {name: layer.used(name) for name, _ in _KERNELS}
    kept = {name: acting[name] for name, place in _KERNELS if keeps_no_range(native, f"{place}_conf")}
    filled = recurrent.fill_recurrent(native, {**layers, native.name: layer.rebuilt(**kept) if kept else layer})
    bits: dict[str, Floats] = {}
    for name, place in _KERNELS:
        limit = layer.digit_limit if name == "weight" else layer.recurrent_digit_limit
        kind = spread(native, getattr(layer, f"{name}_type"), tuple(limit.shape))
        turned = (np.where(limit.numpy() == 0, 0, kind.width), kind.integer, kind.signed)
        bits |= _held(native, place, [array.T for array in turned], kind, acting[name].double().numpy().T)
    if layer.bias_type is not None:
        kind = spread(native, layer.bias_type, tuple(layer.bias.shape))
        bias = layer.used_biases()[0].double().numpy()
        bits |= _held(native, "bq", [kind.width, kind.integer, kind.signed], kind, bias)
    given = layer.argument_type if layer.argument_type is not None else layer.act.result
    incoming = layers.get(native.part("input"))
    read = ("iq", None if incoming is None else incoming.result, layer.n_in)
    for place, quantiser, n in (read, ("paq", given, layer.n_out), ("sq", layer.state_type, layer.n_out)):
        if quantiser is not None:
            kind = spread(native, quantiser, (1, n))  # the same at every step
            bits |= held(native, f"{place}_conf", f"cell/{place}", kind=kind)
    return replace(filled, stored={**native.stored, **bits})


def _held(native: Native, place: str, arrays: list[Any], like: FixedPoints, acting: Floats) -> dict[str, Floats]:
    width, integer, signed = arrays
    kind = FixedPoints(width=width, integer=integer, signed=signed, rounding=like.rounding, overflow=like.overflow)
    return held(native, f"{place}_conf", f"cell/{place}", kind=kind, acting=acting)
