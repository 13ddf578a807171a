"""Recurrent layers unrolled over their steps: the same matrices and tables at every step."""

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from hepprune.firmware.tracing import arithmetic, rounding
from hepprune.firmware.tracing.base import TRACES, Variables, applied, array, typed
from hepprune.firmware.tracing.kernels import affine, check_types, kinds
from hepprune.firmware.verilog import adders
from hepprune.fixed import Quantiser
from hepprune.network.layers import Activation, Recurrent, ReLU
from hepprune.network.layers.recurrent import KERNELS

TracedProduct = Callable[[str, Variables, slice], Variables]
_times = np.frompyfunc(arithmetic.product, 2, 1)


@TRACES.of(Recurrent)
@torch.no_grad()
def _unrolled(layer: Recurrent, arriving: Variables) -> Variables:
    _check(layer)
    weights = {kind: layer.used(kind).cpu().numpy() for kind in KERNELS}
    biases = dict(zip(KERNELS, (bias.cpu().numpy() for bias in layer.used_biases()), strict=True))

    def product(kind: str, values: Variables, rows: slice) -> Variables:
        made = affine(weights[kind][rows], biases[kind][rows], list(values))
        return array(made, (len(made),))

    step = functools.partial(_step, layer, product)
    read = functools.partial(_in_type, layer, layer.state_type)
    zeros = array([adders.constant(0.0)] * layer.n_out, (layer.n_out,))
    state, memory, states = zeros, zeros, []
    for now in arriving[::-1] if layer.backwards else arriving:
        state, memory = step(now, read(state), read(memory))
        states.append(state)
    ordered = states[::-1] if layer.backwards and layer.in_order else states
    return np.stack(ordered) if layer.return_sequences else state


def _check(layer: Recurrent) -> None:
    for kernel, bias in zip(layer.kernels, layer.used_biases(), strict=True):
        weights = "weights", kernel.type, kernel.used().cpu().numpy()
        check_types(layer.name, *kinds(layer.name, weights, ("biases", layer.bias_type, bias.cpu().numpy())))
    layer.check_bounded()


def _in_type(layer: Recurrent, kind: Quantiser | None, values: Variables) -> Variables:
    return values if kind is None else typed(rounding.quantise, values, kind, name=layer.name)


def _step(
    layer: Recurrent, product: TracedProduct, now: Variables, state: Variables, memory: Variables
) -> tuple[Variables, Variables]:
    inputs = product("weight", now, slice(None))
    if layer.cell == "gru":
        return _gated(layer, product, inputs, state), memory
    whole = inputs + product("recurrent_weight", state, slice(None))
    act, gate = (functools.partial(_applied, layer, function) for function in (layer.act, layer.gate))
    if layer.cell == "simple":
        return act(whole), memory
    entry, forget, candidate, exit_ = np.split(whole, 4)
    memory = _times(gate(forget), memory) + _times(gate(entry), act(candidate))
    return _times(gate(exit_), act(memory)), memory


def _applied(layer: Recurrent, function: ReLU | Activation, values: Variables) -> Variables:
    return applied(function, _in_type(layer, layer.argument_of(function), values))


def _gated(layer: Recurrent, product: TracedProduct, inputs: Variables, state: Variables) -> Variables:
    act, gate, reset_gate = (functools.partial(_applied, layer, function) for function in (layer.act, *layer.gates))
    updates, resets, candidates = (slice(first * layer.n_out, (first + 1) * layer.n_out) for first in range(3))
    update = gate(inputs[updates] + product("recurrent_weight", state, updates))
    reset = reset_gate(inputs[resets] + product("recurrent_weight", state, resets))
    if layer.reset_after:
        inner = _times(reset, _in_type(layer, layer.passed_type, product("recurrent_weight", state, candidates)))
    else:
        inner = product("recurrent_weight", _in_type(layer, layer.passed_type, _times(reset, state)), candidates)
    candidate: Any = act(inputs[candidates] + inner)
    mixed: Variables = _times(update, state) + _times(1.0 - update, candidate)
    return mixed
