"""The range of what a recurrent layer puts out, in whatever order and number its steps run."""

import functools
from collections.abc import Callable

import numpy as np
import torch

from hepprune.errors import NetworkError
from hepprune.network.layers import Activation, Recurrent, ReLU
from hepprune.network.ranges.functions import reach
from hepprune.network.ranges.interval import Interval, affine, quantise

_linear = torch.nn.functional.linear
Function = Callable[[Interval], Interval]


def cell_range(layer: Recurrent, arriving: Interval) -> Interval:
    """Return the range of the states: what the functions of the cell make of all that its types let them see.

    Raises:
        NetworkError: its kernels, functions or states lack a type, or it accumulates more bits than are exact.
    """
    of = {
        "weight_type": layer.weight_type,
        "recurrent_weight_type": layer.recurrent_weight_type,
        "bias_type": layer.bias_type,
        "activation_type": layer.act.result,
    }
    more = {"recurrent_activation_type": layer.gate.result, "state_type": layer.state_type}
    missing = [name for name, kind in (of if layer.cell == "simple" else of | more).items() if kind is None]
    if missing:
        raise NetworkError(f"layer '{layer.name}' (Recurrent) has no range without its {' and '.join(missing)}")
    inputs = Interval(arriving.low.min(axis=0), arriving.high.max(axis=0), arriving.fraction)
    state = Interval.of(layer.state_type or layer.act.result, (layer.n_out,))  # type: ignore[arg-type]
    act, gate = (functools.partial(_function, layer, function) for function in (layer.act, layer.gate))
    cell = {"simple": _simple, "lstm": _lstm, "gru": _gru}[layer.cell]
    found = cell(layer, _kernel(layer, "weight", inputs), state, act, gate)
    shape = (*arriving.low.shape[:1], layer.n_out) if layer.return_sequences else (layer.n_out,)
    low, high = (np.broadcast_to(end, shape).copy() for end in (found.low, found.high))
    return Interval(low, high, found.fraction)


def _kernel(layer: Recurrent, kind: str, values: Interval) -> Interval:
    """Return the range of what a kernel and its bias make of values, (rows,)."""
    kernel = next(kernel for kernel in layer.kernels if kernel.array == kind)
    bias = layer.used_biases()[kind != "weight"]
    fraction = max(kernel.type.fraction + values.fraction, layer.bias_type.fraction)  # type: ignore[union-attr]
    return _exact(layer, affine(_linear, kernel.used(), bias, values, fraction=fraction))


def _exact(layer: Recurrent, interval: Interval) -> Interval:
    """Return a range that is computed exactly."""
    try:
        _ = interval.covering()
    except NetworkError as problem:
        raise NetworkError(f"layer '{layer.name}' accumulates more bits than are computed exactly: {problem}") from None
    return interval


def _function(layer: Recurrent, function: ReLU | Activation, arriving: Interval) -> Interval:
    """Return the range of one of the cell's functions, rounded to its type."""
    arriving = quantise(arriving, layer.argument_of(function))
    return quantise(Interval(*reach(function, arriving), arriving.fraction), function.result)


def _simple(layer: Recurrent, inputs: Interval, state: Interval, act: Function, _: Function) -> Interval:
    return act(_exact(layer, inputs + _kernel(layer, "recurrent_weight", state)))


def _lstm(layer: Recurrent, inputs: Interval, state: Interval, act: Function, gate: Function) -> Interval:
    totals = _exact(layer, inputs + _kernel(layer, "recurrent_weight", state))
    entry, forget, candidate, exit_ = _gates(totals, layer.n_out)
    memory = _exact(layer, gate(forget) * state + gate(entry) * act(candidate))
    return gate(exit_) * act(memory)


def _gru(layer: Recurrent, inputs: Interval, state: Interval, act: Function, _: Function) -> Interval:
    read = _gates(_kernel(layer, "recurrent_weight", state), layer.n_out)
    entered = _gates(inputs, layer.n_out)
    update, reset = (_function(layer, layer.gates[k], _exact(layer, entered[k] + read[k])) for k in (0, 1))
    if layer.reset_after:
        reach = reset * quantise(read[2], layer.passed_type)
    else:
        passed = quantise(reset * state, layer.passed_type)
        reach = _gates(_kernel(layer, "recurrent_weight", passed), layer.n_out)[2]
    candidate = act(_exact(layer, entered[2] + reach))
    one = Interval(np.ones(layer.n_out), np.ones(layer.n_out), 0)
    return update * state + (one - update) * candidate


def _gates(values: Interval, n_out: int) -> list[Interval]:
    """Return the ranges of the gates one by one."""
    parts = range(0, len(values.low), n_out)
    return [Interval(values.low[k : k + n_out], values.high[k : k + n_out], values.fraction) for k in parts]
