"""The fixed-point type of a width that fits given numbers best."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from hepprune.fixed import FixedPoint

TensorFunction = Callable[[Tensor], Tensor]
_WIDEST = 52  # bits that a type has
_EXACT = 16  # bits up to which constants are held as they are
_FINEST = 24  # bits right of the point: products of two values, and sums of them, are then still exact in float64


def weight_type(weight: Tensor, width: int, *, headroom: bool = False) -> FixedPoint:
    """Return the signed type of that width with the least squared error on the weights; it rounds and saturates.

    With `headroom` it may have a bit more, which a largest weight that is a power of two takes.
    """
    top = integer_bits(float(weight.abs().max())) + 1 + headroom
    return _closest(weight, [_kind(width, integer, signed=True) for integer in range(top - 3, top + 1)])


def constant_type(values: Tensor, width: int) -> FixedPoint:
    """Return the narrowest signed type that holds constants as they are, or of the width where 16 bits do not."""
    top = integer_bits(float(values.abs().max()) or 1.0) + 2
    exact = (_kind(bits, integer, signed=True) for bits in range(2, _EXACT + 1) for integer in (top - 1, top))
    found = (kind for kind in exact if kind.fraction >= 0 and torch.equal(kind(values), values))
    return next(found, weight_type(values, width, headroom=True))


def bias_type(bias: Tensor, fraction: int) -> FixedPoint:
    """Return a signed type with that many fractional bits and a range four times the largest bias, at least +-4."""
    integer = max(3 + max(0, int(np.ceil(np.log2(max(float(bias.abs().max()), 1.0))))), 1 - fraction)
    return FixedPoint(min(integer + fraction, _WIDEST), integer, True, "RND", "SAT")


def activation_type(values: Tensor, width: int, overflow: str, *, table: bool = False) -> FixedPoint:
    """Return the type of that width for activations (n_jets, ...), with a sign where some are negative.

    One that wraps holds all of them; one that saturates has the least squared error. Without a sign it truncates, which
    costs no adder; values of both signs round, as all would else be half a step too low. So do those of a `table`,
    which rounds and saturates for nothing.
    """
    signed = bool((values < 0).any())
    largest = max(float(values.max()), -float(values.min()))
    top = integer_bits(largest) + signed
    if overflow != "SAT" and not table:
        top += 2.0 ** (top - signed) == largest
        return _kind(width, top, signed=signed, rounding="TRN", overflow=overflow)
    rounding = "RND" if signed or table else "TRN"
    kinds = [_kind(width, integer, signed=signed, rounding=rounding) for integer in range(top - 5, top + 1)]
    return _closest(values, kinds)


def argument_type(looked_up: Sequence[tuple[TensorFunction, Tensor]], width: int) -> FixedPoint:
    """Return the type of that width for what functions look up, with the least squared error of what they give."""
    every = torch.cat([values for _, values in looked_up])
    signed = bool((every < 0).any())
    top = integer_bits(float(every.abs().max())) + signed
    kinds = [_kind(width, integer, signed=signed) for integer in range(top - 5, top + 1)]
    given = [(function, values, function(values)) for function, values in looked_up]
    return min(kinds, key=lambda kind: sum(float(((f(kind(x)) - y) ** 2).sum()) for f, x, y in given))


def _kind(width: int, integer: int, *, signed: bool, rounding: str = "RND", overflow: str = "SAT") -> FixedPoint:
    """Return a type, with more bits left of the point if it would be finer than any is."""
    return FixedPoint(width, max(integer, width - _FINEST), signed, rounding, overflow)


def integer_bits(largest: float) -> int:
    """Return the bits left of the point that numbers up to the largest take."""
    return int(np.ceil(np.log2(max(largest, 2.0**-16))))


def _closest(values: Tensor, kinds: Sequence[FixedPoint]) -> FixedPoint:
    return min(kinds, key=lambda kind: float(((kind(values) - values) ** 2).sum()))
