"""What hls4ml's `latency`, `resource` and `resource_unrolled` strategies cost, at stage "csynth"; additive over layers.

A zero saves its product under `latency` at reuse factor 1, and a multiplier under the others only when all weights of
its DSP row are zero.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from hepprune.hardware.cost.constants import Constants
from hepprune.hardware.cost.describing import Options, describe, described, with_dataflow
from hepprune.hardware.cost.operations import Operation
from hepprune.hardware.cost.prices import NOTHING, STREAM_CYCLES, group_of, price
from hepprune.hardware.cost.timing import Clock
from hepprune.hardware.resources import Estimate, LayerEstimate, Resources
from hepprune.hardware.targets import Target
from hepprune.network import Network

STAGE = "csynth"
DEFAULT_UNCERTAINTY = 0.27  # of the clock period: Vitis HLS
_DEPTH_ERROR = 0.02  # of the cycles of a long layer
_PATH_ERROR = 0.1  # of the cycles that follow from delays, of all layers alike


def estimate(network: Network, target: Target, **how: Any) -> Estimate:
    """Return the price of a whole network, as `priced` makes it, which says what is refused."""
    return priced(network, target, **how).estimate()


def priced(network: Network, target: Target, **how: Any) -> "Priced":
    """Return the price of every layer of a network, of which single ones can be changed.

    `how` it is built are the fields of `Options`: strategy, io_type and reuse_factor.

    Raises:
        NetworkError: a layer has no price.
        RecipeError: the target has no known clock; an unknown strategy or io_type.
    """
    options = Options(**how)
    return Priced.of(described(network, options), target, options)


def reprice(priced: "Priced", network: Network, *names: str) -> "Priced":
    """Return the prices of a network of which only these layers differ from the one priced before.

    Layers that read a result of another width are priced anew as well.
    """
    known = dict(priced.operations)
    changed: dict[str, Operation] = {}
    for name, before in priced.operations.items():
        if name in names or any(known[s].out_width != priced.operations[s].out_width for s in before.sources):
            known[name] = changed[name] = describe(network, network[name], known, options=priced.options)
    return priced.changed(*changed.values())


def clock_of(target: Target) -> Clock:
    """Return what a target's clock period leaves for logic, and the family that it is for."""
    uncertainty = DEFAULT_UNCERTAINTY if target.clock_uncertainty is None else target.clock_uncertainty
    return Clock(target.period_ns * (1 - uncertainty), target.family)


@dataclass(frozen=True, kw_only=True)
class Priced:
    """Operations with their prices; `changed` re-prices only the layers it is given."""

    operations: dict[str, Operation]
    layers: dict[str, LayerEstimate]
    options: Options
    clock_ns: float
    clock: Clock

    @classmethod
    def of(
        cls, operations: Iterable[Operation], target: Target, options: Options, *, constants: Constants | None = None
    ) -> "Priced":
        """Price operations at a target's clock; `constants` None takes those shipped."""
        clock = clock_of(target)
        known = {operation.name: operation for operation in operations}
        layers = {name: price(each, clock=clock, constants=constants) for name, each in known.items()}
        return cls(operations=known, layers=layers, options=options, clock_ns=target.period_ns, clock=clock)

    def changed(self, *operations: Operation) -> "Priced":
        """Return the prices with some operations in the place of those of the same name.

        All are priced anew where they turn one pipeline into layers side by side, or back.
        """
        known = {op.name: op for op in with_dataflow((self.operations | {op.name: op for op in operations}).values())}
        new = {name: op for name, op in known.items() if op is not self.operations[name]}
        layers = self.layers | {name: price(op, clock=self.clock) for name, op in new.items()}
        return replace(self, operations=known, layers=layers)

    def estimate(self) -> Estimate:
        """Return the sum over layers; cycles are those of the longest path, or of the slowest layer of a stream."""
        layers = tuple(layer for layer in self.layers.values() if layer.resources is not NOTHING)
        # delays err alike, counts of positions and turns do not
        timed = {name for name, op in self.operations.items() if op.kind == "softmax" or group_of(op) == "latency"}
        path = sum(self.layers[name].depth for name in timed)
        counted = (_DEPTH_ERROR * layer.depth for name, layer in self.layers.items() if name not in timed)
        return Estimate(
            stage=STAGE,
            strategy=self.options.strategy or "own",
            resources=_sum(layer.resources for layer in layers),
            latency_cycles=self._cycles(),
            interval_cycles=max((layer.interval_cycles for layer in layers), default=1),
            clock_ns=self.clock_ns,
            layers=layers,
            uncertainty=_sum(layer.uncertainty for layer in layers),
            latency_error_cycles=math.hypot(1.0, _PATH_ERROR * path, *counted),
        )

    def _cycles(self) -> int:
        """Return the cycles of the longest path; in a dataflow design each layer hands over in a cycle of its own."""
        arrival: dict[str, int] = {}
        slowest = 0
        for name, operation in self.operations.items():
            before = max((arrival[source] for source in operation.sources), default=0)
            cycles = int(self.layers[name].depth)
            wired = operation.kind in {"input", "wiring"}
            if operation.streams:  # its first value leaves once it has filled
                slowest, cycles = max(slowest, cycles), 0 if wired else STREAM_CYCLES
            # sums wait one cycle, and whatever is rounded or saturated on its own
            held = operation.kind in {"softmax", "recurrent", "table", "pool"} or operation.casts or cycles > 0
            alone = operation.dataflow and not operation.streams
            arrival[name] = before + cycles + (not wired and (alone or held))
        side_by_side = any(operation.dataflow and not operation.streams for operation in self.operations.values())
        return max(1, slowest + max(arrival.values(), default=0) + (-1 if side_by_side else 1))


def _sum(cells: Iterable[Resources]) -> Resources:
    """Return the sum, an unknown count taken for none: written out, as a search sums for every network it prices."""
    lut = ff = dsp = bram18 = uram = 0.0
    for each in cells:
        lut += each.lut or 0.0
        ff += each.ff or 0.0
        dsp += each.dsp or 0.0
        bram18 += each.bram18 or 0.0
        uram += each.uram or 0.0
    return Resources(lut=lut, ff=ff, dsp=dsp, bram18=bram18, uram=uram)
