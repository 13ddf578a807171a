"""QKeras' quantisers of activations: each a function and the type of its result."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from hepprune.errors import NetworkError
from hepprune.fixed import FixedPoint, Quantiser
from hepprune.fixed.quantisers import Binary, Ternary
from hepprune.frontends.keras.qkeras.quantisers import is_known, name_of, parse
from hepprune.frontends.keras.qkeras.scales import EPSILON, QuantiserSettings, exponents, fixed_point, ternary_threshold

# Functions of QKeras that share no definition with Keras' own of the same name.
_HALF, _SMOOTH = {"slope": 0.5, "shift": 0.5}, {"slope": 0.1875, "shift": 0.5}
_PLAIN: dict[str, tuple[str, dict[str, float], Quantiser | None]] = {
    "hard_sigmoid": ("hard_sigmoid", _HALF, None),
    "smooth_sigmoid": ("hard_sigmoid", _SMOOTH, None),
    "hard_tanh": ("hard_tanh", _HALF, None),
    "smooth_tanh": ("hard_tanh", _SMOOTH, None),
    "binary_sigmoid": ("hard_sigmoid", _HALF, FixedPoint(1, 1, False, "RND_CONV", "SAT")),
}


@dataclass(frozen=True)
class QuantisedFunction:
    """An element-wise function and the quantiser of its result: "relu", or one of the Network's activations by name."""

    name: str
    parameters: dict[str, float] = field(default_factory=dict)
    result: Quantiser | None = None


def is_quantiser(described: Any) -> bool:
    """Return whether a Keras activation is a quantiser or a function of QKeras rather than Keras' own."""
    name = name_of(described)
    return name in _PLAIN or name == "binary_tanh" or is_known(name)


def activation(described: Any) -> tuple[QuantisedFunction, ...]:
    """Return what a quantiser does to activations: one function, or two of which the larger value counts.

    Raises:
        NetworkError: the quantiser is unknown, or no function and fixed-point type compute the same.
    """
    name = name_of(described)
    if name in _PLAIN:
        return (QuantisedFunction(*_PLAIN[name]),)
    if name == "binary_tanh":
        raise NetworkError("QKeras' binary_tanh, which takes zero as negative, cannot be taken over; use binary")
    found = parse(described)
    if found is None:
        return (QuantisedFunction("linear"),)
    alpha = found.settings.get("alpha")
    if isinstance(alpha, str):
        raise NetworkError(f"{found.kind} of activations with alpha={alpha} depends on the other jets")
    return _ACTIVATIONS[found.kind](found.settings)


def _bits(settings: QuantiserSettings) -> tuple[QuantisedFunction, ...]:
    base, alpha = fixed_point(settings), settings["alpha"]
    if isinstance(base, Binary):
        return (QuantisedFunction("binary_tanh", {}, Binary(_scale(alpha))),)
    if _scale(alpha) == 1:
        return (QuantisedFunction("linear", {}, base),)
    raise NetworkError(f"quantized_bits of activations with alpha={str(alpha)[:40]} multiplies after rounding")


def _scale(alpha: Any) -> float:
    if alpha is None or isinstance(alpha, int | float):
        return 1.0 if alpha is None else float(alpha)
    raise NetworkError(f"a quantiser of activations has alpha={str(alpha)[:40]}, which is not a number")


def _relu(settings: QuantiserSettings) -> tuple[QuantisedFunction, ...]:
    slope, bits, integer = settings["negative_slope"], settings["bits"], settings["integer"]
    if settings["use_sigmoid"]:
        raise NetworkError("quantized_relu with use_sigmoid has an upper end that is not a step of its type")
    if slope:
        return _leaky(settings)
    result, bound = FixedPoint(bits, integer, False, "RND_CONV", "SAT"), settings["relu_upper_bound"]
    if bound and not settings["is_quantized_clip"] and bound < result.maximum:
        if not result.holds(np.asarray(float(bound))):
            raise NetworkError(f"quantized_relu has relu_upper_bound={bound}, which its {bits} bits do not hold")
        return (QuantisedFunction("relu", {"maximum": float(bound)}, result),)
    return (QuantisedFunction("relu", {}, result),)


def _leaky(settings: QuantiserSettings) -> tuple[QuantisedFunction, ...]:
    """Return both sides of a leaky ReLU: QKeras clips the negative one at slope * 2**integer, not at 2**integer."""
    slope, bits, integer = settings["negative_slope"], settings["bits"], settings["integer"]
    shift = -int(np.log2(slope))
    if slope != 2.0**-shift or not 0 <= shift < bits or settings["relu_upper_bound"]:
        raise NetworkError(f"quantized_relu of negative_slope={slope} is taken over from 2**{1 - bits} to 1, unbounded")
    positive = FixedPoint(bits, integer + 1, True, "RND_CONV", "SAT")
    negative = FixedPoint(bits - shift, integer + 1 - shift, True, "RND_CONV", "SAT")
    return QuantisedFunction("linear", {}, positive), QuantisedFunction("leaky_relu", {"slope": float(slope)}, negative)


def _tanh(settings: QuantiserSettings) -> tuple[QuantisedFunction, ...]:
    if settings["symmetric"] and settings["bits"] < 2:
        raise NetworkError("quantized_tanh with one bit and symmetric=True holds nothing but zero")
    overflow = "SAT_SYM" if settings["symmetric"] else "SAT"
    result, real = FixedPoint(settings["bits"], 1, True, "RND_CONV", overflow), settings["use_real_tanh"]
    return (QuantisedFunction("tanh", {}, result) if real else QuantisedFunction("hard_tanh", _HALF, result),)


def _sigmoid(settings: QuantiserSettings) -> tuple[QuantisedFunction, ...]:
    if settings["symmetric"]:
        raise NetworkError("quantized_sigmoid with symmetric=True has a lower end above zero")
    result, real = FixedPoint(settings["bits"], 0, False, "RND_CONV", "SAT"), settings["use_real_sigmoid"]
    return (QuantisedFunction("sigmoid", {}, result) if real else QuantisedFunction("hard_sigmoid", _HALF, result),)


def _binary(settings: QuantiserSettings) -> tuple[QuantisedFunction, ...]:
    scale = _scale(settings["alpha"])
    if not settings["use_01"]:
        return (QuantisedFunction("binary_tanh", {}, Binary(scale)),)
    if scale != 1:
        raise NetworkError(f"binary of activations with use_01 and alpha={scale} has no fixed-point type")
    return (QuantisedFunction("binary_tanh", {}, FixedPoint(1, 1, False, "TRN", "SAT")),)


def _ternary(settings: QuantiserSettings) -> tuple[QuantisedFunction, ...]:
    return (QuantisedFunction("linear", {}, Ternary(float(ternary_threshold(settings)), _scale(settings["alpha"]))),)


def _po2(settings: QuantiserSettings, *, sign_bits: int) -> tuple[QuantisedFunction, ...]:
    if settings["quadratic_approximation"] or settings["log2_rounding"] != "rnd" or settings.get("negative_slope"):
        raise NetworkError("activations as even powers of two, rounded down or with a slope cannot be taken over")
    result = replace(exponents(settings, sign_bits=sign_bits), zero=float(EPSILON))
    return (QuantisedFunction("linear" if sign_bits else "relu", {}, result),)


_ACTIVATIONS: dict[str, Callable[[QuantiserSettings], tuple[QuantisedFunction, ...]]] = {
    "quantized_bits": _bits,
    "quantized_relu": _relu,
    "quantized_tanh": _tanh,
    "quantized_sigmoid": _sigmoid,
    "binary": _binary,
    "stochastic_binary": _binary,
    "ternary": _ternary,
    "stochastic_ternary": _ternary,
    "quantized_po2": lambda settings: _po2(settings, sign_bits=1),
    "quantized_relu_po2": lambda settings: _po2(settings, sign_bits=0),
}
