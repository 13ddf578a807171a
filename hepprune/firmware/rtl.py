"""Verilog of a Network: traced exactly into an adder graph by da4ml, then pipelined.

Each constant matrix becomes shared additions of shifted inputs, without a DSP (Sun et al., arXiv:2507.04535).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from hepprune.errors import NetworkError
from hepprune.firmware import names, tracing
from hepprune.firmware.folders import check_names, replacing_folder
from hepprune.firmware.names import Names
from hepprune.firmware.tracing.base import Variables, array
from hepprune.firmware.verilog import adders, modules
from hepprune.firmware.verilog.repeats import PortPlaces
from hepprune.fixed import FixedPoint
from hepprune.network import Dense, Input, Network, Node, Shared

_STAND_IN = FixedPoint(8, 4)  # for the type of values that nobody knows
# Yosys, which takes up to 4 GB as WebAssembly, took 270 s of processor time and 1.0 GB for 44,000 LUT without modules.
# With them memory is not a limit, and Verilator grows by half a second and 5 MB per 1,000 LUT (docs/synthesis.md).
_MOST_LUT, _MOST_LUT_REPEATED = 150_000, 400_000


@dataclass(frozen=True)
class Solution:
    """An adder graph from input ports to outputs: da4ml's `CombLogic`, its cost in LUT, its depth in adder levels.

    `places` has a number for every port, of the place that it is of, where layers act at several places, so that parts
    of the graph may stand there several times; it is empty where they do not.
    """

    logic: Any
    cost: float
    depth: float
    places: PortPlaces = ()

    @property
    def solved(self) -> "Solved":
        """What the graph costs, without the graph."""
        return Solved(self.cost, self.depth)


@dataclass(frozen=True)
class Solved:
    """The exact cost in LUT and depth in adder levels of a network's adder graph."""

    lut: float
    depth: float


@dataclass(frozen=True, kw_only=True)
class Design:
    """Pipelined Verilog in a folder, for a part and a clock period in ns.

    `latency_cycles` counts clock periods from the edge that takes a jet into the input register to the edge that takes
    its logits into the output register: one per pipeline stage. `solved` is absent from notes of older versions.
    """

    folder: Path
    top: str
    latency_cycles: int
    interval_cycles: int
    sources: tuple[Path, ...]
    part: str
    clock_ns: float
    solved: Solved | None = None


def solve(network: Network, *, depth_slack: int = 2, solver: str = "da4ml") -> Solution:
    """Return the adder graph that computes every output bit for bit as `exact_activations` does, heads left out.

    The input port takes the inputs one after the other, every feature, in order, already in the input type.
    `depth_slack` is how many adder levels each matrix may spend beyond its minimum to save LUT; -1 is any number.
    `solver` is da4ml or alkaid.

    Raises:
        NetworkError: a layer has no fixed-point form, or is wider than da4ml can represent, or the solver is unknown.
        ToolMissingError: the solver is not installed.
    """
    return _solved(network, network.raw_outputs, depth_slack, solver)


def other_solver(name: str) -> list[str]:
    """Return what the key of something kept has besides, where another solver made it than the default one."""
    return [] if name == "da4ml" else [f"solver {name}"]


def probe(network: Network) -> Solution:
    """Return an adder graph that puts out the value of every layer before any head, in the order they run."""
    return _solved(network, None, 2, "da4ml")


def refusals(network: Network) -> dict[str, str]:
    """Return why layers cannot be traced, with what helps, by their names; no matrix is solved for it.

    Behind a layer that is refused flow variables of its result type, or of any where it has none. Inputs and outputs
    are refused where their ports are wider than the simulation takes.
    """
    reasons = dict[str, str]()

    def attempt(node: Node, *arriving: Variables) -> Variables:
        try:
            return tracing.trace(node, *arriving)
        except NetworkError as problem:
            reasons[node.name] = str(problem)
        kind = node.results[-1] if node.results else None
        known = kind if isinstance(kind, FixedPoint) else _STAND_IN
        return array((adders.port(known) for _ in range(math.prod(node.shape))), node.shape)

    with adders.sizing(), torch.no_grad():
        inputs = [layer.name for layer in network.inputs]
        values = network.clone().double().interpret(attempt, until=(*network.raw_outputs, *inputs))
    return _wide(values, inputs, "input") | _wide(values, network.raw_outputs, "output") | reasons


def _wide(values: Mapping[str, Variables], names: Sequence[str], side: str) -> dict[str, str]:
    """Return why a side has ports that the simulation does not take, by the layer that has the finest values there."""
    kifs = {name: adders.joint(value.kif for value in values[name].flat) for name in names}
    width = sum(adders.joint(kifs.values()))
    if width <= adders.MAX_PORT:
        return {}
    finest = max(kifs, key=lambda name: kifs[name][2])
    bits = f"{width} bits wide and the simulation of the Verilog takes up to {adders.MAX_PORT}"
    return {finest: f"layer '{finest}' makes the {side}s {bits}; give it a coarser result type"}


@torch.no_grad()
def _solved(network: Network, outputs: Sequence[str] | None, depth_slack: int, solver: str) -> Solution:
    """Return the graph from the inputs to the outputs, without any to all other layers that are traced."""
    double = network.clone().double()  # float32 would round half-way weights differently from `exact_logits`
    inputs = [layer.name for layer in double.inputs]
    with adders.solving(depth_slack=depth_slack, solver=solver):
        values = double.interpret(tracing.trace, until=(*double.raw_outputs, *inputs))
        outputs = [name for name in values if name not in inputs] if outputs is None else outputs
        ends = ([value for name in names for value in values[name].flat] for names in (inputs, outputs))
        logic = adders.graph(*ends)
    return Solution(logic, float(logic.cost), float(max(logic.out_latency)), _places(network))


def _places(network: Network) -> PortPlaces:
    """Return the first index of every input value with several, else None; nothing for a chain on single jets."""
    shared = any(isinstance(layer, Shared) for layer in network)
    if not shared and all(len(shape) == 1 for shape in network.shapes.values()):
        return ()
    each = (np.ndindex(network.shapes[layer.name]) for layer in network.inputs)
    return tuple(index[0] if len(index) > 1 else None for indices in each for index in indices)


def too_large(network: Network, lut: float) -> str | None:
    """Return why a network of so many LUT cannot be unrolled as Verilog, and what helps; None where it can."""
    limit = _MOST_LUT_REPEATED if _places(network) else _MOST_LUT
    if lut <= limit:
        return None
    return (
        f"the network would take about {lut:,.0f} LUT as one adder graph, and Verilog is simulated and synthesised "
        f"up to {limit:,} here: set a lower budget of lut, take fewer bits or a smaller network, or a strategy of "
        "hls4ml that shares multipliers, such as resource with a reuse factor, or io_stream for convolutions"
    )


def write_verilog(
    solution: Solution, folder: Path, *, name: str, levels_per_cycle: int, part: str, clock_ns: float
) -> Design:
    """Write pipelined Verilog whole, with build scripts, constraints and a Verilator harness, and describe it.

    Where Verilog or VHDL cannot bear the name, the top module has another; `hepprune_names.json` has both.

    Raises:
        NetworkError: the name is not a Verilog identifier, or part or clock cannot be right.
    """
    check_names(name, part=part, clock_ns=clock_ns)
    top = names.safe([name])
    levels = max(1, math.ceil(solution.depth / cycles(solution.depth, levels_per_cycle)))
    with replacing_folder(folder) as new:
        stages = adders.write_verilog(solution.logic, new, top=top[name], levels=levels, part=part, clock_ns=clock_ns)
        added = modules.write(new / "src", top[name], stages, solution.places) if solution.places else []
        modules.write_modules(new / "src")
        Names(top, {}).write(new)
    own = [top[name], *(f"{top[name]}_stage{stage}" for stage in range(len(stages))), *added]
    sources = (*(folder / "src" / f"{module}.v" for module in own), *sorted((folder / "src" / "static").glob("*.v")))
    return Design(
        folder=folder,
        top=top[name],
        latency_cycles=len(stages),
        interval_cycles=1,
        sources=sources,
        part=part,
        clock_ns=clock_ns,
        solved=solution.solved,
    )


def warm_up() -> None:
    """Solve one tiny matrix, so that da4ml's just-in-time compilation (minutes, once per environment) is cached."""
    kind = FixedPoint(4, 2)
    weight = torch.tensor([[1.0, -0.5], [0.75, 1.25]])
    dense = Dense("dense", weight, torch.zeros(2), weight_type=FixedPoint(5, 2), bias_type=kind)
    solve(Network([Input("features", 2, kind), dense]))


def cycles(depth: float, levels_per_cycle: int) -> int:
    """Return the pipeline stages that `depth` adder levels take; at least one, between input and output register."""
    if levels_per_cycle < 1:
        raise NetworkError(f"{levels_per_cycle} adder levels per cycle; at least one is needed")
    return max(1, math.ceil(depth / levels_per_cycle))
