"""Quantisers of HGQ2: a trained bit width per weight and per value, as arrays in the file (arXiv:2405.00645).

A quantiser keeps three arrays in the order in which its training needs them: `kif` (sign, integer, fraction bits),
`kbi` (sign, all bits but the sign, integer bits) or `float` (mantissa, exponent, offset). No bits at all give zero.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from hepprune.errors import NetworkError, explained
from hepprune.fixed import ROUNDING, FixedPoint, Quantiser
from hepprune.fixed.quantisers import FixedPoints, Minifloat
from hepprune.fixed.quantisers.per_value import FOLDED
from hepprune.frontends.keras.hgq.floats import FIELDS, ValueTypes, as_stored, floats, held_floats
from hepprune.frontends.keras.layers.weighted import Arrange
from hepprune.frontends.keras.registry import Floats, Native
from hepprune.network import Shape

AnyTypes = TypeVar("AnyTypes", bound=ValueTypes)
ORDER = {  # by parametrisation and whether the range is trained (not where it wraps)
    ("kif", True): ("f", "k", "i"),
    ("kif", False): ("i", "f", "k"),
    ("kbi", True): ("b", "k", "i"),
    ("kbi", False): ("b", "i", "k"),
    ("float", False): ("m", "e", "e0"),
}
# What the configs of these classes leave out.
_IMPLIED: dict[str, dict[str, Any]] = {
    "HardTanhConfig": {"overflow_mode": "SAT"},
    "HardSigmoidConfig": {"overflow_mode": "SAT", "affine": (0.25, 0.5)},
}
_NONE = 32  # integer bits of what has no bits say nothing, and may be anything
_OVERFLOW = ("WRAP", "SAT", "SAT_SYM", FOLDED)


def config_of(described: Any) -> dict[str, Any] | None:
    """Return a quantiser's config with what its class implies, None where it is none."""
    config = described.get("config") if isinstance(described, dict) else None
    return {**_IMPLIED.get(str(described.get("class_name")), {}), **config} if isinstance(config, dict) else None


def _settings(native: Native, key: str, described: Any) -> Mapping[str, Any]:
    """Return a quantiser's config; overflow and rounding may be spelt in small letters, as HGQ2 takes them."""
    config = config_of(described)
    if config is None:
        raise native.refuse(f"has a {key} that is not a quantiser")
    if config.get("q_type") not in ("kif", "kbi", "float"):
        raise native.refuse(f"has a {key} of type {str(config.get('q_type'))[:40]}; known are kif, kbi and float")
    overflow = "" if config["q_type"] == "float" else str(config.get("overflow_mode")).upper()
    if overflow not in ("", *_OVERFLOW) or (not overflow and config["q_type"] != "float"):
        raise native.refuse(f"has a {key} with overflow {overflow[:40]}; known are {', '.join(_OVERFLOW)}")
    _check_mapper(native, key, config.get("bw_mapper"))
    if config.get("affine") is not None:
        raise native.refuse(f"has a {key} with affine, which cannot be taken over where it is not of values")
    scaler = config.get("scaler")
    if scaler is not None and not is_power(scaler):
        raise native.refuse(f"has a {key} with the scaler {str(scaler)[:40]}, which is not a power of two")
    return {**config, "overflow_mode": overflow, "round_mode": str(config.get("round_mode")).upper()}


def _check_mapper(native: Native, key: str, mapper: Any) -> None:
    """Refuse a mapper of widths to values that is not HGQ2's own, which spreads them as they are stored."""
    kind = mapper.get("class_name") if isinstance(mapper, dict) else mapper
    if kind is not None and str(kind).rpartition(">")[2] != "DefaultBitwidthMapper":
        raise native.refuse(f"has a {key} with the bw_mapper {str(kind)[:40]}; known is DefaultBitwidthMapper")


def is_power(scaler: Any) -> bool:
    """Return whether a number is a power of two."""
    return isinstance(scaler, int | float) and scaler > 0 and math.frexp(scaler)[0] == 0.5


def _shift(config: Mapping[str, Any]) -> int:
    """Return by how many places HGQ2 moves the point of values before it quantises them."""
    return 0 if config.get("scaler") is None else math.frexp(config["scaler"])[1] - 1


def is_none(described: Any) -> bool:
    """Return whether a quantiser is none, or one that lets everything through."""
    return described is None or (config_of(described) or {}).get("q_type") == "dummy"


def _places(native: Native, config: Mapping[str, Any], place: str) -> dict[str, str]:
    """Return where a quantiser below `place` keeps its arrays, by name."""
    order = ORDER[str(config["q_type"]), config["overflow_mode"] == "WRAP"]
    found = {name: "/".join(filter(None, (place, "quantizer/vars", str(n)))) for n, name in enumerate(order)}
    if native.stored.keys() >= set(found.values()):
        return found
    group = _legacy_group(native, place)
    return {name: f"{group}/{name}" for name in order} if group else found


def _legacy_group(native: Native, place: str) -> str | None:
    """Return the group of a quantiser in a `.h5` of Keras 3, "dense/dense_iq/fixed_point_quantizer_kif"."""
    groups = list(dict.fromkeys(key.rpartition("/")[0] for key in native.stored if key.endswith(("/k", "/e0"))))
    several, _, last = place.rpartition("/")
    if several:  # of a merge: numbered from the start of the program on, in order
        groups = [group for group in groups if "/multiple_quantizers/" in group]
        number = int(last.rpartition("_")[2]) if last.count("_") else 0
        return groups[number] if number < len(groups) else None
    named = [group for group in groups if group.split("/")[-2].endswith(f"_{place}")]
    return named[0] if len(named) == 1 else None


def _rounding(config: Mapping[str, Any]) -> str:
    return str(config.get("round_mode")).removeprefix("S_")


def type_of(
    native: Native, key: str, place: str, *, described: Any = None, weights: Floats | None = None
) -> ValueTypes | None:
    """Return the type of a quantiser: its config under `key`, its arrays below `place`; None where there is none.

    One of `weights` that wraps keeps whatever range they have, and so is a saturating type that holds them.
    """
    described = native.config.get(key) if described is None else described
    if is_none(described):
        if any((described or {}).get("config", {}).get(name) is not None for name in ("affine", "scaler")):
            raise native.refuse(f"has a {key} that scales or shifts values and does not quantise them")
        return None
    config = _settings(native, key, described)
    kind, wraps = str(config["q_type"]), config["overflow_mode"] == "WRAP"
    places = _places(native, config, place)
    if not native.stored.keys() >= set(places.values()):
        raise native.refuse(f"has no bit widths for its {key}")
    found = {name: native.stored[where] for name, where in places.items()}
    if len({array.shape for array in found.values()}) > 1:
        raise native.refuse(f"has bit widths of several shapes for its {key}")
    arrays = {name: np.round(np.clip(array, -99, 99)).astype(np.int64) for name, array in found.items()}
    if kind == "float":
        return floats(native, key, arrays, _shift(config))
    rounding = _rounding(config)
    if rounding not in ROUNDING:
        raise native.refuse(f"has a {key} with rounding {rounding[:40]}, which is not known")
    sign, integer = np.clip(arrays["k"], 0, 1), arrays["i"]
    fraction = arrays["f"] if kind == "kif" else arrays["b"] - integer
    integer, fraction = integer + _shift(config), fraction - _shift(config)
    overflow = str(config["overflow_mode"])
    if weights is not None and wraps and _is_held(config):
        sign, integer, overflow = *holding(weights, (sign, integer, fraction), rounding), "SAT"
    width = np.maximum(sign + integer + fraction, 0)
    if overflow == "SAT_SYM":  # a sign alone holds nothing but zero
        width = np.where(integer + fraction > 0, width, 0)
    sign, integer = np.where(width > 0, sign, 0), np.where(width > 0, integer, np.clip(integer, -_NONE, _NONE))
    with explained(native.refuse, f"has a {key} that cannot be taken over:", NetworkError, ValueError):
        return FixedPoints(width=width, integer=sign + integer, signed=sign > 0, rounding=rounding, overflow=overflow)


def each(kind: AnyTypes, change: Callable[[NDArray[Any]], NDArray[Any]]) -> AnyTypes:
    """Return types with each of their arrays changed."""
    names = tuple(FIELDS.values()) if isinstance(kind, Minifloat) else ("width", "integer", "signed")
    changed: dict[str, Any] = {name: change(getattr(kind, name)) for name in names}
    return replace(kind, **changed)


def nothing(kind: ValueTypes) -> NDArray[np.bool_]:
    """Return which types hold nothing but zero."""
    found: NDArray[np.bool_] = kind.maximum == kind.minimum
    return found


def holder(kind: ValueTypes) -> FixedPoints:
    """Return fixed-point types that hold all values of others."""
    if isinstance(kind, FixedPoints):
        return kind
    integer = np.where(nothing(kind), 0, np.ceil(np.log2(np.maximum(kind.maximum, 1e-30) + 2.0**-kind.fraction)) + 1)
    width = np.where(nothing(kind), 0, integer + kind.fraction)
    return FixedPoints(width=width, integer=integer, signed=~nothing(kind), rounding="RND_CONV", overflow="SAT_SYM")


def plain(found: ValueTypes) -> Quantiser:
    """Return one fixed-point type where all values share it."""
    return found if isinstance(found, Minifloat) else found.shared


def arranged(found: AnyTypes, arrange: Arrange, shape: Shape) -> AnyTypes:
    """Return the type in the layout of the Network's weights."""
    return each(found, lambda array: arrange(np.broadcast_to(array, shape).astype(np.float32)))


def spread(native: Native, quantiser: Quantiser | None, shape: Shape) -> ValueTypes:
    """Return the quantiser of a network as widths for values of a shape.

    Raises:
        NetworkError: it is neither one of fixed-point types nor of floats.
    """
    if isinstance(quantiser, Minifloat):
        return each(quantiser, lambda array: np.broadcast_to(array, shape))
    if not isinstance(quantiser, FixedPoint | FixedPoints):
        raise native.refuse(f"would hold a {type(quantiser).__name__}; HGQ2 has fixed-point types and floats")
    arrays = (np.broadcast_to(a, shape) for a in (quantiser.width, quantiser.integer, quantiser.signed))
    width, integer, signed = arrays
    modes = {"rounding": quantiser.rounding, "overflow": quantiser.overflow}
    return FixedPoints(width=width, integer=integer, signed=signed, **modes)


def held(
    native: Native, key: str, place: str, *, kind: ValueTypes, described: Any = None, acting: Floats | None = None
) -> dict[str, Floats]:
    """Return the arrays of a quantiser, by their places in the file, as they are for other types.

    `acting` are the weights that the types are for; each only has to be held, whatever the file does beyond its range.

    Raises:
        NetworkError: the file keeps one width where the types have several, or rounds otherwise.
    """
    config = _settings(native, key, native.config.get(key) if described is None else described)
    if config["q_type"] == "float":
        return held_floats(native, key, _places(native, config, place), kind, shift=_shift(config), acting=acting)
    if isinstance(kind, Minifloat):
        raise native.refuse(f"has a {key} of fixed-point numbers where the network has floats")
    modes = (_rounding(config), config["overflow_mode"])
    if acting is None and modes != (kind.rounding, kind.overflow):
        raise native.refuse(f"has {key} {'/'.join(modes)}, not {kind.rounding}/{kind.overflow}")
    if config["overflow_mode"] == "SAT_SYM" and (kind.signed & (kind.width == 1)).any():
        raise native.refuse(f"would take {key} of a sign alone, which saturates to -1 step here, for zero")
    places, width, shift = _places(native, config, place), kind.width, _shift(config)
    integer = kind.integer - kind.signed - shift
    fraction = np.where(width > 0, width - kind.integer + shift, -integer)
    bits = {"k": kind.signed & (width > 0), "i": integer, "f": fraction, "b": integer + fraction}
    used = (width > 0) if acting is not None else np.ones(width.shape, bool)
    return as_stored(native, key, places, bits, used)


def without_bits(native: Native, key: str, place: str, *, alive: NDArray[np.bool_]) -> dict[str, Floats]:
    """Return the arrays of a quantiser with no bits for values that are not alive.

    Raises:
        NetworkError: the file keeps one width for values of which some are.
    """
    places = _places(native, _settings(native, key, native.config.get(key)), place)
    arrays = {name: native.stored[where] for name, where in places.items()}
    if next(iter(arrays.values())).shape[-2:] != alive.shape:
        raise native.refuse(f"has a {key} with one width, and so none for values that are always zero")
    none: dict[str, Any] = {**arrays, "k": 0.0, "b": 0.0, "m": -1.0, "e": 0.0}
    none |= {"f": -arrays["i"]} if "i" in arrays else {}
    return {where: np.where(alive, arrays[name], none[name]) for name, where in places.items()}


def _is_held(config: Mapping[str, Any]) -> bool:
    """Return whether HGQ2 only rounds weights under a quantiser, if it wraps."""
    is_weight = config.get("is_weight", True) and config.get("trainable", True)
    return bool(is_weight and (config["q_type"] == "kif" or _rounding(config) == "RND"))


def keeps_no_range(native: Native, key: str) -> bool:
    """Return whether the weights under a quantiser keep whatever range they have."""
    if is_none(native.config.get(key)):
        return False
    config = _settings(native, key, native.config.get(key))
    return config["overflow_mode"] == "WRAP" and _is_held(config)


def holding(weights: Floats, kif: tuple[Any, Any, Any], rounding: str) -> tuple[Any, Any]:
    """Return sign and integer bits, no fewer than they are, that hold the rounded weights which share them."""
    sign, integer, fraction = np.broadcast_arrays(*kif)
    whole, signed = np.full(fraction.shape, 33), np.ones(fraction.shape, bool)
    wide = FixedPoints(width=fraction + 33, integer=whole, signed=signed, rounding=rounding, overflow="SAT")
    rounded = wide(torch.as_tensor(weights, dtype=torch.float64)).numpy()
    step = np.exp2(-fraction.astype(np.float64))
    ends = np.where(rounded < 0, -rounded, rounded + step)
    needed = np.maximum(np.ceil(np.log2(ends)).astype(np.int64), 1 - fraction)
    shared = tuple(axis for axis, size in enumerate(fraction.shape) if size != weights.shape[axis])
    held_integer = np.maximum(integer, needed.max(axis=shared, keepdims=True))
    is_negative = (rounded < 0).any(axis=shared, keepdims=True)
    used = (integer + fraction > 0) | (rounded != 0).any(axis=shared, keepdims=True)
    return np.where(used, np.maximum(sign, is_negative), sign), np.where(used, held_integer, integer)
