"""Recurrent layers of Keras, and layers that wrap others: over the steps of a value, or in both directions."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch

from hepprune.frontends.keras.layers.activations import activation, name_of
from hepprune.frontends.keras.layers.weighted import with_bias
from hepprune.frontends.keras.registry import LAYERS, Native, Part, Parts, only, register, rewrapped, single, wrapped
from hepprune.network import Activation, Concatenate, Layer, Merge, Recurrent, ReLU, Shape
from hepprune.network.layers.recurrent import GATES

_CELLS = {"SimpleRNN": "simple", "LSTM": "lstm", "GRU": "gru"}
_MERGES = {"sum": "add", "mul": "multiply", "ave": "average"}
# Layers that treat every position alike, so that running them on all at once is the same.
POSITIONWISE = frozenset({
    "Dense", "QDense", "Activation", "QActivation", "ReLU", "LeakyReLU", "ELU", "Dropout", "BatchNormalization",
    "QBatchNormalization", "LayerNormalization",
})  # fmt: skip


def recurrent(native: Native, arriving: tuple[Shape, ...]) -> Parts:
    """Return the cell of a recurrent layer, run over the positions."""
    shape, cell = only(native, arriving), _CELLS[native.kind.removeprefix("Q")]
    native.refuse_set("return_state", "stateful", "time_major")
    n_in, n_out = shape[-1], native.size("units")
    rows, both = GATES[cell] * n_out, cell == "gru" and bool(native.config.get("reset_after", True))
    biases = ([(2, rows)] if both else [(rows,)]) if native.config.get("use_bias", True) else []
    kernel, recurrent_kernel, *bias = native.expect((n_in, rows), (n_out, rows), *biases)
    held = torch.zeros(2, rows)
    for array in bias:
        held[: 1 + both] = array  # the second is the recurrent one, which others have in the sum
    functions: dict[str, Any] = {}
    for key in ("activation", "recurrent_activation")[: 1 if cell == "simple" else 2]:  # a simple one has no gates
        functions |= function_arguments(native, key, activation(native, "function", key=key))
    layer = Recurrent(
        native.name,
        cell,
        weight=single(kernel.T),
        recurrent_weight=single(recurrent_kernel.T),
        bias=held[0],
        recurrent_bias=held[1],
        **functions,
        return_sequences=bool(native.config.get("return_sequences")),
        backwards=bool(native.config.get("go_backwards")),
        reset_after=both if cell == "gru" else True,
    )
    return [Part(layer)]


def function_arguments(native: Native, key: str, function: Layer | None) -> dict[str, Any]:
    """Return the constructor's arguments for one function of a cell, given as the layer it would be; None is linear."""
    if function is None:
        return {key: "linear"}
    if isinstance(function, ReLU) and function.maximum is None:
        return {key: "relu", f"{key}_type": function.result}
    if isinstance(function, Activation):
        types = {f"{key}_parameters": function.parameters_of, f"{key}_type": function.result}
        return {key: function.function, **types}
    raise native.refuse(f"has the {key} '{name_of(native, key)[:60]}', which a recurrent layer cannot take over")


def fill_recurrent(native: Native, layers: Mapping[str, Layer]) -> Native:
    """Return the native recurrent layer with the kernels and biases the network has now."""
    layer = native.holding(layers, Recurrent)
    kernels = [layer.weight.detach().T, layer.recurrent_weight.detach().T]
    both = torch.stack([layer.bias, layer.recurrent_bias])
    return with_bias(native, both if has_two_biases(layer) else both.sum(dim=0), *kernels, units=layer.n_out)


def has_two_biases(layer: Layer) -> bool:
    """Return whether Keras keeps both biases of a cell, and not their sum."""
    return isinstance(layer, Recurrent) and layer.cell == "gru" and layer.reset_after


register("SimpleRNN", "LSTM", "GRU", fill=fill_recurrent, groups=("cell",))(recurrent)


def _ways(native: Native) -> tuple[Native, Native]:
    """Return the two layers a Bidirectional runs, forwards and backwards."""
    known = {kind for kind in LAYERS if kind.removeprefix("Q") in _CELLS}
    inner = wrapped(native, known, ", no recurrent layer that can be taken over")
    kind, config, half = inner.kind, inner.config, len(native.weights) // 2
    back = {**config, "go_backwards": not config.get("go_backwards", False)}
    other = native.config.get("backward_layer") or {"class_name": kind, "config": back}
    if other["class_name"] != kind or other["config"].get("return_sequences") != config.get("return_sequences"):
        raise native.refuse("runs two layers that differ")
    forward = replace(inner, name=native.part("forward"), weights=native.weights[:half])
    name, weights = native.part("backward"), native.weights[half:]
    return forward, replace(forward, name=name, config=other["config"], weights=weights)


def _fill_bidirectional(native: Native, layers: Mapping[str, Layer]) -> Native:
    forward, backward = (LAYERS[way.kind].fill(way, layers) for way in _ways(native))
    if any(backward.config[key] != forward.config[key] for key in ("units", "use_bias")):
        raise native.refuse("needs as many values forwards as backwards")
    entries = {"layer": rewrapped(native.config["layer"], forward)}
    if native.config.get("backward_layer"):
        entries["backward_layer"] = rewrapped(native.config["backward_layer"], backward)
    return native.filled([*forward.weights, *backward.weights], **entries)


_CELLS_OF_WAYS = ("forward_layer/cell", "backward_layer/cell")


@register("Bidirectional", "QBidirectional", fill=_fill_bidirectional, groups=_CELLS_OF_WAYS)
def _bidirectional(native: Native, arriving: tuple[Shape, ...]) -> Parts:
    forward, backward = _ways(native)
    parts = [part for way in (forward, backward) for part in LAYERS[way.kind].lower(way, arriving)]
    parts = [replace(part, layer=_in_order(part.layer, backward.name)) for part in parts]
    mode = native.config.get("merge_mode", "concat")
    if mode == "concat":
        return [*parts, Part(Concatenate(native.name), (forward.name, backward.name))]
    if mode not in _MERGES:
        raise native.refuse(f"merges its two ways by {str(mode)[:40]}; known are concat, {', '.join(_MERGES)}")
    return [*parts, Part(Merge(native.name, _MERGES[mode]), (forward.name, backward.name))]


def _in_order(layer: Layer, backward: str) -> Layer:
    """Return a layer with the states of the second way in the order that Keras turns them into."""
    if layer.name != backward or not isinstance(layer, Recurrent):
        return layer
    return layer.rebuilt(in_order=layer.return_sequences)


def _inner(native: Native) -> Native:
    known = POSITIONWISE & LAYERS.keys()
    return wrapped(native, known, f"; known are {', '.join(sorted(known))}")


def _fill_time_distributed(native: Native, layers: Mapping[str, Layer]) -> Native:
    inner = _inner(native)
    filled = LAYERS[inner.kind].fill(inner, layers)
    return native.filled(filled.weights, layer=rewrapped(native.config["layer"], filled))


@register("TimeDistributed", fill=_fill_time_distributed, groups=("layer",))
def _time_distributed(native: Native, arriving: tuple[Shape, ...]) -> Parts:
    inner, shape = _inner(native), only(native, arriving)
    if len(shape) < 2:
        raise native.refuse(f"is called on the shape {shape}, which has no positions")
    return LAYERS[inner.kind].lower(inner, (shape[1:],))
