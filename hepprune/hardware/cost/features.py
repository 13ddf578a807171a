"""What the cells of each kind of layer are proportional to: the terms whose constants are fitted on public reports.

Every function returns named amounts; a price is their sum, each times its constant, times the copies of the hardware.
"""

import math

from hepprune.hardware.cost.distributed_arithmetic import whole_matrix
from hepprune.hardware.cost.operations import Operation
from hepprune.hardware.cost.trees import Waiting

Terms = dict[str, float]

LONE_ADDER_BITS = 3  # what an adder takes beside its bits where it is not a sum of three, as fitted (`tree_terms`)
SOFTMAX_PRODUCT_BITS = 17 * 18  # partial products of an exponential and an inverse: hls4ml's two tables


def latency_lut(operation: Operation, *, in_threes: bool) -> Terms:
    """Return what the LUT of constant products and their adder trees follow.

    A sum of three (`in_threes`: a clock period holds no more) takes its bits twice; an adder of its own takes more.
    """
    kernel, bits = operation.kernel, operation.in_width
    additions, multiplied = operation.products_added.additions, operation.products_multiplied
    # the bits of all partial products of multipliers that are built of LUT
    hard = sum(n * each.distinct for n, each in enumerate(kernel.hard))
    partial = bits * hard * operation.n_multipliers / max(multiplied.distinct, 1)
    return {
        "tree_bits": kernel.n_products * operation.accumulator_width,
        "tree_terms": (not in_threes) * (kernel.n_products - kernel.n_sums),
        "product_addition_bits": additions * bits,
        "product_additions": additions,
        "dsp": (operation.multipliers != "lut") * multiplied.distinct,
        "multiplier_bits": (operation.multipliers == "lut") * partial,
    }


def latency_ff(operation: Operation, waiting: Waiting, *, shares: bool) -> Terms:
    """Return what the registers of an unrolled matrix follow: the partial sums that wait where a cycle ends within it.

    Terms are the signed digits of products built of LUT, and the products in DSP. A matrix at several positions also
    holds what comes in and goes out; products that share multipliers (`shares`) hold more.
    """
    kernel, bits = operation.kernel, operation.accumulator_width
    ports = kernel.n_inputs_read * operation.in_width + kernel.n_out * operation.out_width
    return {
        "sum_bits": waiting.digits * operation.products_added.n_digits * bits,
        "dsp_sum_bits": waiting.products * operation.products_multiplied.n * bits,
        "shared_sum_bits": shares * kernel.n_products * bits,
        "port_bits": (operation.positions > 1 and waiting != Waiting()) * ports,
    }


def adder_graph(operation: Operation, waiting: Waiting) -> tuple[Terms, Terms]:
    """Return what LUT and registers of a matrix under `distributed_arithmetic` follow: its additions alone."""
    kernel, bits = operation.kernel, operation.accumulator_width
    lut, _ = whole_matrix(kernel, operation.in_width)
    return {"adder_bits": lut, "bias_bits": kernel.n_out * bits}, {
        "sum_bits": waiting.digits * kernel.tree_additions * bits
    }


def resource_lut(operation: Operation) -> Terms:
    """Return what the LUT of a matrix with shared multipliers follow."""
    kernel, factor = operation.kernel, operation.reuse_factor
    each = "stream" if operation.streams else "parallel"
    outputs_each = factor // operation.n_in  # that one multiplier adds to, in turn
    selects = 2 ** math.ceil(math.log2(max(operation.n_out, 2))) if outputs_each > 2 else 0
    deep = "deep" if factor > operation.n_in else "shallow"
    return {
        "one": 1.0,
        f"input_bits_{each}": operation.n_in * operation.in_width,
        f"output_bits_{each}": operation.n_out * operation.accumulator_width,
        f"multiplier_bits_{deep}": kernel.rows * operation.in_width,
        f"select_bits_{each}": kernel.rows * selects * operation.accumulator_width,
    }


def resource_ff(operation: Operation) -> Terms:
    """Return what the registers of a matrix with shared multipliers follow."""
    each = "stream" if operation.streams else "parallel"
    read = "window" if operation.streams and operation.function.endswith("Conv") else each
    kernel = operation.kernel
    operand_bits = operation.in_width + kernel.weight_width
    return {
        "one": 1.0,
        f"input_bits_{read}": operation.n_in * operation.in_width,
        f"output_bits_{each}": operation.n_out * operation.accumulator_width,
        f"multiplier_bits_{each}": kernel.rows * operand_bits,
    }


def recurrent(operation: Operation) -> Terms:
    """Return what LUT and registers of a recurrent cell follow: its two kernels and its gates."""
    bits = operation.accumulator_width
    return {
        "one": 1.0,
        "input_bits": operation.n_in * operation.in_width,
        "gate_bits": operation.operands * operation.n_out * bits,
        "multiplier_bits": sum(kernel.rows for kernel in operation.kernels) * bits,
    }


def element_lut(operation: Operation) -> Terms:
    """Return what the LUT of a layer without a matrix follow.

    A top-k subtracts every two of its `operands`, each of which counts its bits that say who is ahead: three adders.
    """
    bits, n = operation.in_width, at_once(operation)
    n_out = operation.n_out * n / operation.n_in
    pooled = "pool_stream_bits" if operation.streams else "pool_bits"
    terms: dict[str, Terms] = {
        "relu": {"relu_bits": n * bits},
        "pool": {pooled: n * bits},
        "merge": {"merge_bits": (operation.operands - 1) * n_out * bits},
        "affine": {"affine_bits": n * bits},
        "normalise": {"affine_bits": 3 * n * bits},
        "argmax": {"relu_bits": n * bits},
        "top": {
            "merge_bits": n / 2 * (operation.operands - 1) * (bits + 3 + 3 * LONE_ADDER_BITS),
            "relu_bits": n * bits,
        },
        "softmax": {"softmax": n, "multiplier_bits": (operation.multipliers == "lut") * n * SOFTMAX_PRODUCT_BITS},
        "table": {"table": n},
        "contraction": {"merge_bits": operation.operands * operation.out_width},
    }
    return terms.get(operation.kind, {}) | cast(operation, n)


def at_once(operation: Operation) -> float:
    """Return how many values a layer without a matrix treats at once: all, or those of one position of a stream."""
    return operation.n_in / operation.positions if operation.streams else float(operation.n_in)


def element_ff(operation: Operation) -> Terms:
    """Return what the registers of a layer without a matrix follow."""
    n = at_once(operation)
    if operation.kind in {"softmax", "table"}:
        return {operation.kind: n}
    if operation.kind == "pool" and operation.streams:
        return {"pool_stream_bits": n * operation.in_width}
    if operation.streams:
        return {"stream": 1.0, "result_bits": n * (operation.in_width + operation.out_width)}
    held = operation.casts or operation.kind == "pool"
    return {"result_bits": held * operation.n_out * min(operation.in_width, operation.out_width)}


def cast(operation: Operation, n: float) -> Terms:
    """Return the bits that are rounded or saturated, and those of values that only might be."""
    bits = operation.accumulator_width if operation.kernels else operation.in_width
    if not operation.casts:
        return {}
    return {"cast_bits" if bits > operation.out_width else "fitting_bits": n * bits}
