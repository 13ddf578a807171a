"""A Network's layers in hls4ml's own terms: what each is, in which types it computes, and with which knobs.

`DESCRIPTIONS` maps each kind of layer to its description; each family has a file of its own. A description may be
several hls4ml layers, the last of which has the layer's own name.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from hepprune.errors import NetworkError, refused
from hepprune.firmware.layers import activation, arithmetic, ports, precision, recurrent, shaping, weighted
from hepprune.firmware.layers.base import HlsLayer, Place, after, before, cast, reaching
from hepprune.firmware.layers.ports import distinct
from hepprune.firmware.layers.precision import held, types
from hepprune.firmware.names import PART
from hepprune.fixed import FixedPoint
from hepprune.fixed.quantisers import FixedPoints, by_table
from hepprune.network import Layer, Network, Rules, layers
from hepprune.network.parts import INPUT, has_steps, parts

__all__ = ["DESCRIPTIONS", "HlsLayer", "Place", "described", "distinct", "types", "value_shape"]

DESCRIPTIONS: Rules[Callable[[Place, Any], list[HlsLayer]]] = Rules(
    lacks="has no hls4ml form",
    fix="replace it by layers that have one",
    fixes={layers.Lookup: "hls4ml has no table for each edge; build its Verilog, which has one"},
    table={
        layers.Input: ports.features,
        layers.Softmax: ports.softmax,
        layers.Argmax: ports.argmax,
        layers.Dense: weighted.dense,
        layers.Conv: weighted.convolution,
        layers.Recurrent: recurrent.recurrent,
        layers.BatchNorm: arithmetic.batch_norm,
        layers.LayerNorm: arithmetic.layer_norm,
        layers.ReLU: activation.relu,
        layers.Activation: activation.activation,
        layers.PReLU: activation.prelu,
        layers.Pool: shaping.pool,
        layers.GlobalPool: shaping.global_pool,
        layers.Reshape: shaping.reshaped,
        layers.Permute: shaping.permute,
        layers.Pad: shaping.pad,
        layers.Crop: shaping.crop,
        layers.Slice: shaping.slice_,
        layers.UpSample: shaping.upsample,
        layers.Concatenate: shaping.concatenate,
        layers.Merge: arithmetic.merge,
        layers.Einsum: arithmetic.einsum,
        layers.TopK: arithmetic.compared,
    },
)
_Types = tuple[dict[str, FixedPoint], dict[str, FixedPoint]]
_MAX_COPIES = 7
_ANY = FixedPoint(12, 4, True, "RND", "SAT")
# Without a result type of their own, these leave values in the type they come in.
_MOVING = (layers.Reshape, layers.Permute, layers.Pad, layers.Crop, layers.Slice, layers.UpSample)
_POOLS = (layers.Pool, layers.GlobalPool)
_CAST = (*_MOVING, *_POOLS, layers.Concatenate, layers.Merge, layers.BatchNorm, layers.PReLU)
# Those whose table can hold what any quantiser makes.
_TABLES = (layers.ReLU, layers.Activation)
# What is computed exactly before it is rounded, and can so be rounded value by value.
_EXACT = (layers.Input, layers.Dense, layers.Conv, layers.ReLU, layers.BatchNorm)


def described(network: Network, *, io_type: str, strategy: str | None = None) -> list[HlsLayer]:
    """Return the hls4ml layers that compute a network, in the order they run.

    Raises:
        NetworkError: a layer that hls4ml cannot take, or a type that is missing.
    """
    double = network.clone().double()
    found = _types(double)
    with torch.no_grad():
        return [node for layer in double for node in _nodes(double, layer, found, io_type=io_type, strategy=strategy)]


def refusals(network: Network, *, io_type: str, strategy: str | None = None) -> dict[str, str]:
    """Return why hls4ml cannot take a layer, by its name; layers and weights without types count as 12 bits wide.

    Where no types follow, the reason stands for the last layer, which all others lead to.
    """
    double = _typed(network.clone().double())
    try:
        found = _types(double)
    except NetworkError as problem:
        return {network.outputs[-1]: str(problem)}
    reasons: dict[str, str] = {}
    with torch.no_grad():
        for layer in double:
            try:
                _nodes(double, layer, found, io_type=io_type, strategy=strategy)
            except NetworkError as problem:
                reasons[layer.name] = str(problem)
    return reasons


def _typed(network: Network) -> Network:
    changed: dict[str, Layer] = {}
    for layer in network:
        missing = [key for key, kind in layer.settings().items() if key.endswith("_type") and kind is None]
        kinds = dict.fromkeys((key for key in missing if key != "state_type"), _ANY)
        if layer.result is None and (not layer.is_head or network.readers(layer)):
            kinds["result"] = _ANY
        changed[layer.name] = layer.rebuilt(**kinds) if kinds else layer
    return network.replacing(changed)


def _types(network: Network) -> _Types:
    """Return the types of every layer before and after its result quantiser, the heads included."""
    found = types(network)
    heads = {layers.Softmax: ports.PROBABILITY, layers.Argmax: ports.ONE_HOT}
    for layer in network:
        if layer.name not in found:
            found[layer.name] = heads.get(type(network.runs(layer)), ports.PROBABILITY)
    holds: dict[str, FixedPoint] = {}
    for layer in network:
        source = network.sources.get(layer.name, ("",))[0]
        moves = isinstance(network.runs(layer), _MOVING)
        holds[layer.name] = held(network, layer, holds[source] if moves else found[layer.name])
    return found, holds


def _nodes(network: Network, layer: Layer, found: _Types, *, io_type: str, strategy: str | None) -> list[HlsLayer]:
    runs = network.runs(layer)
    describe = DESCRIPTIONS.find(runs)
    _check_result(layer, runs)
    place = _place(network, layer, found, io_type=io_type, strategy=strategy)
    if place.streams and len(place.readers) + place.is_output > _MAX_COPIES:
        said = f"is read {len(place.readers)} times, and hls4ml copies a stream {_MAX_COPIES} times at most"
        raise place.refused(said, "let a layer of function linear hand it on")
    if isinstance(layer.result, FixedPoints) and precision.differ(layer):
        read = _read_by_value(network, layer)
        return [cast(place)] if read == layer.result else _by_value(place, runs, layer.result, read)
    # heads have descriptions of their own, and hls4ml streams some layers by its own tables
    inside = not isinstance(runs, layers.Argmax) or (bool(place.readers) and not place.is_output)
    if has_steps(runs) and inside and (isinstance(runs, layers.Recurrent) or not place.streams):
        return _in_steps(place, runs)
    if layer is runs or layer.result is None:
        first, place = reaching(place, casts=_casts(runs))
        return [*first, *describe(place, runs)]
    own = before(place, "own", shape=place.shape, result=runs.fixed_result or place.before)
    first, own = reaching(own, casts=_casts(runs))
    return [*first, *_cast_behind(place, describe(own, runs))]


def _casts(layer: Layer) -> bool:
    """Return whether firmware brings what a layer reads into its result type as it stands, not through a table."""
    typed = isinstance(layer.result, FixedPoint | None)
    plain = isinstance(layer, layers.ReLU) or (isinstance(layer, layers.Activation) and layer.function == "linear")
    return isinstance(layer, _CAST) or (typed and plain)


def _read_by_value(network: Network, layer: Layer) -> FixedPoints | None:
    """Return the types that what a quantiser reads has been brought into value by value, if it has been."""
    if not (isinstance(layer, layers.Activation) and layer.function == "linear"):
        return None
    source = network.source(layer)
    return source.result if isinstance(source.result, FixedPoints) and precision.differ(source) else None


def _by_value(place: Place, layer: Layer, kind: FixedPoints, read: FixedPoints | None) -> list[HlsLayer]:
    if isinstance(layer, layers.Input):
        return precision.features(place, kind)
    whole = precision.bare(place)
    if read is not None:  # of two quantisers in a row hls4ml writes code that does not compile
        finer = replace(whole.result, width=whole.result.width + 1)
        whole = replace(whole, result=finer)
    nodes = DESCRIPTIONS.find(layer)(whole, whole.layer)
    return [*nodes, precision.quantiser(after(place, nodes, shape=place.shape), kind)]


def _cast_behind(place: Place, nodes: list[HlsLayer]) -> list[HlsLayer]:
    """Return the nodes of a layer with what brings their value into its result type."""
    first, place = reaching(after(place, nodes, shape=place.shape), casts=True)
    return [*nodes, *first, cast(place)]


def _in_steps(place: Place, layer: Layer) -> list[HlsLayer]:
    """Describe what a layer computes, step by step; what the last step puts out is brought into the layer's type."""
    if isinstance(layer, layers.Recurrent):
        recurrent.check_steps(place, layer)
    steps = parts(layer, place.arriving[0])
    steps.input.result = place.arriving_types[0]
    found, nodes = _types(steps), list[HlsLayer]()
    for step in steps:
        if step is steps.input:
            continue
        inner = _inside(place, _place(steps, step, found, io_type=place.io_type, strategy=place.strategy))
        if step is steps.output and step.result in {None, place.result}:
            inner = replace(inner, name=place.name, result=place.result, readers=place.readers)
            inner = replace(inner, is_output=place.is_output)
        first, inner = reaching(inner, casts=_casts(step))
        nodes += [*first, *DESCRIPTIONS.find(step)(inner, step)]
    return nodes if nodes[-1].name == place.name else _cast_behind(place, nodes)


def _inside(place: Place, inner: Place) -> Place:
    """Return the place of a step as one of the whole network."""
    reads = [(name == INPUT, name, kind) for name, kind in zip(inner.sources, inner.source_kinds, strict=True)]
    return replace(
        inner,
        name=f"{place.name}{PART}{inner.name}",
        sources=tuple(place.sources[0] if first else f"{place.name}{PART}{name}" for first, name, _ in reads),
        source_kinds=tuple(place.source_kinds[0] if first else kind for first, _, kind in reads),
        is_output=False,
    )


def _check_result(layer: Layer, runs: Layer) -> None:
    plain = isinstance(layer, layers.Activation) and layer.function == "linear"
    if layer is runs and precision.differ(layer) and (plain or isinstance(layer, _EXACT)):
        return
    for result in (layer.result, runs.result):
        tabled = isinstance(runs, _TABLES) and result is not None and np.size(result.minimum) == 1
        if by_table(result) and not tabled:
            said = "looks each value up in a table of its own, which hls4ml has not; write it as Verilog"
            raise refused(layer.name, f"({type(runs).__name__}) {said}")
        if not isinstance(result, FixedPoint | None) and not (tabled and layer is runs):
            said = "result, no single fixed-point type; give it one, and its quantiser to a linear Activation after it"
            raise refused(layer.name, f"({type(runs).__name__}) has a {type(result).__name__} {said}")


def _place(network: Network, layer: Layer, found: _Types, *, io_type: str, strategy: str | None) -> Place:
    sources, (whole, holds) = network.sources.get(layer.name, ()), found
    return Place(
        layer=network.runs(layer),
        name=layer.name,
        sources=sources,
        source_kinds=tuple(type(network.runs(network[name])).__name__ for name in sources),
        arriving=tuple(value_shape(network, name) for name in sources),
        arriving_types=tuple(holds[name] for name in sources),
        shape=network.shapes[layer.name],
        before=whole[layer.name],
        result=holds[layer.name],
        io_type=io_type,
        strategy=strategy,
        readers=tuple(type(network.runs(reader)).__name__ for reader in network.readers(layer)),
        is_output=layer.name in network.outputs,
    )


def value_shape(network: Network, name: str) -> layers.Shape:
    """Return the shape of a layer's value in firmware, where an argmax that is put out is a one-hot vector."""
    one_hot = isinstance(network.runs(network[name]), layers.Argmax) and name in network.outputs
    return network.shapes[network.sources[name][0] if one_hot else name]
