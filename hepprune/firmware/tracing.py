"""One layer at a time in symbolic fixed-point arithmetic, exactly as `exact_logits` computes it."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from hepprune.errors import NetworkError
from hepprune.firmware import adders
from hepprune.fixed import FixedPoint
from hepprune.network import BatchNorm, Dense, Input, Node, ReLU, Rules

TRACES: Rules[Callable[..., list[Any]]] = Rules(
    lacks="cannot be traced into an adder graph",
    fix="build the network by way of hls4ml, which takes it (`hepprune.firmware.hls`)",
    fixes={BatchNorm: "fold it into the layer before it first (`hepprune.pruning.folding`)"},
)


def trace(node: Node, *arriving: list[Any], depth_slack: int) -> list[Any]:
    """Return the variables that a node puts out for those that come in, in symbolic arithmetic.

    Raises:
        NetworkError: no rule traces the layer, it lacks a type, or is wider than da4ml can represent.
    """
    values = TRACES.find(node.layer)(node.layer, *arriving, depth_slack=depth_slack)
    done = isinstance(node.layer, Input | ReLU) and node.layer.result is not None  # those come in their type
    for quantiser in node.results[done:]:
        if not isinstance(quantiser, FixedPoint):
            kind = type(quantiser).__name__
            raise NetworkError(f"layer '{node.name}' has a {kind} result, no single fixed-point type")
        values = [_quantise(value, quantiser) for value in values]
    return values


@TRACES.of(Input)
def _ports(layer: Input, *, depth_slack: int) -> list[Any]:
    del depth_slack
    kind = layer.fixed_result
    if kind is None:
        raise NetworkError(f"input '{layer.name}' has no fixed-point type")
    return [adders.port(kind) for _ in range(layer.n_features)]


def _constant_in(kind: FixedPoint, value: Any) -> Any:
    return adders.constant(kind(np.array([float(value)]))[0])


@TRACES.of(Dense)
@torch.no_grad()
def _dense(layer: Dense, arriving: list[Any], *, depth_slack: int) -> list[Any]:
    """Return weight @ arriving + bias; inputs that are constant go into the bias, so da4ml sees only what moves."""
    _check_dense(layer)
    weight, bias = layer.used_weight().cpu().numpy(), layer.used_bias().cpu().numpy()
    bias = bias + weight @ np.array([float(value.low) if adders.is_constant(value) else 0.0 for value in arriving])
    columns = [i for i, value in enumerate(arriving) if not adders.is_constant(value) and weight[:, i].any()]
    rows = np.flatnonzero(weight[:, columns].any(axis=1))
    outputs = [adders.constant(value) for value in bias]
    if len(rows):
        kernel = weight[rows][:, columns].T
        for row, total in zip(rows, adders.multiply([arriving[i] for i in columns], kernel, depth_slack), strict=True):
            outputs[row] = total + float(bias[row])
    return outputs


def _check_dense(layer: Dense) -> None:
    weight_type, bias_type = layer.fixed_types
    if weight_type.width > adders.MAX_WEIGHT_WIDTH:
        raise NetworkError(
            f"layer '{layer.name}' has {weight_type.width}-bit weights; da4ml takes up to {adders.MAX_WEIGHT_WIDTH}"
        )
    if max(weight_type.fraction, bias_type.fraction) > adders.MAX_FRACTION:
        raise NetworkError(
            f"layer '{layer.name}' has constants finer than 2**-{adders.MAX_FRACTION}, which da4ml cannot hold"
        )


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


def _before_truncation(value: Any, kind: FixedPoint) -> Any:
    """Return the value with the rounding term added, so that dropping bits below `kind` rounds as `kind` asks."""
    sign, whole, fraction = value.kif
    if fraction <= kind.fraction:
        return value
    constant, source, factor = _TERMS[kind.rounding](kind.step / 2, 2.0**-fraction)
    if source == "sign" and sign:
        value = value + value.quantize(0, whole + 1, -whole) * (2.0**-whole * factor)
    elif source == "last":
        value = value + value.quantize(0, 1 - kind.fraction, kind.fraction) * (factor / kind.step)
    return value + constant


def _rounded(value: Any, kind: FixedPoint) -> Any:
    """Return the value without bits below `kind`."""
    value = _before_truncation(value, kind)
    sign, whole, fraction = value.kif
    if fraction <= kind.fraction:
        return value
    # A negative value above -step still rounds down to -step, so its sign bit stays even where no other bit does.
    return value.quantize(sign, max(whole, -kind.fraction) if sign else whole, kind.fraction)


def _quantise(value: Any, kind: FixedPoint) -> Any:
    if adders.is_constant(value):
        return _constant_in(kind, value.low)
    value = _rounded(value, kind)
    if adders.is_constant(value):
        return _constant_in(kind, value.low)
    if kind.overflow == "WRAP" and not kind.signed:
        value = _positive(value, kind)
    return value.quantize(*adders.kif(kind), kind.overflow, "TRN")


def _positive(value: Any, kind: FixedPoint) -> Any:
    """Return the value plus 2**integer where negative, if `kind` is so wide that da4ml would not extend the sign."""
    sign, whole, _ = value.kif
    if not sign or kind.integer <= whole + 1:
        return value
    return value + value.quantize(0, whole + 1, -whole) * 2.0 ** (kind.integer - whole)


@TRACES.of(ReLU)
def _activation(layer: ReLU, arriving: list[Any], *, depth_slack: int) -> list[Any]:
    del depth_slack
    if layer.maximum is not None:
        raise NetworkError(f"layer '{layer.name}' (ReLU) has a maximum of its own; give it a type that saturates there")
    return [_relu(value, layer.fixed_result) for value in arriving]


def _relu(value: Any, kind: FixedPoint | None) -> Any:
    """Return max(value, 0) in type `kind`; rounding keeps order and zero, so it comes first and leaves fewer bits."""
    if kind is None:
        return adders.constant(max(value.low, 0)) if adders.is_constant(value) else value.relu()
    if not adders.is_constant(value):
        value = _rounded(value, kind)
    if adders.is_constant(value):
        return _constant_in(kind, max(value.low, 0))
    if kind.overflow == "WRAP" and not kind.signed and kind.integer > -value.kif[2]:
        return value.relu(kind.integer)
    positive = value.relu()
    return _quantise(positive, kind) if kind.overflow == "WRAP" else _clipped(positive, kind)


def _clipped(value: Any, kind: FixedPoint) -> Any:
    """Return min(value, maximum) for a value that is not negative; only the bits beyond `kind` are looked at."""
    _, kept, fraction = adders.kif(kind)
    _, whole, finest = value.kif
    if whole <= kept or kept <= -finest or value.low >= 2.0**kept:
        return _quantise(value, kind)
    beyond = value.quantize(0, whole, -kept) - 2.0**kept  # negative where no bit beyond `kind` is set
    low = value.quantize(0, kept, fraction)
    return beyond.msb_mux(low, adders.constant(kind.maximum, factor=low._factor))  # noqa: SLF001
