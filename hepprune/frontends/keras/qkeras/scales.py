"""What QKeras makes of an array of weights: its arithmetic in float32, with scales that follow from the weights."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hepprune.errors import NetworkError, explained
from hepprune.fixed import FixedPoint, Quantiser
from hepprune.fixed.quantisers import Binary, PowerOfTwo, Ternary

Float32s = NDArray[np.float32]
QuantiserSettings = dict[str, Any]

EPSILON = np.float32(1e-7)  # Keras' own, which QKeras adds to what it divides by and takes logarithms of
_LOG2 = np.float32(np.log(2.0))
_UNROLLS = 5  # rounds in which quantized_bits looks for its power of two


@dataclass(frozen=True, kw_only=True)
class Rounded:
    """Weights as QKeras uses them, and how they come about: `base` at scale 1, times `scale`, of the `latent` values.

    `scale` and `threshold` (of ternary weights) have the shape of the values; a scale of zero leaves only zeros.
    """

    values: Float32s
    base: Quantiser
    scale: Float32s
    latent: Float32s
    threshold: Float32s | None = None


def rounded(kind: str, settings: QuantiserSettings, weights: NDArray[Any]) -> Rounded:
    """Return the weights under a quantiser of QKeras, by its name and all of its settings, at inference.

    Raises:
        NetworkError: the quantiser is none for weights, or its settings contradict each other.
    """
    if kind not in _KINDS:
        raise NetworkError(f"{kind} quantises no weights")
    with np.errstate(divide="ignore", invalid="ignore"):  # a channel of zeros divides by its scale, which is zero
        found = _KINDS[kind](settings, np.asarray(weights, np.float32))
    if not np.isfinite(found.values).all():
        raise NetworkError(f"{kind} turns weights into numbers that are not finite")
    return found


def constant(alpha: Any, like: Float32s) -> Float32s:
    """Return a scale that is given, in the shape of the weights; none at all is 1."""
    unfit = f"a scale alpha={str(alpha)[:40]} does not fit weights of shape {like.shape}"
    with explained(NetworkError, unfit, TypeError, ValueError):
        return _spread(np.asarray(1.0 if alpha is None else alpha, np.float32), like)


def _channel_axes(weights: Float32s, scale_axis: int | None) -> tuple[int, ...]:
    kept = weights.ndim - 1 if scale_axis is None else scale_axis
    return tuple(axis for axis in range(weights.ndim) if axis != kept)


def _po2(scale: Float32s) -> Float32s:
    found: Float32s = np.exp2(np.round(np.log(scale + EPSILON) / _LOG2)).astype(np.float32)
    return found


def _least_squares(alpha: str, weights: Float32s, whole: Float32s, scale_axis: int | None = None) -> Float32s:
    """Return the scale per channel that brings `whole` nearest to the weights."""
    products, squares = weights * whole, whole * whole
    if weights.ndim > 1:
        axes = _channel_axes(weights, scale_axis)
        both = (np.mean(values, axis=axes, keepdims=True) for values in (products, squares))
        products, squares = (np.asarray(each, np.float32) for each in both)
    scale = products / (squares + EPSILON)
    return _po2(scale) if alpha == "auto_po2" else scale


def _largest(weights: Float32s, scale_axis: int | None = None) -> Float32s:
    axes = _channel_axes(weights, scale_axis) if weights.ndim > 1 else None
    return np.asarray(np.max(np.abs(weights), axis=axes, keepdims=True), np.float32)


def _spread(scale: Float32s, weights: Float32s) -> Float32s:
    return np.broadcast_to(scale, weights.shape).astype(np.float32)


def fixed_point(settings: QuantiserSettings) -> FixedPoint | Binary:
    """Return the type of quantized_bits at scale 1; one signed bit is a sign.

    Raises:
        NetworkError: it has no bits.
    """
    keep, bits = int(bool(settings["keep_negative"])), int(settings["bits"])
    if bits < 1:
        raise NetworkError(f"quantized_bits has {bits} bits")
    if bits == keep:
        return Binary()
    overflow = "SAT_SYM" if settings["symmetric"] and keep else "SAT"
    return FixedPoint(bits, int(settings["integer"]) + keep, bool(keep), "RND_CONV", overflow)


def _bits(settings: QuantiserSettings, weights: Float32s) -> Rounded:
    if isinstance(settings["alpha"], str):
        return _scaled_bits(settings, weights)
    scale, base = constant(settings["alpha"], weights), fixed_point(settings)
    return Rounded(values=scale * base(weights), base=base, scale=scale, latent=weights * scale)


def _scaled_bits(settings: QuantiserSettings, weights: Float32s) -> Rounded:
    """Return weights over a scale that follows from them: the largest ("auto") or a power of two ("auto_po2")."""
    bits, integer = int(settings["bits"]), int(settings["integer"])
    unsigned, axis = bits - int(bool(settings["keep_negative"])), settings["scale_axis"]
    if bits < 2:
        raise NetworkError(f"quantized_bits with {bits} bits has no scale of its own")
    values = weights / np.float32(2.0**integer)
    half = np.float32(2 ** (bits - 1) - 1)
    frozen = settings["post_training_scale"]
    if frozen is not None:
        scale = constant(frozen, weights) / np.float32(2.0**unsigned)
    else:
        scale = (_largest(values, axis) * np.float32(2)) / (half * np.float32(2))
    whole = _whole(values, scale, half)
    if settings["alpha"] == "auto_po2" and frozen is None:
        scale = _po2(scale)
        for _ in range(_UNROLLS):
            whole = _whole(values, scale, half)
            scale = _least_squares("auto_po2", values, whole, axis)
    base = FixedPoint(bits, integer + bits - unsigned, True, "RND_INF", "SAT_SYM")
    scale = _spread(scale * np.float32(2.0**unsigned), weights)
    return Rounded(values=scale * (whole * np.float32(base.step)), base=base, scale=scale, latent=weights)


def _whole(values: Float32s, scale: Float32s, half: np.float32) -> Float32s:
    count = np.floor(np.abs(values) / scale + np.float32(0.5))
    found: Float32s = np.sign(values) * np.where(count < half, count, half)
    return found


def _binary(settings: QuantiserSettings, weights: Float32s) -> Rounded:
    signs = np.where(weights >= 0, np.float32(1), np.float32(-1))
    base: Quantiser = Binary()
    if settings["use_01"]:
        signs, base = (signs + 1) / 2, FixedPoint(1, 1, False, "RND_CONV", "SAT")
    alpha = settings["alpha"]
    scale = _least_squares(alpha, weights, signs) if isinstance(alpha, str) else constant(alpha, weights)
    scale = _spread(scale, weights)
    return Rounded(values=scale * signs, base=base, scale=scale, latent=scale * signs)


def _ternary(settings: QuantiserSettings, weights: Float32s) -> Rounded:
    alpha = settings["alpha"]
    if not isinstance(alpha, str):
        threshold, scale = _spread(ternary_threshold(settings), weights), constant(alpha, weights)
        signs = np.sign(weights) * (np.abs(weights) > threshold)
        return Rounded(values=scale * signs, base=Ternary(), scale=scale, latent=weights, threshold=threshold)
    if settings["threshold"] is not None:
        raise NetworkError("ternary with a scale of its own takes no threshold")
    # Without an axis for channels (one axis only), QKeras takes the largest of all.
    scale = np.float32(2) * _largest(weights) / np.float32(3)
    scale = _po2(scale) if alpha == "auto_po2" else scale
    signs, threshold = np.zeros_like(weights), scale
    for _ in range(int(settings["number_of_unrolls"])):
        threshold = scale / np.float32(2)
        signs = np.sign(weights) * (np.abs(scale * np.round(weights / scale)) >= threshold)
        scale = _least_squares(alpha, weights, signs)
    scale, threshold = _spread(scale, weights), _spread(threshold, weights)
    return Rounded(values=scale * signs, base=Ternary(), scale=scale, latent=weights, threshold=threshold)


def ternary_threshold(settings: QuantiserSettings) -> Float32s:
    """Return the largest magnitude that a ternary quantiser turns to zero: the float32 just below its threshold."""
    given = settings["threshold"]
    return np.asarray(np.nextafter(np.float32(0.33 if given is None else given), np.float32(0)))


def exponents(settings: QuantiserSettings, *, sign_bits: int) -> PowerOfTwo:
    """Return the powers of two of quantized_po2 (one sign bit) or quantized_relu_po2 (none).

    Raises:
        NetworkError: they leave the range from 2**-52 to 2**52.
    """
    largest = settings["max_value"]
    bits = int(settings["bits"]) - sign_bits - (largest is None or largest > 1)
    if not 0 <= bits <= 16:
        raise NetworkError(f"a power of two with {settings['bits']} bits has no exponents")
    lowest, highest, factor = -(2**bits), 2**bits - 1, 1
    if settings["quadratic_approximation"]:
        highest, factor = 2 * (highest // 2), 2
    if largest is not None and largest > 0:
        exponent = np.round(np.log2(np.float64(max(largest, EPSILON))) / factor)
        highest = max(min(highest, int(exponent)), lowest)
    return PowerOfTwo(max(lowest * factor, -52), min(highest * factor, 52), bool(sign_bits))


def _powers(settings: QuantiserSettings, weights: Float32s, *, sign_bits: int) -> Rounded:
    if settings.get("negative_slope"):
        raise NetworkError("quantized_relu_po2 with a negative slope quantises no weights")
    base = exponents(settings, sign_bits=sign_bits)
    factor = 2 if settings["quadratic_approximation"] else 1
    latent = weights if sign_bits else np.maximum(weights, 0)
    magnitude = np.maximum(np.abs(latent), EPSILON)
    if settings["max_value"] is not None:
        magnitude = np.minimum(magnitude, np.float32(settings["max_value"]))
    logarithm = np.log(np.sqrt(magnitude) if factor == 2 else magnitude) / _LOG2
    exponent = np.floor(logarithm) if settings["log2_rounding"] == "floor" else np.round(logarithm)
    exponent = np.clip(factor * exponent, base.lowest, base.highest)
    tiny = np.abs(latent) < EPSILON
    power = np.exp2(np.where(tiny, base.lowest // factor, exponent)).astype(np.float32)  # a quirk: not doubled there
    values = np.where(latent < 0, -power, power)
    return Rounded(values=values, base=base, scale=np.ones_like(values), latent=latent)


def _positive(settings: QuantiserSettings, weights: Float32s) -> Rounded:
    if settings["negative_slope"] or settings["use_sigmoid"]:
        raise NetworkError("quantized_relu with a slope or a sigmoid quantises no weights")
    plain = settings | {"keep_negative": False, "symmetric": False, "alpha": None}
    return replace(_bits(plain, weights), latent=np.maximum(weights, 0))


_KINDS: dict[str, Callable[[QuantiserSettings, Float32s], Rounded]] = {
    "quantized_bits": _bits,
    "binary": _binary,
    "stochastic_binary": lambda settings, weights: _binary(settings | {"use_01": False}, weights),
    "ternary": _ternary,
    "stochastic_ternary": _ternary,
    "quantized_po2": partial(_powers, sign_bits=1),
    "quantized_relu": _positive,
    "quantized_relu_po2": partial(_powers, sign_bits=0),
}
