"""Pricing: what a layer's variant costs beside the rest of the network, which is priced once.

A layer's share is its own price. What a removed neuron saves in the next layer is not counted, so that shares are never
counted twice; plans are therefore a little too dear, and whoever uses one prices the whole network.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

from hepprune.fixed import FixedPoint
from hepprune.hardware import cost
from hepprune.hardware.cost import describing, hls, operations
from hepprune.hardware.cost.hls import Priced
from hepprune.hardware.cost.operations import Operation
from hepprune.hardware.resources import Estimate, LayerEstimate, Resources
from hepprune.hardware.targets import Target
from hepprune.network import Input, Layer, Network, Weighted
from hepprune.search.variants import replaced


@dataclass(frozen=True)
class Share:
    """What one layer adds to a design."""

    resources: Resources
    latency_ns: float
    interval_cycles: int


@dataclass(frozen=True)
class Pricing:
    """A network on a target under one strategy, its price, and the operations it is made of where there are any."""

    network: Network
    target: Target
    strategy: str
    io_type: str
    whole: Estimate
    priced: Priced | None

    @classmethod
    def of(cls, network: Network, target: Target, *, strategy: str, io_type: str = "io_parallel") -> "Pricing":
        """Price a network.

        Raises:
            RecipeError: the strategy has no cost model, or the target no clock.
        """
        whole = cost.estimate(network, target, strategy=strategy, io_type=io_type)
        known = strategy in operations.STRATEGIES
        priced = hls.priced(network, target, strategy=strategy, io_type=io_type) if known else None
        return cls(network, target, strategy, io_type, whole, priced)

    def share(self, layer: Layer) -> Share:
        """Return what a variant of a layer adds: for one with weights its own price, for another what it changes."""
        found = self._changed(layer)
        if isinstance(layer, Weighted):
            own, before = _of(found, layer.name), _of(self.whole, layer.name)
            return Share(own.resources, self._latency(found, own, before), own.interval_cycles)
        fewer = _difference(found.resources, self.whole.resources)
        slowest = _of(found, layer.name).interval_cycles
        return Share(fewer, (self._levels(found) - self._levels(self.whole)) * self._unit_ns, slowest)

    def fixed(self, shares: Mapping[str, Share]) -> tuple[Resources, float]:
        """Return what the network needs beside the shares of its layers as they are: resources, and latency in ns."""
        own = Resources(**dict.fromkeys(self.whole.resources.known(), 0.0))
        for share in shares.values():
            own += share.resources
        spent = sum(share.latency_ns for share in shares.values())
        return _difference(self.whole.resources, own), self._levels(self.whole) * self._unit_ns - spent

    @property
    def _unit_ns(self) -> float:
        """What one unit of depth takes: a cycle, or a level of an adder tree, before rounding up to cycles."""
        clock = self.whole.clock_ns
        return clock if self.priced is not None else clock / self.target.levels_per_cycle

    def _levels(self, found: Estimate) -> float:
        if self.priced is not None:
            return float(found.latency_cycles)
        return sum(layer.depth for layer in found.layers)

    def _latency(self, found: Estimate, own: LayerEstimate, before: LayerEstimate) -> float:
        if self.priced is None:
            return own.depth * self._unit_ns
        return (before.depth + found.latency_cycles - self.whole.latency_cycles) * self._unit_ns

    def _changed(self, layer: Layer) -> Estimate:
        """Return the price of the network with one other layer; of operations only those are priced that differ."""
        if self.priced is None:
            return cost.estimate(replaced(self.network, {layer.name: layer}), self.target, strategy=self.strategy)
        changed = [self._operation(layer, self._arriving_width(layer.name))]
        changed += [self._operation(reader, changed[0].out_width) for reader in self._readers(layer)]
        return self.priced.changed(*changed).estimate()

    def _readers(self, layer: Layer) -> list[Layer]:
        """Return the layers that see another width when this one's result has fewer bits."""
        if isinstance(layer, Weighted):
            return []
        return [reader for reader in self.network.readers(layer) if isinstance(reader, Weighted)]

    def _arriving_width(self, name: str) -> int:
        assert self.priced is not None  # noqa: S101 -- the only caller has looked
        return max(self.priced.operations[source].out_width for source in self.network.sources[name])

    def _operation(self, layer: Layer, in_width: int) -> Operation:
        """Return the operation of a layer alone, behind an input of that width in the place of its source."""
        assert self.priced is not None  # noqa: S101 -- the only callers have looked
        (source,) = self.network.sources[layer.name]
        port = Input(source, self.network.shapes[source], FixedPoint(in_width, in_width))
        alone = Network([port, layer])
        found = describing.described(alone, describing.Options(self.strategy, self.io_type))[-1]
        return replace(found, sources=self.priced.operations[layer.name].sources)


def latency_limit(target: Target, limit_ns: float | None) -> float | None:
    """Return a latency limit rounded down to whole clock cycles, which is what a design takes."""
    if limit_ns is None:
        return None
    return math.floor(limit_ns / target.period_ns + 1e-9) * target.period_ns


def _of(found: Estimate, name: str) -> LayerEstimate:
    nothing = LayerEstimate(name, Resources(**dict.fromkeys(found.resources.known(), 0.0)), 0.0)
    return next((layer for layer in found.layers if layer.layer == name), nothing)


def _difference(first: Resources, second: Resources) -> Resources:
    known, other = first.known(), second.known()
    return Resources(**{name: known[name] - other[name] for name in known.keys() & other.keys()})
