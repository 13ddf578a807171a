"""Layers of PQuantML that are made of others of its layers: separable convolutions and attention."""

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hepprune.fixed import Quantiser
from hepprune.fixed.quantisers import FixedPoints
from hepprune.frontends.keras.hgq.types import each as changed_each
from hepprune.frontends.keras.layers.attention import ROLES, attended
from hepprune.frontends.keras.pquant import section
from hepprune.frontends.keras.registry import LAYERS, LayerKind, Native, Parts, inside, lowered, outer, reading, then
from hepprune.network import Dense, Layer, Shape

_PRUNING = "pruning_layer/"


def _own(native: Native, *names: str, **more: Any) -> dict[str, Any]:
    """Return settings that a layer shares with one inside it, and others."""
    return {"config": native.config.get("config"), **{name: native.config.get(name) for name in names}, **more}


def _separated(native: Native) -> tuple[Native, Native]:
    """Return the two convolutions of a separable one."""
    shared = ("data_format", "final_compression_done")
    along = _own(native, *shared, "kernel_size", "strides", "padding", "dilation_rate", "depth_multiplier")
    given = native.config.get("quantize_input", True)
    depth = {**along, "use_bias": False, "quantize_input": given, "quantize_output": False}
    point = _own(native, *shared, "filters", use_bias=native.config.get("use_bias", True), quantize_input=False)
    point |= {"kernel_size": 1, "padding": "same", "quantize_output": native.config.get("quantize_output", False)}
    deep = inside(native, "depthwise_conv", name=native.part("depthwise"), kind="PQDepthwiseConv2d", config=depth)
    return deep, inside(native, "pointwise_conv", kind="PQConv2d", config=point)


def _separable(native: Native, arriving: tuple[Shape, ...]) -> Parts:
    deep, point = _separated(native)
    parts = lowered(deep)
    return then(parts, lowered(replace(point, arriving=(parts[-1].layer.shape(*arriving),))))


def _fill_separable(native: Native, layers: Mapping[str, Layer]) -> Native:
    deep, point = (LAYERS[each.kind].fill(each, layers) for each in _separated(native))
    if deep.config["use_bias"]:
        raise native.refuse("has no place for a bias between its two kernels")
    sizes = {"depth_multiplier": deep.config["depth_multiplier"], "filters": point.config["filters"]}
    found = outer(native, (deep, point), use_bias=point.config["use_bias"], **sizes)
    return _unpruned(found) if any(each.config.get("enable_pruning") is False for each in (deep, point)) else found


def _unpruned(native: Native) -> Native:
    """Return a layer of another size, whose parts are no longer pruned."""
    stored = {key: array for key, array in native.stored.items() if f"/{_PRUNING}" not in key}
    settings = {**section(native, "pruning_parameters"), "enable_pruning": False}
    config = {**native.config["config"], "pruning_parameters": settings}
    return replace(native, stored=stored, config={**native.config, "config": config})


def _roles(native: Native, arriving: tuple[Shape, ...]) -> dict[str, int]:
    """Return which arriving value is the query, the key and the value: the last one is all that are left."""
    if any(name not in {None, "inputs"} for name in native.arguments) or not 1 <= len(arriving) <= 3:
        raise native.refuse("is called with more than query, key and value, which cannot be taken over")
    if any(len(shape) != 2 for shape in arriving):
        raise native.refuse(f"attends over the shapes {arriving}; only (positions, channels) can be taken over")
    return {role: min(number, len(arriving) - 1) for number, role in enumerate(ROLES)}


def _insides(native: Native) -> dict[str, Native]:
    """Return the projections and the softmax."""
    width = {"units": native.size("embed_dim"), "use_bias": native.config.get("bias", True)}
    given = native.config.get("quantize_input", True)
    first = _own(native, **width, enable_pruning=False, quantize_input=given, quantize_output=True)
    last = _own(native, **width, quantize_input=True, quantize_output=native.config.get("quantize_output", False))
    steps = _own(native, axis=[-1], quantize_input=True, quantize_output=True)
    named = {role: native.part(role) for role in ROLES}
    dense = partial(inside, native, kind="PQDense", config=first)
    found = {role: dense(f"{role[0]}_proj", name=name) for role, name in named.items()}
    found["softmax"] = inside(native, "softmax", name=native.part("softmax"), kind="PQSoftmax", config=steps)
    found["output"] = inside(native, "out_proj", kind="PQDense", config=last)
    return found


def _attention(native: Native, arriving: tuple[Shape, ...]) -> Parts:
    """Return the projections, their heads' scores, the softmax of these, what it weighs, and the projection of that."""
    roles, insides, heads = _roles(native, arriving), _insides(native), native.size("num_heads")
    width = native.size("embed_dim")
    if width % heads:
        raise native.refuse(f"shares {width} values among {heads} heads")
    shapes = {role: arriving[number] for role, number in roles.items()}
    projected = {role: reading(_given(insides[role], shapes[role]), roles[role]) for role in ROLES}
    split = {role: (shape[0], heads, width // heads) for role, shape in shapes.items()}
    softmax, output = (partial(_given, insides[name]) for name in ("softmax", "output"))
    return attended(native, projected, split, softmax, output)


def _given(inner: Native, shape: Shape) -> Parts:
    return lowered(replace(inner, arriving=(shape,)))


@torch.no_grad()
def _fill_attention(native: Native, layers: Mapping[str, Layer]) -> Native:
    """Return the attention with the arrays that the network has now; in the place of what its heads lost are zeros.

    One number says how many values all heads have and how many channels it puts out, and the scale of scores as well.
    """
    native = _sized(native)
    lost: dict[str, Layer] = {}
    full = (native.size("num_heads"), native.size("embed_dim") // native.size("num_heads"))
    now = {role: native.shapes[native.part(f"{role}_heads")][1:] for role in ROLES}
    if any(each != full for each in now.values()):
        native, lost = _widened(native, layers, now, full)
    filled = {role: LAYERS[each.kind].fill(each, {**layers, **lost}) for role, each in _insides(native).items()}
    kdim, vdim = (filled[role].weights[0].shape[0] for role in ("key", "value"))
    found = outer(native, filled.values(), kdim=kdim, vdim=vdim)
    is_other = lost or filled["output"].config.get("enable_pruning") is False
    return _unpruned(found) if is_other else found


def _sized(native: Native) -> Native:
    """Return the attention with as many heads as its channels ask for."""
    each, n_out = native.size("embed_dim") // native.size("num_heads"), native.shapes[native.name][-1]
    now = [native.shapes[native.part(f"{role}_heads")][1:] for role in ROLES]
    if n_out % each or max(heads for heads, _ in now) > n_out // each:
        sizes = " and ".join(f"{count} of {size}" for count, size in dict.fromkeys(now))
        lost = f"which are not those of whole heads of {each} values, all that its class can hold"
        fix = "give a path that ends in .npz, or write the network unshrunk"
        raise native.refuse(f"would have heads ({sizes}) and {n_out} channels, {lost}; {fix}")
    return native.filled(embed_dim=n_out, num_heads=n_out // each)


def _widened(
    native: Native, layers: Mapping[str, Layer], now: Mapping[str, Shape], full: Shape
) -> tuple[Native, dict[str, Layer]]:
    """Return the layers inside an attention with zeros where heads or their values are gone, and their shapes."""
    found, shapes = dict[str, Layer](), dict(native.shapes)
    for role in ROLES:
        name, places = native.part(role), _places(now[role], full)
        found[name] = _placed(native.holding(layers, Dense, name), places, -2)
        inner = replace(native, name=name)
        for value in (name, inner.part("output")):
            shapes[value] = (*shapes[value][:-1], len(places))
        found |= _values(layers, inner.part("output"), places, -1)
    joined = _places(now["value"], full)
    found[native.name] = _placed(native.holding(layers, Dense), joined, -1)
    found |= _values(layers, native.part("input"), joined, -1)
    shapes[native.part("input")] = (*native.shapes[native.part("joined")][:-1], len(joined))
    heads = np.minimum(np.arange(full[0]), now["value"][0] - 1)
    for name in [name for name, shape in shapes.items() if name.startswith(native.part("softmax")) and len(shape) == 3]:
        shapes[name] = (full[0], *shapes[name][1:])
        found |= _values(layers, name, heads, -3)
    return replace(native, shapes=shapes), found


def _places(now: Shape, full: Shape) -> NDArray[np.int64]:
    """Return where each value of all heads is among those that are left, -1 where it is gone."""
    places = np.full(full, -1)
    places[: now[0], : now[1]] = np.arange(now[0] * now[1]).reshape(now)
    return places.ravel()


def _placed(layer: Dense, places: NDArray[np.int64], axis: int) -> Layer:
    """Return a dense layer with zeros where there is no row (axis -2) or no column (-1)."""
    changes: dict[str, Any] = {"digit_limit": _taken(layer.digit_limit, places, axis)}
    for name, along in (("weight", axis), ("bias", -1))[:-axis]:
        changes[name] = _taken(getattr(layer, name), places, along)
        changes[f"{name}_type"] = _spread(getattr(layer, f"{name}_type"), places, along)
    return layer.rebuilt(**changes)


def _taken(array: Tensor, places: NDArray[np.int64], axis: int) -> Tensor:
    kept = torch.as_tensor(places >= 0).reshape(-1, *(1,) * (-1 - axis))
    return array.index_select(axis, torch.as_tensor(places.clip(min=0))) * kept


def _values(layers: Mapping[str, Layer], name: str, places: NDArray[np.int64], axis: int) -> dict[str, Layer]:
    """Return a quantiser of values for more of them along an axis, nothing where there is none."""
    if name not in layers:
        return {}
    return {name: layers[name].rebuilt(result=_spread(layers[name].result, places, axis))}


def _spread(kind: Quantiser | None, places: NDArray[np.int64], axis: int) -> Quantiser | None:
    """Return types for values in other places along an axis, those without one of any."""
    if not isinstance(kind, FixedPoints):
        return kind
    several = kind.width.ndim >= -axis and kind.width.shape[axis] > 1
    return changed_each(kind, lambda array: array.take(places.clip(min=0), axis)) if several else kind


LAYERS["PQSeparableConv2d"] = LayerKind(lower=_separable, fill=_fill_separable, typed=True)
LAYERS["PQMultiheadAttention"] = LayerKind(lower=_attention, fill=_fill_attention, typed=True, pads=True)
