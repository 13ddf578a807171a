"""Removal: a network without some of its units, every layer rebuilt for what still goes in and out of it."""

import copy
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hepprune.errors import refused
from hepprune.fixed.quantisers import taken
from hepprune.network import Layer, Network, Rules, layers
from hepprune.pruning.structure.coupling import Units, whole_groups

# Which indices stay along each axis of a value.
KeptUnits = Sequence[Tensor]


@torch.no_grad()
def without(network: Network, units: Units, gone: NDArray[np.bool_]) -> Network:
    """Return the network without the units that are `gone`, one flag for each id.

    Raises:
        NetworkError: a value would be left empty.
    """
    stay = {name: [torch.as_tensor(~gone[ids]) for ids in axes] for name, axes in units.values.items()}
    for name, axes in stay.items():
        if not all(bool(axis.any()) for axis in axes):
            raise refused(name, "would be left with no neuron; remove the whole layer instead")
    rebuilt: list[Layer] = []
    for layer in network:
        own, arriving = stay[layer.name], [stay[name] for name in network.sources.get(layer.name, ())]
        if all(bool(axis.all()) for axes in (*arriving, own) for axis in axes):
            rebuilt.append(copy.deepcopy(layer))
            continue
        result = layer.result
        for axis, keep in enumerate(reversed(own), start=1):
            result = taken(result, keep, axis=-axis)
        rebuilt.append(layer.rebuilt(**REMOVAL.find(layer)(layer, *arriving, stay=own), result=result))
    return Network(rebuilt, network.sources, network.outputs)


def _convolution(layer: layers.Conv, arriving: KeptUnits, *, stay: KeptUnits) -> dict[str, Any]:
    by_group = arriving[-1].reshape(layer.groups, -1)
    if whole_groups(layer) and not by_group.all():
        every = torch.ones(layer.weight.shape[-1], dtype=torch.bool)
        return _kernel(layer, every, stay[-1]) | {"groups": int(by_group[:, 0].sum())}
    return _kernel(layer, by_group[0], stay[-1])


def _kernel(layer: layers.Dense | layers.Conv, columns: Tensor, rows: Tensor) -> dict[str, Any]:
    arrays = {name: getattr(layer, name)[rows][..., columns] for name in ("weight", "digit_limit")}
    weight_type = taken(taken(layer.weight_type, rows, axis=-layer.weight.ndim), columns, axis=-1)
    bias_type = taken(layer.bias_type, rows, axis=-1)
    return arrays | {"bias": layer.bias[rows], "weight_type": weight_type, "bias_type": bias_type}


def _recurrent(layer: layers.Recurrent, arriving: KeptUnits, *, stay: KeptUnits) -> dict[str, Any]:
    columns, states = arriving[-1], stay[-1]
    rows = states.repeat(len(layer.weight) // layer.n_out)
    found: dict[str, Any] = {name: getattr(layer, name)[rows] for name in ("bias", "recurrent_bias")}
    for prefix, kept in (("", columns), ("recurrent_", states)):
        for name in (f"{prefix}weight", f"{prefix}digit_limit"):
            found[name] = getattr(layer, name)[rows][:, kept]
        by_row = taken(getattr(layer, f"{prefix}weight_type"), rows, axis=-2)
        found[f"{prefix}weight_type"] = taken(by_row, kept, axis=-1)
    found["bias_type"] = taken(layer.bias_type, rows, axis=-1)
    for name, kind in (("state", layer.state_type), ("passed", layer.passed_type)):
        found[f"{name}_type"] = taken(kind, states, axis=-1)
    if layer.cell != "lstm":  # whose functions have one type for all values
        found["activation_type"] = taken(layer.act.result, states, axis=-1)
        for name, kind in (("recurrent_activation", layer.gate.result), ("argument", layer.argument_type)):
            of_one = taken(kind, states, axis=-1)  # set of values that both gates share, or else of those of both
            found[f"{name}_type"] = taken(of_one, states.repeat(2), axis=-1)
    return found


def _batch_norm(layer: layers.BatchNorm, _: KeptUnits, *, stay: KeptUnits) -> dict[str, Any]:
    if len(layer.scale) == 1:
        return {}
    types = {f"{name}_type": taken(getattr(layer, f"{name}_type"), stay[-1], axis=-1) for name in ("scale", "shift")}
    return {"scale": layer.scale[stay[-1]], "shift": layer.shift[stay[-1]]} | types


def _prelu(layer: layers.PReLU, _: KeptUnits, *, stay: KeptUnits) -> dict[str, Any]:
    slope = layer.slope.detach()
    for axis, keep in enumerate(reversed(stay), start=1):
        if slope.ndim >= axis and slope.shape[-axis] == len(keep):
            slope = slope.index_select(slope.ndim - axis, torch.nonzero(keep).flatten())
    return {"slope": slope}


def _lookup(layer: layers.Lookup, _: KeptUnits, *, stay: KeptUnits) -> dict[str, Any]:
    keep = stay[-1]
    if layer.table.shape[-2] != len(keep):
        return {}
    kind = taken(layer.argument_type, keep, axis=-1)
    return {"table": layer.table[..., keep, :], "numbers": layer.numbers[keep], "argument_type": kind}


def _slice(layer: layers.Slice, arriving: KeptUnits, *, stay: KeptUnits) -> dict[str, Any]:
    del stay
    keep = arriving[layer.axis - 1 if layer.axis > 0 else layer.axis]
    return {"start": int(keep[: layer.start].sum()), "stop": int(keep[: layer.stop].sum())} if layer.step == 1 else {}


_NO_ARRAYS_OR_COUNTS = (  # along what leaves, so that nothing of them changes
    *(layers.Input, layers.Shared, layers.ReLU, layers.Activation, layers.Softmax, layers.Argmax, layers.TopK),
    *(layers.LayerNorm, layers.Pool, layers.GlobalPool, layers.Merge, layers.Einsum),
    *(layers.Permute, layers.Pad, layers.Crop, layers.UpSample, layers.Concatenate),
)

# What of each kind of layer changes with the units: `rule(layer, *arriving, stay=)` returns the constructor's values.
REMOVAL: Rules[Callable[..., dict[str, Any]]] = Rules(
    lacks="cannot be rebuilt without some of its units",
    fix="give its kind a rule (`hepprune.pruning.structure.removal`), or keep the units that go through it",
    table={
        layers.Dense: lambda layer, arriving, *, stay: _kernel(layer, arriving[-1], stay[-1]),
        layers.Conv: _convolution,
        layers.Recurrent: _recurrent,
        layers.BatchNorm: _batch_norm,
        layers.PReLU: _prelu,
        layers.Lookup: _lookup,
        layers.Reshape: lambda layer, _, *, stay: {
            "target": tuple(-1 if n == -1 else int(keep.sum()) for n, keep in zip(layer.target, stay, strict=True))
        },
        layers.Slice: _slice,
        **dict.fromkeys(_NO_ARRAYS_OR_COUNTS, lambda *_, **__: {}),
    },
)
