"""Recurrent layers of one direction, gates brought from torch's order to that of Keras."""

from typing import Any

import torch
from torch import Tensor

from hepprune.errors import NetworkError
from hepprune.frontends.pytorch.building import Building
from hepprune.frontends.pytorch.operators.registry import array, constant, jets_value, operator, optional
from hepprune.frontends.pytorch.operators.shaping import part
from hepprune.frontends.pytorch.program import Call
from hepprune.frontends.pytorch.values import Constant, Value
from hepprune.network import Recurrent

_CELLS = {"lstm": "lstm", "gru": "gru", "rnn_tanh": "simple", "rnn_relu": "simple"}
# Keras' gates by their place in torch: a GRU's are update, reset, candidate there and reset, update, candidate here.
_GATES = {"lstm": (0, 1, 2, 3), "gru": (1, 0, 2), "simple": (0,)}


@operator(*_CELLS)
def recurrent(
    built: Building,
    call: Call,
    x: Any,
    *,
    hx: Any,
    params: list[Any],
    num_layers: int,
    bidirectional: bool,
    batch_first: bool,
    **_: Any,
) -> list[Value]:
    """All states and the last one."""
    title = built.title(call, params[0] if isinstance(params[0], Constant) else None)
    starts = hx if isinstance(hx, list) else [hx]
    if num_layers != 1 or bidirectional or len(params) not in {2, 4}:
        raise NetworkError(
            f"layer '{title}' has several layers or directions or a projection; one plain layer is known"
        )
    if any(constant(start, title, "initial state").tensor.any() for start in starts):
        raise NetworkError(f"layer '{title}' starts from another state than zero")
    values = jets_value(x, call)
    if values.index.ndim != 3:
        raise NetworkError(f"layer '{title}' takes steps of values and is given the shape {values.shape}")
    steps = 1 if batch_first else 0
    axes = (built.jets(values), steps, 2)
    if axes[0] == steps:
        raise NetworkError(f"layer '{title}' steps along the axis of jets; set batch_first=True")
    source = built.place(values, axes, f"{title}.arranged")
    only_last = _only_last(built, call, steps)
    name = built.add(_layer(built, call, params, title=title, sequences=not only_last), source)
    if only_last:
        last = built.value(name)
        states = last.moved(last.index.unsqueeze(steps).repeat_interleave(values.shape[steps], steps))
    else:
        states = built.value(name, (0, 1, 2) if batch_first else (1, 0, 2))
    read = {pick.args[1] for pick in built.readers[call.name]}
    if 2 in read:
        raise NetworkError(f"layer '{title}' puts out the state of its memory, which no Network does")
    if 1 not in read:
        return [states]
    final = part(built, states, steps, (values.shape[steps] - 1, values.shape[steps], 1), title=f"{title}.last")
    shown = final.moved(final.index.squeeze(steps).unsqueeze(0))
    return [states, shown]


def _layer(built: Building, call: Call, parameters: list[Any], *, title: str, sequences: bool) -> Recurrent:
    cell = _CELLS[call.operator]
    kernel, again = (constant(entry, title, "weight") for entry in parameters[:2])
    biases = [optional(entry, title, "bias") for entry in (*parameters[2:], None, None)[:2]]
    order = _GATES[cell]

    def keras(values: Tensor) -> Tensor:
        return torch.cat([values.chunk(len(order))[gate] for gate in order])

    def native(values: Tensor) -> Tensor:
        return torch.cat([values.chunk(len(order))[order.index(gate)] for gate in range(len(order))])

    layer = Recurrent(
        built.name(title),
        cell,
        weight=keras(kernel.tensor.detach().float()),
        recurrent_weight=keras(again.tensor.detach().float()),
        bias=keras(array(biases[0], kernel.tensor, 0.0)),
        recurrent_bias=keras(array(biases[1], kernel.tensor, 0.0)),
        activation="relu" if call.operator == "rnn_relu" else "tanh",
        return_sequences=sequences,
    )
    built.stored(layer.name, kernel, lambda at: native(at.used("weight")))
    built.stored(layer.name, again, lambda at: native(at.used("recurrent_weight")))
    built.stored(layer.name, biases[0], lambda at: native(at.used_biases()[0]))
    built.stored(layer.name, biases[1], lambda at: native(at.used_biases()[1]))
    return layer


def _only_last(built: Building, call: Call, steps: int) -> bool:
    """Return whether nothing reads any state but the last."""
    states = [pick.name for pick in built.readers[call.name] if pick.args[1] == 0]
    readers = [reader for name in states for reader in built.readers[name]]
    return all(reader.operator == "select" and reader.args[1:] == (steps, -1) for reader in readers)
