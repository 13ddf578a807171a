"""What the cells of each kind of layer are proportional to: the terms whose constants are fitted on public reports.

Every function returns named amounts; a price is their sum, each times its constant, times the copies of the hardware.
"""

import math

from hepprune.hardware.cost.operations import Operation

Terms = dict[str, float]

NARROW_BITS = 8  # inputs up to here reach a DSP only with weights of many digits


def latency_lut(operation: Operation) -> Terms:
    """Return what the LUT of constant products and their adder trees follow."""
    kernel, bits = operation.kernel, operation.in_width
    additions = _additions(operation)
    return {
        "tree_bits": kernel.n_products * operation.accumulator_width,
        "tree_terms": kernel.n_products,
        "product_addition_bits": additions * bits,
        "product_additions": additions,
        "dsp": products_in_dsp(operation),
    } | _cast(operation, kernel.n_out)


def latency_ff(operation: Operation, cycles: int) -> Terms:
    """Return what the registers of an unrolled matrix follow: its inputs, or its partial sums at each cycle within."""
    kernel, held = operation.kernel, float(cycles > 0)
    return {
        "input_bits": kernel.n_inputs_read * operation.in_width,
        "held_bits": held * kernel.n_products * operation.accumulator_width,
        "held_output_bits": held * kernel.n_out * operation.accumulator_width,
        "held_dsp": held * products_in_dsp(operation),
        "held_additions": held * _additions(operation),
    }


def products_in_dsp(operation: Operation) -> int:
    """Return how many constant products of an unrolled matrix go to DSP."""
    kernel = operation.kernel
    return kernel.narrow_dsp_products if operation.in_width <= NARROW_BITS else kernel.dsp_products


def _additions(operation: Operation) -> int:
    kernel = operation.kernel
    return kernel.narrow_additions if operation.in_width <= NARROW_BITS else kernel.additions


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
    return {
        "one": 1.0,
        f"input_bits_{each}": operation.n_in * operation.in_width,
        f"output_bits_{each}": operation.n_out * operation.accumulator_width,
        f"multiplier_bits_{each}": operation.kernel.rows * operation.accumulator_width,
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
    """Return what the LUT of a layer without a matrix follow."""
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
        "softmax": {"softmax": n},
        "table": {"table": n},
        "contraction": {"merge_bits": operation.operands * operation.out_width},
    }
    return terms.get(operation.kind, {}) | _cast(operation, n)


def at_once(operation: Operation) -> float:
    """Return how many values a layer without a matrix treats at once: all, or those of one position of a stream."""
    return operation.n_in / operation.positions if operation.streams else float(operation.n_in)


def element_ff(operation: Operation) -> Terms:
    """Return what the registers of a layer without a matrix follow."""
    n = at_once(operation)
    if operation.kind in {"softmax", "table"}:
        return {operation.kind: n}
    if operation.streams:
        pooled = {"pool_stream_bits": n * operation.in_width} if operation.kind == "pool" else {}
        return {"stream_bits": n * operation.in_width} | pooled
    held = operation.casts or operation.kind == "pool"
    return {"result_bits": held * operation.n_out * operation.out_width}


def _cast(operation: Operation, n: float) -> Terms:
    """Return the bits that are rounded or saturated; a value that fits its type costs nothing."""
    bits = operation.accumulator_width if operation.kernels else operation.in_width
    casts = operation.casts and bits > operation.out_width
    return {"cast_bits": n * bits} if casts else {}
