"""What recurrent layers cost unrolled over their steps; steps whose values have the same ranges cost the same."""

import functools
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch

from hepprune.errors import NetworkError
from hepprune.fixed import FixedPoint, Quantiser
from hepprune.fixed.quantisers import FixedPoints
from hepprune.hardware.cost.circuits import kernels, operations
from hepprune.hardware.cost.circuits.kernels import FixedMatrix, Integers
from hepprune.hardware.cost.circuits.operations import Bill
from hepprune.hardware.cost.circuits.rules import CIRCUITS, in_type, only, priced
from hepprune.hardware.cost.circuits.wires import Bools, Floats, Wires, constants
from hepprune.network.layers import Activation, Recurrent, ReLU

WireFunction = Callable[[Wires], Wires]
_AHEAD = 32  # levels before the state, earlier than which it does not matter when inputs are there
_PLACES = 1  # of levels that are taken for the same


@dataclass(frozen=True)
class _Acts:
    """Which states, and which of the memory of an LSTM, act after a step, (n_out,)."""

    state: Bools
    memory: Bools


@dataclass(frozen=True)
class _Cell:
    """The layer with its kernels and biases, by name, and what steps cost and put out that are priced already."""

    layer: Recurrent
    matrices: dict[str, FixedMatrix]
    biases: dict[str, Floats]
    known: dict[bytes, tuple[float, Wires, Wires]] = field(default_factory=dict)

    @classmethod
    def of(cls, layer: Recurrent) -> "_Cell":
        biases = {"weight": layer.bias, "recurrent_weight": layer.recurrent_bias}
        rounded = {kind: kernels.rounded_biases(layer.name, bias, layer.bias_type) for kind, bias in biases.items()}
        return cls(layer, {kernel.array: kernels.integers(kernel) for kernel in layer.kernels}, rounded)

    def product(self, bill: Bill, kind: str, values: Wires, rows: slice, acts: Bools) -> Wires:
        """Return what a kernel and its bias make of values, in those of the rows that act."""
        matrix = FixedMatrix(self.matrices[kind].weight[rows], self.matrices[kind].fraction)
        return kernels.applied(bill, matrix, self.biases[kind][rows], values.reshaped(1, -1), alive=acts[None])[0]

    def function(self, bill: Bill, layer: ReLU | Activation) -> WireFunction:
        """Return one of the functions of the cell, with the type of its argument."""
        kind = self.layer.argument_of(layer)
        return lambda values: priced(bill, layer, np.ones(values.shape, bool), self.typed(bill, kind, values))

    def typed(self, bill: Bill, kind: Quantiser | None, values: Wires) -> Wires:
        """Return values in a type, or in one each."""
        if kind is None:
            return values
        if not isinstance(kind, FixedPoint | FixedPoints):
            raise NetworkError(f"layer '{self.layer.name}' has a {type(kind).__name__}, no fixed-point type")
        return in_type(bill, operations.quantise, values, kind)


@CIRCUITS.of(Recurrent)
@torch.no_grad()
def _unrolled(bill: Bill, alive: Bools, layer: Recurrent, arriving: Wires) -> Wires:
    layer.check_bounded()
    cell = _Cell.of(layer)
    acts = iter(states_read(layer, cell.matrices["recurrent_weight"].weight, alive, len(arriving.low)))
    state = memory = constants(np.zeros(layer.n_out))
    steps, states = range(arriving.shape[0]), []
    for step in reversed(steps) if layer.backwards else steps:
        kept = cell.typed(bill, layer.state_type, memory) if layer.cell == "lstm" else memory
        before = cell.typed(bill, layer.state_type, state), kept
        state, memory = _step(bill, cell, arriving[step], before, next(acts))
        states.append(state)
    ordered = states[::-1] if layer.backwards and layer.in_order else states
    return Wires(np.stack([each.planes for each in ordered], axis=1)) if layer.return_sequences else state


def states_read(layer: Recurrent, recurrent: Integers, alive: Bools, n_steps: int) -> list[_Acts]:
    """Return for each step, as they run, what of it acts on what the layer puts out."""
    reads = np.any(recurrent.reshape(-1, layer.n_out, layer.n_out) != 0, axis=0)  # (state, state that it reads)
    if layer.cell == "gru":
        reads |= np.eye(layer.n_out, dtype=bool)
    wanted = np.zeros((n_steps, layer.n_out), bool)
    if layer.return_sequences:
        wanted[:] = alive[::-1] if layer.backwards and layer.in_order else alive
    else:
        wanted[-1] = alive
    found, last = list[_Acts](), np.zeros(layer.n_out, bool)
    for own in reversed(wanted):
        state = own | np.any(reads & last[:, None], axis=0)
        last = state | last if layer.cell == "lstm" else state
        found.insert(0, _Acts(state, last))
    return found


def _step(bill: Bill, cell: _Cell, now: Wires, before: tuple[Wires, Wires], acts: _Acts) -> tuple[Wires, Wires]:
    """Return state and memory after a step, counted once for all steps that differ by when they begin."""
    begin = (0.0, 0.0)
    if any(each.moving.any() for each in before):  # when the first of what is not always the same is there
        moving = np.concatenate([(each.level[each.moving], each.smooth[each.moving]) for each in before], axis=1)
        level, smooth = moving.min(axis=1) - _AHEAD
        begin = (float(level), float(smooth))
    now, state, memory = (_shifted(each, -begin[0], -begin[1]) for each in (now, *before))
    key = b"".join(np.round(each.planes, _PLACES).tobytes() for each in (now, state, memory))
    key += acts.state.tobytes() + acts.memory.tobytes()
    if key not in cell.known:
        own = Bill()
        made = _computed(own, cell, now, (state, memory), acts)
        cell.known[key] = own.lut, *made
    lut, state, memory = cell.known[key]
    bill.lut += lut
    return _shifted(state, *begin), _shifted(memory, *begin)


def _shifted(values: Wires, level: float, smooth: float) -> Wires:
    """Return values that are there by so many levels later; none is earlier than level 0."""
    later = (np.maximum(each, 0.0) for each in (values.level + level, values.smooth + smooth))
    level_, smooth_ = (np.where(values.moving, each, 0.0) for each in later)
    return values.replaced(level=level_, smooth=smooth_)


def _computed(bill: Bill, cell: _Cell, now: Wires, before: tuple[Wires, Wires], acts: _Acts) -> tuple[Wires, Wires]:
    state, memory = before
    if cell.layer.cell == "gru":
        return _gated(bill, cell, now, state, acts.state), memory
    n, rows = cell.layer.n_out, acts.state
    if cell.layer.cell == "lstm":
        kept = acts.memory & _is_there(memory)
        rows = np.concatenate([acts.memory, kept, acts.memory, acts.state])
    entered = cell.product(bill, "weight", now, slice(None), rows)
    whole = operations.add(bill, entered, cell.product(bill, "recurrent_weight", state, slice(None), rows))
    act, gate = cell.function(bill, cell.layer.act), cell.function(bill, cell.layer.gate)
    if cell.layer.cell == "simple":
        return only(acts.state, act(whole)), memory
    entry, forget, candidate, exit_ = (whole[first : first + n] for first in range(0, 4 * n, n))
    left = operations.product(bill, gate(forget), only(acts.memory, memory))
    memory = operations.add(bill, left, operations.product(bill, gate(entry), act(candidate)))
    return operations.product(bill, gate(exit_), act(only(acts.state, memory))), memory


def _gated(bill: Bill, cell: _Cell, now: Wires, state: Wires, acts: Bools) -> Wires:
    layer, n = cell.layer, cell.layer.n_out
    act, gate, reset_gate = (cell.function(bill, function) for function in (layer.act, *layer.gates))
    updates, resets, candidates = (slice(first * n, (first + 1) * n) for first in range(3))
    read = functools.partial(cell.product, bill, "recurrent_weight")
    if layer.reset_after:
        inner = cell.typed(bill, layer.passed_type, read(state, candidates, acts))
        passing = acts & _is_there(inner)
    else:
        reads = cell.matrices["recurrent_weight"].weight[candidates] != 0
        passing = np.any(reads & acts[:, None], axis=0) & _is_there(state)
    inputs = cell.product(bill, "weight", now, slice(None), np.concatenate([acts, passing, acts]))
    update = gate(operations.add(bill, inputs[updates], read(state, updates, acts)))
    reset = reset_gate(operations.add(bill, inputs[resets], read(state, resets, passing)))
    if layer.reset_after:
        inner = operations.product(bill, reset, inner)
    else:
        passed = cell.typed(bill, layer.passed_type, operations.product(bill, reset, only(passing, state)))
        inner = read(passed, candidates, acts)
    candidate = act(operations.add(bill, inputs[candidates], inner))
    rest = operations.plus(bill, operations.negative(update), np.ones(n))
    old = operations.product(bill, update, only(acts, state))
    return operations.add(bill, old, operations.product(bill, rest, only(acts, candidate)))


def _is_there(values: Wires) -> Bools:
    """Return which are not always zero."""
    found: Bools = (values.low != 0) | (values.high != 0)
    return found
