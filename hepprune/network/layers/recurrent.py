"""Recurrent layers: one step per position, gates in the order of Keras."""

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from hepprune.errors import refused
from hepprune.fixed import Quantiser
from hepprune.fixed.quantisers import FixedPoints, taken
from hepprune.network import quantise
from hepprune.network.layers.activation import FUNCTIONS, Activation, ReLU
from hepprune.network.layers.base import Layer, Shape, check_choice, hold_limit, layer, parameter
from hepprune.network.layers.kernel import Kernel
from hepprune.network.layers.tape import Tape
from hepprune.network.layers.weighted import checked_reuse

# Gates per cell: an LSTM's are input, forget, cell, output (Hochreiter and Schmidhuber 1997); a GRU's are update,
# reset, candidate (Cho et al., arXiv:1406.1078).
GATES = {"simple": 1, "lstm": 4, "gru": 3}
_MAX_STEPS = 4096
KERNELS = ("weight", "recurrent_weight")

CellFunction = ReLU | Activation
State = tuple[Tensor, Tensor]  # and memory
# A kernel's kind, the values that it reads and the rows that are wanted to what they put out, bias and all.
GateProduct = Callable[[str, Tensor, slice], Tensor]


@dataclass(frozen=True, kw_only=True)
class CellArithmetic:
    """What a step of a cell is computed with, on tensors or on the variables of firmware.

    Beside products by kernels: values in a type (None is none), a function of the cell on values that it brings into
    the type of its argument, products value by value, and values in so many equal parts.
    """

    product: Callable[[str, Any, slice], Any]
    typed: Callable[[Any, Quantiser | None], Any]
    function: Callable[[CellFunction, Any], Any]
    times: Callable[[Any, Any], Any]
    parted: Callable[[Any, int], Sequence[Any]]


@layer
class Recurrent(Layer):
    """A cell run over the positions of values (n_jets, n_steps, n_in); puts out its last state or all of them.

    `weight` is (gates * n_out, n_in), `recurrent_weight` (gates * n_out, n_out), the biases (gates * n_out,). A GRU
    with `reset_after` applies its recurrent bias inside the reset gate, as cuDNN does. One that runs `backwards` puts
    its states out as they come, the last step's first, or `in_order` of the steps. Each step reads state and memory
    through `state_type`, and its functions put out `activation_type` and `recurrent_activation_type`, as in QKeras;
    what they look up is in `argument_type`. As in HGQ2, types of all values of both gates of a GRU are theirs alone,
    and its candidate's recurrent part is read in `passed_type`, before the reset gate with `reset_after`, else behind.
    """

    takes = (
        *("cell", "activation", "recurrent_activation", "return_sequences", "reset_after", "backwards", "in_order"),
        *("weight_type", "recurrent_weight_type", "bias_type", "state_type", "reuse_factor"),
    )
    takes_unless: ClassVar[dict[str, Any]] = {"argument_type": None, "passed_type": None}
    digit_limit: Tensor
    recurrent_digit_limit: Tensor

    def __init__(
        self,
        name: str,
        cell: str,
        *,
        weight: Tensor,
        recurrent_weight: Tensor,
        bias: Tensor,
        recurrent_bias: Tensor,
        activation: str = "tanh",
        recurrent_activation: str = "sigmoid",
        activation_parameters: Mapping[str, float] | None = None,
        recurrent_activation_parameters: Mapping[str, float] | None = None,
        return_sequences: bool = False,
        backwards: bool = False,
        in_order: bool = False,
        reset_after: bool = True,
        weight_type: Quantiser | None = None,
        recurrent_weight_type: Quantiser | None = None,
        bias_type: Quantiser | None = None,
        state_type: Quantiser | None = None,
        argument_type: Quantiser | None = None,
        activation_type: Quantiser | None = None,
        recurrent_activation_type: Quantiser | None = None,
        passed_type: Quantiser | None = None,
        digit_limit: Tensor | None = None,
        recurrent_digit_limit: Tensor | None = None,
        result: Quantiser | None = None,
        reuse_factor: int = 1,
    ) -> None:
        super().__init__(name, result)
        check_choice(name, "cell", cell, GATES)
        self.act = _function(name, activation, activation_parameters, activation_type)
        self.gate = _function(name, recurrent_activation, recurrent_activation_parameters, recurrent_activation_type)
        rows, n_out = weight.shape[0], recurrent_weight.shape[-1]
        fits = weight.ndim == recurrent_weight.ndim == 2 and rows == GATES[cell] * n_out == len(recurrent_weight)
        if not fits or bias.shape != (rows,) or recurrent_bias.shape != (rows,):
            arrays = (weight, recurrent_weight, bias, recurrent_bias)
            shapes = " and ".join(str(tuple(array.shape)) for array in arrays)
            raise refused(name, f"has weights and biases {shapes}, not those of a {cell} cell")
        self.weight, self.recurrent_weight = parameter(weight), parameter(recurrent_weight)
        self.bias, self.recurrent_bias = parameter(bias), parameter(recurrent_bias)
        hold_limit(self, "digit_limit", digit_limit, weight)
        hold_limit(self, "recurrent_digit_limit", recurrent_digit_limit, recurrent_weight)
        self.cell, self.activation, self.recurrent_activation = cell, activation, recurrent_activation
        self.return_sequences, self.reset_after = return_sequences, reset_after
        self.backwards, self.in_order = backwards, in_order
        self.weight_type, self.recurrent_weight_type = weight_type, recurrent_weight_type
        self.bias_type, self.state_type, self.argument_type = bias_type, state_type, argument_type
        self.passed_type, self.reuse_factor = passed_type, checked_reuse(name, reuse_factor)
        both = [_of_gate(self.gate, argument_type, number, n_out) for number in range(2)]
        self.gates, self._arguments = tuple(gate for gate, _ in both), tuple(kind for _, kind in both)

    @property
    def n_in(self) -> int:
        """Values per step that come in."""
        return self.weight.shape[1]

    @property
    def n_out(self) -> int:
        """Values of the state."""
        return self.recurrent_weight.shape[1]

    @property
    def kernels(self) -> tuple[Kernel, ...]:
        """The kernel of what comes in and that of the states; with a dot, which the name of no layer has."""
        return tuple(Kernel(f"{self.name}.{kind}", self, kind) for kind in KERNELS)

    def kernel_reads(self, kernel: Kernel, arriving: Tensor) -> Tensor:
        """Return what a kernel multiplies at each step as they run, (n_jets, n_steps, groups, terms).

        The gates of a GRU are groups of their own: without `reset_after` the last reads what the reset gate lets pass.
        """
        tape = Tape(self)
        self.run(arriving, tape, quantised=True)
        return tape.read(kernel.array)

    def used(self, kind: str, *, quantised: bool = True) -> Tensor:
        """Return the kernel that acts, `kind` "weight" or "recurrent_weight"."""
        return Kernel(self.name, self, kind).used(quantised=quantised)

    def used_biases(self, *, quantised: bool = True) -> State:
        """Return the biases that act: the kernel's, and the recurrent one."""
        kind = self.bias_type if quantised else None
        return quantise.activations(self.bias, kind), quantise.activations(self.recurrent_bias, kind)

    def compute(self, arriving: Tensor, *, quantised: bool) -> Tensor:
        """Return the states (n_jets, n_steps, n_out), or the last one (n_jets, n_out)."""
        return self.run(arriving, self.product(quantised=quantised), quantised=quantised)

    def product(self, *, quantised: bool) -> GateProduct:
        """Return what applies both kernels, and adds their biases."""
        kernels = {kind: self.used(kind, quantised=quantised) for kind in KERNELS}
        biases = dict(zip(KERNELS, self.used_biases(quantised=quantised), strict=True))
        return lambda kind, values, rows: torch.nn.functional.linear(values, kernels[kind][rows], biases[kind][rows])

    def run(self, arriving: Tensor, product: GateProduct, *, quantised: bool) -> Tensor:
        """Return what the layer computes where `product` applies its kernels."""
        states = [state for state, _ in self.steps(arriving, product, quantised=quantised)]
        ordered = states[::-1] if self.backwards and self.in_order else states
        return torch.stack(ordered, dim=1) if self.return_sequences else states[-1]

    def steps(self, arriving: Tensor, product: GateProduct, *, quantised: bool) -> Iterator[State]:
        """Yield state and memory (n_jets, n_out) after each step, as they run."""
        inputs = product("weight", arriving, slice(None)).unbind(dim=1)
        state = memory = arriving.new_zeros(len(arriving), self.n_out)
        for now in reversed(inputs) if self.backwards else inputs:
            state, memory = self.step(now, (state, memory), product, quantised=quantised)
            yield state, memory

    def step(self, inputs: Tensor, before: State, product: GateProduct, *, quantised: bool) -> State:
        """Return state and memory (n_jets, n_out) after a step, from what the kernel made of its inputs."""
        tensors = CellArithmetic(
            product=product,
            typed=lambda values, kind: quantise.activations(values, kind if quantised else None),
            function=functools.partial(self._applied, quantised=quantised),
            times=torch.mul,
            parted=functools.partial(torch.chunk, dim=-1),
        )
        return self.stepped(inputs, before, tensors)

    def stepped(self, inputs: Any, before: tuple[Any, Any], by: CellArithmetic) -> tuple[Any, Any]:
        """Return the same as `step`, of values (..., n_out) of any arithmetic."""
        state, memory = (by.typed(value, self.state_type) for value in before)
        act, gate = (functools.partial(by.function, of) for of in (self.act, self.gate))
        if self.cell == "gru":
            return self._gated(inputs, state, by), memory
        total = inputs + by.product("recurrent_weight", state, slice(None))
        if self.cell == "simple":
            return act(total), memory
        entry, forget, candidate, exit_ = by.parted(total, 4)
        memory = by.times(gate(forget), memory) + by.times(gate(entry), act(candidate))
        return by.times(gate(exit_), act(memory)), memory

    @staticmethod
    def looks_up(function: CellFunction) -> bool:
        """Return whether a function of the cell is a table."""
        return isinstance(function, Activation) and function.function != "linear"

    def argument_of(self, function: CellFunction) -> Quantiser | None:
        """Return the type in which a function of the cell looks its argument up."""
        if not self.looks_up(function):
            return None
        for gate, kind in zip(self.gates, self._arguments, strict=True):
            if function is gate:
                return kind
        return None if _by_gate(self.argument_type, self.n_out) else self.argument_type

    def check_bounded(self) -> None:
        """Refuse a cell of which firmware would need ever more bits.

        Raises:
            NetworkError: its state, or a function that is looked up, has no type.
        """
        if self.state_type is None and self.cell != "simple":
            raise refused(self.name, "(Recurrent) has a state that takes more bits every step; set its state_type")
        used = {"activation_type": self.act}
        if self.cell != "simple":
            used["recurrent_activation_type"] = self.gate
        for setting, function in used.items():
            if isinstance(function, Activation) and function.function != "linear" and function.result is None:
                raise refused(self.name, f"(Recurrent) has no type of its {function.function}; set its {setting}")

    def _applied(self, function: CellFunction, values: Tensor, *, quantised: bool) -> Tensor:
        kind = self.argument_of(function) if quantised else None
        reached: Tensor = function(quantise.activations(values, kind), quantised=quantised)
        return reached

    def _gated(self, inputs: Any, state: Any, by: CellArithmetic) -> Any:
        functions, read = (self.act, *self.gates), functools.partial(by.product, "recurrent_weight")
        act, update_gate, reset_gate = (functools.partial(by.function, of) for of in functions)
        update_in, reset_in, candidate_in = by.parted(inputs, 3)
        updates, resets, candidates = (slice(first * self.n_out, (first + 1) * self.n_out) for first in range(3))
        update = update_gate(update_in + read(state, updates))
        reset = reset_gate(reset_in + read(state, resets))
        passed = by.typed(read(state, candidates) if self.reset_after else by.times(reset, state), self.passed_type)
        again = by.times(reset, passed) if self.reset_after else read(passed, candidates)
        return by.times(update, state) + by.times(1.0 - update, act(candidate_in + again))

    def shape(self, *arriving: Shape) -> Shape:
        """Return (n_steps, n_out), or (n_out,)."""
        before = self.only(arriving)
        if len(before) != 2 or before[1] != self.n_in:
            raise refused(self.name, f"takes steps of {self.n_in} values and is given the shape {before}")
        if before[0] > _MAX_STEPS:
            raise refused(self.name, f"would take {before[0]} steps, more than {_MAX_STEPS}")
        return (before[0], self.n_out) if self.return_sequences else (self.n_out,)

    def settings(self) -> dict[str, Any]:
        """Return the constructor's values; those of the functions only where they are not the usual ones."""
        found = super().settings()
        for key, function in (("activation", self.act), ("recurrent_activation", self.gate)):
            parameters = function.parameters_of if isinstance(function, Activation) else {}
            found |= {f"{key}_parameters": parameters} if parameters else {}
            found |= {f"{key}_type": function.result} if function.result else {}
        return found


def _by_gate(kind: Quantiser | None, n_out: int) -> bool:
    """Return whether a type is one of every value of update and reset gate."""
    return isinstance(kind, FixedPoints) and kind.width.shape[-1:] == (2 * n_out,)


def _of_gate(
    gate: CellFunction, argument: Quantiser | None, number: int, n_out: int
) -> tuple[CellFunction, Quantiser | None]:
    """Return the function of one gate of a GRU and the type of its argument, the parts that are its own."""
    if not _by_gate(gate.result, n_out) and not _by_gate(argument, n_out):
        return gate, argument
    own = np.arange(2 * n_out) // n_out == number
    types = (gate.result, argument)
    result, argument = (taken(kind, own, axis=-1) if _by_gate(kind, n_out) else kind for kind in types)
    return gate.rebuilt(result=result), argument


def _function(
    layer_name: str, function: str, parameters: Mapping[str, float] | None, result: Quantiser | None
) -> CellFunction:
    """Return a function of the cell as the layer it would be on its own."""
    check_choice(layer_name, "activation", function, ("relu", *FUNCTIONS))
    if function == "relu":
        return ReLU(layer_name, result)
    return Activation(layer_name, function, dict(parameters or {}), result)
