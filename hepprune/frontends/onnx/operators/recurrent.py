"""Recurrent layers of one direction or both, gates brought from ONNX' order to that of Keras."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from hepprune.errors import refused
from hepprune.frontends.onnx.arrays import FileConstant
from hepprune.frontends.onnx.building import Graph, OnnxNode
from hepprune.frontends.onnx.operators.registry import constant, jets_value, operator
from hepprune.frontends.pytorch.operators.recurrent import gated, last_step
from hepprune.frontends.pytorch.operators.shaping import joined
from hepprune.frontends.pytorch.values import Rows, Value, inverse
from hepprune.network import Recurrent

_CELLS = {"LSTM": "lstm", "GRU": "gru", "RNN": "simple"}
# Keras' gates by their place in ONNX: an LSTM's are input, output, forget, candidate there.
_GATES = {"lstm": (0, 2, 3, 1), "gru": (0, 1, 2), "simple": (0,)}
_WAYS = {"forward": (False,), "reverse": (True,), "bidirectional": (False, True)}  # whether each runs backwards
_FUNCTIONS = {"Tanh": "tanh", "Sigmoid": "sigmoid", "Relu": "relu", "HardSigmoid": "hard_sigmoid"}
_FIRST = {"lstm": ["Sigmoid", "Tanh", "Tanh"], "gru": ["Sigmoid", "Tanh"], "simple": ["Tanh"]}


@operator(*_CELLS)
def recurrent(built: Graph, node: OnnxNode, x: Any, kernel: Any, again: Any, *rest: Any) -> list[Value | None]:
    """All states and the last one."""
    biases, _lengths, *states = [*rest, None, None][: max(len(rest), 2)]
    _check(node, [given for given in (_lengths, *states[2:]) if given is not None], states[:2])
    value, batch = jets_value(x, node), 0 if node.attributes.get("layout") else 1
    axes = (batch, 1 - batch, 2)
    if value.index.ndim != 3 or built.jets(value) != batch:
        raise refused(node.name, "steps along the axis of the jets")
    all_read, last_read = (built.is_read(name) for name in [*node.outputs, "", ""][:2])
    source = built.place(value, axes, f"{node.name}.arranged")
    arrays = [constant(kernel, node, "weight"), constant(again, node, "weight")]
    arrays += [] if biases is None else [constant(biases, node, "bias")]
    if built.fitting is not None and arrays[1].tensor.shape[-1] != node.attributes.get("hidden_size"):
        _resize(built, node, arrays[1].tensor.shape[-1])
    every: list[Value] = []
    finals: list[Value] = []
    for number, backwards in enumerate(_WAYS[node.attributes.get("direction", "forward")]):
        found = built.value(built.add(_layer(built, node, arrays, way=number, sequences=all_read), source))
        if not all_read:  # but for the axis of directions, which all states have
            finals.append(found.moved(found.index.unsqueeze(1 - batch)))
            continue
        stepped = found.moved(found.index.movedim(0, batch))
        every.append(stepped.moved(stepped.index.unsqueeze(2 - batch)))
        if last_read:
            finals.append(last_step(built, stepped, 1 - batch, backwards=backwards))
    both = joined(built, every, 2 - batch, title=f"{node.name}.both") if every else None
    return [both, joined(built, finals, 1 - batch, title=f"{node.name}.states") if finals else None]


def _resize(built: Graph, node: OnnxNode, n_states: int) -> None:
    """Note the number of states that are left; the initial ones, all zero, go with those that are not."""
    built.change(node, "hidden_size", n_states)
    for place in (place for place, name in enumerate(node.inputs) if place in {5, 6} and name):
        built.change(node, place, None)


def _check(node: OnnxNode, unknown: list[Any], starts: list[Any]) -> None:
    if node.attributes.get("direction", "forward") not in _WAYS:
        raise refused(node.name, f"runs {node.attributes['direction']}; known are {', '.join(_WAYS)}")
    if unknown or "clip" in node.attributes or node.attributes.get("input_forget"):
        raise refused(node.name, "has lengths, peepholes or limits, which no Network has")
    if any(start is not None and constant(start, node, "initial state").tensor.any() for start in starts):
        raise refused(node.name, "starts from another state than zero")
    if node.outputs[2:] and node.outputs[2]:
        raise refused(node.name, "puts out the state of its memory, which no Network does")


def _layer(built: Graph, node: OnnxNode, arrays: list[FileConstant], *, way: int, sequences: bool) -> Recurrent:
    cell, ways = _CELLS[node.kind], _WAYS[node.attributes.get("direction", "forward")]
    gate, act = _activations(node, cell, way)
    kernel, again, *biases = arrays
    native = partial(gated, order=inverse(_GATES[cell]))

    def keras(array: FileConstant) -> Tensor:
        found = array.acting.float()
        if array.tensor.ndim != found.ndim or not torch.isfinite(found).all() or len(found) != len(ways):
            raise refused(node.name, "has weights that are not finite or of other directions")
        return gated(found[way], _GATES[cell])

    weight, recurrent_weight = keras(kernel), keras(again)
    halves = [FileConstant(tensor=half) for half in biases[0].acting.chunk(2, dim=1)] if biases else []
    bias, recurrent_bias = map(keras, halves) if halves else (torch.zeros(len(weight)), torch.zeros(len(weight)))
    title = built.title(node.call(cell), kernel)
    layer = Recurrent(
        built.name(f"{title}.back" if way else title),
        cell,
        weight=weight,
        recurrent_weight=recurrent_weight,
        bias=bias,
        recurrent_bias=recurrent_bias,
        activation=act,
        recurrent_activation=gate,
        return_sequences=sequences,
        backwards=ways[way],
        in_order=ways[way],
        reset_after=bool(node.attributes.get("linear_before_reset")),
    )
    parts: list[tuple[FileConstant, Callable[[Any], Tensor]]] = [
        (kernel, lambda at: native(at.used("weight"))),
        (again, lambda at: native(at.used("recurrent_weight"))),
        *((array, lambda at: torch.cat([native(b) for b in at.used_biases()])) for array in biases),
    ]
    for array, values in parts:
        _store(built, layer.name, array, values, way=way)
    return layer


def _store(built: Graph, name: str, array: FileConstant, values: Callable[[Any], Tensor], *, way: int) -> None:
    """Remember that a layer's array is one direction's share of a tensor of the model."""
    share = None if len(array.tensor) == 1 else Rows(torch.tensor([way]), array.tensor)
    built.stored(name, replace(array, rows=share), lambda at: values(at).unsqueeze(0))


def _activations(node: OnnxNode, cell: str, way: int) -> tuple[str, str]:
    given, each = node.attributes.get("activations"), len(_FIRST[cell])
    names = [str(name) for name in given[way * each : (way + 1) * each]] if given else _FIRST[cell]
    if any(name not in _FUNCTIONS for name in names) or len(names) != each or len(set(names[1:])) > 1:
        raise refused(node.name, f"has the activations {names}, which no Network has")
    if node.attributes.get("activation_alpha") or node.attributes.get("activation_beta"):
        raise refused(node.name, "has parameters for its activations; the usual ones are known")
    return _FUNCTIONS[names[0]], _FUNCTIONS[names[-1]]
