"""Everything that is da4ml's: symbolic fixed-point variables, adder graphs of constant matrices, and their Verilog.

A variable knows its range (`low`, `high`), its bits (`kif`: sign, whole, fraction) and the adder level at which it is
there (`latency`); sums, products, `quantize`, `relu` and `msb_mux` of variables are variables (Sun et al.,
arXiv:2507.04535).
"""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hepprune.fixed import FixedPoint

_HARDWARE = (1, -1, -1)  # cost counts result bits, every addition is one level whatever its width
MAX_FRACTION = 32  # constants are represented no finer than this
MAX_WEIGHT_WIDTH = 24  # matrices are taken in float32


def port(kind: FixedPoint) -> Any:
    """Return a new variable of a type."""
    from da4ml.trace import FixedVariable, HWConfig

    return FixedVariable.from_kif(*kif(kind), hwconf=HWConfig(*_HARDWARE))


def kif(kind: FixedPoint) -> tuple[int, int, int]:
    """Return the notation of a type here: sign bit, integer bits without it, fraction bits."""
    return int(kind.signed), kind.integer - int(kind.signed), kind.fraction


def constant(value: float, *, factor: Any = 1) -> Any:
    """Return a variable that is always the same; `factor` is that of the variable it is chosen against."""
    from da4ml.trace import FixedVariable, HWConfig

    return FixedVariable.from_const(float(value), hwconf=HWConfig(*_HARDWARE), _factor=factor)


def is_constant(value: Any) -> bool:
    """Return whether a variable is always the same."""
    return bool(value.low == value.high)


def multiply(values: list[Any], kernel: NDArray[np.float64], depth_slack: int) -> Sequence[Any]:
    """Return variables @ kernel, (n_in, n_out), with up to `depth_slack` adder levels more than it needs."""
    from numba.typed import List

    matrix = np.ascontiguousarray(kernel, dtype=np.float32)
    intervals, latencies = List([value.qint for value in values]), List([float(value.latency) for value in values])
    graph = cheapest_graph(matrix, qintervals=intervals, latencies=latencies, hard_dc=depth_slack)
    product: Sequence[Any] = graph(np.array(values, dtype=object))
    return product


def cheapest_graph(kernel: Any, *, qintervals: Any, latencies: Any, hard_dc: int = -1, **_: Any) -> Any:
    """Return the cheapest adder graph of a matrix (n_in, n_out), over all ways to split the matrix in two.

    This is `da4ml.cmvm.solve` with its search as a plain loop, which spares numba most of the compilation, and with
    additions priced by their bits.
    """
    from da4ml.cmvm.api import jit_solve

    splits = math.ceil(math.log2(kernel.shape[0]))
    most = min(splits, hard_dc) if hard_dc >= 0 else splits
    ranges = {"qintervals": qintervals, "latencies": latencies, "hard_dc": hard_dc, "adder_size": 1, "carry_size": -1}
    graphs = [jit_solve(kernel, decompose_dc=split, **ranges) for split in range(-1, most + 1)]
    return min(graphs, key=lambda graph: graph.cost)


@contextmanager
def plain_search() -> Iterator[None]:
    """Let every matrix that other packages give to da4ml be solved by `cheapest_graph` too."""
    from da4ml.trace import fixed_variable_array as arrays

    original = arrays.solve
    arrays.solve = cheapest_graph
    try:
        yield
    finally:
        arrays.solve = original


def graph(ports: list[Any], outputs: list[Any]) -> Any:
    """Return the graph from ports to outputs, which runs itself: da4ml's `CombLogic`."""
    from da4ml.trace import comb_trace

    return _with_bits(comb_trace(ports, outputs, keep_dead_inputs=True))


def _with_bits(logic: Any) -> Any:
    """Return the graph with one bit for each output where all are constantly zero, since no port is of no bits."""
    from da4ml.cmvm.types import QInterval

    if any(interval.min or interval.max for interval in logic.out_qint):
        return logic
    zeros = set(logic.out_idxs)
    bit = QInterval(0.0, 1.0, 1.0)
    ops = [op._replace(qint=bit) if index in zeros else op for index, op in enumerate(logic.ops)]
    return logic._replace(ops=ops)


def write_verilog(logic: Any, folder: Path, *, top: str, levels: int, part: str, clock_ns: float) -> int:
    """Write a graph as Verilog with a register after every so many adder levels; returns the number of stages."""
    from da4ml.codegen import RTLModel
    from da4ml.trace import to_pipeline

    pipeline = to_pipeline(logic, levels, retiming=False)
    RTLModel(pipeline, top, folder, part_name=part, clock_period=clock_ns, print_latency=False).write()
    return len(pipeline.solutions)


def port_types(folder: Path) -> tuple[list[FixedPoint | None], list[FixedPoint | None]]:
    """Return the types of the input and output ports of written Verilog; a constant zero has no bits and no type."""
    from da4ml.cmvm.types import Pipeline

    pipeline = Pipeline.load(str(folder / "model" / "pipeline.json"))
    return [_type(port) for port in pipeline.inp_qint], [_type(port) for port in pipeline.out_qint]


def _type(interval: Any) -> FixedPoint | None:
    from da4ml.cmvm.types import minimal_kif

    sign, whole, fraction = (int(bits) for bits in minimal_kif(interval))
    width = sign + whole + fraction
    return FixedPoint(width, sign + whole, bool(sign)) if width else None
