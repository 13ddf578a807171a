"""Types of the steps of layers that look up what depends on several values: softmax and layer norm."""

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from hepprune.fixed import FixedPoint
from hepprune.network.layers import Activation, LayerNorm, Recurrent, ReLU, Softmax
from hepprune.network.layers.activation import FUNCTIONS
from hepprune.network.precision.choice import TensorFunction, activation_type, bias_type, integer_bits, weight_type
from hepprune.network.ranges import Interval

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
