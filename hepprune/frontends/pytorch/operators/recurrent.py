"""Recurrent layers, stacked and of both directions, gates brought from torch's order to that of Keras."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from hepprune.errors import refused
from hepprune.frontends.pytorch.building import Assembly
from hepprune.frontends.pytorch.operators.registry import array, constant, jets_value, operator, optional
from hepprune.frontends.pytorch.operators.shaping import joined, part
from hepprune.frontends.pytorch.program import Call, names_in
from hepprune.frontends.pytorch.values import Constant, Value, inverse
from hepprune.network import Recurrent

_CELLS = {"lstm": "lstm", "gru": "gru", "rnn_tanh": "simple", "rnn_relu": "simple"}
# Keras' gates by their place in torch: a GRU's are update, reset, candidate there and reset, update, candidate here.
_GATES = {"lstm": (0, 1, 2, 3), "gru": (1, 0, 2), "simple": (0,)}
_OPEN = 2**62  # an end of slices that takes all there is


@operator(*_CELLS)
def recurrent(
    built: Assembly, call: Call, x: Any, *, hx: Any, params: list[Any], num_layers: int, **options: Any
) -> list[Value]:
    """All states and the last one."""
    title = built.title(call, params[0] if isinstance(params[0], Constant) else None)
    _resize_starts(built, call, params)
    starts = hx if isinstance(hx, list) else [hx]
    ways, steps = 2 if options["bidirectional"] else 1, 1 if options["batch_first"] else 0
    per_way = len(params) // (num_layers * ways)
    if per_way not in {2, 4} or len(params) != per_way * num_layers * ways:
        raise refused(title, "has a projection, which no Network has")
    if any(constant(start, title, "initial state").tensor.any() for start in starts):
        raise refused(title, "starts from another state than zero")
    values = jets_value(x, call)
    if values.index.ndim != 3:
        raise refused(title, f"takes steps of values and is given the shape {values.shape}")
    if built.jets(values) == steps:
        raise refused(title, "steps along the axis of jets; set batch_first=True")
    read = {pick.args[1] for pick in built.readers[call.name]}
    if 2 in read:
        raise refused(title, "puts out the state of its memory, which no Network does")
    finals: list[Value] = []
    for number in range(num_layers):
        last = number == num_layers - 1 and (0 not in read or (ways == 1 and _only_last(built, call, steps)))
        states = []
        for way in range(ways):
            own = params[per_way * (number * ways + way) :][:per_way]
            name = title if num_layers == 1 else f"{title}.{number}"
            called = f"{name}.back" if way else name
            layer = _layer(built, call, own, title=called, sequences=not last, backwards=bool(way))
            states.append(_run(built, layer, values, steps))
        ends = [last_step(built, value, steps, backwards=way == 1) for way, value in enumerate(states) if 1 in read]
        finals += [end.moved(end.index.squeeze(steps).unsqueeze(0)) for end in ends]
        values = states[0] if last else joined(built, states, 2, title=f"{name}.both")
    return [values, joined(built, finals, 0, title=f"{title}.states")] if finals else [values]


def _resize_starts(built: Assembly, call: Call, params: list[Any]) -> None:
    """Let the states that a layer starts from have as many values as it has now."""
    for name in names_in(call.args[1:2]) if built.fitting is not None and isinstance(params[1], Constant) else ():
        made = built.calls.get(name)
        if made is not None and made.operator == "zeros" and made.args[0][-1] != params[1].tensor.shape[1]:
            built.rewrite(made, size=[*made.args[0][:-1], params[1].tensor.shape[1]])


def _run(built: Assembly, layer: Recurrent, values: Value, steps: int) -> Value:
    """Add the layer, and return its state at every step; where it has only the last one, that for every step."""
    jets = 1 - steps
    name = built.add(layer, built.place(values, (jets, steps, 2), f"{layer.name}.arranged"))
    if layer.return_sequences:
        return built.value(name, (jets, steps, 2))
    last = built.value(name)
    return last.moved(last.index.unsqueeze(steps).repeat_interleave(values.shape[steps], steps))


def last_step(built: Assembly, states: Value, steps: int, *, backwards: bool) -> Value:
    """Return the state after the last step, which is the first one for the way back, on an axis of one step."""
    step = 0 if backwards else states.shape[steps] - 1
    return part(built, states, steps, (step, step + 1, 1), title=f"{states.layer}.last")


def gated(values: Tensor, order: Sequence[int]) -> Tensor:
    """Return values whose gates, along the first axis, are in another order."""
    return torch.cat([values.chunk(len(order))[gate] for gate in order])


def _layer(built: Assembly, call: Call, own: list[Any], *, title: str, sequences: bool, backwards: bool) -> Recurrent:
    cell = _CELLS[call.operator]
    kernel, again = (constant(entry, title, "weight") for entry in own[:2])
    biases = [optional(entry, title, "bias") for entry in (*own[2:], None, None)[:2]]
    keras, native = (partial(gated, order=order) for order in (_GATES[cell], inverse(_GATES[cell])))
    layer = Recurrent(
        built.name(title),
        cell,
        weight=keras(kernel.tensor.detach().float()),
        recurrent_weight=keras(again.tensor.detach().float()),
        bias=keras(array(biases[0], kernel.tensor, 0.0)),
        recurrent_bias=keras(array(biases[1], kernel.tensor, 0.0)),
        activation="relu" if call.operator == "rnn_relu" else "tanh",
        return_sequences=sequences,
        backwards=backwards,
        in_order=backwards,
    )
    built.stored(layer.name, kernel, lambda at: native(at.used("weight")))
    built.stored(layer.name, again, lambda at: native(at.used("recurrent_weight")))
    built.stored(layer.name, biases[0], lambda at: native(at.used_biases()[0]))
    built.stored(layer.name, biases[1], lambda at: native(at.used_biases()[1]))
    return layer


def _only_last(built: Assembly, call: Call, steps: int) -> bool:
    states = [pick.name for pick in built.readers[call.name] if pick.args[1] == 0]
    readers = [reader for name in states for reader in _readers(built, name)]
    return all(reader.operator == "select" and reader.args[1:] == (steps, -1) for reader in readers)


def _readers(built: Assembly, name: str) -> list[Call]:
    """Return what reads a value, also through slices of all jets, which torch adds where their number is open."""
    found: list[Call] = []
    for reader in built.readers.get(name, ()):
        of_all = reader.operator == "slice" and reader.args[1:3] in {(), (0,), (0, 0), (0, None)}
        open_ended = of_all and all(end is None or end >= _OPEN for end in reader.args[3:4]) and len(reader.args) < 5
        found += _readers(built, reader.name) if open_ended else [reader]
    return found
