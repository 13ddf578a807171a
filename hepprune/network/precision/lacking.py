"""Which layers of a network lack fixed-point types, which values are in float for it, and what types ask for them."""

from dataclasses import replace

import torch

from hepprune.errors import NetworkError
from hepprune.fixed import OVERFLOW, FixedPoint, Quantiser
from hepprune.fixed.quantisers import FixedPoints
from hepprune.network import layers
from hepprune.network.graph import Network
from hepprune.network.node import Node
from hepprune.network.ranges import RANGES, Interval

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
