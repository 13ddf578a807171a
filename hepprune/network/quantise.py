"""Quantisers inside autograd: the forward value is exact, the gradient passes straight through.

Bengio, Leonard and Courville, arXiv:1308.3432.
"""

import math
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hepprune.fixed import FixedPoint, Quantiser, digits
from hepprune.fixed.quantisers import Binary, FixedPoints
from hepprune.fixed.quantisers.per_value import like

TABLED = 16  # bits of weights whose values under every digit limit are kept: a megabyte or two
_NARROW = {torch.float32: np.float32, torch.float64: np.float64}


class _StraightThrough(torch.autograd.Function):
    """Forward gives the second argument; the first gets its gradient times `slope`, which may be true or false."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, found: Tensor, slope: Tensor) -> Tensor:
        ctx.save_for_backward(slope)
        return found

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        (slope,) = ctx.saved_tensors
        return gradient * slope, None, None


class _Between(torch.autograd.Function):
    """Forward gives the second argument; backward hands the gradient to values of the first between two ends."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, found: Tensor, low: float, high: float) -> Tensor:
        ctx.save_for_backward(values)
        ctx.ends = (low, high)
        return found

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None, None]:
        (values,) = ctx.saved_tensors
        return passed_between(gradient, values, *ctx.ends), None, None, None


def clamped(values: Tensor, low: float, high: float) -> Tensor:
    """Return values brought between two ends; those from end to end, both included, get a gradient."""
    return between(values, torch.clamp(values, low, None if high == math.inf else high), low, high)


def between(values: Tensor, found: Tensor, low: float, high: float) -> Tensor:
    """Return what was found for values, which get its gradient as it is where they lie between two ends."""
    return _Between.apply(values, found, low, high) if values.requires_grad else found  # type: ignore[no-untyped-call]


def sloped(values: Tensor, found: Tensor, slope: Tensor) -> Tensor:
    """Return what was found for values, which get its gradient times a slope."""
    return _StraightThrough.apply(values, found, slope)  # type: ignore[no-untyped-call,no-any-return]


def activations(values: Tensor, quantiser: Quantiser | None) -> Tensor:
    """Quantise activations of any shape; those outside the range get no gradient, as after a clamp."""
    if quantiser is None:
        return values
    with torch.no_grad():
        quantised = quantiser(values)
    if isinstance(quantiser, FixedPoint):
        return between(values, quantised, quantiser.minimum, quantiser.maximum)
    return sloped(values, quantised, _inside(values, quantiser)) if values.requires_grad else quantised


def passed(gradient: Tensor, values: Tensor, quantiser: Quantiser) -> Tensor:
    """Return the gradient of values from that of the activations they were quantised to."""
    if isinstance(quantiser, FixedPoint):
        return passed_between(gradient, values, quantiser.minimum, quantiser.maximum)
    return gradient * _inside(values, quantiser)


def passed_between(gradient: Tensor, values: Tensor, low: float, high: float) -> Tensor:
    """Return the gradient of values from that of values clamped between two ends.

    It is that of a `hardtanh`, which takes one fast kernel where masks of bytes take several slow ones.
    """
    found: Tensor = torch.ops.aten.hardtanh_backward(gradient, values, *_outside(low, high, values.dtype))
    return found


def _inside(values: Tensor, quantiser: Quantiser) -> Tensor:
    low, high = (torch.as_tensor(end).to(values) for end in (quantiser.minimum, quantiser.maximum))
    if isinstance(quantiser, Binary):  # signs are -1 and 1 before they are scaled
        low, high = low.clamp(max=-1), high.clamp(min=1)
    return (values >= low) & (values <= high)


@lru_cache(maxsize=256)
def _outside(low: float, high: float, kind: torch.dtype) -> tuple[float, float]:
    """Return the numbers of a floating type next to two ends, outside."""
    below, above = np.array([low, high], _NARROW[kind])
    return float(np.nextafter(below, -np.inf, dtype=below.dtype)), float(np.nextafter(above, np.inf, dtype=above.dtype))


def weight_integers(values: Tensor, quantiser: FixedPoint | FixedPoints, digit_limit: Tensor) -> Tensor:
    """Return weights as whole numbers of steps with no more signed digits than `digit_limit` (same shape) allows."""
    if isinstance(quantiser, FixedPoints):
        places: Tensor = quantiser(values) / like(quantiser.step, values)
        return shortened(places, quantiser, digit_limit)
    integers = quantiser.integers(values)
    if bool((digit_limit >= _most(quantiser.width)).all()):
        return integers
    return shortened(integers, quantiser, digit_limit)


def shortened(integers: Tensor, quantiser: FixedPoint | FixedPoints, digit_limit: Tensor) -> Tensor:
    """Return the nearest of a type's whole numbers to each with no more signed digits than `digit_limit` allows."""
    low, high = (np.divide(end, quantiser.step) for end in (quantiser.minimum, quantiser.maximum))
    if isinstance(quantiser, FixedPoints) or quantiser.width > TABLED:
        whole = integers.long()
        found = torch.as_tensor(digits.nearest(whole.cpu().numpy(), low, high, digit_limit.cpu().numpy())).to(whole)
        return torch.where(found == whole, integers, found.to(integers))  # what is not a number stays none
    table = limited(quantiser).to(integers)
    return table[digit_limit.clamp(max=len(table) - 1).long(), (integers - float(low)).long()]


def _most(width: int) -> int:
    """Return the digits that no value of so many bits has more of."""
    return (width + 2) // 2


@lru_cache(maxsize=64)
def limited(quantiser: FixedPoint) -> Tensor:
    """Return the nearest whole number to each in range under every digit limit that may bind, (n_limits, n_values)."""
    low, high = quantiser.integer_range
    each = np.arange(low, high + 1)
    limits = range(_most(quantiser.width) + 1)
    return torch.as_tensor(np.stack([digits.nearest(each, low, high, limit) for limit in limits]))


def weights(values: Tensor, quantiser: Quantiser, digit_limit: Tensor) -> Tensor:
    """Quantise weights under a digit limit; a pruned weight (limit 0) gets no gradient, every other one does."""
    with torch.no_grad():
        if isinstance(quantiser, FixedPoint | FixedPoints):
            quantised: Tensor = weight_integers(values, quantiser, digit_limit) * like(quantiser.step, values)
        else:
            quantised = quantiser(values) * (digit_limit > 0)
    return sloped(values, quantised, digit_limit > 0) if values.requires_grad else quantised
