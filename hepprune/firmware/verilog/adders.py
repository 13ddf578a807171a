"""Everything that is da4ml's: symbolic fixed-point variables, adder graphs of constant matrices, their Verilog.

A variable knows its range (`low`, `high`), its bits (`kif`: sign, whole, fraction) and the adder level at which it is
there (`latency`); sums, products, `quantize`, `relu` and `msb_mux` of variables are variables (Sun et al.,
arXiv:2507.04535).
"""

import functools
import hashlib
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hepprune.errors import NetworkError, ToolMissingError, check_known
from hepprune.fixed import FixedPoint

_HARDWARE = (1, -1, -1)  # cost counts result bits, every addition is one level whatever its width
MAX_FRACTION = 32  # constants are represented no finer than this
MAX_PORT = 52  # bits that every word of a side of Verilog fits in, all with one point, for a simulation in float64
MAX_WEIGHT_WIDTH = 24  # matrices are taken in float32
_SMALLEST_UNIT = 2.0**-24  # in which a variable is counted; leaves room for constants
_STEP = 24  # bits by which units are changed at once


def port(kind: FixedPoint | None) -> Any:
    """Return a new variable of a type; without one it has no bits."""
    from da4ml.trace import FixedVariable, HWConfig

    return FixedVariable.from_kif(*(kif(kind) if kind else (0, 0, 0)), hwconf=HWConfig(*_HARDWARE))


def kif(kind: FixedPoint) -> tuple[int, int, int]:
    """Return the notation of a type here: sign bit, integer bits without it, fraction bits."""
    return int(kind.signed), kind.integer - int(kind.signed), kind.fraction


def joint(kifs: Iterable[tuple[int, int, int]]) -> tuple[int, int, int]:
    """Return the narrowest kif that holds all that others hold."""
    sign, whole, fraction = zip(*kifs, strict=True)
    return int(max(sign)), int(max(whole)), int(max(fraction))


def constant(value: float, *, factor: Any = 1) -> Any:
    """Return a variable that is always the same; `factor` is that of the variable it is chosen against."""
    from da4ml.trace import FixedVariable, HWConfig

    return FixedVariable.from_const(float(value), hwconf=HWConfig(*_HARDWARE), _factor=factor)


def is_constant(value: Any) -> bool:
    """Return whether a variable is always the same."""
    return bool(value.low == value.high)


MatrixProduct = Callable[[NDArray[np.float32], Sequence[Any]], Sequence[Any]]
_PRODUCT: ContextVar[MatrixProduct] = ContextVar("product")  # how matrices are multiplied while networks are traced


# Returns what multiplies variables by a matrix (n_in, n_out), given their ranges, how many adder levels late they are,
# and the levels that it may spend beyond its minimum.
MatrixSolver = Callable[
    [NDArray[np.float32], Sequence[Any], Sequence[float], int], Callable[[NDArray[Any]], Sequence[Any]]
]


def _by_da4ml(matrix: NDArray[np.float32], ranges: Sequence[Any], delays: Sequence[float], slack: int) -> Any:
    from numba.typed import List

    return cheapest_graph(matrix, qintervals=List(ranges), latencies=List(delays), hard_dc=slack)


def _by_alkaid(matrix: NDArray[np.float32], ranges: Sequence[Any], delays: Sequence[float], slack: int) -> Any:
    from alkaid.cmvm import cmvm_solve

    parts = cmvm_solve(matrix, hard_dc=slack, qintervals=[tuple(each) for each in ranges], latencies=list(delays))
    return lambda values: functools.reduce(lambda read, part: part(read, quantize=False), parts, values)


SOLVERS: dict[str, MatrixSolver] = {"da4ml": _by_da4ml, "alkaid": _by_alkaid}


def check_solver(name: str) -> None:
    """Refuse a solver that is not known, or not installed."""
    check_known("solver", name, SOLVERS, NetworkError)
    if find_spec(name) is None:
        raise ToolMissingError(f"solver '{name}' is missing; install it with `pip install {name}`")


def _solved_once(solver: MatrixSolver, depth_slack: int) -> MatrixProduct:
    graphs: dict[tuple[Any, ...], Callable[[NDArray[Any]], Sequence[Any]]] = {}

    def product(matrix: NDArray[np.float32], values: Sequence[Any]) -> Sequence[Any]:
        first = min(float(value.latency) for value in values)  # a graph counts only how much later others are
        ranges, delays = tuple(value.qint for value in values), tuple(float(value.latency) - first for value in values)
        key = (matrix.shape, matrix.tobytes(), ranges, delays)
        if key not in graphs:
            graphs[key] = solver(matrix, ranges, delays, depth_slack)
        return graphs[key](np.array(values, dtype=object))

    return product


def _ranged(matrix: NDArray[np.float32], values: Sequence[Any]) -> Sequence[Any]:
    """Return new variables of the range and step that values @ matrix have."""
    from da4ml.trace import FixedVariable, HWConfig

    ends = np.array([[float(value.low), float(value.high)] for value in values])
    corners = matrix.T[:, :, None] * ends  # n_out, n_in, ends
    whole = np.abs(matrix * 2.0**MAX_FRACTION).astype(np.int64)
    last_places = np.where(whole, whole & -whole, 2.0**62) * 2.0**-MAX_FRACTION
    steps = (last_places.T * [float(value.step) for value in values]).min(axis=1)
    each = zip(corners.min(axis=2).sum(axis=1), corners.max(axis=2).sum(axis=1), steps, strict=True)
    return [FixedVariable(*map(float, of), hwconf=HWConfig(*_HARDWARE)) for of in each]


@contextmanager
def solving(*, depth_slack: int, solver: str) -> Iterator[None]:
    """Solve each matrix once, with up to `depth_slack` adder levels beyond its minimum; -1 is any number.

    Raises:
        NetworkError: no such solver is known.
        ToolMissingError: it is not installed.
    """
    check_solver(solver)
    with _tracing(_solved_once(SOLVERS[solver], depth_slack)):
        yield


@contextmanager
def sizing() -> Iterator[None]:
    """Solve no matrix: what they put out are new variables of the right range, of which no graph can be made."""
    with _tracing(_ranged):
        yield


@contextmanager
def _tracing(product: MatrixProduct) -> Iterator[None]:
    from da4ml.trace.fixed_variable import table_context

    token, tables = _PRODUCT.set(product), table_context._tables  # noqa: SLF001 -- it would keep all for good
    table_context._tables = {}  # noqa: SLF001
    try:
        yield
    finally:
        table_context._tables = tables  # noqa: SLF001
        _PRODUCT.reset(token)


def multiply(values: Sequence[Any], kernel: NDArray[np.float64]) -> Sequence[Any]:
    """Return variables @ kernel, (n_in, n_out), while `solving` or `sizing`."""
    least = _SMALLEST_UNIT / last_place(kernel)
    near = [unscaled(value, least=least) for value in values]
    return _PRODUCT.get()(np.ascontiguousarray(kernel, dtype=np.float32), near)


def unscaled(value: Any, *, least: float = 2.0**-8) -> Any:
    """Return a variable of no smaller a unit than the least, by a product with one that costs nothing.

    Every product makes the unit smaller in which da4ml counts, and it gets constants of 2**32 units wrong.
    """
    from da4ml.trace import FixedVariable

    if abs(value._factor) >= least:  # noqa: SLF001
        return value
    while (factor := abs(value._factor)) != 1 and not is_constant(value):  # noqa: SLF001
        by = min(max(1 / factor, 2**-_STEP), 2**_STEP)
        one = constant(1.0, factor=by)
        value = FixedVariable(
            value.low,
            value.high,
            value.step,
            latency=value.latency,
            hwconf=value.hwconf,
            opr="vmul",
            cost=0.0,
            _from=(value, one),
            _factor=value._factor * one._factor,  # noqa: SLF001
        )
    return value


def look_up(value: Any, outputs: NDArray[np.float64]) -> Any:
    """Return what a table has for a variable, an output for every value it can have, in order, while `solving`."""
    if is_constant(value) or outputs.min() == outputs.max():
        return constant(float(outputs[0]))
    from da4ml.cmvm.types import QInterval
    from da4ml.trace.fixed_variable import LookupTable, TableSpec

    step = last_place(outputs)  # found by da4ml itself only after half a minute of compilation
    whole = (outputs[:: -1 if value._factor < 0 else 1] / step).astype(np.int32)  # noqa: SLF001
    interval = QInterval(float(outputs.min()), float(outputs.max()), step)
    digest = hashlib.sha256(whole.tobytes() + repr(interval).encode()).hexdigest()
    return value.lookup(LookupTable(whole, TableSpec(digest, interval, math.ceil(math.log2(len(outputs))))))


def last_place(values: NDArray[np.float64]) -> float:
    """Return the coarsest power of two that all values, none finer than constants are, are multiples of."""
    bits = int(np.bitwise_or.reduce(np.abs(values * 2.0**MAX_FRACTION).astype(np.int64), axis=None))
    return float(bits & -bits or 2**MAX_FRACTION) * 2.0**-MAX_FRACTION


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

    # a port of no bits is none, so outputs that are constantly zero get one
    logic = comb_trace(ports, outputs, keep_dead_inputs=True)
    from da4ml.cmvm.types import QInterval

    if any(interval.min or interval.max for interval in logic.out_qint):
        return logic
    zeros = set(logic.out_idxs)
    bit = QInterval(0.0, 1.0, 1.0)
    return logic._replace(ops=[op._replace(qint=bit) if index in zeros else op for index, op in enumerate(logic.ops)])


def stages(logic: Any, levels: int) -> tuple[Any, ...]:
    """Return the graph of each stage of a pipeline that has registers after every so many adder levels."""
    from da4ml.trace import to_pipeline

    return tuple(to_pipeline(logic, levels, retiming=False).solutions)


def write_verilog(logic: Any, folder: Path, *, top: str, levels: int, part: str, clock_ns: float) -> tuple[Any, ...]:
    """Write a graph as Verilog with registers after every so many adder levels; returns the graphs of its stages."""
    from da4ml.cmvm.types import Pipeline
    from da4ml.codegen import RTLModel

    graphs = stages(logic, levels)
    RTLModel(Pipeline(graphs), top, folder, part_name=part, clock_period=clock_ns, print_latency=False).write()
    return graphs


def combinational(logic: Any, name: str) -> str:
    """Return the Verilog module of a graph, without registers."""
    from da4ml.codegen.rtl.verilog import comb_logic_gen

    return str(comb_logic_gen(logic, name, timescale="`timescale 1 ns / 1 ps"))


def width(interval: Any) -> int:
    """Return the bits of a port."""
    from da4ml.cmvm.types import minimal_kif

    return int(sum(minimal_kif(interval)))


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
