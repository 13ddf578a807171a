"""What one operation costs, as Vitis HLS estimates it: DSP, BRAM and intervals by rule, the rest by fitted constants.

The rules for DSP and BRAM give what HLS reported for 871 single layers (wa-hls4ml) and 395 streamed ones (N-TORC) in
the median exactly; `docs/cost_models.md` holds all errors.
"""

import math

from hepprune.hardware.cost import features
from hepprune.hardware.cost.constants import UNMEASURED, Constants, shipped
from hepprune.hardware.cost.operations import Operation
from hepprune.hardware.resources import LayerEstimate, Resources

# One adder level. Five fit into 3.65 ns (wa-hls4ml, Vitis HLS at 27 % uncertainty), six do not into 4.375 ns (DeepSets,
# Vivado HLS at 12.5 %).
LEVEL_NS = 0.7295
DSP_WIDE, DSP_NARROW = 27, 18  # operands of one DSP48E2
DSP_STORED_WEIGHT = 5  # bits; products with narrower stored weights are built of LUT
BRAM_WIDTHS = ((512, 36), (1024, 18), (2048, 9), (4096, 4), (8192, 2), (16384, 1))  # (depth, bits) of one 18 Kb BRAM
SMALL_ROM_BITS = 1024  # a smaller memory is built of LUT
BRAM_REMAINDER = 8  # bits; a narrower rest beyond whole BRAMs is built of LUT when it is shallow
INDEX_DEPTH = 512  # from here the table of a deep matrix that says which output comes next takes a BRAM of its own
SOFTMAX_CYCLES, TABLE_CYCLES, NORMALISE_CYCLES, STREAM_CYCLES = 5, 2, 10, 5
STREAM_OVERHEAD = 4  # cycles of a streamed activation or pooling beside one per position, two per position of a pooling
STREAM_READ = 16  # values of a dense layer's stream that are unpacked per cycle
CELL_CYCLES = 22  # of a recurrent step beside its matrices: gates, tables, products
WINDOW_CYCLES = 10  # of one position of a streamed convolution beside its matrix
NOTHING = Resources(0.0, 0.0, 0.0, 0.0, 0.0)


def price(operation: Operation, *, usable_ns: float, constants: Constants | None = None) -> LayerEstimate:
    """Return the price of one operation when a clock period leaves `usable_ns` for logic.

    `constants` None takes those shipped.
    """
    constants = constants or shipped()
    if operation.kind == "wiring":
        return LayerEstimate(operation.name, NOTHING, 0)
    if operation.kind == "input":  # the port is held once
        held = 0.0 if operation.streams else float(operation.n_in * operation.in_width)
        return LayerEstimate(operation.name, Resources(0.0, held, 0.0, 0.0, 0.0), 0, kind="input")
    if operation.kind == "matrix":
        unrolled = operation.strategy == "latency"
        return (_latency if unrolled else _resource)(operation, constants, usable_ns)
    if operation.kind == "recurrent":
        return _recurrent(operation, constants)
    return _element(operation, constants)


def _latency(operation: Operation, constants: Constants, usable_ns: float) -> LayerEstimate:
    kernel, copies, factor = operation.kernel, operation.copies, operation.asked_reuse_factor
    n_products, cycles = features.products_in_dsp(operation), latency_cycles(operation, usable_ns)
    terms = features.latency_lut(operation), features.latency_ff(operation, cycles)
    cells = _cells(constants, operation, "latency", terms)
    limit = max(1, multiplier_limit(operation))
    dsp = min(n_products, limit) * _dsp_per_product(operation, kernel.weight_width)
    if factor > 1 and cycles:  # products that share multipliers wait for one another
        cycles += 1 + (math.ceil(n_products / limit) if n_products > limit else 0)
    interval = operation.calls * min(factor, cycles + 1)
    return _finished(operation, cells, (copies * dsp, 0), (_repeated(operation, cycles), interval))


def multiplier_limit(operation: Operation) -> int:
    """Return how many multipliers hls4ml allows a matrix under `latency`; zeros hardly lower it above 1."""
    factor = operation.asked_reuse_factor
    return math.ceil(operation.n_in * operation.n_out / factor) - operation.kernel.n_zeros // factor


def latency_cycles(operation: Operation, usable_ns: float) -> int:
    """Return the whole clock periods that products and adder tree of an unrolled matrix fill."""
    kernel = operation.kernel
    if kernel.largest_fan_in == 0:
        return 0
    product = 2 if features.products_in_dsp(operation) else math.ceil(math.log2(kernel.most_digits))
    levels = math.ceil(math.log2(kernel.largest_fan_in)) + product
    return math.floor(levels * LEVEL_NS / usable_ns)


def _resource(operation: Operation, constants: Constants, usable_ns: float) -> LayerEstimate:
    if operation.reuse_factor == 1:
        return _latency(operation, constants, usable_ns)
    kernel, factor = operation.kernel, operation.reuse_factor
    stored_in_dsp = kernel.weight_width >= DSP_STORED_WEIGHT
    dsp = kernel.rows * _dsp_per_product(operation, kernel.weight_width) if stored_in_dsp else 0
    bram18 = weight_bram18(kernel.rows * kernel.weight_width, factor)
    bram18 += 1 if factor > operation.n_in and factor >= INDEX_DEPTH else 0
    cells = _cells(
        constants, operation, "resource", (features.resource_lut(operation), features.resource_ff(operation))
    )
    cycles = _repeated(operation, factor)
    interval = cycles if operation.streams else operation.calls * factor
    return _finished(operation, cells, (operation.copies * dsp, operation.copies * bram18), (cycles, interval))


def _recurrent(operation: Operation, constants: Constants) -> LayerEstimate:
    products = sum(k.rows * _dsp_per_product(operation, k.weight_width) for k in operation.kernels)
    dsp = products + 3 * operation.n_out * _dsp_per_product(operation, operation.accumulator_width)
    memories = sum(weight_bram18(k.rows * k.weight_width, k.reuse_factor) for k in operation.kernels)
    tables = 2 * operation.n_out + 1
    terms = features.recurrent(operation)
    cells = _cells(constants, operation, "recurrent", (terms, terms))
    cycles = operation.steps * (operation.reuse_factor + CELL_CYCLES + operation.n_in // 2)
    return _finished(operation, cells, (dsp, memories + tables), (cycles, cycles))


def _element(operation: Operation, constants: Constants) -> LayerEstimate:
    n, kind = features.at_once(operation), operation.kind
    terms = features.element_lut(operation), features.element_ff(operation)
    cells = _cells(constants, operation, "element", terms)
    tables = {"softmax": math.ceil(n / 2) + 1, "table": math.ceil(n / 2), "normalise": 1}
    cycles = {"softmax": SOFTMAX_CYCLES, "table": TABLE_CYCLES, "normalise": NORMALISE_CYCLES}.get(kind, 0)
    interval = 1
    if operation.streams:  # a window is read while the one before is compared
        interval = operation.positions * (2 if kind == "pool" else 1) + STREAM_OVERHEAD
        cycles += interval
    return _finished(operation, cells, (_element_dsp(operation, n), tables.get(kind, 0)), (cycles, interval))


def _element_dsp(operation: Operation, n: float) -> float:
    """Return the products of two values, or of a value and a stored factor."""
    if operation.in_width < DSP_STORED_WEIGHT:
        return 0.0
    if operation.kind == "merge":
        return n / operation.operands if operation.function == "multiply" else 0.0
    products = {"softmax": n, "affine": n, "normalise": 3 * n, "contraction": float(operation.operands)}
    return products.get(operation.kind, 0.0)


def _cells(
    constants: Constants, operation: Operation, group: str, terms: tuple[features.Terms, features.Terms]
) -> tuple[float, float, float, float]:
    """Return LUT and registers of all copies, and the uncertainty of each."""
    lut, ff = (
        operation.copies * constants.price(f"{group}_{cell}", amounts)
        for cell, amounts in zip(("lut", "ff"), terms, strict=True)
    )
    if operation.kind == "matrix" and not operation.streams:  # sums wait between layers
        ff += operation.copies * operation.n_out * operation.out_width
    return lut, ff, lut * constants.error(f"{group}_lut"), ff * constants.error(f"{group}_ff")


def _finished(
    operation: Operation,
    cells: tuple[float, float, float, float],
    counts: tuple[float, float],
    cycles: tuple[float, int],
) -> LayerEstimate:
    lut, ff, lut_error, ff_error = cells
    dsp, bram18 = counts
    group = {"matrix": operation.strategy, "recurrent": "recurrent"}.get(operation.kind, "element")
    errors = shipped().errors
    doubt = Resources(
        lut_error,
        ff_error,
        dsp * errors.get(f"{group}_dsp", UNMEASURED),
        bram18 * errors.get(f"{group}_bram18", UNMEASURED),
        0.0,
    )
    depth, interval = cycles
    needed = Resources(lut, ff, float(dsp), float(bram18), 0.0)
    return LayerEstimate(operation.name, needed, depth, doubt, interval, operation.kind)


def weight_bram18(bits: int, depth: int) -> int:
    """Return the 18 Kb BRAMs of a memory `bits` wide and `depth` deep; a small one is built of LUT."""
    if bits * depth <= SMALL_ROM_BITS or depth == 1:
        return 0
    per_bram = next((width for rows, width in BRAM_WIDTHS if depth <= rows), None)
    if per_bram is None:
        return math.ceil(bits * depth / (BRAM_WIDTHS[0][0] * BRAM_WIDTHS[0][1]))
    whole, rest = divmod(bits, per_bram)
    return whole + (rest > 0 and (rest > BRAM_REMAINDER or depth >= INDEX_DEPTH or whole == 0))


def _dsp_per_product(operation: Operation, weight_width: int) -> int:
    wide, narrow = max(operation.in_width, weight_width), min(operation.in_width, weight_width)
    return math.ceil(wide / DSP_WIDE) * math.ceil(narrow / DSP_NARROW)


def _repeated(operation: Operation, cycles: int) -> int:
    """Return the cycles until the last position is done."""
    if not operation.streams:
        return cycles + (operation.calls - 1) * operation.reuse_factor
    if operation.function in {"Conv", "DepthwiseConv"}:
        return operation.steps * (cycles + WINDOW_CYCLES)
    return operation.positions * (cycles + STREAM_CYCLES + operation.n_in // STREAM_READ)
