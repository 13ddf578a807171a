"""Choose fixed-point types from the data: how a float Network becomes a quantised one."""

import copy
import functools
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hepprune.errors import DataError, NetworkError, refused
from hepprune.fixed import OVERFLOW, FixedPoint, Quantiser
from hepprune.fixed.quantisers import FixedPoints
from hepprune.network import layers
from hepprune.network.graph import Network
from hepprune.network.node import Node, as_tuple
from hepprune.network.precision.rules import PRECISION, Precision, Seen, takes_bits
from hepprune.network.precision.tables import activation_type, bias_type, weight_type
from hepprune.network.ranges import RANGES, Interval
from hepprune.network.ranges import quantise as quantised

__all__ = ["PRECISION", "Precision", "activation_type", "bias_type"]
__all__ += ["is_quantised", "quantise", "takes_bits", "weight_type"]
_NARROWS = (  # multiplies values, or looks them up
    *(layers.Weighted, layers.Recurrent, layers.Einsum, layers.BatchNorm),
    *(layers.PReLU, layers.Softmax, layers.LayerNorm, layers.Lookup),
)


def is_quantised(network: Network) -> bool:
    """Return whether no layer before any head lacks a type that its fixed-point form needs."""
    return not lacking(network)


@torch.no_grad()
def quantise(network: Network, features: Any, precision: Precision, *, keep: bool = False) -> Network:
    """Return a copy with types for every layer: widths as asked, integer bits from the values seen on `features`.

    Features have shape (n_jets, *shape), one array for each input. Weights, and activations that saturate, take the
    integer bits of least squared error; activations that wrap hold all values seen; a bias keeps every fractional bit
    of its products and two bits of headroom, so that constants of removed neurons fit. Values that only move, add up
    or are compared stay exact; those that are multiplied or looked up next, and what tables put out, are brought to the
    width of activations. A batch norm gets types of its own, where folding it (`hepprune.network.folding`) spares them.
    With `keep`, what has types already stays as it is, as in a model whose input alone has none: values get types where
    they are in float, where a table reads them that lacks its own, and behind a ReLU or a fixed projection where they
    are multiplied as they are. A softmax at the end has types where its width is asked for by name: losses and Verilog
    leave it out.

    Raises:
        NetworkError: a layer is of a kind that gets no types here, or one is named that has no width or does not exist.
        DataError: the features are not what the network takes.
    """
    for layer in map(network.__getitem__, precision.layer_bits or {}):
        if not takes_bits(layer):
            raise refused(layer.name, f"({type(layer).__name__}) has no width of its own; its values are what it reads")
    jets = [np.asarray(each) for each in as_tuple(features)]
    shapes = [layer.features_shape for layer in network.inputs]
    numbers = all(each.dtype.kind in "biuf" for each in jets)
    if not numbers or [each.shape[1:] for each in jets] != shapes or not len(jets[0]):
        found = " and ".join(f"shape {each.shape} and type '{each.dtype}'" for each in jets)
        taken = " and ".join(map(str, shapes))
        raise DataError(f"the network takes jets of {taken} numbers and is given an array of {found}")
    values = network.activations([torch.as_tensor(each.astype(np.float32)) for each in jets], quantised=False)
    seen, body = dict(_seen(network, values, precision)), {layer.name for layer in network.body}
    asked = set(precision.layer_bits or {})
    body |= asked  # a head is typed where a width is asked for it
    open_, next_ = (_open(network, seen) | asked, rounded_next(network)) if keep else (body, {})
    typed: dict[str, layers.Layer] = {}

    def rule(node: Node, *arriving: Interval) -> Interval:
        if node.name not in body:
            return arriving[0]
        layer = node.layer
        if layer.name not in typed:  # at the first of its places
            types = PRECISION.find(layer)(layer, *arriving, seen=seen[layer.name]) if layer.name in open_ else {}
            if "result" in types and layer.name in next_ and not isinstance(layer, layers.Input):
                types["result"] = next_[layer.name]
            own = layer.settings() if keep or layer.fixed else {}
            typed[layer.name] = layer.rebuilt(**{key: own.get(key) or kind for key, kind in types.items()})
        exact = copy.deepcopy(typed[layer.name]).double()
        again = network[node.name].result if node.name != layer.name else None
        return functools.reduce(quantised, (exact.result, again), RANGES.find(exact)(exact, *arriving))

    network.interpret(rule)
    return network.replacing(typed)


def _open(network: Network, seen: Mapping[str, Seen]) -> set[str]:
    """Return the layers that may get types where those that there are stay."""
    untyped = lacking(network)
    places = in_float(network, untyped) | looked_up(network, untyped)
    # what nothing rounds before it is multiplied: behind a ReLU, and sums that fixed projections make
    fixed = {layer.name for layer in network if isinstance(layer, layers.Weighted) and layer.fixed}
    bare = [layer for layer in network if isinstance(layer, layers.ReLU) or layer.name in fixed]
    bare = [layer for layer in bare if not all(network.node(each).results for each in network.readers(layer))]
    places |= {layer.name for layer in bare if seen[layer.name].narrow}
    # a table of exact sums has more addresses than hls4ml builds
    places |= {layer.name for layer in network if isinstance(layer, layers.Recurrent) and layer.argument_type is None}
    return {network.runs(network[name]).name for name in places}


def _seen(network: Network, values: dict[str, Tensor], precision: Precision) -> Iterator[tuple[str, Seen]]:
    """Yield for each layer that computes what its types are chosen from, over all its places."""
    # values, moved or picked at most, that are multiplied or looked up next
    narrow: set[str] = set()
    body = {layer.name for layer in network.body}
    for node in reversed([node for node in network.nodes if node.name in body]):
        layer, moves = node.layer, isinstance(node.layer, (*layers.MOVING, layers.TopK))
        narrows = isinstance(layer, _NARROWS)
        if isinstance(layer, layers.Activation):
            narrows, moves = layer.function != "linear", layer.function == "linear"
        elif isinstance(layer, layers.Merge):
            narrows = layer.operation == "multiply"
        elif isinstance(layer, layers.Pool | layers.GlobalPool):
            moves = layer.kind == "max"
        if narrows or (moves and not node.results and node.name in narrow):
            narrow.update(node.sources)
    places: dict[str, list[Node]] = {}
    for node in network.nodes:
        places.setdefault(node.layer.name, []).append(node)
    for name, nodes in places.items():
        found = [values[node.name] for node in nodes]
        made = found[0] if len(found) == 1 else torch.cat([each.flatten() for each in found])
        arriving = tuple(values[node.sources[0]] for node in nodes if node.sources)
        multiplied = any(node.name in narrow for node in nodes)
        yield name, Seen(values=made, arriving=arriving, narrow=multiplied, precision=precision)


_STAND_IN = FixedPoint(8, 4)  # of what arrives
# What has types of its own, or none; others put out what they read.
_OWN = (layers.Weighted, layers.Recurrent, layers.BatchNorm, layers.Stepwise, layers.Lookup)
_TABLES = (layers.Activation, layers.PReLU, layers.Stepwise)


@torch.no_grad()
def lacking(network: Network) -> set[str]:
    """Return the places before any head whose layers have no fixed-point form for lack of types."""
    double = network.clone().double()
    body = {layer.name for layer in double.body}
    return {node.name for node in double.nodes if node.name in body and not _is_typed(double, node)}


def _is_typed(network: Network, node: Node) -> bool:
    try:
        arriving = (Interval.of(_STAND_IN, network.shapes[source]) for source in node.sources)
        RANGES.find(node.layer)(node.layer, *arriving)
    except NetworkError:
        return False
    return bool(node.layer.types) if isinstance(node.layer, layers.Stepwise) else True


def in_float(network: Network, untyped: set[str]) -> set[str]:
    """Return the places whose values have no type: those of `untyped` layers, and what is put out as it was read."""
    found = set(untyped)
    for node in network.nodes:
        typed = node.results or isinstance(node.layer, _OWN)
        if not typed and found.intersection(node.sources):
            found.add(node.name)
    return found


def looked_up(network: Network, untyped: set[str]) -> set[str]:
    """Return the places whose values are arguments of tables of `untyped` layers, moved or picked at most before."""
    found: set[str] = set()
    for node in reversed(network.nodes):
        read = isinstance(node.layer, _TABLES) and node.name in untyped
        if read or (isinstance(node.layer, layers.MOVING) and node.name in found):
            found.update(node.sources)
    return found


def rounded_next(network: Network) -> dict[str, FixedPoint]:
    """Return the type that all readers of a value bring it into first, by the layer's name, where there is such a one.

    Of a type per value it is the one that holds them all. Values that have it from the start come out the same.
    """
    found: dict[str, FixedPoint] = {}
    for layer in network:
        readers = network.readers(layer)
        kinds = [each.result for each in readers if isinstance(each, layers.Activation) and each.function == "linear"]
        several = any(isinstance(reader, layers.Shared) and reader.of == layer.name for reader in network)
        if kinds and len(kinds) == len(readers) and not several and all(kind == kinds[0] for kind in kinds):
            found |= {layer.name: kind} if (kind := _joint(kinds[0])) is not None else {}
    return found


def _joint(kind: Quantiser | None) -> FixedPoint | None:
    if not isinstance(kind, FixedPoints) or kind.overflow not in OVERFLOW:
        return kind if isinstance(kind, FixedPoint) else None
    low, high = float(kind.minimum.min()), float(kind.maximum.max())
    try:
        whole = FixedPoint.covering(low, high, fraction=kind.fraction)
    except NetworkError:  # they differ by more bits than a type has
        return None
    return replace(whole, rounding=kind.rounding, overflow=kind.overflow)
