"""What the parts of a recurrent layer were seen to put out in float."""

import functools
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from hepprune.network.layers import Activation, Recurrent, ReLU
from hepprune.network.precision.choice import Function


@dataclass(frozen=True)
class States:
    """Flat values of a cell: states and memories that its steps read, what its functions put out, and its look-ups."""

    read: Tensor
    act: Tensor
    gate: Tensor
    looked_up: tuple[tuple[Function, Tensor], ...]


def states(layer: Recurrent, arriving: Sequence[Tensor]) -> States:
    """Return the values of a cell that runs over values (n_jets, n_steps, n_in) at each of its places."""
    read, reached = list[Tensor](), dict[str, list[Tensor]](act=[], gate=[])
    looked_up = list[tuple[Function, Tensor]]()

    def watch(kind: str, function: ReLU | Activation, given: Tensor, made: Tensor) -> None:
        reached[kind].append(made.flatten())
        if layer.looks_up(function):
            looked_up.append((functools.partial(function.compute, quantised=False), given.flatten()))

    watched = [
        function.register_forward_hook(lambda of, given, made, kind=kind: watch(kind, of, given[0], made))
        for kind, function in (("act", layer.act), ("gate", layer.gate))
    ]
    try:
        for values in arriving:
            steps = layer.steps(values, layer.product(quantised=False), quantised=False)
            read += [value.flatten() for both in steps for value in both]
    finally:
        for hook in watched:
            hook.remove()
    act, gate = (torch.cat(values) if values else torch.zeros(0) for values in reached.values())
    return States(torch.cat(read), act, gate, tuple(looked_up))
