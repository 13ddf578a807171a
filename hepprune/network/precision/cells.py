"""What the parts of a recurrent layer were seen to put out in float."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from hepprune.network.layers import Recurrent


@dataclass(frozen=True)
class States:
    """Flat values of a cell: states and memories that its steps read, and what its functions put out."""

    read: Tensor
    act: Tensor
    gate: Tensor


def states(layer: Recurrent, arriving: Sequence[Tensor]) -> States:
    """Return the values of a cell that runs over values (n_jets, n_steps, n_in) at each of its places."""
    seen: dict[str, list[Tensor]] = {"act": [], "gate": [], "read": []}
    watched = [
        function.register_forward_hook(lambda _module, _given, made, kind=kind: seen[kind].append(made.flatten()))
        for kind, function in (("act", layer.act), ("gate", layer.gate))
    ]
    try:
        for values in arriving:
            steps = layer.steps(values, layer.product(quantised=False), quantised=False)
            seen["read"] += [value.flatten() for both in steps for value in both]
    finally:
        for hook in watched:
            hook.remove()
    return States(*(torch.cat(seen[kind]) if seen[kind] else torch.zeros(0) for kind in ("read", "act", "gate")))
