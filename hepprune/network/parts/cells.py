"""A recurrent layer unrolled over its steps: kernels, tables and products, the same at every step."""

import numpy as np
import torch

from hepprune.fixed import Quantiser
from hepprune.fixed.quantisers import taken
from hepprune.network import layers
from hepprune.network.graph import Network
from hepprune.network.parts.steps import BIT, Building


def cell(layer: layers.Recurrent, shape: layers.Shape) -> Network:
    """Return the steps of a cell with types, in the order that they run."""
    return _Unrolled(layer, shape).run(shape[0])


class _Unrolled:
    """The steps of a cell under construction: each method adds layers and returns the name of the last."""

    def __init__(self, layer: layers.Recurrent, shape: layers.Shape) -> None:
        self.layer, self.steps, self.now = layer, Building(shape), 0
        self.add = self.steps.add

    def named(self, word: str) -> str:
        return f"{word}_{self.now}"

    def run(self, n_steps: int) -> Network:
        """Return the network of all steps."""
        layer, states = self.layer, list[str]()
        self.kernel("weight", "inputs", slice(None))
        self.add(layers.Reshape("entered", (-1,)))
        state = memory = self.zero()
        for place in reversed(range(n_steps)) if layer.backwards else range(n_steps):
            self.now = place
            if states:  # which the next step reads in their type
                state = self.typed(layer.state_type, "read", state)
                memory = self.typed(layer.state_type if layer.cell == "lstm" else None, "kept", memory)
            state, memory = getattr(self, layer.cell)(state, memory)
            states.append(state)
        if layer.return_sequences:
            if n_steps > 1:
                turned = layer.backwards and layer.in_order
                self.add(layers.Concatenate("states"), *(states[::-1] if turned else states))
            self.add(layers.Reshape("sequence", (n_steps, layer.n_out)))
        return self.steps.network()

    def zero(self) -> str:
        """Return the state before the first step, a part of the values times zero."""
        self.add(layers.Slice("some", 0, self.layer.n_out), "entered")
        none = torch.zeros(1, dtype=torch.float64)
        return self.add(layers.BatchNorm("zero", none, none, scale_type=BIT, shift_type=BIT))

    def typed(self, kind: Quantiser | None, word: str, value: str) -> str:
        """Return a value in a type, where there is one."""
        return value if kind is None else self.add(layers.Activation(self.named(word), "linear", result=kind), value)

    def kernel(self, kind: str, name: str, rows: slice, *sources: str) -> str:
        """Return what rows of a kernel and their bias make of a value."""
        layer = self.layer
        again = "" if kind == "weight" else "recurrent_"
        mine = np.isin(np.arange(len(layer.weight)), np.arange(len(layer.weight))[rows])
        weight, bias, limit = (getattr(layer, again + array)[rows] for array in ("weight", "bias", "digit_limit"))
        whole = {"weight_type": (getattr(layer, f"{again}weight_type"), -2), "bias_type": (layer.bias_type, -1)}
        types = {key: taken(each, mine, axis=axis) for key, (each, axis) in whole.items()}
        return self.add(layers.Dense(name, weight.double(), bias.double(), digit_limit=limit, **types), *sources)

    def gate(self, number: int) -> slice:
        """Return the rows of a gate."""
        return slice(number * self.layer.n_out, (number + 1) * self.layer.n_out)

    def entered(self, word: str, number: int) -> str:
        """Return what the kernel made of this step's inputs for a gate."""
        first = self.now * len(self.layer.weight) + number * self.layer.n_out
        return self.add(layers.Slice(self.named(word), first, first + self.layer.n_out), "entered")

    def applied(self, function: layers.ReLU | layers.Activation, word: str, value: str) -> str:
        """Return a function of a value, which it looks up in the type of arguments."""
        argument = self.typed(self.layer.argument_of(function), f"{word}_argument", value)
        return self.add(function.rebuilt(name=self.named(word)), argument)

    def merged(self, operation: str, word: str, *values: str) -> str:
        return self.add(layers.Merge(self.named(word), operation), *values)

    def total(self, word: str, number: int, state: str) -> str:
        """Return what both kernels make for a gate."""
        again = self.kernel("recurrent_weight", self.named(f"{word}_again"), self.gate(number), state)
        return self.merged("add", f"{word}_total", self.entered(f"{word}_entered", number), again)

    def simple(self, state: str, memory: str) -> tuple[str, str]:
        return self.applied(self.layer.act, "state", self.total("state", 0, state)), memory

    def lstm(self, state: str, memory: str) -> tuple[str, str]:
        layer = self.layer
        words = (("entry", 0), ("forget", 1), ("exit", 3))
        entry, forget, exit_ = (self.applied(layer.gate, word, self.total(word, at, state)) for word, at in words)
        candidate = self.applied(layer.act, "candidate", self.total("candidate", 2, state))
        kept = self.merged("multiply", "kept_part", forget, memory)
        memory = self.merged("add", "memory", kept, self.merged("multiply", "new", entry, candidate))
        return self.merged("multiply", "state", exit_, self.applied(layer.act, "shown", memory)), memory

    def gru(self, state: str, memory: str) -> tuple[str, str]:
        layer = self.layer
        words = (("update", 0), ("reset", 1))
        update, reset = (self.applied(layer.gates[at], word, self.total(word, at, state)) for word, at in words)
        # what the reset gate multiplies, or what it lets pass, is in a type of its own
        if layer.reset_after:
            again = self.kernel("recurrent_weight", self.named("candidate_again"), self.gate(2), state)
            again = self.merged("multiply", "passed", reset, self.typed(layer.passed_type, "typed", again))
        else:
            passed = self.typed(layer.passed_type, "typed", self.merged("multiply", "passed", reset, state))
            again = self.kernel("recurrent_weight", self.named("candidate_again"), self.gate(2), passed)
        entered = self.entered("candidate_entered", 2)
        candidate = self.applied(layer.act, "candidate", self.merged("add", "candidate_total", entered, again))
        change = self.merged("multiply", "moved", update, self.merged("subtract", "change", state, candidate))
        return self.merged("add", "state", candidate, change), memory
