"""QKeras' quantisers, from their configs or texts to those of a Network, and back (Coelho et al., arXiv:2006.10159)."""

import ast
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hepprune.errors import NetworkError, explained, unknown
from hepprune.fixed import FixedPoint, Quantiser
from hepprune.fixed.quantisers import Binary, PowerOfTwo, Scaled, Ternary
from hepprune.fixed.quantisers.scaled import tuples
from hepprune.frontends.keras.qkeras.scales import Float32s, QuantiserSettings, rounded

_MAX_TEXT = 1000
_ROUNDING = {"use_stochastic_rounding": False}
_NOISE = {"qnoise_factor": 1.0, "var_name": None, "use_ste": True, "use_variables": False}
_PO2 = _ROUNDING | {"quadratic_approximation": False, "log2_rounding": "rnd"} | _NOISE
_SAMPLED = {"temperature": 0.0, "use_real_sigmoid": True}
_BITS = {"bits": 8, "integer": 0, "symmetric": 0, "keep_negative": True, "alpha": None} | _ROUNDING
_RELU = {"bits": 8, "integer": 0, "use_sigmoid": 0, "negative_slope": 0.0} | _ROUNDING
# Arguments in order, with QKeras' defaults; what only training uses is there to be accepted.
_ARGUMENTS: dict[str, QuantiserSettings] = {
    "quantized_bits": _BITS | {"scale_axis": None} | _NOISE | {"post_training_scale": None},
    "quantized_relu": _RELU | {"relu_upper_bound": None, "is_quantized_clip": True} | _NOISE,
    "quantized_tanh": {"bits": 8} | _ROUNDING | {"symmetric": False, "use_real_tanh": False},
    "quantized_sigmoid": {"bits": 8, "symmetric": False, "use_real_sigmoid": False} | _ROUNDING,
    "binary": {"use_01": False, "alpha": None} | _ROUNDING,
    "stochastic_binary": {"alpha": None} | _SAMPLED,
    "ternary": {"alpha": None, "threshold": None} | _ROUNDING | {"number_of_unrolls": 5},
    "stochastic_ternary": {"alpha": None, "threshold": None} | _SAMPLED | {"number_of_unrolls": 5},
    "quantized_po2": {"bits": 8, "max_value": None} | _PO2,
    "quantized_relu_po2": {"bits": 8, "max_value": None, "negative_slope": 0} | _PO2,
}
_REFUSED = {
    "quantized_ulaw": "its steps are not uniform",
    "quantized_linear": "it is in no release of QKeras",
    "quantized_hswish": "no layer computes it",
    "bernoulli": "it draws random values at inference too",
}
_AUTOMATIC = ("quantized_bits", "binary", "stochastic_binary", "ternary", "stochastic_ternary")


@dataclass(frozen=True)
class Described:
    """A quantiser of QKeras: its name, and all of its settings."""

    kind: str
    settings: QuantiserSettings

    @property
    def config(self) -> dict[str, Any]:
        """The quantiser as Keras' JSON, without what is only known to Python."""
        left_out = {"scale_axis", "var_name", "use_ste", "use_variables", "is_quantized_clip"}
        left_out |= {"post_training_scale"} if self.settings.get("post_training_scale") is None else set()
        config = {key: value for key, value in self.settings.items() if key not in left_out}
        return {"class_name": self.kind, "config": config, "registered_name": self.kind, "module": "qkeras.quantizers"}

    def scaled_to_weights(self) -> "Described":
        """Return the quantiser as layers use it for kernels: without an alpha, a power of two per channel."""
        if self.kind not in _AUTOMATIC or self.settings["alpha"] is not None:
            return self
        symmetric = {"symmetric": True} if self.kind == "quantized_bits" else {}
        return Described(self.kind, self.settings | {"alpha": "auto_po2"} | symmetric)


def is_known(name: Any) -> bool:
    """Return whether QKeras has a quantiser of that name."""
    return name in _ARGUMENTS or name in _REFUSED


def parse(described: Any) -> Described | None:
    """Return the quantiser that a config ({"class_name", "config"}) or a text ("quantized_bits(6, 0)") describes.

    Raises:
        NetworkError: it is unknown, has settings that are not literals, or cannot be taken over.
    """
    if described is None:
        return None
    if isinstance(described, str):
        return _checked(*_called(described))
    if not isinstance(described, dict) or not isinstance(name_of(described), str):
        raise NetworkError(f"{str(described)[:60]} describes no quantiser")
    config = described.get("config") or {}
    if not isinstance(config, dict):
        raise NetworkError(f"{name_of(described)} has a config that is not a mapping")
    return _checked(name_of(described), [], config)


def name_of(described: Any) -> Any:
    """Return the name in a config or a text, None where there is none."""
    if isinstance(described, str):
        return described.split("(", maxsplit=1)[0].strip()
    if not isinstance(described, dict):
        return None
    name = described.get("config" if described.get("class_name") == "function" else "class_name")
    return name.removeprefix("qkeras>") if isinstance(name, str) else name  # as qkeras-v3 registers them


def _called(text: str) -> tuple[str, list[Any], QuantiserSettings]:
    """Return a name, arguments and keywords from a text such as "quantized_bits(6,0,alpha=1)"."""
    name = name_of(text)
    # QKeras splits the text at "(" and ignores all arguments unless there is exactly one: a quantiser inside another's
    # arguments, as in "quantized_relu(quantized_bits(6), 0)", means the defaults.
    if text.count("(") != 1:
        return name, [], {}
    damage = (SyntaxError, ValueError, TypeError, MemoryError, RecursionError)
    with explained(NetworkError, f"'{text[:60]}' is not a call of a quantiser with plain numbers", *damage):
        call = ast.parse(text.strip(), mode="eval").body if len(text) <= _MAX_TEXT else None
        if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Name):
            raise NetworkError(f"'{text[:60]}' is not a call of a quantiser")
        keywords = {keyword.arg or "**": ast.literal_eval(keyword.value) for keyword in call.keywords}
        return call.func.id, [ast.literal_eval(argument) for argument in call.args], keywords


def _checked(kind: str, given: list[Any], named: QuantiserSettings) -> Described:
    if kind in _REFUSED:
        raise NetworkError(f"the quantiser {kind} cannot be taken over: {_REFUSED[kind]}")
    if kind not in _ARGUMENTS:
        raise NetworkError(unknown("quantiser", str(kind)[:60], _ARGUMENTS))
    known = _ARGUMENTS[kind]
    named = {key: value for key, value in named.items() if key in known or value is not None}  # newer ones say nothing
    odd = sorted(set(named) - set(known))
    if odd or len(given) > len(known):
        raise NetworkError(f"{kind} takes no {', '.join(odd) if odd else f'{len(given)} arguments'}")
    settings = known | dict(zip(known, given, strict=False)) | named
    _check_values(kind, settings)
    if isinstance(settings.get("alpha"), str) and kind == "quantized_bits":
        settings["symmetric"] = True
    return Described(kind, {"use_01": False} | settings if kind == "stochastic_binary" else settings)


def _check_values(kind: str, settings: QuantiserSettings) -> None:
    for name, limit in (("bits", 52), ("integer", 64)):
        value = settings.get(name, 1)
        value = value[0] if isinstance(value, list | tuple) and len(value) == 1 else value
        if isinstance(value, bool) or not isinstance(value, int | float) or value != int(value) or abs(value) > limit:
            raise NetworkError(f"{kind} has {name}={str(settings[name])[:40]}, no whole number up to {limit}")
        settings.update({name: int(value)} if name in settings else {})
    for name in ("threshold", "max_value", "negative_slope", "relu_upper_bound", "qnoise_factor"):
        value = settings.get(name)
        if value is not None and not (isinstance(value, int | float) and np.isfinite(value) and value >= 0):
            raise NetworkError(f"{kind} has {name}={str(value)[:40]}, no number from 0 on")
    if settings.get("qnoise_factor", 1.0) != 1:
        raise NetworkError(f"{kind} mixes in unquantised values (qnoise_factor={settings['qnoise_factor']})")
    alpha = settings.get("alpha")
    if isinstance(alpha, str) and alpha not in {"auto", "auto_po2"}:
        raise NetworkError(f"{kind} has " + unknown("alpha", alpha[:40], ("auto", "auto_po2")))
    if settings.get("post_training_scale") is not None and not isinstance(alpha, str):
        raise NetworkError(f"{kind} has a post_training_scale beside a scale that is none of its own")


def used(described: Described | None, array: NDArray[Any]) -> Float32s:
    """Return the weights that QKeras computes with, in the layout of the array."""
    plain = np.asarray(array, np.float32)
    return plain if described is None else rounded(described.kind, described.settings, plain).values


def weights(
    described: Described | None, array: NDArray[Any], *, arrange: Callable[[Float32s], Float32s] = lambda a: a
) -> tuple[Quantiser | None, Float32s]:
    """Return the quantiser of an array of weights and the latent weights, both in the layout that `arrange` gives.

    A scale that QKeras derives from the weights is a constant of the quantiser. A latent weight is the one given
    unless the quantiser would make another value of it than QKeras does; then it is that value.

    Raises:
        NetworkError: no quantiser of a Network gives the values.
    """
    plain = np.asarray(array, np.float32)
    if described is None:
        return None, arrange(plain)
    found = rounded(described.kind, described.settings, plain)
    scale = _compact(arrange(found.scale))
    threshold = None if found.threshold is None else _compact(arrange(found.threshold))
    quantiser = _scaled(found.base, scale, threshold)
    return quantiser, _settled(quantiser, arrange(found.latent), arrange(found.values))


def _scaled(base: Quantiser, scale: Float32s, threshold: Float32s | None) -> Quantiser:
    if isinstance(base, PowerOfTwo):
        return base
    if isinstance(base, Binary):
        return Binary(_nested(scale))
    if isinstance(base, Ternary):
        return Ternary(_nested(threshold), _nested(scale))
    if not isinstance(base, FixedPoint):
        raise NetworkError(f"weights of type {type(base).__name__} have no scale")
    if (scale < 0).any():
        raise NetworkError("a quantiser of weights has a negative scale")
    positive = np.where(scale > 0, scale, np.float32(1))
    if positive.size == 1 and np.frexp(positive.item())[0] == 0.5:
        shift = int(np.frexp(positive.item())[1]) - 1
        return FixedPoint(base.width, base.integer + shift, base.signed, base.rounding, base.overflow)
    return Scaled(base, _nested(positive))


def _settled(quantiser: Quantiser, latent: Float32s, values: Float32s) -> Float32s:
    for floating in (np.float32, np.float64):
        latent = np.where(quantiser(latent.astype(floating)).astype(np.float32) == values, latent, values)
    for floating in (np.float32, np.float64):
        if not np.array_equal(quantiser(latent.astype(floating)).astype(np.float32), values):
            raise NetworkError(f"weights under {str(quantiser)[:60]} have values that it does not hold")
    return latent


def _compact(array: Float32s) -> Float32s:
    """Return the array with one entry along every axis on which it does not change."""
    for axis in range(array.ndim):
        first = np.take(array, [0], axis=axis)
        array = first if (array == first).all() else array
    return array


def _nested(array: Float32s | None) -> Any:
    if array is None or array.size == 1:
        return None if array is None else float(array.item())
    return tuples(array.astype(np.float64).tolist())


def held(
    described: Described | None, quantiser: Quantiser | None, *, latent: Float32s, acting: Float32s, scale: Float32s
) -> tuple[dict[str, Any] | None, Float32s]:
    """Return a config (None where the present one serves) and the array of which QKeras makes the weights that act.

    A scale that QKeras would derive anew, and otherwise, from fewer weights is written down as a number. All arrays are
    in the layout of QKeras; `scale` is that of the quantiser for every weight.

    Raises:
        NetworkError: no quantiser of QKeras gives the weights.
    """
    fixed = Described("quantized_bits", _ARGUMENTS["quantized_bits"] | _as_bits(quantiser, _compact(scale)))
    for values in (latent, acting):
        for choice in (described, fixed):
            array = _unscaled(choice, values)
            if array is not None and np.array_equal(used(choice, array), acting):
                return (fixed.config if choice is fixed else None), array
    raise NetworkError(f"weights of type {type(quantiser).__name__} have values that no quantised layer holds")


def _unscaled(described: Described | None, values: Float32s) -> Float32s | None:
    """Return values without the scale that a quantiser gives them, None where it has one for other numbers of them."""
    settings = {} if described is None else described.settings
    alpha, frozen = settings.get("alpha"), settings.get("post_training_scale")
    given = alpha if frozen is None else frozen
    if given is None or isinstance(given, str):
        return values
    scale = np.asarray(given, np.float32)
    try:
        np.broadcast_to(scale, values.shape)
    except ValueError:
        return None
    return values if frozen is not None else np.asarray(values / scale, np.float32)


def _as_bits(quantiser: Quantiser | None, scale: Float32s) -> QuantiserSettings:
    """Return the settings of the quantized_bits that holds a quantiser's values, its scale written down."""
    if isinstance(quantiser, Scaled):
        base, alpha = quantiser.base, scale.tolist() if scale.size > 1 else float(scale.item())
    elif isinstance(quantiser, Binary | Ternary):
        base, alpha = FixedPoint(2, 2, True, "RND_CONV", "SAT_SYM"), scale.tolist()
    elif isinstance(quantiser, FixedPoint):
        base, alpha = quantiser, 1.0
    else:
        return {}
    ends = {"symmetric": int(base.overflow == "SAT_SYM"), "keep_negative": base.signed, "alpha": alpha}
    return {"bits": base.width, "integer": base.integer - int(base.signed)} | ends


def scale_of(quantiser: Quantiser | None) -> NDArray[np.float64]:
    """Return the scale of a quantiser, 1 where it has none."""
    return np.asarray(getattr(quantiser, "scale", 1.0), np.float64)
