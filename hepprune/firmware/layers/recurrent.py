"""Recurrent layers for hls4ml, which looks their gates up in tables and keeps their state in the result type."""

from dataclasses import replace
from typing import Any

import numpy as np

from hepprune.firmware.layers.activation import TABLE_BITS
from hepprune.firmware.layers.base import PARALLEL, HlsLayer, Place, after, before, cast, fixed
from hepprune.firmware.layers.precision import constant_type, covering
from hepprune.firmware.layers.shaping import permute
from hepprune.fixed import FixedPoint
from hepprune.network.layers import Permute, Recurrent
from hepprune.network.layers.recurrent import KERNELS

_CLASSES = {"lstm": "LSTM", "gru": "GRU"}
_GATES = ("sigmoid", "tanh", "relu")
# An LSTM's memory, which hls4ml keeps in the type of its state, grows by at most 1 a step; its C++ compiles only where
# the accumulator and the argument are of that type too.
_STATE = FixedPoint(24, 8)
_TABLE = FixedPoint(24, 2, rounding="RND", overflow="SAT")
_TABLE_SIZE = 4096


def recurrent(place: Place, layer: Recurrent) -> list[HlsLayer]:
    """Describe an LSTM or a GRU, its steps one after the other in the same multipliers.

    hls4ml runs forwards only: one that runs backwards reads its steps turned around, which costs wires alone.
    """
    _check(place, layer)
    if not layer.backwards:
        return _forwards(place, layer)
    turned = _turned(before(place, "turned", shape=place.arriving[0]))
    place = after(place, turned, shape=place.arriving[0])
    if not layer.in_order or not layer.return_sequences:
        return [*turned, *_forwards(place, layer)]
    nodes = _forwards(before(place, "states", shape=place.shape, result=place.result), layer)
    back = _turned(after(place, nodes, shape=place.shape))
    return [*turned, *nodes, *(replace(node, exact=False) for node in back)]


def _turned(place: Place) -> list[HlsLayer]:
    """Return the nodes that turn the order of the steps around: a product with ones beside the diagonal."""
    n_steps, n_values = place.arriving[0]
    rows, flipped = (before(place, suffix, shape=(n_values, n_steps)) for suffix in ("rows", "flipped"))
    nodes = permute(rows, Permute("rows", (1, 0)))
    bit = FixedPoint(1, 1, signed=False)
    types = {"weight": bit, "bias": bit, "accum": place.arriving_types[0]}
    ones = {"weight_data": np.eye(n_steps)[::-1].copy(), "bias_data": np.zeros(n_steps)}
    product = after(flipped, nodes, shape=(n_values, n_steps))
    node = product.node("Dense", {"n_in": n_steps, "n_out": n_steps} | ones, **types)
    knobs = {"Strategy": "latency", "ReuseFactor": 1, "ParallelizationFactor": 1 if place.streams else n_values}
    nodes.append(replace(node, knobs=knobs))
    return [*nodes, *permute(after(place, nodes, shape=(n_values, n_steps)), Permute("back", (1, 0)))]


def _forwards(place: Place, layer: Recurrent) -> list[HlsLayer]:
    shape = place.arriving[0]
    typed = [cast(before(place, "typed", shape=shape, result=_STATE))] if layer.cell == "lstm" else []
    read = after(place, typed, shape=shape) if typed else place
    cell = before(read, "cell", shape=read.shape, result=_STATE)
    biases, types = _biases(layer)
    taken = ("activation", "recurrent_activation", "return_sequences", "n_in", "n_out")
    attributes = {name: getattr(layer, name) for name in taken}
    attributes |= {f"{kind}_data": layer.used(kind).numpy().T.copy() for kind in KERNELS}
    attributes |= {"direction": "forward", "return_state": False, "n_timesteps": shape[0]}
    attributes |= {"table_t": fixed(_TABLE), "table_size": _TABLE_SIZE}
    kernels = {kind: (layer.used(kind), getattr(layer, f"{kind}_type")) for kind in KERNELS}
    types |= {kind: constant_type(place.name, *kernel) for kind, kernel in kernels.items()} | {"accum": _STATE}
    node = cell.node(_CLASSES[layer.cell], attributes | biases, **types)
    knobs = {"Strategy": "latency" if layer.reuse_factor == 1 else "resource", "ReuseFactor": layer.reuse_factor}
    node = replace(node, knobs=knobs, exact=False)
    return [*typed, node, replace(cast(after(place, [node], shape=place.shape)), exact=False)]


def _biases(layer: Recurrent) -> tuple[dict[str, Any], dict[str, FixedPoint]]:
    """Return the biases and their types; hls4ml has a recurrent one for a GRU, an LSTM's are summed."""
    bias, recurrent_bias = (values.numpy() for values in layer.used_biases())
    if layer.cell == "gru":
        biases = {"bias": bias, "recurrent_bias": recurrent_bias}
    else:
        biases = {"bias": bias + recurrent_bias}
    types = {name: constant_type(layer.name, values) for name, values in biases.items()}
    types.setdefault("recurrent_bias", FixedPoint(1, 1))
    extra: dict[str, Any] = {"apply_reset_gate": "after"} if layer.cell == "gru" else {}
    return {f"{name}_data": np.asarray(values) for name, values in biases.items()} | extra, types


def _check(place: Place, layer: Recurrent) -> None:
    if layer.cell not in _CLASSES:
        fix = "give it types (`hepprune.network.precision.quantise`), or use a GRU or an LSTM"
        raise place.refused("is a simple recurrent cell in float, which hls4ml has no firmware for", fix)
    if layer.cell == "gru" and not layer.reset_after:
        raise place.refused("resets before its kernel, hls4ml after it", fix="train it with reset_after")
    for function in (layer.activation, layer.recurrent_activation):
        if function not in _GATES:
            raise place.refused(f"has gates with {function}, not of hls4ml", f"train with one of {', '.join(_GATES)}")


def check_steps(place: Place, layer: Recurrent) -> None:
    """Refuse a cell with types of its steps that cannot be unrolled into other layers of hls4ml."""
    if place.streams:
        raise place.refused("has types of its steps, and these no io_stream form", fix=PARALLEL)
    if layer.reuse_factor != 1:
        raise place.refused("has types of its steps, which share no multipliers", fix="set reuse factor 1")
    kind = layer.argument_type
    tabled = layer.looks_up(layer.act) or (layer.cell != "simple" and layer.looks_up(layer.gate))
    if tabled and (kind is None or covering(place.name, kind).width > TABLE_BITS):
        said = "looks up what its kernels add up to, of more bits than a table has"
        raise place.refused(said, f"give it an argument_type of at most {TABLE_BITS} bits")
