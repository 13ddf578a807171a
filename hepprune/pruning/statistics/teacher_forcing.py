"""Recurrent layers with what they read held fixed: the totals of their gates are then linear in both kernels.

At a step the totals of a gate are W x + U h + b, or for a GRU with `reset_after` W x + b + r (U h + c). With the inputs
x, the states h and the reset gates r as recorded on the jets (teacher forcing, Williams and Zipser 1989), they are
linear in W, U, b and c: a layer over [x; h], whose jets are all steps of all jets. What a changed weight does to later
states is left out.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from hepprune.network import Recurrent
from hepprune.network.layers.tape import Tape
from hepprune.pruning.statistics import recurrences
from hepprune.pruning.statistics.recorded import Recorded


@dataclass(frozen=True)
class LinearRows:
    """Rows of both kernels whose totals are linear in the same [x; h], or with each row's own r in [x; r h]."""

    layer: str
    rows: slice
    gates: slice
    is_reset: bool = False

    @property
    def name(self) -> str:
        """The layer's name and the first row."""
        return f"{self.layer}.{self.rows.start}"

    def reads(self, tape: Tape) -> Tensor:
        """Return what weights and then biases of the rows multiply, (n_jets, n_steps, groups, n_in + n_out + n_biases).

        Rows with a reset gate of their own are groups of their own, and have the recurrent bias besides.
        """
        inputs, states = tape.read("weight"), tape.read("recurrent_weight")[:, :, self.gates]
        one = torch.ones_like(states[..., :1])
        if not self.is_reset:
            return torch.cat([inputs, states, one], dim=-1)
        n_out = states.shape[-1]
        resets = slice(n_out, 2 * n_out)
        total = tape.made("weight")[..., resets] + tape.made("recurrent_weight")[..., resets]
        passed = tape.layer.gates[1](total, quantised=True)[..., None]
        shared = [each.expand(-1, -1, n_out, -1) for each in (inputs, states, one)]
        return torch.cat([shared[0], passed * shared[1], shared[2], passed], dim=-1)

    def weights(self, layer: Recurrent) -> Tensor:
        """Return the weights of the rows that act, (n_rows, n_in + n_out)."""
        return torch.cat([layer.used("weight"), layer.used("recurrent_weight")], dim=1)[self.rows]

    def limits(self, layer: Recurrent) -> Tensor:
        """Return the digit limits of the rows, (n_rows, n_in + n_out)."""
        return torch.cat([layer.digit_limit, layer.recurrent_digit_limit], dim=1)[self.rows]

    def biases(self, layer: Recurrent) -> Tensor:
        """Return the biases of the rows that act on their own, (n_rows, 1) or (n_rows, 2)."""
        return torch.stack(layer.used_biases()[: 1 + self.is_reset], dim=1)[self.rows]

    def write(self, layer: Recurrent, weights: Tensor, biases: Tensor) -> None:
        """Set the weights and biases of the rows."""
        layer.weight[self.rows], layer.recurrent_weight[self.rows] = weights[:, : layer.n_in], weights[:, layer.n_in :]
        for own, new in zip((layer.bias, layer.recurrent_bias), biases.T, strict=False):
            own[self.rows] = new


def parts(layer: Recurrent) -> tuple[LinearRows, ...]:
    """Return the rows of a layer that read alike: all of them, or a GRU's gates and its candidates."""
    first = 2 * layer.n_out
    if layer.cell != "gru":
        return (LinearRows(layer.name, slice(0, len(layer.weight)), slice(0, 1)),)
    candidates = LinearRows(layer.name, slice(first, len(layer.weight)), slice(2, 3), is_reset=layer.reset_after)
    return LinearRows(layer.name, slice(0, first), slice(0, 1)), candidates


def reads(seen: Recorded, layer: Recurrent) -> dict[str, Tensor]:
    """Return by part what its weights and biases multiply at all steps of every use; see `LinearRows.reads`."""
    tapes = recurrences.tapes_of(seen, layer)
    return {part.name: torch.cat([part.reads(tape) for tape in tapes], dim=1) for part in parts(layer)}
