"""The fixed-point type that fits given numbers best, and those of steps that look up what depends on several values."""

import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from hepprune.fixed import MAX_WIDTH, FixedPoint
from hepprune.network.layers import Activation, LayerNorm, Recurrent, ReLU, Softmax
from hepprune.network.layers.activation import FUNCTIONS
from hepprune.network.ranges import Interval

TensorFunction = Callable[[Tensor], Tensor]
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
    return FixedPoint(min(integer + fraction, MAX_WIDTH), integer, True, "RND", "SAT")


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


Types = dict[str, FixedPoint]
MOST_ADDRESSED = 12  # bits of an argument that tables of every kind of firmware take
_FINER = 2  # bits that steps have beyond what is put out, so that it is hardly further off than its own last place


def addressed(width: int) -> int:
    """Return the bits of an argument that is looked up for values of a width."""
    return min(width + _FINER, MOST_ADDRESSED)


def softmax_types(layer: Softmax, arriving: Interval, width: int) -> Types:
    """Return the types of a softmax's tables: from what exp(-distance) is not zero for, on the grid of what arrives."""
    fine, n_values = width + _FINER, arriving.low.shape[layer.axis]
    reach = max(math.ceil(math.log2(fine * math.log(2))), 1)
    fraction = max(min(addressed(width) - reach, arriving.fraction), 1 - reach)
    sum_bits = n_values.bit_length()
    return {
        "distance_type": _positive(reach + fraction, reach),
        "exponential_type": _positive(fine, 1),
        "total_type": _positive(max(min(sum_bits + width, MOST_ADDRESSED), sum_bits), sum_bits),
        "inverse_type": _positive(fine, 1),
    }


@torch.no_grad()
def layer_norm_types(layer: LayerNorm, arriving: Sequence[Tensor], *, width: int, weight_bits: int) -> Types:
    """Return the types of a layer norm's steps, from the values (n_jets, ..., n_channels) at each of its places."""
    fine = width + _FINER
    centred = torch.cat([layer.centred(values).flatten(end_dim=-2) for values in arriving])
    squares = centred.square().sum(dim=-1, keepdim=True)
    root = FUNCTIONS["inverse_root"](squares, **layer.root)
    normal = activation_type(centred * root, fine, "SAT", table=True)
    scale = weight_type(layer.scale, weight_bits, headroom=True)
    return {
        "centred_type": activation_type(centred, fine, "SAT", table=True),
        "squares_type": _positive(addressed(fine), integer_bits(float(squares.max()))),
        "root_type": activation_type(root, fine, "SAT", table=True),
        "normal_type": normal,
        "scale_type": scale,
        "shift_type": bias_type(layer.shift, scale.fraction + normal.fraction),
    }


def _positive(width: int, integer: int) -> FixedPoint:
    return FixedPoint(width, integer, False, "RND", "SAT")


@dataclass(frozen=True)
class States:
    """Flat values of a cell: states and memories that its steps read, what its functions put out, and its look-ups."""

    read: Tensor
    act: Tensor
    gate: Tensor
    looked_up: tuple[tuple[TensorFunction, Tensor], ...]


def states(layer: Recurrent, arriving: Sequence[Tensor]) -> States:
    """Return the values of a cell that runs over values (n_jets, n_steps, n_in) at each of its places."""
    read, reached = list[Tensor](), dict[str, list[Tensor]](act=[], gate=[])
    looked_up = list[tuple[TensorFunction, Tensor]]()

    def watch(kind: str, function: ReLU | Activation, given: tuple[Tensor], made: Tensor) -> None:
        reached[kind].append(made.flatten())
        if layer.looks_up(function):
            looked_up.append((functools.partial(function.compute, quantised=False), given[0].flatten()))

    kinds = {"act": layer.act, "gate": layer.gate}
    watched = [of.register_forward_hook(functools.partial(watch, kind)) for kind, of in kinds.items()]
    try:
        for values in arriving:
            steps = layer.steps(values, layer.product(quantised=False), quantised=False)
            read += [value.flatten() for both in steps for value in both]
    finally:
        for hook in watched:
            hook.remove()
    act, gate = (torch.cat(values) if values else torch.zeros(0) for values in reached.values())
    return States(torch.cat(read), act, gate, tuple(looked_up))
