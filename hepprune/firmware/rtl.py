"""Verilog of a Network: traced exactly into an adder graph by da4ml, then pipelined.

Each constant matrix becomes shared additions of shifted inputs, without a DSP (Sun et al., arXiv:2507.04535).
"""

import functools
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from hepprune.errors import NetworkError
from hepprune.firmware import adders, names, tracing
from hepprune.firmware.folders import check_names, replacing_folder
from hepprune.firmware.names import Names
from hepprune.fixed import FixedPoint
from hepprune.network import Dense, Input, Network, Node


@dataclass(frozen=True)
class Solution:
    """An adder graph from input port to logits: da4ml's `CombLogic`, its cost in LUT, its depth in adder levels."""

    logic: Any
    cost: float
    depth: float

    @property
    def solved(self) -> "Solved":
        """What the graph costs, without the graph."""
        return Solved(self.cost, self.depth)


@dataclass(frozen=True)
class Solved:
    """The exact cost in LUT and depth in adder levels of a network's adder graph."""

    lut: float
    depth: float


@dataclass(frozen=True)
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


def solve(network: Network, *, depth_slack: int = 2) -> Solution:
    """Return the adder graph that computes every output bit for bit as `exact_activations` does, heads left out.

    The input port takes the inputs one after the other, every feature, in order, already in the input type.
    `depth_slack` is how many adder levels each matrix may spend beyond its minimum to save LUT; -1 is any number.

    Raises:
        NetworkError: a layer has no fixed-point form, or is wider than da4ml can represent.
    """
    values = _values(network, depth_slack)
    ports, outputs = (
        [value for name in names for value in values[name]]
        for names in ([layer.name for layer in network.inputs], network.raw_outputs)
    )
    return _solution(ports, outputs)


def probe(network: Network) -> Solution:
    """Return an adder graph that puts out the value of every layer before any head, in the order they run."""
    values, inputs = _values(network, depth_slack=2), [layer.name for layer in network.inputs]
    ports = [value for name in inputs for value in values[name]]
    return _solution(ports, [value for name, layer in values.items() if name not in inputs for value in layer])


def refusals(network: Network) -> dict[str, str]:
    """Return why layers cannot be traced, with what helps, by their names; nothing is solved for it.

    What flows are constants, of a network without weights, so that no rule has a matrix to solve.
    """
    bare, reasons = network.clone().double(), dict[str, str]()
    for kernel in bare.kernels:
        kernel.digit_limit.zero_()

    def attempt(node: Node, *arriving: list[Any]) -> list[Any]:
        try:
            return tracing.trace(node, *arriving, depth_slack=0)
        except NetworkError as problem:
            reasons[node.name] = str(problem)
            return [adders.constant(0.0)] * math.prod(node.shape)

    bare.interpret(attempt, until=bare.raw_outputs)
    return reasons


def _values(network: Network, depth_slack: int) -> dict[str, list[Any]]:
    double = network.clone().double()  # float32 would round half-way weights differently from `exact_logits`
    rule = functools.partial(tracing.trace, depth_slack=depth_slack)
    return double.interpret(rule, until=double.raw_outputs)


def _solution(ports: list[Any], outputs: list[Any]) -> Solution:
    logic = adders.graph(ports, outputs)
    return Solution(logic, float(logic.cost), float(max(logic.out_latency)))


def write_verilog(
    solution: Solution, folder: Path, *, name: str, levels_per_cycle: int, part: str, clock_ns: float
) -> Design:
    """Write pipelined Verilog whole, with build scripts, constraints and a Verilator harness, and describe it.

    Where Verilog or VHDL cannot bear the name, the top module has another; `hepprune_names.json` has both.

    Raises:
        NetworkError: the name is no Verilog identifier, or part or clock cannot be right.
    """
    check_names(name, part=part, clock_ns=clock_ns)
    top = names.safe([name])
    levels = max(1, math.ceil(solution.depth / cycles(solution.depth, levels_per_cycle)))
    with replacing_folder(folder) as new:
        n_stages = adders.write_verilog(solution.logic, new, top=top[name], levels=levels, part=part, clock_ns=clock_ns)
        Names(top, {}).write(new)
    modules = [top[name], *(f"{top[name]}_stage{stage}" for stage in range(n_stages))]
    static = sorted((folder / "src" / "static").glob("*.v"))
    sources = (*(folder / "src" / f"{module}.v" for module in modules), *static)
    return Design(folder, top[name], n_stages, 1, sources, part, clock_ns, solution.solved)


def warm_up() -> None:
    """Solve one tiny matrix, so that da4ml's just-in-time compilation (minutes, once per environment) is cached."""
    kind = FixedPoint(4, 2)
    weight = torch.tensor([[1.0, -0.5], [0.75, 1.25]])
    dense = Dense("dense", weight, torch.zeros(2), weight_type=FixedPoint(5, 2), bias_type=kind)
    solve(Network([Input("features", 2, kind), dense]))


def depths(solution: Solution) -> tuple[float, ...]:
    """Return the adder levels between the input port and each logit."""
    return tuple(float(level) for level in solution.logic.out_latency)


def cycles(depth: float, levels_per_cycle: int) -> int:
    """Return the pipeline stages that `depth` adder levels take; at least one, between input and output register."""
    if levels_per_cycle < 1:
        raise NetworkError(f"{levels_per_cycle} adder levels per cycle; at least one is needed")
    return max(1, math.ceil(depth / levels_per_cycle))
