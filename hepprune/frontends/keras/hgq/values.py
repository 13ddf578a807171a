"""What quantises the values of HGQ2's layers, on their way in and out: layers of their own in a Network.

A scaler divides a value before it is rounded and multiplies it after that, and an affine multiplies and shifts what is
rounded, in float32. Such products and sums have types where float32 holds them exactly.
"""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from hepprune.errors import NetworkError
from hepprune.fixed import FixedPoint, Quantiser
from hepprune.fixed.quantisers.per_value import fraction_bits
from hepprune.frontends.keras.hgq.types import config_of, each, held, is_none, is_power, plain, spread, type_of
from hepprune.frontends.keras.registry import Floats, Layers, Native, Parts, after, reading
from hepprune.network import Activation, BatchNorm, Layer

_EXACT = 2.0**24  # up to which float32 holds whole numbers
# What quantises values: the end of its layer's name (none where the layer is nothing else), its key in the config, its
# place in the file, and its config.
ValueQuantiser = tuple[str, str, str, Any]


def value_type(native: Native, values: ValueQuantiser) -> Quantiser | None:
    """Return the type of values, None where nothing quantises them."""
    _, key, place, described = values
    found = type_of(native, key, place, described=described)
    if found is None or described is None:
        return None
    return plain(each(found, lambda array: array[0] if array.ndim > 1 else array))  # jets share their widths


def value_quantiser(native: Native, values: ValueQuantiser) -> list[Layer]:
    """Return the layers that quantise values on their way, and scale and shift them; none where nothing does."""
    suffix, key, place, described = values
    bare, scaler, affine = _moved(native, key, described)
    kind = value_type(native, (suffix, key, place, bare))
    if kind is None:
        return []
    function = ("linear", {}) if scaler is None else ("quotient", {"by": scaler})
    layers: list[Layer] = [Activation(_name(native, suffix), *function, result=kind)]
    most, places = float(np.maximum(np.abs(kind.minimum), np.abs(kind.maximum)).max()), float(kind.fraction)
    for end, pair in (("scaled", scaler and (scaler, 0.0)), ("moved", affine)):
        if pair:
            scale, shift = pair
            most = most * abs(scale) + abs(shift)
            places = max(places + _places(scale), _places(shift))
            named = native.part(f"{suffix}_{end}" if suffix else end)
            layers.append(_affine(named, pair, exact=most * 2.0**places <= _EXACT))
    return layers


def _name(native: Native, suffix: str) -> str:
    return native.part(suffix) if suffix else native.name


def _moved(native: Native, key: str, described: Any) -> tuple[Any, float | None, tuple[float, float] | None]:
    """Return a quantiser without what moves its values: its scaler, where that is no power of two, and its affine."""
    config = config_of(described)
    if config is None or is_none(described):
        return described, None, None
    affine, scaler = read_affine(native, key, config.get("affine")), config.get("scaler")
    bare = {**described, "config": {**config, "affine": None}}
    if scaler is None or is_power(scaler):
        return bare, None, affine
    bare["config"]["scaler"] = None
    return bare, _factor(native, f"{key} with the scaler", scaler), affine


def read_affine(native: Native, key: str, affine: Any) -> tuple[float, float] | None:
    """Return a slope and a shift in float32, None where there are none."""
    if affine is None:
        return None
    slope, shift = affine if isinstance(affine, list | tuple) and len(affine) == 2 else (affine, None)
    if isinstance(shift, bool) or not isinstance(shift, int | float) or not abs(shift) <= 1e30:
        raise native.refuse(f"has a {key} with the affine {str(affine)[:40]}, which is no slope and shift")
    return _factor(native, f"{key} with the affine slope", slope), float(np.float32(shift))


def _factor(native: Native, what: str, value: Any) -> float:
    sound = isinstance(value, int | float) and not isinstance(value, bool) and 1e-30 <= abs(value) <= 1e30
    if not sound:
        raise native.refuse(f"has a {what} {str(value)[:40]}, which is zero, none or out of reach")
    return float(np.float32(value))


def _places(constant: float) -> float:
    """Return the bits right of the point that a constant takes, endless where they are more than any type has."""
    try:
        return fraction_bits(constant) if constant else -math.inf
    except NetworkError:
        return math.inf


def _affine(name: str, pair: tuple[float, float], *, exact: bool) -> BatchNorm:
    """Return a product and a sum of constants; they have types where no value is rounded."""
    scale_type, shift_type = (_holding(constant) if exact else None for constant in pair)
    arrays = (torch.tensor([constant]) for constant in pair)
    return BatchNorm(name, *arrays, scale_type=scale_type, shift_type=shift_type, fixed=True)


def _holding(constant: float) -> FixedPoint:
    """Return a type that holds a constant."""
    places = int(_places(constant)) if constant else 0
    integer, signed = math.frexp(constant)[1], constant < 0
    return FixedPoint(max(integer + places, 1) + signed, max(integer, 1 - places) + signed, signed, "RND", "SAT")


def ends(native: Native) -> tuple[ValueQuantiser, ValueQuantiser]:
    """Return what quantises the values that come in and those that go out."""
    each = (("input", "iq_conf", "iq"), ("output", "oq_conf", "oq"))
    incoming, outgoing = ((*names, native.config.get(names[1])) for names in each)
    return incoming, outgoing


def between(native: Native, parts: Parts) -> Parts:
    """Return parts that read the arriving value with the quantisers of what comes in and what goes out."""
    incoming, outgoing = (value_quantiser(native, values) for values in ends(native))
    head = after([], *incoming)
    parts = [*head, *(reading(parts, head[-1].layer.name) if head else parts)]
    return after(_looked_up(parts, outgoing), *outgoing)


def _looked_up(parts: Parts, outgoing: list[Layer]) -> Parts:
    """Return parts whose last function has a table's type already, that of what goes out."""
    last, first = parts[-1].layer if parts else None, outgoing[0] if outgoing else None
    plainly = isinstance(first, Activation) and first.function == "linear"
    if first is None or not plainly or not isinstance(last, Activation) or last.function == "linear":
        return parts
    return [*parts[:-1], replace(parts[-1], layer=last.rebuilt(result=first.result))]


def value_bits(native: Native, layers: Layers, values: ValueQuantiser) -> dict[str, Any]:
    """Return the arrays of the quantiser of a value, as the network has it now."""
    suffix, key, place, described = values
    name = _name(native, suffix)
    if described is None or name not in layers:
        return {}
    kind = spread(native, layers[name].result, (1, *native.shapes[name]))
    return held(native, key, place, kind=kind, described=_moved(native, key, described)[0])


def with_bits(native: Native, layers: Layers, *more: ValueQuantiser, **arrays: Floats) -> Native:
    """Return the native layer with its quantisers of values, and `more`, as the network has them now, and `arrays`."""
    for values in (*more, *ends(native)):
        arrays |= value_bits(native, layers, values)
    return replace(native, stored={**native.stored, **arrays})
