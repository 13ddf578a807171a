"""Removal: a network without some of its units, every layer rebuilt for what still goes in and out of it."""

import copy
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hepprune.errors import NetworkError
from hepprune.network import Conv, Dense, Input, Layer, Network, Rules, Shared
from hepprune.network.layers import (
    Activation,
    Argmax,
    BatchNorm,
    Concatenate,
    Crop,
    Einsum,
    GlobalPool,
    LayerNorm,
    Lookup,
    Merge,
    Pad,
    Permute,
    Pool,
    PReLU,
    Recurrent,
    ReLU,
    Reshape,
    Slice,
    Softmax,
    TopK,
    UpSample,
)
from hepprune.pruning.structure.coupling import Units, whole_groups
from hepprune.quantisers import taken

# Which indices stay along each axis of a value.
Keep = Sequence[Tensor]


@torch.no_grad()
def without(network: Network, units: Units, gone: NDArray[np.bool_]) -> Network:
    """Return the network without the units that are `gone`, one flag for each id.

    Raises:
        NetworkError: a value would be left empty.
    """
    stay = {name: [torch.as_tensor(~gone[ids]) for ids in axes] for name, axes in units.values.items()}
    for name, axes in stay.items():
        if not all(bool(axis.any()) for axis in axes):
            raise NetworkError(f"layer '{name}' would be left with no neuron; remove the whole layer instead")
    layers = [
        _rebuilt(layer, [stay[name] for name in network.sources.get(layer.name, ())], stay[layer.name])
        for layer in network
    ]
    return Network(layers, network.sources, network.outputs)


def _rebuilt(layer: Layer, arriving: Sequence[Keep], stay: Keep) -> Layer:
    if all(bool(axis.all()) for axes in (*arriving, stay) for axis in axes):
        return copy.deepcopy(layer)
    changes = REMOVAL.find(layer)(layer, *arriving, stay=stay)
    result = layer.result
    for axis, keep in enumerate(reversed(stay), start=1):
        result = taken(result, keep, axis=-axis)
    return layer.rebuilt(**changes, result=result)


def _dense(layer: Dense, arriving: Keep, *, stay: Keep) -> dict[str, Any]:
    return _kernel(layer, arriving[-1], stay[-1])


def _convolution(layer: Conv, arriving: Keep, *, stay: Keep) -> dict[str, Any]:
    by_group = arriving[-1].reshape(layer.groups, -1)
    if whole_groups(layer) and not by_group.all():
        every = torch.ones(layer.weight.shape[-1], dtype=torch.bool)
        return _kernel(layer, every, stay[-1]) | {"groups": int(by_group[:, 0].sum())}
    return _kernel(layer, by_group[0], stay[-1])


def _kernel(layer: Dense | Conv, columns: Tensor, rows: Tensor) -> dict[str, Any]:
    arrays = {name: getattr(layer, name)[rows][..., columns] for name in ("weight", "digit_limit")}
    weight_type = taken(taken(layer.weight_type, rows, axis=-layer.weight.ndim), columns, axis=-1)
    return arrays | {
        "bias": layer.bias[rows],
        "weight_type": weight_type,
        "bias_type": taken(layer.bias_type, rows, axis=-1),
    }


def _recurrent(layer: Recurrent, arriving: Keep, *, stay: Keep) -> dict[str, Any]:
    columns, states = arriving[-1], stay[-1]
    rows = states.repeat(len(layer.weight) // layer.n_out)
    found = {name: getattr(layer, name)[rows] for name in ("bias", "recurrent_bias")}
    for prefix, kept in (("", columns), ("recurrent_", states)):
        for name in (f"{prefix}weight", f"{prefix}digit_limit"):
            found[name] = getattr(layer, name)[rows][:, kept]
        by_row = taken(getattr(layer, f"{prefix}weight_type"), rows, axis=-2)
        found[f"{prefix}weight_type"] = taken(by_row, kept, axis=-1)
    return found | _recurrent_types(layer, rows, states)


def _recurrent_types(layer: Recurrent, rows: Tensor, states: Tensor) -> dict[str, Any]:
    found = {"bias_type": taken(layer.bias_type, rows, axis=-1)}
    for name, kind in (("state", layer.state_type), ("passed", layer.passed_type)):
        found[f"{name}_type"] = taken(kind, states, axis=-1)
    if layer.cell != "lstm":  # whose functions have one type for all values
        found["activation_type"] = taken(layer.act.result, states, axis=-1)
        for name, kind in (("recurrent_activation", layer.gate.result), ("argument", layer.argument_type)):
            of_one = taken(kind, states, axis=-1)  # set of values that both gates share, or else of those of both
            found[f"{name}_type"] = taken(of_one, states.repeat(2), axis=-1)
    return found


def _batch_norm(layer: BatchNorm, _: Keep, *, stay: Keep) -> dict[str, Any]:
    if len(layer.scale) == 1:
        return {}
    types = {f"{name}_type": taken(getattr(layer, f"{name}_type"), stay[-1], axis=-1) for name in ("scale", "shift")}
    return {"scale": layer.scale[stay[-1]], "shift": layer.shift[stay[-1]]} | types


def _prelu(layer: PReLU, _: Keep, *, stay: Keep) -> dict[str, Any]:
    slope = layer.slope.detach()
    for axis, keep in enumerate(reversed(stay), start=1):
        if slope.ndim >= axis and slope.shape[-axis] == len(keep):
            slope = slope.index_select(slope.ndim - axis, torch.nonzero(keep).flatten())
    return {"slope": slope}


def _lookup(layer: Lookup, _: Keep, *, stay: Keep) -> dict[str, Any]:
    keep = stay[-1]
    if layer.table.shape[-2] != len(keep):
        return {}
    kind = taken(layer.argument_type, keep, axis=-1)
    return {"table": layer.table[..., keep, :], "numbers": layer.numbers[keep], "argument_type": kind}


def _reshape(layer: Reshape, _: Keep, *, stay: Keep) -> dict[str, Any]:
    sizes = (int(keep.sum()) for keep in stay)
    return {"target": tuple(-1 if old == -1 else new for old, new in zip(layer.target, sizes, strict=True))}


def _slice(layer: Slice, arriving: Keep, *, stay: Keep) -> dict[str, Any]:
    del stay
    keep = arriving[layer.axis - 1 if layer.axis > 0 else layer.axis]
    return {"start": int(keep[: layer.start].sum()), "stop": int(keep[: layer.stop].sum())} if layer.step == 1 else {}


def _as_they_are(*_: Any, stay: Keep) -> dict[str, Any]:
    """Return no change: the layer has no arrays along what leaves, and its settings count no units."""
    del stay
    return {}


# What of each kind of layer changes with the units: `rule(layer, *arriving, stay=)` returns the constructor's values.
REMOVAL: Rules[Callable[..., dict[str, Any]]] = Rules(
    lacks="cannot be rebuilt without some of its units",
    fix="give its kind a rule (`hepprune.pruning.structure.removal`), or keep the units that go through it",
    table={
        Dense: _dense,
        Conv: _convolution,
        Recurrent: _recurrent,
        BatchNorm: _batch_norm,
        PReLU: _prelu,
        Lookup: _lookup,
        Reshape: _reshape,
        Slice: _slice,
        **dict.fromkeys((Input, Shared, ReLU, Activation, Softmax, Argmax, TopK, LayerNorm, Pool), _as_they_are),
        **dict.fromkeys((GlobalPool, Permute, Pad, Crop, UpSample, Concatenate, Merge, Einsum), _as_they_are),
    },
)
