"""Pricing: what a layer's variant costs beside the rest of the network, which is priced once.

A layer's share is its own price and that of what follows each of its neurons, such as a ReLU. What a removed neuron
saves in the next layer is not any layer's own; `search.plans.links` knows it, and whoever uses a plan prices the whole
network.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from hepprune.hardware import cost
from hepprune.hardware.cost import hls
from hepprune.hardware.cost.hls import Priced
from hepprune.hardware.resources import Estimate, LayerEstimate, Resources
from hepprune.hardware.targets import Target
from hepprune.network import Layer, Network, Weighted, layers
from hepprune.search.plans.choices import Option
from hepprune.search.plans.variants import replaced

_ADDER_GRAPH = "da4ml"
_CHANNELWISE = layers.ReLU | layers.Activation | layers.BatchNorm | layers.Pool | layers.GlobalPool | layers.Reshape


@dataclass(frozen=True, kw_only=True)
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
        by_layer = whole.stage == hls.STAGE
        priced = hls.priced(network, target, strategy=strategy, io_type=io_type) if by_layer else None
        return cls(network=network, target=target, strategy=strategy, io_type=io_type, whole=whole, priced=priced)

    def share(self, layer: Layer, option: Option) -> Option:
        """Return an option with what the variant of a layer adds that it stands for.

        One with weights has its own price and that of what follows each neuron; another only what it changes.
        """
        found = self._changed(layer)
        if isinstance(layer, Weighted):
            own, before = _of(found, layer.name), _of(self.whole, layer.name)
            resources = own.resources
            for name in self._followers(layer.name):
                cells = _of(self.whole, name).resources
                resources += cells.scaled(dict.fromkeys(cells.known(), option.kept))
            later = before.depth + found.latency_cycles - self.whole.latency_cycles
            depth = later if self._in_cycles else own.depth
            latency_ns = depth * self._unit_ns
            return replace(option, resources=resources, latency_ns=latency_ns, interval_cycles=own.interval_cycles)
        return self._beside(option, found, _of(found, layer.name).interval_cycles)

    def fixed(self, shares: Mapping[str, Option]) -> tuple[Resources, float]:
        """Return what the network needs beside the shares of its layers as they are: resources, and latency in ns."""
        own = Resources(**dict.fromkeys(self.whole.resources.known(), 0.0))
        for share in shares.values():
            own += share.resources
        spent = sum(share.latency_ns for share in shares.values())
        return _difference(self.whole.resources, own), self._levels(self.whole) * self._unit_ns - spent

    def structure(self, without: Network, option: Option) -> Option:
        """Return an option with what the network without a structure has more than with it, less than nothing."""
        found = cost.estimate(without, self.target, strategy=self.strategy, io_type=self.io_type)
        return self._beside(option, found, 1)

    def _beside(self, option: Option, found: Estimate, interval: int) -> Option:
        """Return an option with what another design has more than the whole network."""
        cells = _difference(found.resources, self.whole.resources)
        latency_ns = (self._levels(found) - self._levels(self.whole)) * self._unit_ns
        return replace(option, resources=cells, latency_ns=latency_ns, interval_cycles=interval)

    def feeders(self, names: Iterable[str]) -> dict[str, tuple[str, ...]]:
        """Return for each of the layers those of them with weights whose neurons it reads."""
        with_weights = [name for name in names if isinstance(self.network[name], Weighted)]
        read = {name: {name, *self._followers(name)} for name in with_weights}
        return {
            name: tuple(feeder for feeder in with_weights if read[feeder] & set(self.network.sources[name]))
            for name in with_weights
        }

    def _followers(self, name: str) -> tuple[str, ...]:
        """Return the layers after one with weights that work on each of its neurons alone, up to the next with some."""
        found, reached = [], {name}
        for layer in self.network.body:
            sources = set(self.network.sources.get(layer.name, ()))
            if sources & reached and isinstance(layer, _CHANNELWISE) and sources <= reached:
                reached.add(layer.name)
                found.append(layer.name)
        return tuple(found)

    @property
    def _unit_ns(self) -> float:
        """What one unit of depth takes: a cycle, or a level of an adder tree, before rounding up to cycles."""
        clock = self.whole.clock_ns
        return clock if self._in_cycles else clock / self.target.levels_per_cycle

    @property
    def _in_cycles(self) -> bool:
        """Whether depth counts cycles; that of one adder graph counts its levels."""
        return self.whole.stage != _ADDER_GRAPH

    def _levels(self, found: Estimate) -> float:
        return float(found.latency_cycles) if self._in_cycles else sum(layer.depth for layer in found.layers)

    def _changed(self, layer: Layer) -> Estimate:
        """Return the price of the network with one other layer; of operations only those are priced that differ."""
        changed = replaced(self.network, {layer.name: layer})
        if self.priced is None:
            return cost.estimate(changed, self.target, strategy=self.strategy, io_type=self.io_type)
        return hls.reprice(self.priced, changed, layer.name).estimate()


def latency_limit(target: Target, limit_ns: float | None) -> float | None:
    """Return a latency limit rounded down to whole clock cycles, which is what a design takes."""
    if limit_ns is None:
        return None
    return math.floor(limit_ns / target.period_ns + 1e-9) * target.period_ns


def _of(found: Estimate, name: str) -> LayerEstimate:
    nothing = LayerEstimate(layer=name, resources=Resources(**dict.fromkeys(found.resources.known(), 0.0)), depth=0.0)
    return next((layer for layer in found.layers if layer.layer == name), nothing)


def _difference(first: Resources, second: Resources) -> Resources:
    known, other = first.known(), second.known()
    return Resources(**{name: known[name] - other[name] for name in known.keys() & other.keys()})
