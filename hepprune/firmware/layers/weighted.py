"""Matrix layers for hls4ml: dense, convolution, depthwise convolution."""

import functools
import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from torch import Tensor

from hepprune.firmware.layers.base import HlsLayer, Place, after, before, cast
from hepprune.firmware.layers.precision import constant_type
from hepprune.fixed import FixedPoint
from hepprune.network import Conv, Dense, Shape, Weighted
from hepprune.network.layers.shaping import Pairs

_DEPTHWISE_STRATEGY = "latency"  # the only one that hls4ml has for it
_FREE_ZEROS = ("latency", "distributed_arithmetic")


def dense(place: Place, layer: Dense) -> list[HlsLayer]:
    """Describe a dense layer; on positions hls4ml makes it a pointwise convolution, here with all positions at once."""
    if len(place.arriving[0]) > 3:
        raise place.refused(f"has {len(place.arriving[0]) - 1} axes, hls4ml one or two", "reshape them before it")
    if _rounds_each(place, layer):
        return _rounded_after(place, functools.partial(dense, layer=layer))
    weight, bias = layer.used_weight().numpy(), layer.used_bias().numpy()
    attributes = {"n_in": layer.n_in, "n_out": layer.n_out, "weight_data": weight.T.copy(), "bias_data": bias}
    node = _matrix(place, layer, "Dense", attributes)
    positions = math.prod(place.arriving[0][:-1])
    return [_parallel(node, 1 if place.streams else positions)] if len(place.arriving[0]) > 1 else [node]


def _rounds_each(place: Place, layer: Weighted) -> bool:
    """Return whether each output would be rounded from a type of its own, as distributed arithmetic has them.

    One that is always below half a step stops the C simulation, as Xilinx' types look for a bit beyond its last.
    """
    rounds = place.result.rounding.startswith("RND") and place.result.fraction < place.before.fraction
    return rounds and _strategy(place, layer) == "distributed_arithmetic"


def _rounded_after(place: Place, describe: Callable[[Place], list[HlsLayer]]) -> list[HlsLayer]:
    """Return the nodes of a layer that are exact, in a type with a bit of half a step, and the cast behind them."""
    kind, step = place.before, place.before.fraction - place.result.fraction
    wide = replace(kind, width=max(kind.width, step + 1), integer=max(kind.width, step + 1) - kind.fraction)
    nodes = describe(before(place, "exact", shape=place.shape, result=wide))
    return [*nodes, cast(after(place, nodes, shape=place.shape))]


def convolution(place: Place, layer: Conv) -> list[HlsLayer]:
    """Describe a convolution; with as many groups as channels it is hls4ml's depthwise one."""
    if len(layer.kernel) > 2:
        raise place.refused("has three axes of positions, which hls4ml has no layer for", fix="write it as Verilog")
    if _rounds_each(place, layer):
        return _rounded_after(place, functools.partial(convolution, layer=layer))
    rank, layer = len(layer.kernel), _written_out(place, layer)
    sizes = {"n_chan": layer.n_in, "n_filt": layer.n_out, "bias_data": layer.used_bias().numpy()}
    sizes |= window(place, "pad", layer.padding, filt=layer.kernel, stride=layer.strides)
    kernel = layer.used_weight().movedim(0, -1).numpy().copy()  # (*kernel, n_in / groups, n_out)
    if layer.groups == 1:
        node = _matrix(place, layer, f"Conv{rank}D", sizes | {"weight_data": kernel})
        return [_parallel(node, _parallelism(place, layer))]
    sizes |= {"depthwise_data": kernel.swapaxes(-1, -2).copy(), "depth_multiplier": 1}
    node = _matrix(place, layer, f"DepthwiseConv{rank}D", sizes)
    if node.knobs["Strategy"] not in {_DEPTHWISE_STRATEGY, "distributed_arithmetic"} or layer.reuse_factor != 1:
        said = f"is depthwise, which hls4ml builds with {_DEPTHWISE_STRATEGY} at reuse factor 1 only"
        raise place.refused(said, f"set strategy {_DEPTHWISE_STRATEGY} and reuse factor 1")
    node = _parallel(node, _parallelism(place, layer))
    return [replace(node, knobs=node.knobs | {"Strategy": _DEPTHWISE_STRATEGY})]


def _written_out(place: Place, layer: Conv) -> Conv:
    """Return a convolution that hls4ml knows: not dilated, of one group or of one channel and one filter in each.

    The zeros that this takes cost nothing where each product has a multiplier of its own.
    """
    known_groups = layer.groups == 1 or layer.groups == layer.n_in == layer.n_out
    if known_groups and max(layer.dilation) == 1:
        return layer
    if (place.strategy or layer.strategy) not in _FREE_ZEROS or layer.reuse_factor != 1:
        said = f"has {layer.groups} groups for {layer.n_in} channels and {layer.n_out} filters"
        said += f" and dilation {max(layer.dilation)}, which hls4ml knows with zeros between its weights alone, stored"
        raise place.refused(said, f"set strategy {' or '.join(_FREE_ZEROS)} and reuse factor 1")
    weight = _dilated(layer.used_weight(), layer.dilation)
    groups = layer.groups if known_groups else 1
    if not known_groups:
        weight = _ungrouped(weight, layer.groups)
    kind = layer.weight_type if isinstance(layer.weight_type, FixedPoint) else None
    plain = {"dilation": (1,) * len(layer.kernel), "groups": groups, "digit_limit": None}
    return layer.rebuilt(weight=weight, weight_type=kind, **plain)


def _dilated(weight: Tensor, dilation: Shape) -> Tensor:
    """Return a kernel (n_out, *kernel, n_in) with zeros between its positions."""
    sizes = [(size - 1) * step + 1 for size, step in zip(weight.shape[1:-1], dilation, strict=True)]
    whole = weight.new_zeros(weight.shape[0], *sizes, weight.shape[-1])
    whole[(slice(None), *(slice(None, None, step) for step in dilation))] = weight
    return whole


def _ungrouped(weight: Tensor, groups: int) -> Tensor:
    """Return a kernel over all channels that is zero where a filter's group has none."""
    n_out, n_in = len(weight) // groups, weight.shape[-1]
    whole = weight.new_zeros(*weight.shape[:-1], groups * n_in)
    for group in range(groups):
        filters = slice(group * n_out, (group + 1) * n_out)
        whole[filters, ..., group * n_in : (group + 1) * n_in] = weight[filters]
    return whole


def _matrix(place: Place, layer: Weighted, class_name: str, attributes: dict[str, Any]) -> HlsLayer:
    arrays = {"weight": (layer.used_weight(), layer.weight_type), "bias": (layer.used_bias(), layer.bias_type)}
    types = {key: constant_type(place.name, *each) for key, each in arrays.items()} | {"accum": place.before}
    knobs = {"Strategy": _strategy(place, layer), "ReuseFactor": layer.reuse_factor}
    return replace(place.node(class_name, attributes, **types), knobs=knobs)


def _strategy(place: Place, layer: Weighted) -> str:
    """Return the strategy by the name that hls4ml has for it: where nothing is shared, nothing is unrolled."""
    wanted = place.strategy or layer.strategy
    return "resource" if wanted == "resource_unrolled" and layer.reuse_factor == 1 else wanted


def _parallelism(place: Place, layer: Conv) -> int:
    whole = math.prod(place.shape[:-1])
    if len(layer.kernel) == 1 < max(layer.strides) and layer.kernel == (1,) and layer.parallelization_factor == whole:
        raise place.refused("is a strided pointwise convolution, all positions at once", "lower its parallelization")
    return layer.parallelization_factor


def _parallel(node: HlsLayer, factor: int) -> HlsLayer:
    return replace(node, knobs=node.knobs | {"ParallelizationFactor": factor})


def window(place: Place, word: str, borders: Pairs, **sizes: Shape) -> dict[str, int]:
    """Return by hls4ml's names what comes in and goes out along one or two axes of positions, height before width.

    Beside that other `sizes` along them, and the borders at both ends of each, which it calls by a `word`.
    """
    found: dict[str, int] = {}
    sides = [("height", ("top", "bottom")), ("width", ("left", "right"))][-len(borders) :]
    for axis, (side, ends) in enumerate(sides):
        each = {"in": place.arriving[0], "out": place.shape} | sizes
        found |= {f"{name}_{side}": along[axis] for name, along in each.items()}
        found |= {f"{word}_{end}": size for end, size in zip(ends, borders[axis], strict=True)}
    return found
