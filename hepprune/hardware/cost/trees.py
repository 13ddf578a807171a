"""How an unrolled matrix fills clock periods: its products, a tree of additions, and what waits where a period ends."""

import math
from dataclasses import dataclass

from hepprune.hardware.cost.distributed_arithmetic import whole_matrix
from hepprune.hardware.cost.operations import Operation
from hepprune.hardware.cost.reuse import UNROLL_LIMIT
from hepprune.hardware.cost.timing import DSP_LEVELS, Clock

_ADDED_IN_A_ROW = 2  # at each level of a sum that HLS does not make a tree of


@dataclass(frozen=True)
class Waiting:
    """How often a term of the sums waits in a register on its way: signed digits that are added, and products."""

    digits: float = 0.0
    products: float = 0.0


def cycles(operation: Operation, clock: Clock) -> int:
    """Return the clock periods that end within products and sums of an unrolled matrix."""
    kernel = operation.kernel
    if kernel.largest_fan_in == 0:
        return 0
    if operation.strategy == "distributed_arithmetic":
        return math.floor(whole_matrix(kernel, operation.in_width)[1] * clock.level_ns / clock.usable_ns)
    fan_in = operation.kernel.largest_fan_in
    levels = math.ceil(fan_in / _ADDED_IN_A_ROW) if _is_serial(operation) else math.ceil(math.log2(fan_in))
    if not (alone := head(operation, clock)):
        levels += min(DSP_LEVELS, math.ceil(math.log2(kernel.most_digits)), max(1, int(clock.levels)))
    return max(0, alone + math.ceil(levels / clock.levels) - 1)


def head(operation: Operation, clock: Clock) -> int:
    """Return the periods that only the products in DSP take."""
    in_dsp = operation.products_multiplied.n and operation.multipliers != "lut"
    return clock.product_periods() if in_dsp else 0


def waiting(operation: Operation, clock: Clock) -> Waiting:
    """Return how often each term waits: every level of the tree that is done by then halves those that do.

    Where a jet comes every so many cycles, a register after the first holds its value for as many of them.
    """
    n_cycles, levels, factor = cycles(operation, clock), clock.levels, operation.asked_reuse_factor
    if _is_serial(operation):
        terms = operation.products_added.n_digits + operation.products_multiplied.n
        each = n_cycles * (_ADDED_IN_A_ROW * levels + 1 / factor) * operation.n_out / max(terms, 1)
        return Waiting(each, each)
    alone = head(operation, clock)
    behind = 0 if alone else min(DSP_LEVELS, max(1.0, levels))
    ends = range(1, n_cycles + 1)
    digits = (math.exp2(-levels * n) / (1 if n == 1 else factor) for n in ends)
    first = max(1, alone)
    late = ((n, 1 if n == first else factor) for n in ends if n >= first)
    return Waiting(sum(digits), sum(math.exp2(-max(0.0, levels * (n - alone) - behind)) / held for n, held in late))


def _is_serial(operation: Operation) -> bool:
    """Return whether HLS adds in a row: it makes no tree of more products at once than it unrolls."""
    return operation.strategy == "latency" and operation.n_in * operation.n_out > UNROLL_LIMIT
