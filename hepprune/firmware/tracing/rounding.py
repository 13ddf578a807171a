"""Rounding and overflow of every fixed-point type, on variables."""

from collections.abc import Callable
from typing import Any

import numpy as np

from hepprune.firmware.verilog import adders
from hepprune.fixed import FixedPoint


def _constant_in(kind: FixedPoint, value: Any) -> Any:
    return adders.constant(kind(np.array([float(value)]))[0])


# What is added before the low bits are dropped: a constant, and a multiple of one bit of the value itself, the sign
# ("sign") or the last bit kept ("last"). `half` is half a step of the result, `eps` the step of the value.
_TERMS: dict[str, Callable[[float, float], tuple[float, str, float]]] = {
    "TRN": lambda half, eps: (0.0, "", 0.0),  # noqa: ARG005
    "RND": lambda half, eps: (half, "", 0.0),  # noqa: ARG005
    "RND_MIN_INF": lambda half, eps: (half - eps, "", 0.0),
    "RND_INF": lambda half, eps: (half, "sign", -eps),
    "RND_ZERO": lambda half, eps: (half - eps, "sign", eps),
    "TRN_ZERO": lambda half, eps: (0.0, "sign", 2 * half - eps),
    "RND_CONV": lambda half, eps: (half - eps, "last", eps),
}


def rounded(value: Any, kind: FixedPoint) -> Any:
    """Return the value without bits below `kind`, rounded as `kind` asks."""
    sign, whole, fraction = value.kif
    if fraction <= kind.fraction:
        return value
    constant, source, factor = _TERMS[kind.rounding](kind.step / 2, 2.0**-fraction)
    if source == "sign" and sign:
        value = value + value.quantize(0, whole + 1, -whole) * (2.0**-whole * factor)
    elif source == "last":
        value = value + value.quantize(0, 1 - kind.fraction, kind.fraction) * (factor / kind.step)
    value = value + constant
    sign, whole, fraction = value.kif
    if fraction <= kind.fraction:
        return value
    # A negative value above -step still rounds down to -step, so its sign bit stays even where no other bit does.
    return value.quantize(sign, max(whole, -kind.fraction) if sign else whole, kind.fraction)


def quantise(value: Any, kind: FixedPoint) -> Any:
    """Return the value in a type, rounded and overflown as the type says."""
    if adders.is_constant(value):
        return _constant_in(kind, value.low)
    value = rounded(value, kind)
    if adders.is_constant(value):
        return _constant_in(kind, value.low)
    sign, whole, _ = value.kif
    if kind.overflow == "WRAP" and not kind.signed and sign and kind.integer > whole + 1:
        # so wide that da4ml would not extend the sign
        value = value + value.quantize(0, whole + 1, -whole) * 2.0 ** (kind.integer - whole)
    return value.quantize(*adders.kif(kind), kind.overflow, "TRN")


def relu(value: Any, kind: FixedPoint | None) -> Any:
    """Return max(value, 0) in type `kind`; rounding keeps order and zero, so it comes first and leaves fewer bits."""
    if kind is None:
        return adders.constant(max(value.low, 0)) if adders.is_constant(value) else value.relu()
    if not adders.is_constant(value):
        value = rounded(value, kind)
    if adders.is_constant(value):
        return _constant_in(kind, max(value.low, 0))
    if kind.overflow == "WRAP" and not kind.signed and kind.integer > -value.kif[2]:
        return value.relu(kind.integer)
    positive = value.relu()
    return quantise(positive, kind) if kind.overflow == "WRAP" else _clipped(positive, kind)


def _clipped(value: Any, kind: FixedPoint) -> Any:
    """Return min(value, maximum) for a value that is not negative; only the bits beyond `kind` are looked at."""
    _, kept, fraction = adders.kif(kind)
    _, whole, finest = value.kif
    if whole <= kept or kept <= -finest or value.low >= 2.0**kept:
        return quantise(value, kind)
    beyond = value.quantize(0, whole, -kept) - 2.0**kept  # negative where no bit beyond `kind` is set
    low = value.quantize(0, kept, fraction)
    return beyond.msb_mux(low, adders.constant(kind.maximum, factor=low._factor))  # noqa: SLF001
