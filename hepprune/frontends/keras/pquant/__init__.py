"""Quantisers and masks of PQuantML's layers, in the form in which HGQ2's layers keep them.

A quantiser of PQuantML is one of HGQ2, or it has whole bits of its own (sign, integer, fraction and all of them).
`translated` gives a layer the arrays and settings of HGQ2's layer of the same kind, and `restored` turns that back.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from hepprune.errors import explained
from hepprune.fixed.quantisers.per_value import FOLDED
from hepprune.frontends.keras.hgq.types import ORDER
from hepprune.frontends.keras.registry import Floats, Native

_PRUNING = "pruning_layer/"
# By method: where its mask is, and where it says whether it is before (the mask says nothing yet) or after its search.
_MASKS = {
    "activation_pruning": (0, 5, 6),
    "autosparse": (1, 3, 4),
    "cs": (2, 3, 4),
    "dst": (1, 2, 3),
    "mdmm": (0, 1, 2),
    "pdp": (0, 2, 3),
    "wanda": (0, 5, 6),
}
_ALWAYS = ("wanda", "activation_pruning", "mdmm")  # compute the same in their search as after it, but for masks
_TURNED = {2: (1, 0), 3: (2, 1, 0), 4: (2, 3, 1, 0)}  # from a mask's axes, as in torch, to those of a kernel


@dataclass(frozen=True, kw_only=True)
class QuantiserPlace:
    """A quantiser: where HGQ2 and PQuantML keep it, and the setting that says whether it acts (always, without one)."""

    here: str
    there: str
    used: str = ""
    data: bool = True
    table: str = ""

    @property
    def key(self) -> str:
        """The key of its description in a config of HGQ2."""
        return f"{self.table}{self.here.rpartition('/')[2]}_conf"


INPUT = QuantiserPlace(here="iq", there="input_quantizer", used="quantize_input")
OUTPUT = QuantiserPlace(here="oq", there="output_quantizer", used="quantize_output")
WEIGHT = QuantiserPlace(here="kq", there="weight_quantizer", data=False)
BIAS = QuantiserPlace(here="bq", there="bias_quantizer", used="use_bias", data=False)
ENDS = (INPUT, OUTPUT)
KERNEL = (*ENDS, WEIGHT, BIAS)


def is_depthwise(native: Native) -> bool:
    """Return whether a layer has kernels for each of its channels."""
    return native.kind == "PQDepthwiseConv2d"


def section(native: Native, name: str) -> Mapping[str, Any]:
    """Return a section of the settings that a layer of PQuantML keeps."""
    config = native.config.get("config")
    found = config.get(name) if isinstance(config, dict) else None
    if not isinstance(found, dict):
        raise native.refuse(f"has no {name} in its config")
    return found


def translated(native: Native, places: Sequence[QuantiserPlace]) -> Native:
    """Return the layer with its quantisers as HGQ2 keeps them; what is not quantised has none."""
    found: dict[str, Any] = {}
    stored: dict[str, Floats] = {}
    for place in places:
        description, arrays = _quantiser(native, place)
        found[place.key] = description
        stored |= arrays
    return replace(native, config={**native.config, **found}, stored={**native.stored, **stored})


def _quantiser(native: Native, place: QuantiserPlace) -> tuple[dict[str, Any] | None, dict[str, Floats]]:
    settings = section(native, "quantization_parameters")
    if not _is_used(native, place):
        return None, {}
    overflow = str(settings.get("overflow_mode_data" if place.data else "overflow_mode_parameters")).upper()
    fine = bool(settings.get("use_high_granularity_quantization", False))
    config = {
        "q_type": "kif",
        "overflow_mode": overflow,
        "round_mode": settings.get("round_mode"),
        "is_weight": fine and place is WEIGHT,  # HGQ2's default of a bias wraps where that of a kernel only rounds
    }
    arrays = _copied(native, place) if fine else _whole(native, place, overflow)
    return {"class_name": "QuantizerConfig", "config": config}, arrays


def _is_used(native: Native, place: QuantiserPlace) -> bool:
    settings = section(native, "quantization_parameters")
    return bool(native.config.get(place.used, True) and settings.get("enable_quantization", True))


def _copied(native: Native, place: QuantiserPlace) -> dict[str, Floats]:
    """Return the arrays of HGQ2's own quantiser."""
    inner = f"{place.there}/quantizer/quantizer/vars/"
    here = f"{place.here}/quantizer/vars/"
    return {key.replace(inner, here): array for key, array in native.stored.items() if key.startswith(inner)}


def _whole(native: Native, place: QuantiserPlace, overflow: str) -> dict[str, Floats]:
    """Return the bits of PQuantML's own quantiser in the order of HGQ2."""
    kept = [native.stored.get(f"{place.there}/vars/{number}") for number in range(3)]
    bits = [array for array in kept if array is not None]
    if len(bits) < len(kept):
        return {}
    if len({array.shape for array in bits}) > 1:
        raise native.refuse(f"has bit widths of several shapes for its {place.there}")
    if any((array != np.round(array)).any() for array in bits):
        raise native.refuse(f"has a {place.there} of bits that are not whole numbers")
    sign, integer, fraction = bits
    integer = np.maximum(integer, -fraction)
    if overflow == FOLDED and not (sign + integer + fraction).all():
        raise native.refuse(f"has a {place.there} without a bit, of which {FOLDED} makes two values")
    named = {"k": sign, "i": integer, "f": fraction}
    order = ORDER["kif", overflow == "WRAP"]
    return {f"{place.here}/quantizer/vars/{number}": named[name] for number, name in enumerate(order)}


def restored(native: Native, filled: Native, places: Sequence[QuantiserPlace]) -> Native:
    """Return a layer filled as one of HGQ2 with its config and quantisers where PQuantML keeps them."""
    heres = tuple(f"{place.here}/quantizer/vars/" for place in places)
    stored = {key: array for key, array in filled.stored.items() if not key.startswith(heres)}
    for place in places:
        arrays = [filled.stored.get(f"{place.here}/quantizer/vars/{number}") for number in range(3)]
        if any(array is None for array in arrays) or filled.config.get(place.key) is None:
            continue
        stored |= _kept(native, place, [np.asarray(array) for array in arrays], filled.config[place.key]["config"])
    config = {key: value for key, value in filled.config.items() if key not in {place.key for place in places}}
    return replace(filled, stored=stored, config=config)


def resized(native: Native, place: QuantiserPlace, *sizes: int) -> Native:
    """Return a layer whose unused quantiser, which is there all the same, is for values of these last axes."""
    if _is_used(native, place):
        return native

    def cut(array: Floats) -> Floats:
        axes = zip(array.shape[-len(sizes) :], sizes[-array.ndim :], strict=True)
        return array[..., *(slice(now if size > 1 else None) for size, now in axes)]

    found = {key: array for key, array in native.stored.items() if key.startswith(f"{place.there}/") and array.ndim}
    return replace(native, stored={**native.stored, **{key: cut(array) for key, array in found.items()}})


def _kept(native: Native, place: QuantiserPlace, arrays: list[Floats], config: Mapping[str, Any]) -> dict[str, Floats]:
    inner = f"{place.there}/quantizer/quantizer/vars"
    if f"{inner}/0" in native.stored:
        return {f"{inner}/{number}": array for number, array in enumerate(arrays)}
    named = dict(zip(ORDER["kif", config["overflow_mode"] == "WRAP"], arrays, strict=True))
    if config["overflow_mode"] == FOLDED and not place.data:  # a zero needs a bit to stay one
        named["i"] = named["i"] + (named["k"] + named["i"] + named["f"] == 0)
    bits = (named["k"], named["i"], named["f"], named["k"] + named["i"] + named["f"])
    outer = [f"{place.there}/vars/{number}" for number in range(4)]
    if any(array.size > 1 and not native.stored[where].ndim for where, array in zip(outer, bits, strict=True)):
        raise native.refuse(f"has a {place.there} with one width where the network has several")
    found = zip(outer, bits, strict=True)
    return {where: array if native.stored[where].ndim else array.reshape(()) for where, array in found}


def mask(native: Native, kernel: Floats) -> Floats:
    """Return one where a weight acts and zero where its pruning leaves it out.

    Raises:
        NetworkError: the pruning is in the middle of its search, where a mask is soft or changes with every step.
    """
    settings = section(native, "pruning_parameters")
    prunes = native.config.get("enable_pruning")
    prunes = settings.get("enable_pruning", True) if prunes is None else prunes
    if native.config.get("final_compression_done") or not prunes:
        return np.ones_like(kernel)
    method = str(settings.get("pruning_method"))
    if method not in _MASKS:
        raise native.refuse(f"prunes by {method[:40]}; known are {', '.join(_MASKS)}")
    places = [f"{_PRUNING}vars/{number}" for number in _MASKS[method]]
    if not native.stored.keys() >= set(places) or any(native.stored[place].size != 1 for place in places[1:]):
        raise native.refuse(f"has no mask of its pruning by {method}")
    kept, before, after = (native.stored[place] for place in places)
    if method == "mdmm":
        least = float(settings.get("epsilon") or 0.0) if after.any() else -1.0
        return np.asarray(np.abs(kernel) > least, np.float64)
    if before.any() and method in {"autosparse", "activation_pruning"}:
        return np.ones_like(kernel)
    if not (before.any() or after.any() or method in _ALWAYS):
        raise native.refuse(f"is in the middle of its pruning by {method}; call PQuantML's apply_final_compression")
    return _fitted(native, kept, kernel)


def _fitted(native: Native, kept: Floats, kernel: Floats) -> Floats:
    if kept.ndim != kernel.ndim or not np.isin(kept, (0, 1)).all():
        raise native.refuse("has a mask that is not one of zeros and ones for its kernel")
    turned = kept.transpose((2, 3, 0, 1) if is_depthwise(native) else _TURNED[kernel.ndim])
    with explained(native.refuse, f"has a mask of shape {kept.shape} for a kernel of {kernel.shape}", ValueError):
        return np.broadcast_to(turned, kernel.shape).astype(np.float64)


def without_pruning(native: Native) -> Native:
    """Return a layer of another size without the state of its pruning, whose arrays are of the old one."""
    stored = {key: array for key, array in native.stored.items() if not key.startswith(_PRUNING)}
    return replace(native, stored=stored, config={**native.config, "enable_pruning": False})
