"""The exact diagonal of the Hessian by the kernels of a recurrent layer, from the derivatives of its steps.

A step takes the state s to f(s, d), where d is added to what a kernel puts out. With l the derivative of the loss by
the state after a step, all second derivatives of a step lie in K, those of l f by (s, d), and all that follows the
layer in E, those of the loss by what it puts out. If row i moves at step t, later states move along Z_t, and

    H_i[t, u] = sum over steps of [Z_t; e_i] K [Z_u; e_i] + Z_t E Z_u,

the Hessian by what is added to row i at steps t and u. A weight adds what it reads there, r_j[t], and the states that
it moves move what it reads: d2L/dw_ij2 = sum of r_j[t] H_i[t, u] r_j[u] + 2 sum of dL/dd_i[t] dr_j[t]/dw_ij. All rows
and jets go side by side; the cost does not depend on how many weights a row has.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from hepprune.network import Recurrent
from hepprune.network.layers.recurrent import KERNELS
from hepprune.pruning.statistics.recorded import Recorded

_MAX_VALUES = 2**22  # of the derivatives of some jets, at a time


def fitting(layer: Recurrent, n_steps: int) -> int:
    """Return how many jets at a time keep the derivatives of all steps in bounds."""
    n_states, rows = layer.n_out * (2 if layer.cell == "lstm" else 1), len(layer.weight)
    moved = n_states if not layer.return_sequences else max(n_states, n_steps * layer.n_out)
    sizes = (rows * n_steps * moved, n_steps * n_states**2, (n_steps * layer.n_out) ** 2 * layer.return_sequences)
    return max(1, _MAX_VALUES // max(sizes))


def diagonals(seen: Recorded, layer: Recurrent, loss: Tensor) -> list[Tensor]:
    """Return for both kernels d2L/dw2 of a loss, summed over jets, for a layer that runs once."""
    (use,) = seen.uses(layer)
    out = seen.totals[use]
    (found,) = torch.autograd.grad(loss, out, create_graph=True)
    shape = (-1, out[0].numel() // out.shape[-1], out.shape[-1])
    (second,) = _jacobian(found.flatten(1), [out])
    slope, curvature = found.detach().reshape(shape), second.reshape(*shape, *shape[1:])
    if layer.return_sequences and layer.backwards and layer.in_order:
        slope, curvature = slope.flip(1), curvature.flip((1, 3))
    steps = _Steps(layer, seen.values[seen.network.sources[use][0]].detach(), slope)
    inputs, states = (steps.along(kind) for kind in KERNELS)
    first = _hessian(inputs, curvature)
    again = _hessian(states, curvature) if layer.cell == "gru" and layer.reset_after else first  # else both add up
    return [_by_weight(inputs, *first), _by_weight(states, *again)]


@dataclass(frozen=True, kw_only=True)
class _Motion:
    """How the steps of all jets depend on what is added to the rows of one kernel; all are (n_jets, n_steps, ...).

    `reads` (groups, n_columns), and by step, where they depend on the state, `reads_by_state` (n_jets, groups,
    n_columns, n_states);
    `state` (n_states, n_states) and `rows` (n_states, n_rows) are the Jacobian of a step, `slope` (n_rows) the gradient
    of the loss by what is added, and `curvature`, `mixed` and `own`, like those three, are second derivatives: by the
    state twice, by the state and by what is added, by what is added twice.
    """

    reads: Tensor
    reads_by_state: tuple[Tensor, ...]
    state: Tensor
    rows: Tensor
    slope: Tensor
    curvature: Tensor
    mixed: Tensor
    own: Tensor


class _Steps:
    """All steps of a layer on some jets, each by itself, as a function of the state before it and of what is added."""

    def __init__(self, layer: Recurrent, arriving: Tensor, slope: Tensor) -> None:
        self.layer, self.shape = layer, arriving.shape[:2]
        self.arriving = arriving.flip(1) if layer.backwards else arriving
        self.product, self.reads = layer.product(quantised=True), list[Tensor]()
        with torch.no_grad():
            totals = self.product("weight", self.arriving, slice(None))
            before = self._before(totals)
        self.leaves = [part.flatten(0, 1).requires_grad_() for part in (*before, totals, torch.zeros_like(totals))]
        after = self._after()
        self.state, self.rows = self._derivatives(after)
        first = _gradients((self._adjoint(slope).flatten(0, 1) * after).sum(), self.leaves, twice=True)
        self.slopes = first[-2:]
        self.curvature, self.mixed = self._derivatives(torch.cat(first[:-2], dim=-1))

    def along(self, kind: str) -> _Motion:
        """Return how the steps depend on what is added to a kernel."""
        index = KERNELS.index(kind)
        slope, moved = self.slopes[index], tuple[Tensor, ...]()
        # sets of rows that have no second derivative with each other: one for each gate; but in a GRU that resets the
        # state before its kernel, the reset gates of all units act on each candidate
        n_rows, alone = self.leaves[-1].shape[-1], self.layer.cell == "gru" and not self.layer.reset_after
        each = 1 if alone else self.layer.n_out
        probes = torch.eye(n_rows // each, dtype=slope.dtype).repeat_interleave(each, dim=1)
        own = [_gradients((slope * probe).sum(), [self.leaves[index - 2]])[0] * probe for probe in probes]
        reads = self.arriving[:, :, None]
        if kind == "recurrent_weight":
            reads = self._by_step(torch.stack(self.reads, dim=1).detach())
            by_state = [torch.cat(_jacobian(read, self.leaves[:-2]), dim=-1) for read in self.reads]
            moved = self._by_step(torch.stack(by_state, dim=1)).unbind(dim=1)
        return _Motion(
            reads=reads,
            reads_by_state=moved,
            state=self.state,
            rows=self.rows[index],
            slope=self._by_step(slope.detach()),
            curvature=self.curvature,
            mixed=self.mixed[index],
            own=self._by_step(torch.stack(own).sum(dim=0)),
        )

    def _before(self, totals: Tensor) -> list[Tensor]:
        """Return the state before every step, and an LSTM's memory, (n_jets, n_steps, n_out)."""
        found = [(totals.new_zeros(len(totals), self.layer.n_out),) * 2]
        for now in totals.unbind(dim=1)[:-1]:
            found.append(self.layer.step(now, found[-1], self.product, quantised=True))
        both = [torch.stack(part, dim=1) for part in zip(*found, strict=True)]
        return both if self.layer.cell == "lstm" else both[:1]

    def _after(self) -> Tensor:
        """Return the states after all steps, (n_jets * n_steps, n_states), and keep what the recurrent kernel reads."""

        def product(kind: str, values: Tensor, rows: slice) -> Tensor:
            self.reads.append(values)
            return self.product(kind, values, rows) + self.leaves[-1][:, rows]

        *states, totals, _ = self.leaves
        after = self.layer.step(totals, (states[0], states[-1]), product, quantised=True)
        return torch.cat(after[: len(states)], dim=-1)

    def _derivatives(self, values: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Return derivatives of (n_jets * n_steps, n) values by the state before, and by what is added to kernels."""
        *states, inputs, again = _jacobian(values, self.leaves)
        return self._by_step(torch.cat(states, dim=-1)), [self._by_step(rows) for rows in (inputs, again)]

    def _by_step(self, values: Tensor) -> Tensor:
        return values.reshape(*self.shape, *values.shape[1:])

    def _adjoint(self, slope: Tensor) -> Tensor:
        """Return the derivative of the loss by the state after each step, (n_jets, n_steps, n_states)."""
        found: list[Tensor] = []
        slopes = nn.functional.pad(slope, (0, self.state.shape[-1] - slope.shape[-1]))
        running = torch.zeros_like(slopes[:, 0])
        for step in reversed(range(self.shape[1])):
            if self.layer.return_sequences or not found:
                running = running + slopes[:, step if self.layer.return_sequences else 0]
            found.append(running)
            running = torch.einsum("ns,nsk->nk", running, self.state[:, step])
        return torch.stack(found[::-1], dim=1)


def _gradients(value: Tensor, leaves: Sequence[Tensor], *, twice: bool = False) -> list[Tensor]:
    """Return the gradients of a value, zero where it does not depend on a leaf."""
    if not value.requires_grad:
        return [torch.zeros_like(leaf) for leaf in leaves]
    return list(torch.autograd.grad(value, leaves, retain_graph=True, create_graph=twice, materialize_grads=True))


def _jacobian(values: Tensor, leaves: Sequence[Tensor]) -> list[Tensor]:
    """Return derivatives of values (n_jets, n) by leaves (n_jets, ...), jet by jet, (n_jets, n, ...)."""
    columns = torch.eye(values.shape[1], dtype=values.dtype)[:, None].expand(-1, len(values), -1)
    found: Sequence[Tensor | None] = [None] * len(leaves)
    if values.requires_grad:
        kept = {"retain_graph": True, "is_grads_batched": True, "allow_unused": True}
        found = torch.autograd.grad(values, leaves, columns, **kept)
    both = zip(found, leaves, strict=True)
    return [leaf.new_zeros(*values.shape, *leaf.shape[1:]) if own is None else own.movedim(0, 1) for own, leaf in both]


def _hessian(motion: _Motion, curvature: Tensor) -> tuple[Tensor, list[Tensor]]:
    """Return H (n_jets, n_rows, n_steps, n_steps), and by step how the state before it moves along all steps so far."""
    n_jets, n_steps, n_rows = motion.own.shape
    found, moves = motion.own.new_zeros(n_jets, n_rows, n_steps, n_steps), list[Tensor]()
    moved = motion.own.new_zeros(n_jets, n_rows, 0, motion.state.shape[-1])
    for step in range(n_steps):
        moves.append(moved)
        found[:, :, :step, :step] += _by_jet(moved, motion.curvature[:, step]) @ moved.mT
        cross = torch.einsum("nrus,nsr->nru", moved, motion.mixed[:, step])
        found[:, :, step, :step] += cross
        found[:, :, :step, step] += cross
        found[:, :, step, step] += motion.own[:, step]
        here = motion.rows[:, step].mT[:, :, None]
        moved = torch.cat([_by_jet(moved, motion.state[:, step].mT), here], dim=2)
    put_out = [*moves[1:], moved][-curvature.shape[1] :]
    whole = [nn.functional.pad(each[..., : curvature.shape[2]], (0, 0, 0, n_steps - each.shape[2])) for each in put_out]
    out = torch.cat(whole, dim=-1)
    return found + _by_jet(out, curvature.flatten(3, 4).flatten(1, 2)) @ out.mT, moves


def _by_weight(motion: _Motion, hessian: Tensor, moves: list[Tensor]) -> Tensor:
    """Return the sum over jets of the second derivative by each weight, (n_rows, n_columns)."""
    groups = motion.reads.shape[2]
    reads = motion.reads.movedim(1, 2).flatten(0, 1)  # jets and groups, steps, columns
    slopes = _by_group(motion.slope.mT, groups)  # jets and groups, rows, steps
    found = (_by_jet(_by_group(hessian, groups), reads) * reads[:, None]).sum(dim=2)
    for step, by_state in enumerate(motion.reads_by_state[1:], 1):
        moved = _by_group(moves[step], groups) * 2 * slopes[:, :, step, None, None]
        found = found + (_by_jet(moved, by_state.flatten(0, 1).mT) * reads[:, None, :step]).sum(dim=2)
    return found.reshape(-1, groups, *found.shape[1:]).sum(dim=0).flatten(0, 1)


def _by_group(values: Tensor, groups: int) -> Tensor:
    """Return values (n_jets, n_rows, ...) as (n_jets * groups, n_rows / groups, ...)."""
    return values.reshape(len(values) * groups, -1, *values.shape[2:])


def _by_jet(values: Tensor, matrix: Tensor) -> Tensor:
    """Return values (n_jets, n_rows, n, k) times matrices (n_jets, k, l): one product per jet."""
    return (values.flatten(1, 2) @ matrix).reshape(*values.shape[:3], matrix.shape[-1])
