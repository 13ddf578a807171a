"""Recurrent layers of one direction, gates brought from ONNX' order to that of Keras."""

from typing import Any

import torch
from torch import Tensor

from hepprune.errors import NetworkError
from hepprune.frontends.onnx.arrays import Array
from hepprune.frontends.onnx.building import Graph, Node
from hepprune.frontends.onnx.operators.registry import constant, jets_value, operator
from hepprune.frontends.pytorch.operators.shaping import part
from hepprune.frontends.pytorch.values import Value
from hepprune.network import Recurrent

_CELLS = {"LSTM": "lstm", "GRU": "gru", "RNN": "simple"}
# Keras' gates by their place in ONNX: an LSTM's are input, output, forget, candidate there.
_GATES = {"lstm": (0, 2, 3, 1), "gru": (0, 1, 2), "simple": (0,)}
_FUNCTIONS = {"Tanh": "tanh", "Sigmoid": "sigmoid", "Relu": "relu", "HardSigmoid": "hard_sigmoid"}
_FIRST = {"lstm": ["Sigmoid", "Tanh", "Tanh"], "gru": ["Sigmoid", "Tanh"], "simple": ["Tanh"]}


@operator(*_CELLS)
def recurrent(built: Graph, node: Node, x: Any, kernel: Any, again: Any, *rest: Any) -> list[Value | None]:
    """All states and the last one."""
    biases, _lengths, *states = [*rest, None, None][: max(len(rest), 2)]
    _check(node, [given for given in (_lengths, *states[2:]) if given is not None], states[:2])
    value, batch = jets_value(x, node), 0 if node.attributes.get("layout") else 1
    axes = (batch, 1 - batch, 2)
    if value.index.ndim != 3 or built.jets(value) != batch:
        raise NetworkError(f"layer '{node.name}' steps along the axis of the jets")
    all_read, last_read = (name in built.readers_of or name in built.outputs for name in [*node.outputs, "", ""][:2])
    backwards = node.attributes.get("direction", "forward") == "reverse"
    if backwards and all_read:
        raise NetworkError(f"layer '{node.name}' runs backwards and puts out all states, which no Network orders so")
    source = built.place(value, axes, f"{node.name}.arranged")
    arrays = [constant(kernel, node, "weight"), constant(again, node, "weight")]
    arrays += [] if biases is None else [constant(biases, node, "bias")]
    name = built.add(_layer(built, node, arrays, backwards=backwards, sequences=all_read), source)
    found = built.value(name)
    if not all_read:
        return [None, _with_directions(found, batch, 0)]
    steps = value.shape[1 - batch]
    every = found.moved(found.index.permute((0, 1, 2) if not batch else (1, 0, 2)))
    last = None
    if last_read:
        final = part(built, every, 1 - batch, (steps - 1, steps, 1), title=f"{node.name}.last")
        last = _with_directions(final.moved(final.index.squeeze(1 - batch)), batch, 0)
    return [every.moved(every.index.unsqueeze(2 if not batch else 1)), last]


def _with_directions(value: Value, batch: int, axis: int) -> Value:
    """Return a state with the axis that would tell the directions apart."""
    return value.moved(value.index.unsqueeze(axis if batch else axis + 1))


def _check(node: Node, unknown: list[Any], starts: list[Any]) -> None:
    if node.attributes.get("direction", "forward") == "bidirectional":
        raise NetworkError(f"layer '{node.name}' runs in both directions; one is known")
    if unknown or "clip" in node.attributes or node.attributes.get("input_forget"):
        raise NetworkError(f"layer '{node.name}' has lengths, peepholes or limits, which no Network has")
    if any(start is not None and constant(start, node, "initial state").tensor.any() for start in starts):
        raise NetworkError(f"layer '{node.name}' starts from another state than zero")
    if node.outputs[2:] and node.outputs[2]:
        raise NetworkError(f"layer '{node.name}' puts out the state of its memory, which no Network does")


def _layer(built: Graph, node: Node, arrays: list[Array], *, backwards: bool, sequences: bool) -> Recurrent:
    cell = _CELLS[node.kind]
    gate, act = _activations(node, cell)
    order = _GATES[cell]
    kernel, again, *biases = arrays

    def keras(array: Array) -> Tensor:
        found = array.acting.float()
        if array.tensor.ndim != found.ndim or not torch.isfinite(found).all() or len(found) != 1:
            raise NetworkError(f"layer '{node.name}' has weights that are not finite or of several directions")
        return torch.cat([found[0].chunk(len(order))[at] for at in order])

    def native(values: Tensor) -> Tensor:
        return torch.cat([values.chunk(len(order))[order.index(at)] for at in range(len(order))])

    weight, recurrent_weight = keras(kernel), keras(again)
    halves = [Array(half) for half in biases[0].acting.chunk(2, dim=1)] if biases else []
    bias, recurrent_bias = map(keras, halves) if halves else (torch.zeros(len(weight)), torch.zeros(len(weight)))
    layer = Recurrent(
        built.name(built.title(node.call(cell), kernel)),
        cell,
        weight=weight,
        recurrent_weight=recurrent_weight,
        bias=bias,
        recurrent_bias=recurrent_bias,
        activation=act,
        recurrent_activation=gate,
        return_sequences=sequences,
        backwards=backwards,
        reset_after=bool(node.attributes.get("linear_before_reset")),
    )
    built.stored(layer.name, kernel, lambda at: native(at.used("weight")).unsqueeze(0))
    built.stored(layer.name, again, lambda at: native(at.used("recurrent_weight")).unsqueeze(0))
    if biases:
        built.stored(layer.name, biases[0], lambda at: torch.cat([native(b) for b in at.used_biases()]).unsqueeze(0))
    return layer


def _activations(node: Node, cell: str) -> tuple[str, str]:
    """Return the functions of the gates and of the state."""
    names = [str(name) for name in node.attributes.get("activations", _FIRST[cell])]
    if any(name not in _FUNCTIONS for name in names) or len(names) != len(_FIRST[cell]) or len(set(names[1:])) > 1:
        raise NetworkError(f"layer '{node.name}' has the activations {names}, which no Network has")
    if node.attributes.get("activation_alpha") or node.attributes.get("activation_beta"):
        raise NetworkError(f"layer '{node.name}' has parameters for its activations; the usual ones are known")
    return _FUNCTIONS[names[0]], _FUNCTIONS[names[-1]]
