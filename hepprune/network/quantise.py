"""Quantisers inside autograd: the forward value is exact, the gradient passes straight through.

Bengio, Leonard and Courville, arXiv:1308.3432.
"""

from typing import Any

import torch
from torch import Tensor

from hepprune import digits
from hepprune.fixed import FixedPoint, Quantiser


class _StraightThrough(torch.autograd.Function):
    """Forward gives the second argument; backward hands the gradient to the first wherever `inside` holds."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, quantised: Tensor, inside: Tensor) -> Tensor:
        ctx.save_for_backward(inside)
        return quantised

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        (inside,) = ctx.saved_tensors
        return gradient * inside, None, None


def activations(values: Tensor, quantiser: Quantiser) -> Tensor:
    """Quantise activations of any shape; those outside the range get no gradient, as after a clamp."""
    quantised = quantiser(values)
    if not values.requires_grad:
        return quantised
    low, high = (torch.as_tensor(end, dtype=values.dtype) for end in (quantiser.minimum, quantiser.maximum))
    inside = (values >= low) & (values <= high)
    return _StraightThrough.apply(values, quantised, inside)  # type: ignore[no-untyped-call,no-any-return]


def weight_integers(values: Tensor, quantiser: FixedPoint, digit_limit: Tensor) -> Tensor:
    """Return weights as whole numbers of steps with no more signed digits than `digit_limit` (same shape) allows."""
    integers = quantiser.integers(values)
    low, high = quantiser.integer_range
    for limit in torch.unique(digit_limit).tolist():
        if limit == 0:
            integers = integers * (digit_limit != 0)
        elif limit < (quantiser.width + 2) // 2:  # a wider limit can bind on no value of this width
            table = torch.as_tensor(digits.nearest(low, high, limit).copy(), device=values.device)
            limited = table[(integers - low).long()].to(values.dtype)
            integers = torch.where(digit_limit == limit, limited, integers)
    return integers


def weights(values: Tensor, quantiser: Quantiser, digit_limit: Tensor) -> Tensor:
    """Quantise weights under a digit limit; a pruned weight (limit 0) gets no gradient, every other one does."""
    if isinstance(quantiser, FixedPoint):
        quantised = weight_integers(values, quantiser, digit_limit) * quantiser.step
    else:
        quantised = quantiser(values) * (digit_limit > 0)
    if not values.requires_grad:
        return quantised
    return _StraightThrough.apply(values, quantised, digit_limit > 0)  # type: ignore[no-untyped-call,no-any-return]
