"""Layers of HGQ2, whose quantisers have a trained bit width per weight and per value (arXiv:2405.00645).

A weight of no bits is a pruned one. A quantiser keeps three arrays in the order in which its training needs them:
`kif` (sign, integer, fraction bits) or `kbi` (sign, all bits but the sign, integer bits).
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from hepprune.errors import NetworkError
from hepprune.fixed import ROUNDING, FixedPoint, Quantiser
from hepprune.frontends.keras import convolution, weighted
from hepprune.frontends.keras.activations import with_activation
from hepprune.frontends.keras.qkeras import Arrange, by_rows
from hepprune.frontends.keras.registry import LAYERS, Kind, Lower, Native, Part, Parts, after, only, register
from hepprune.network import Activation, Layer, Merge, Shape, Weighted
from hepprune.quantisers import FixedPoints

_ORDER = {  # by parametrisation and whether the range is trained (not where it wraps)
    ("kif", True): ("f", "k", "i"),
    ("kif", False): ("i", "f", "k"),
    ("kbi", True): ("b", "k", "i"),
    ("kbi", False): ("b", "i", "k"),
}
_OVERFLOW = ("WRAP", "SAT", "SAT_SYM")


def _settings(native: Native, key: str, described: Any) -> Mapping[str, Any]:
    config = described.get("config") if isinstance(described, dict) else None
    if not isinstance(config, dict):
        raise native.refuse(f"has a {key} that is no quantiser")
    if config.get("q_type") not in {"kif", "kbi"}:
        raise native.refuse(f"has a {key} of type {str(config.get('q_type'))[:40]}; known are kif and kbi")
    if config.get("overflow_mode") not in _OVERFLOW:
        raise native.refuse(f"has a {key} with overflow {str(config.get('overflow_mode'))[:40]}; known are {_OVERFLOW}")
    for name in ("scaler", "affine", "qnoise_factor", "bw_mapper"):
        if config.get(name) is not None:
            raise native.refuse(f"has a {key} with {name}, which cannot be taken over")
    return config


def _type(native: Native, key: str, place: str, *, described: Any = None, weight: bool = False) -> FixedPoints | None:
    """Return the type of a quantiser: its config under `key`, its arrays below `place`; None where there is none."""
    described = native.config.get(key) if described is None else described
    if described is None:
        return None
    config = _settings(native, key, described)
    kind, wraps = str(config["q_type"]), config["overflow_mode"] == "WRAP"
    arrays = {}
    for number, name in enumerate(_ORDER[kind, wraps]):
        where = "/".join(filter(None, (place, "quantizer/vars", str(number))))
        if where not in native.stored:
            raise native.refuse(f"has no bit widths for its {key}")
        arrays[name] = np.round(native.stored[where]).astype(np.int64)
    rounding = str(config.get("round_mode")).removeprefix("S_")
    if rounding not in ROUNDING:
        raise native.refuse(f"has a {key} with rounding {rounding[:40]}, which is not known")
    # A wrapping quantiser of weights keeps whatever range they have.
    sign, integer = arrays["k"], arrays["i"]
    fraction = arrays["f"] if kind == "kif" else arrays["b"] - integer
    if weight and wraps:
        integer = np.where(integer + fraction > 0, np.maximum(integer, 24), integer)
    overflow = str(config["overflow_mode"])
    width = np.maximum(sign + integer + fraction, 0)
    if overflow == "SAT_SYM":  # a sign alone holds nothing but zero
        width = np.where(integer + fraction > 0, width, 0)
    try:
        return FixedPoints(width, sign + integer, sign > 0, rounding, overflow)
    except (NetworkError, ValueError) as problem:
        raise native.refuse(f"has a {key} that cannot be taken over: {problem}") from problem


def _plain(found: FixedPoints) -> Quantiser:
    """Return one fixed-point type where all values share it."""
    width, integer, signed = found.width.flat[0], found.integer.flat[0], found.signed.flat[0]
    same = (found.width == width).all() and (found.integer == integer).all() and (found.signed == signed).all()
    if not same or width < 1:
        return found
    return FixedPoint(int(width), int(integer), bool(signed), found.rounding, found.overflow)


def _arranged(found: FixedPoints, arrange: Arrange, shape: Shape) -> FixedPoints:
    """Return the type in the layout of the Network's weights."""
    arrays = (np.broadcast_to(array, shape) for array in (found.width, found.integer, found.signed))
    width, integer, signed = (arrange(array.astype(np.float32)) for array in arrays)
    return FixedPoints(width.astype(np.int64), integer.astype(np.int64), signed > 0, found.rounding, found.overflow)


def _values(native: Native, key: str, place: str, suffix: str, described: Any = None) -> Layer | None:
    """Return the layer that quantises values on their way, None where nothing does."""
    found = _type(native, key, place, described=described)
    if found is None:
        return None
    first: Any = 0 if found.width.ndim > 1 else ...  # the axis of jets, which share their widths
    width, integer, signed = found.width[first], found.integer[first], found.signed[first]
    shared = FixedPoints(width, integer, signed, found.rounding, found.overflow)
    return Activation(native.part(suffix), "linear", result=_plain(shared))


def _without_counts(native: Native) -> Native:
    """Return the layer without the scalars that only training reads."""
    return replace(native, weights=tuple(array for array in native.weights if array.ndim))


def _quantised(native: Native, part: Part, arrange: Arrange) -> Part:
    layer = part.layer
    kernel = _type(native, "kq_conf", "kq", weight=True)
    if not isinstance(layer, Weighted) or kernel is None:
        raise native.refuse("has no quantiser for its kernel")
    try:
        weight_type = _arranged(kernel, arrange, native.weights[0].shape)
    except ValueError as problem:
        raise native.refuse("has bit widths that do not fit its kernel") from problem
    limit = torch.where(torch.as_tensor(weight_type.width == 0), 0, layer.digit_limit)
    bias = _type(native, "bq_conf", "bq")
    types = {"weight_type": _plain(weight_type), "bias_type": None if bias is None else _plain(bias)}
    return replace(
        part, layer=layer.rebuilt(weight=layer.weight * (limit > 0), digit_limit=limit.to(torch.uint8), **types)
    )


def _one_kernel(lower: Lower, arrange: Arrange = by_rows) -> Lower:
    def quantised_lower(native: Native, arriving: tuple[Shape, ...]) -> Parts:
        native = _without_counts(native)
        (part,) = lower(native, arriving)
        main = _quantised(native, part, arrange)
        before = _values(native, "iq_conf", "iq", "input")
        parts = [Part(before), replace(main, sources=(before.name,))] if before else [main]
        return after(with_activation(native, parts), _values(native, "oq_conf", "oq", "output"))

    return quantised_lower


def _refuse_fill(native: Native, layers: Mapping[str, Layer]) -> Native:  # noqa: ARG001 -- a fill as any other
    raise native.refuse("is of HGQ2, which is read only: a network cannot be written back as such a file yet")


def _beside(kind: str, lower: Lower) -> None:
    """Enter a lowering of HGQ2 beside that of QKeras, which has layers of the same names."""
    other = LAYERS.get(kind)

    def either(native: Native, arriving: tuple[Shape, ...]) -> Parts:
        if other is None or "kq_conf" in native.config:
            return lower(native, arriving)
        return other.lower(native, arriving)

    def fill(native: Native, layers: Mapping[str, Layer]) -> Native:
        if other is None or "kq_conf" in native.config:
            return _refuse_fill(native, layers)
        return other.fill(native, layers)

    LAYERS[kind] = Kind(either, fill, other.groups if other else ("",))


def _einsum_dense(native: Native, arriving: tuple[Shape, ...]) -> Parts:
    return LAYERS["EinsumDense"].lower(native.filled(activation=None), arriving)


for _kind, _lower in (
    ("QDense", weighted.dense),
    ("QConv1D", convolution.conv),
    ("QConv2D", convolution.conv),
    ("QEinsumDense", _einsum_dense),
):
    _beside(_kind, _one_kernel(_lower))


_MERGES = {
    "QAdd": "add",
    "QSubtract": "subtract",
    "QMultiply": "multiply",
    "QMaximum": "maximum",
    "QMinimum": "minimum",
}


@register(*_MERGES, fill=_refuse_fill)
def _merge(native: Native, arriving: tuple[Shape, ...]) -> Parts:
    described = native.config.get("iq_confs") or [None] * len(arriving)
    described = [described] * len(arriving) if isinstance(described, dict) else described
    if len(described) != len(arriving):
        raise native.refuse(f"has {len(described)} quantisers for {len(arriving)} values")
    parts: Parts = []
    sources: list[int | str] = []
    for number, config in enumerate(described):
        place = "iq/quantizers/quantizer" + (f"_{number}" if number else "")
        layer = _values(native, "iq_confs", place, f"input_{number}", config) if config else None
        parts += [Part(layer, (number,))] if layer else []
        sources.append(layer.name if layer else number)
    parts.append(Part(Merge(native.name, _MERGES[native.kind]), tuple(sources)))
    return after(parts, _values(native, "oq_conf", "oq", "output"))


@register("Quantizer", fill=_refuse_fill)
def _quantizer(native: Native, arriving: tuple[Shape, ...]) -> Parts:
    only(native, arriving)
    layer = _values(native, "config", "", "")
    if layer is None:
        raise native.refuse("has no config of its quantiser")
    return [Part(layer.rebuilt(name=native.name))]
