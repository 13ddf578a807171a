"""Knobs: how a layer is built, which a search may turn beside its cuts: reuse factor, bits of weights."""

from collections.abc import Iterable
from dataclasses import dataclass

import torch

from hepprune.errors import NetworkError
from hepprune.fixed import FixedPoint
from hepprune.hardware.cost import reuse
from hepprune.network import Kernel, Layer, Network, Weighted, quantise
from hepprune.network.precision import weight_type

SHARING = ("resource", "resource_unrolled")  # strategies under which weights take turns at a multiplier


@dataclass(frozen=True)
class Knob:
    """One layer built in another way; None leaves what it has."""

    layer: str
    reuse_factor: int | None = None
    weight_bits: int | None = None


def turned(network: Network, knobs: Iterable[Knob]) -> Network:
    """Return a network with layers built as the knobs say.

    Raises:
        NetworkError: a knob names no layer with one kernel.
    """
    changed: dict[str, Layer] = {}
    for knob in knobs:
        layer = changed.get(knob.layer, network[knob.layer])
        if not isinstance(layer, Weighted):
            raise NetworkError(f"layer '{knob.layer}' has no reuse factor and no bits of weights to choose")
        own = layer.reuse_factor if knob.reuse_factor is None else knob.reuse_factor
        kind = layer.weight_type if knob.weight_bits is None else weight_type(layer.weight.detach(), knob.weight_bits)
        changed[knob.layer] = layer.rebuilt(reuse_factor=own, weight_type=kind)
    return network.replacing(changed) if changed else network


def settled(network: Network) -> Network:
    """Return a network whose reuse factors are those that hls4ml builds: cutting neurons makes others legal."""
    found = []
    for layer in shared(network):
        strategy = reuse.strategy_of(layer, layer.strategy)
        taken = reuse.taken(*reuse.size(layer), layer.reuse_factor, strategy=strategy)
        if taken != layer.reuse_factor:
            found.append(Knob(layer.name, taken))
    return turned(network, found)


def shared(network: Network) -> list[Weighted]:
    """Return the layers whose weights may take turns at a multiplier."""
    return [layer for layer in network if isinstance(layer, Weighted) and layer.strategy in SHARING]


def neighbours(layer: Weighted) -> tuple[int, ...]:
    """Return the legal reuse factors next to a layer's own, the larger one first."""
    strategy = reuse.strategy_of(layer, layer.strategy)
    return reuse.neighbours(*reuse.size(layer), layer.reuse_factor, strategy=strategy)[::-1]


@torch.no_grad()
def rounding(kernel: Kernel, bits: int) -> torch.Tensor:
    """Return by how much the weights that act would change in a type of so many bits, like the weights."""
    kind = weight_type(kernel.weight.detach(), bits)
    return quantise.weights(kernel.weight, kind, kernel.digit_limit) - kernel.used()


def alike(network: Network, other: Network) -> Network:
    """Return a network whose layers are built as another's of the same names: reuse factors, bits of weights."""
    found = []
    for layer in (each for each in network if isinstance(each, Weighted) and each.name in other.layers):
        its = other[layer.name]
        if isinstance(its, Weighted) and isinstance(its.weight_type, FixedPoint):
            same = isinstance(layer.weight_type, FixedPoint) and layer.weight_type.width == its.weight_type.width
            found.append(Knob(layer.name, its.reuse_factor, None if same else its.weight_type.width))
    return settled(turned(network, found))
