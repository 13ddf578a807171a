"""Routes from a network to firmware: what each refuses, what it builds, and how that is proved to be the network's."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from hepprune.errors import NetworkError
from hepprune.firmware import equivalence, hls, layers, rtl
from hepprune.firmware.equivalence import Check
from hepprune.hardware.cost import reuse
from hepprune.hardware.resources import Measurement
from hepprune.hardware.targets import Target
from hepprune.network import Network, Weighted, identity
from hepprune.task import Task

T = TypeVar("T")
# Returns what a folder holds of that type and key, or what the call writes there.
KeepBuilt = Callable[[type[T], Path, list[Any], Callable[[], T]], T]
_UNCERTAINTY = 0.27  # what Vitis HLS takes where a target names none


@dataclass(frozen=True, kw_only=True)
class Built:
    """A network and all that was made of it so far: adder graph, Verilog, HLS project, proofs, what a tool measured."""

    network: Network
    solution: rtl.Solved | None = None
    design: rtl.Design | None = None
    project: hls.Project | None = None
    checks: tuple[Check, ...] = ()
    measurement: Measurement | None = None

    def check(self, kind: str) -> Check | None:
        """Return the proof of that kind, csim or rtl, where there is one."""
        return next((check for check in self.checks if check.kind == kind), None)


@dataclass(frozen=True, kw_only=True)
class Order:
    """What firmware is built for: its name, the target, the strategy of hls4ml, what solves the adder graph."""

    name: str
    target: Target
    strategy: str
    solver: str = "da4ml"


# A route has the `kind` of its proof, the `title` of its step of a run, and the `stages` at which tools can measure
# what it builds. `build` adds the firmware, written into a folder or what `keep` finds there; what is built stays.
# `prove` compares it with its network, bit for bit, on features (n_jets, *shape), one array for each input: how far
# both agree is in the sense of the task, without one in that of classes.


@dataclass(frozen=True)
class Rtl:
    """Verilog of the whole network as one adder graph, simulated in Verilator."""

    kind: str = "rtl"
    title: str = "Verilog and its simulation"
    stages: tuple[str, ...] = ("yosys", "vsynth", "route")

    def refusals(self, network: Network, *, strategy: str) -> dict[str, str]:
        """Return why layers before any head cannot be traced, or are ports too wide to simulate, by their names."""
        del strategy
        return rtl.refusals(network)

    def build(self, built: Built, folder: Path, order: Order, *, keep: KeepBuilt[Any]) -> Built:
        """Solve the adder graph and write its pipelined Verilog."""
        if built.design is not None:
            return built
        network, target = built.network, order.target
        levels, top = target.levels_per_cycle, f"{order.name}_rtl"

        def write() -> rtl.Design:
            part, clock_ns = target.part_name, target.period_ns
            solution = rtl.solve(network, solver=order.solver)
            return rtl.write_verilog(solution, folder, name=top, levels_per_cycle=levels, part=part, clock_ns=clock_ns)

        key = [identity(network), top, target.name, target.part_name, levels, target.period_ns]
        key += rtl.other_solver(order.solver)
        design = keep(rtl.Design, folder, key, write)
        return replace(built, solution=design.solved, design=design)

    def prove(self, built: Built, features: hls.FeatureArrays, task: Task | None = None) -> Check:
        """Simulate the Verilog, one jet per clock.

        Raises:
            EquivalenceError: a value differs.
        """
        if built.design is None:
            raise NetworkError("there is no Verilog to simulate")
        return equivalence.against_rtl(built.network, built.design, features, task)


@dataclass(frozen=True)
class Hls:
    """An hls4ml project, run as a C simulation."""

    kind: str = "csim"
    title: str = "HLS project and its C simulation"
    stages: tuple[str, ...] = ("csynth", "vsynth", "route")

    def refusals(self, network: Network, *, strategy: str) -> dict[str, str]:
        """Return why hls4ml cannot take layers, or would move their reuse factors, by their names."""
        moved = {layer.name: _moved(layer, strategy) for layer in network if isinstance(layer, Weighted)}
        reasons = {name: reason for name, reason in moved.items() if reason is not None}
        return reasons | layers.refusals(network, io_type="io_parallel", strategy=strategy)

    def build(self, built: Built, folder: Path, order: Order, *, keep: KeepBuilt[Any]) -> Built:
        """Write the project; C synthesis is for a vendor's tool."""
        if built.project is not None:
            return built
        network, target, strategy = built.network, order.target, order.strategy
        uncertainty = _UNCERTAINTY if target.clock_uncertainty is None else target.clock_uncertainty
        part, period, name = target.part_name, target.period_ns, order.name

        def write() -> hls.Project:
            return hls.export(
                network, folder, part=part, clock_ns=period, clock_uncertainty=uncertainty, strategy=strategy, name=name
            )

        key = [identity(network), order.name, target.name, part, period, uncertainty, strategy]
        return replace(built, project=keep(hls.Project, folder, key, write))

    def prove(self, built: Built, features: hls.FeatureArrays, task: Task | None = None) -> Check:
        """Compile the C simulation and run it.

        Raises:
            EquivalenceError: a value differs.
        """
        if built.project is None:
            raise NetworkError("there is no HLS project to simulate")
        n_jets = len(features if isinstance(features, np.ndarray) else features[0])
        hls.compile(built.project, n_jets=n_jets)
        return equivalence.against_csim(built.network, built.project, features, task)


def _moved(layer: Weighted, strategy: str) -> str | None:
    """Return why hls4ml would not build a layer with its own reuse factor, None where it would."""
    size, factor, built = reuse.size(layer), layer.reuse_factor, reuse.strategy_of(layer, strategy)
    if strategy == "distributed_arithmetic" and factor != 1:
        return f"layer '{layer.name}' has reuse factor {factor}; distributed_arithmetic knows only 1"
    if reuse.taken(*size, factor, strategy=built) == factor:
        return None
    near = " or ".join(map(str, reuse.nearest(*size, factor, strategy=built)))
    return f"layer '{layer.name}' cannot be built with reuse factor {factor}; set {near}"


ROUTES: dict[str, Rtl | Hls] = {"rtl": Rtl(), "hls": Hls()}
