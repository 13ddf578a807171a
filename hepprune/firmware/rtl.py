"""Verilog of a Network: traced exactly into an adder graph by da4ml, then pipelined.

Each constant matrix becomes shared additions of shifted inputs (Sun et al., arXiv:2507.04535); no DSP, one jet per clock.
"""

import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from hepprune.errors import NetworkError
from hepprune.firmware.folders import check_names, replacing_folder
from hepprune.fixed import FixedPoint
from hepprune.network import Dense, Input, Layer, Network, ReLU

log = logging.getLogger(__name__)

_HARDWARE = (1, -1, -1)  # da4ml: cost counts result bits, every addition is one level whatever its width
_MAX_FRACTION = 32  # da4ml represents constants no finer than this
_MAX_WEIGHT_WIDTH = 24  # da4ml takes matrices in float32


@dataclass(frozen=True)
class Solution:
    """An adder graph from the input port to the logits: da4ml's `CombLogic`, its cost in LUT, its depth in adder levels."""

    logic: Any
    cost: float
    depth: float


@dataclass(frozen=True)
class Design:
    """Pipelined Verilog in a folder.

    `latency_cycles` counts clock periods from the edge that takes a jet into the input register to the edge that takes
    its logits into the output register: one per pipeline stage.
    """

    folder: Path
    top: str
    latency_cycles: int
    interval_cycles: int
    sources: tuple[Path, ...]


def solve(network: Network, *, depth_slack: int = 2) -> Solution:
    """Return the adder graph that computes the logits bit for bit as `exact_logits` does, heads left out.

    The input port takes every feature, in order, already in the input type. `depth_slack` is how many adder levels each
    matrix may spend beyond its minimum to save LUT; -1 is any number.

    Raises:
        NetworkError: a layer has no fixed-point form, or is wider than da4ml can represent.
    """
    from da4ml.trace import comb_trace

    double = network.clone().double()  # float32 would round half-way weights differently from `exact_logits`
    values: dict[str, list[Any]] = {}
    for layer in double:
        arriving = [] if isinstance(layer, Input) else values[double.sources[layer.name]]
        values[layer.name] = _trace(layer, arriving, depth_slack)
        if layer.name == double.logits_name:
            break
    logic = comb_trace(values[double.input.name], values[double.logits_name], keep_dead_inputs=True)
    return Solution(logic, float(logic.cost), float(max(logic.out_latency)))


def write_verilog(
    solution: Solution, folder: Path, *, name: str, levels_per_cycle: int, part: str, clock_ns: float
) -> Design:
    """Write pipelined Verilog whole, with build scripts, constraints and a Verilator harness, and describe it.

    Raises:
        NetworkError: the name is no Verilog identifier, or part or clock cannot be right.
    """
    from da4ml.codegen import RTLModel
    from da4ml.trace import to_pipeline

    check_names(name, part=part, clock_ns=clock_ns)
    n_stages = cycles(solution.depth, levels_per_cycle)
    pipeline = to_pipeline(solution.logic, max(1, math.ceil(solution.depth / n_stages)), retiming=False)
    with replacing_folder(folder) as new:
        model = RTLModel(pipeline, name, new, part_name=part, clock_period=clock_ns, print_latency=False)
        model.write()
    modules = [name, *(f"{name}_stage{stage}" for stage in range(len(pipeline.solutions)))]
    static = sorted((folder / "src" / "static").glob("*.v"))
    sources = (*(folder / "src" / f"{module}.v" for module in modules), *static)
    return Design(folder, name, len(pipeline.solutions), 1, sources)


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


def _trace(layer: Layer, arriving: list[Any], depth_slack: int) -> list[Any]:
    if isinstance(layer, Input):
        return _ports(layer)
    if isinstance(layer, Dense):
        sums = _dense(layer, arriving, depth_slack)
        return [_quantise(value, layer.result) for value in sums] if layer.result else sums
    if isinstance(layer, ReLU):
        return [_relu(value, layer.result) for value in arriving]
    raise NetworkError(f"layer '{layer.name}' ({type(layer).__name__}) has no fixed-point form; fold it first")


def _ports(layer: Input) -> list[Any]:
    from da4ml.trace import FixedVariable, HWConfig

    kind = layer.result
    if kind is None:
        raise NetworkError(f"input '{layer.name}' has no fixed-point type")
    sign, whole, fraction = _kif(kind)
    return [
        FixedVariable.from_kif(sign, whole, fraction, hwconf=HWConfig(*_HARDWARE)) for _ in range(layer.n_features)
    ]


def _kif(kind: FixedPoint) -> tuple[int, int, int]:
    """Return da4ml's notation of a type: sign bit, integer bits without it, fraction bits."""
    return int(kind.signed), kind.integer - int(kind.signed), kind.fraction


def _constant(value: float, *, factor: Any = 1) -> Any:
    from da4ml.trace import FixedVariable, HWConfig

    return FixedVariable.from_const(float(value), hwconf=HWConfig(*_HARDWARE), _factor=factor)


def _is_constant(value: Any) -> bool:
    return bool(value.low == value.high)


@torch.no_grad()
def _dense(layer: Dense, arriving: list[Any], depth_slack: int) -> list[Any]:
    """Return weight @ arriving + bias; inputs that are constant go into the bias, so da4ml sees only what moves."""
    _check_dense(layer)
    weight, bias = layer.used_weight().cpu().numpy(), layer.used_bias().cpu().numpy()
    bias = bias + weight @ np.array([float(value.low) if _is_constant(value) else 0.0 for value in arriving])
    columns = [i for i, value in enumerate(arriving) if not _is_constant(value) and weight[:, i].any()]
    rows = np.flatnonzero(weight[:, columns].any(axis=1))
    outputs = [_constant(value) for value in bias]
    if len(rows):
        kernel = weight[np.ix_(rows, columns)].T
        for row, total in zip(rows, _multiply([arriving[i] for i in columns], kernel, depth_slack), strict=True):
            outputs[row] = total + float(bias[row])
    return outputs


def _check_dense(layer: Dense) -> None:
    if layer.weight_type is None or layer.bias_type is None:
        raise NetworkError(f"layer '{layer.name}' has no fixed-point types for its weights and biases")
    if layer.weight_type.width > _MAX_WEIGHT_WIDTH:
        raise NetworkError(f"layer '{layer.name}' has {layer.weight_type.width}-bit weights; da4ml takes up to {_MAX_WEIGHT_WIDTH}")
    if max(layer.weight_type.fraction, layer.bias_type.fraction) > _MAX_FRACTION:
        raise NetworkError(f"layer '{layer.name}' has constants finer than 2**-{_MAX_FRACTION}, which da4ml cannot hold")


def _multiply(values: list[Any], kernel: Any, depth_slack: int) -> Sequence[Any]:
    """Return values @ kernel through the cheapest of da4ml's adder graphs over all its ways to split the kernel in two.

    This is the search of `da4ml.cmvm.solve`; as a plain loop it spares numba two thirds of the compilation.
    """
    from da4ml.cmvm.api import jit_solve
    from numba.typed import List

    matrix = np.ascontiguousarray(kernel, dtype=np.float32)
    intervals, latencies = List([value.qint for value in values]), List([float(value.latency) for value in values])
    splits = math.ceil(math.log2(len(values)))
    options = {"hard_dc": depth_slack, "adder_size": 1, "carry_size": -1}
    graphs = [
        jit_solve(matrix, decompose_dc=split, qintervals=intervals, latencies=latencies, **options)
        for split in range(-1, (min(splits, depth_slack) if depth_slack >= 0 else splits) + 1)
    ]
    product: Sequence[Any] = min(graphs, key=lambda graph: graph.cost)(np.array(values, dtype=object))
    return product


# What is added before the low bits are dropped: a constant, and a multiple of one bit of the value itself, the sign
# ("sign") or the last bit kept ("last"). `half` is half a step of the result, `eps` the step of the value.
_TERMS: dict[str, Callable[[float, float], tuple[float, str, float]]] = {
    "TRN": lambda half, eps: (0.0, "", 0.0),  # noqa: ARG005
    "RND": lambda half, eps: (half, "", 0.0),  # noqa: ARG005
    "RND_MIN_INF": lambda half, eps: (half - eps, "", 0.0),
    "RND_INF": lambda half, eps: (half, "sign", -eps),
    "RND_ZERO": lambda half, eps: (half - eps, "sign", eps),
    "TRN_ZERO": lambda half, eps: (0.0, "sign", 2 * half - eps),
    "RND_CONV": lambda half, eps: (half - eps, "last", eps),
}


def _before_truncation(value: Any, kind: FixedPoint) -> Any:
    """Return the value with the rounding term added, so that dropping bits below `kind` rounds as `kind` asks."""
    sign, whole, fraction = value.kif
    if fraction <= kind.fraction:
        return value
    constant, source, factor = _TERMS[kind.rounding](kind.step / 2, 2.0**-fraction)
    if source == "sign" and sign:
        value = value + value.quantize(0, whole + 1, -whole) * (2.0**-whole * factor)
    elif source == "last":
        value = value + value.quantize(0, 1 - kind.fraction, kind.fraction) * (factor / kind.step)
    return value + constant


def _rounded(value: Any, kind: FixedPoint) -> Any:
    """Return the value without bits below `kind`."""
    value = _before_truncation(value, kind)
    sign, whole, fraction = value.kif
    if fraction <= kind.fraction:
        return value
    # A negative value above -step still rounds down to -step, so its sign bit stays even where no other bit does.
    return value.quantize(sign, max(whole, -kind.fraction) if sign else whole, kind.fraction)


def _quantise(value: Any, kind: FixedPoint) -> Any:
    if _is_constant(value):
        return _constant(float(kind(np.float64(value.low))))
    value = _rounded(value, kind)
    if _is_constant(value):
        return _constant(float(kind(np.float64(value.low))))
    if kind.overflow == "WRAP" and not kind.signed:
        value = _positive(value, kind)
    return value.quantize(*_kif(kind), kind.overflow, "TRN")


def _positive(value: Any, kind: FixedPoint) -> Any:
    """Return the value plus 2**integer where negative, if `kind` is so wide that da4ml would not extend the sign."""
    sign, whole, _ = value.kif
    if not sign or kind.integer <= whole + 1:
        return value
    return value + value.quantize(0, whole + 1, -whole) * 2.0 ** (kind.integer - whole)


def _relu(value: Any, kind: FixedPoint | None) -> Any:
    """Return max(value, 0) in type `kind`; rounding keeps order and zero, so it comes first and leaves fewer bits."""
    if kind is None:
        return _constant(max(value.low, 0)) if _is_constant(value) else value.relu()
    if not _is_constant(value):
        value = _rounded(value, kind)
    if _is_constant(value):
        return _constant(float(kind(np.float64(max(value.low, 0)))))
    if kind.overflow == "WRAP" and not kind.signed and kind.integer > -value.kif[2]:
        return value.relu(kind.integer)
    positive = value.relu()
    return _quantise(positive, kind) if kind.overflow == "WRAP" else _clipped(positive, kind)


def _clipped(value: Any, kind: FixedPoint) -> Any:
    """Return min(value, maximum) for a value that is not negative; only the bits beyond `kind` are looked at."""
    _, kept, fraction = _kif(kind)
    _, whole, finest = value.kif
    if whole <= kept or kept <= -finest or value.low >= 2.0**kept:
        return _quantise(value, kind)
    beyond = value.quantize(0, whole, -kept) - 2.0**kept  # negative where no bit beyond `kind` is set
    low = value.quantize(0, kept, fraction)
    return beyond.msb_mux(low, _constant(kind.maximum, factor=low._factor))  # noqa: SLF001
