"""What one operation costs, as Vitis HLS estimates it: DSP, BRAM and intervals by rule, the rest by fitted constants.

The rules for DSP and BRAM give what HLS reported for 871 single layers (wa-hls4ml) and 395 streamed ones (N-TORC) in
the median exactly; `docs/cost.md` holds all errors.
"""

import math
from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache, partial

from hepprune.hardware.cost import features, timing, trees
from hepprune.hardware.cost.constants import UNMEASURED, Constants, shipped
from hepprune.hardware.cost.operations import Operation
from hepprune.hardware.cost.reuse import UNROLL_LIMIT, multipliers
from hepprune.hardware.cost.timing import Clock
from hepprune.hardware.resources import LayerEstimate, Resources

DSP_WIDE, DSP_NARROW = 27, 18  # operands of one DSP48E2
DSP_STORED_WEIGHT = 5  # bits; products with narrower stored weights are built of LUT
BRAM_WIDTHS = ((512, 36), (1024, 18), (2048, 9), (4096, 4), (8192, 2), (16384, 1))  # (depth, bits) of one 18 Kb BRAM
BRAM_BITS = 18 * 1024
SMALL_FIFO_BITS = 512  # a FIFO of no more is built of LUT (121 x 4 bits is, 169 x 4 is not: MNIST stream)
FIFO_LUT, FIFO_FF, BRAM_FIFO_FF = 28, 5, 40  # one FIFO: hls4ml's own Vivado test report, MNIST stream
SMALL_ROM_BITS = 1024  # a smaller memory is built of LUT
BRAM_REMAINDER = 8  # bits; a narrower rest beyond whole BRAMs is built of LUT when it is shallow
INDEX_DEPTH = 512  # from here the table of a deep matrix that says which output comes next takes a BRAM of its own
TABLE_CYCLES, NORMALISE_CYCLES, STREAM_CYCLES = 2, 10, 5
STREAM_OVERHEAD = 4  # cycles of a streamed activation or pooling beside one per position, two per position of a pooling
STREAM_READ = 16  # values of a dense layer's stream that are unpacked per cycle
CELL_CYCLES = 22  # of a recurrent step beside its matrices: gates, tables, products
WINDOW_CYCLES = 10  # of one position of a streamed convolution beside its matrix
# A period that holds so many levels may end at another; half of the sums that wait there is a level's worth either way.
_LEVELS_TO_END_AT, _A_LEVEL_OFF = 2, 0.5
_WAITING_SUMS = {"sum_bits", "dsp_sum_bits"}
Counts = tuple[float, float]  # DSP, BRAM18
Cycles = tuple[float, int]  # depth, interval

NOTHING = Resources.logic()


def price(operation: Operation, *, clock: Clock, constants: Constants | None = None) -> LayerEstimate:
    """Return the price of one operation at a clock.

    `constants` None takes those shipped; a search prices the same layer again and again, and such a price is kept.
    """
    return _priced(operation, clock, constants) if constants else _by_shipped(operation, clock)


@lru_cache(maxsize=4096)
def _by_shipped(operation: Operation, clock: Clock) -> LayerEstimate:
    return _priced(operation, clock, shipped())


def _priced(operation: Operation, clock: Clock, constants: Constants) -> LayerEstimate:
    estimate = partial(LayerEstimate, layer=operation.name, kind=operation.kind)
    if operation.kind == "wiring":
        return LayerEstimate(layer=operation.name, resources=NOTHING, depth=0)
    if operation.kind == "input":  # the port is held once
        held = 0.0 if operation.streams else float(operation.n_in * operation.in_width)
        return estimate(resources=Resources.logic(ff=held), depth=0)
    found, (depth, interval) = _resources(operation, clock, constants)
    doubt = _uncertainty(operation, found, clock=clock, constants=constants)
    return estimate(resources=found, depth=depth, uncertainty=doubt, interval_cycles=interval)


def group_of(operation: Operation) -> str:
    """Return the group of constants that prices an operation: a matrix with nothing to share is an unrolled one."""
    if operation.kind != "matrix":
        return "recurrent" if operation.kind == "recurrent" else "element"
    if operation.strategy in {"latency", "distributed_arithmetic"}:
        return operation.strategy
    return "latency" if operation.reuse_factor == 1 else "resource"


def terms(operation: Operation, clock: Clock) -> tuple[features.Terms, features.Terms]:
    """Return what LUT and registers of one copy of an operation follow."""
    group = group_of(operation)
    waiting = trees.waiting(operation, clock) if operation.kind == "matrix" else trees.Waiting()
    if group == "distributed_arithmetic":
        return features.adder_graph(operation, waiting)
    if group == "latency":
        lut = features.latency_lut(operation, in_threes=clock.levels <= 1)
        return lut, features.latency_ff(operation, waiting, shares=_turns(operation) > 1)
    if group == "resource":
        return features.resource_lut(operation), features.resource_ff(operation)
    if group == "recurrent":
        return features.recurrent(operation), features.recurrent(operation)
    return features.element_lut(operation), features.element_ff(operation)


def _latency(operation: Operation, clock: Clock) -> tuple[Counts, Cycles]:
    factor, cycles, turns = operation.asked_reuse_factor, trees.cycles(operation, clock), _turns(operation)
    n_multipliers = operation.n_multipliers
    if turns > 1 and factor > cycles + 1:  # products that share multipliers wait for one another
        cycles = max(cycles + 1, turns + trees.head(operation, clock) + 2)
    elif cycles and factor > cycles + 1:
        cycles += 1
    elif cycles > 1 and factor > 1:  # ports of a jet every cycle are registered, which others need not be
        cycles -= 1
    interval = operation.calls * min(factor, cycles + 1)
    in_dsp = operation.multipliers != "lut"
    dsp = in_dsp * operation.copies * n_multipliers * _dsps(operation.in_width, operation.kernel.weight_width)
    return (dsp, 0), (_repeated(operation, cycles), interval)


def _turns(operation: Operation) -> int:
    """Return how many products each multiplier of a matrix under `latency` takes; zeros leave fewer of both."""
    shared_by = max(1.0, operation.n_in * operation.n_out / operation.asked_reuse_factor)
    return math.ceil(operation.products_multiplied.distinct / shared_by)


def _resource(operation: Operation, _clock: Clock) -> tuple[Counts, Cycles]:
    kernel, factor = operation.kernel, operation.reuse_factor
    stored_in_dsp = kernel.weight_width >= DSP_STORED_WEIGHT
    dsp = kernel.rows * _dsps(operation.in_width, kernel.weight_width) if stored_in_dsp else 0
    bram18 = weight_bram18(kernel.rows * kernel.weight_width, factor)
    bram18 += 1 if factor > operation.n_in and factor >= INDEX_DEPTH else 0
    cycles = _repeated(operation, factor if operation.streams else factor + 1)
    interval = cycles if operation.streams else operation.calls * factor
    return (operation.copies * dsp, operation.copies * bram18), (cycles, interval)


def _recurrent(operation: Operation, _clock: Clock) -> tuple[Counts, Cycles]:
    products = sum(k.rows * _dsps(operation.in_width, k.weight_width) for k in operation.kernels)
    dsp = products + 3 * operation.n_out * _dsps(operation.in_width, operation.accumulator_width)
    memories = sum(weight_bram18(k.rows * k.weight_width, k.reuse_factor) for k in operation.kernels)
    tables = 2 * operation.n_out + 1
    cycles = operation.steps * (operation.reuse_factor + CELL_CYCLES + operation.n_in // 2)
    return (dsp, memories + tables), (cycles, cycles)


def _element(operation: Operation, clock: Clock) -> tuple[Counts, Cycles]:
    n, kind = features.at_once(operation), operation.kind
    tables = {"softmax": math.ceil(n / 2) + 1, "table": math.ceil(n / 2), "normalise": 1}
    # products of two values, or of a value and a stored factor
    products = {"softmax": n, "affine": n, "normalise": 3 * n, "contraction": float(operation.operands)}
    if kind == "merge" and operation.function == "multiply":
        products = {"merge": n / operation.operands}
    in_lut = operation.in_width < DSP_STORED_WEIGHT or operation.multipliers == "lut"
    cycles, interval = _element_cycles(operation, clock), 1
    if operation.streams:  # a window is read while the one before is compared
        interval = operation.positions * (2 if kind == "pool" else 1) + STREAM_OVERHEAD
        cycles += interval
    return (0.0 if in_lut else products.get(kind, 0.0), tables.get(kind, 0)), (cycles, interval)


def _element_cycles(operation: Operation, clock: Clock) -> int:
    """Return the cycles of a layer without a matrix, of one position."""
    if operation.kind == "softmax":
        in_lut = operation.multipliers == "lut"
        return clock.cycles(timing.softmax(operation.n_out // operation.positions, in_lut=in_lut))
    if operation.kind == "top":
        # a comparison, a count of all values that won, and a choice
        levels = 2 + math.ceil(math.log2(max(operation.operands, 1)))
        return math.floor(levels * clock.level_ns / clock.usable_ns)
    waits = {"table": TABLE_CYCLES, "normalise": NORMALISE_CYCLES}
    return waits.get(operation.kind, operation.casts * clock.whole(timing.ROUND_NS))


_RULES: dict[str, Callable[[Operation, Clock], tuple[Counts, Cycles]]] = {
    "distributed_arithmetic": lambda op, clock: ((0, 0), (_repeated(op, trees.cycles(op, clock)), op.calls)),
    "latency": _latency,
    "resource": _resource,
    "recurrent": _recurrent,
    "element": _element,
}


def _resources(operation: Operation, clock: Clock, constants: Constants) -> tuple[Resources, Cycles]:
    """Return what all copies of an operation take, cells by constants and the rest by rule, and its cycles."""
    group, copies = group_of(operation), operation.copies
    lut_terms, ff_terms = terms(operation, clock)
    (dsp, bram18), cycles = _RULES[group](operation, clock)
    lut = copies * constants.price(f"{group}_lut", lut_terms)
    if operation.kernels:
        lut += copies * constants.price("element_lut", features.cast(operation, operation.n_out))
    ff = copies * constants.price(f"{group}_ff", ff_terms) + waiting_bits(operation)
    return Resources(lut=lut, ff=ff, dsp=float(dsp), bram18=float(bram18), uram=0.0) + fifos(operation), cycles


def _uncertainty(operation: Operation, found: Resources, *, clock: Clock, constants: Constants) -> Resources:
    """Return one standard deviation; of what HLS failed to build every time, the true cost is not known.

    Where a period holds several levels of a tree and ends one sooner or later, twice or half as many sums wait.
    """
    group, failed = group_of(operation), products_at_once(operation) >= UNROLL_LIMIT
    cells = ("lut", "ff", "dsp", "bram18")
    doubt = found.scaled({cell: UNMEASURED if failed else constants.error(f"{group}_{cell}") for cell in cells})
    if group != "latency" or clock.levels < _LEVELS_TO_END_AT:
        return doubt
    sums = {name: bits for name, bits in terms(operation, clock)[1].items() if name in _WAITING_SUMS}
    waiting = operation.copies * constants.price("latency_ff", sums)
    return replace(doubt, ff=math.hypot(doubt.known()["ff"], _A_LEVEL_OFF * waiting))


def products_at_once(operation: Operation) -> int:
    """Return how many products HLS has to unroll for one copy of a matrix."""
    if operation.kind != "matrix":
        return 0
    if operation.strategy == "distributed_arithmetic":  # additions written out one by one: no loop to unroll
        return 0
    factor = operation.reuse_factor if group_of(operation) == "resource" else 1
    return multipliers(operation.n_in, operation.n_out, factor)


def waiting_bits(operation: Operation) -> float:
    """Return the registers around an unrolled matrix of one pipeline, in which its sums wait for the next layer."""
    waits = group_of(operation) in {"latency", "distributed_arithmetic"} and not operation.dataflow
    return float(operation.copies * operation.kernel.n_sums * operation.out_width) if waits else 0.0


def fifos(operation: Operation) -> Resources:
    """Return the FIFOs that a layer of a dataflow design puts its results into: one per value, or per value at once."""
    if not operation.dataflow:
        return NOTHING
    is_matrix, turns = operation.kind == "matrix", operation.positions
    results = operation.n_out * (turns if is_matrix else 1)
    # the positions that results lie at: those of a matrix, those a pooling leaves of what comes in
    left = turns if is_matrix else operation.n_out * turns // operation.n_in
    places = max(left, 1) if operation.streams else 1
    n, bram18 = results / places, fifo_bram18(places, operation.out_width)
    ff = FIFO_FF if bram18 == 0 else BRAM_FIFO_FF
    return Resources(lut=n * FIFO_LUT, ff=n * ff, dsp=0.0, bram18=n * bram18, uram=0.0)


def fifo_bram18(depth: int, bits: int) -> int:
    """Return the 18 Kb BRAMs of a FIFO; a small one is built of LUT."""
    if depth * bits <= SMALL_FIFO_BITS:
        return 0
    per_bram = next((width for rows, width in BRAM_WIDTHS if depth <= rows), None)
    return math.ceil(bits / per_bram) if per_bram else math.ceil(bits * depth / BRAM_BITS)


def weight_bram18(bits: int, depth: int) -> int:
    """Return the 18 Kb BRAMs of a memory `bits` wide and `depth` deep; a small one is built of LUT."""
    if bits * depth <= SMALL_ROM_BITS or depth == 1:
        return 0
    per_bram = next((width for rows, width in BRAM_WIDTHS if depth <= rows), None)
    if per_bram is None:
        return math.ceil(bits * depth / BRAM_BITS)
    whole, rest = divmod(bits, per_bram)
    return whole + (rest > 0 and (rest > BRAM_REMAINDER or depth >= INDEX_DEPTH or whole == 0))


def _dsps(one: int, other: int) -> int:
    """Return the DSP of a product of two values of these widths."""
    wide, narrow = max(one, other), min(one, other)
    return math.ceil(wide / DSP_WIDE) * math.ceil(narrow / DSP_NARROW)


def _repeated(operation: Operation, cycles: int) -> int:
    """Return the cycles until the last position is done."""
    if not operation.streams:
        return cycles + (operation.calls - 1) * operation.reuse_factor
    if operation.function in {"Conv", "DepthwiseConv"}:
        return operation.steps * (cycles + WINDOW_CYCLES)
    return operation.positions * (cycles + STREAM_CYCLES + operation.n_in // STREAM_READ)
