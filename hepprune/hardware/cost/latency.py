"""What hls4ml's `latency` strategy costs at reuse factor 1, as Vitis HLS estimates it (stage "csynth").

Every product stands alone, so each zero saves its product and its place in the adder tree. The counts follow how Vitis
HLS builds constant products; the constants come from the module and Bind Op tables of a published jet tagger
(16-64-32-32-5, Vitis HLS 2022.2, xcu250, nrp-nautilus/6nrp-hls4ml), whose DSP the rule below gives exactly. Older
Vivado HLS moves some of these products to LUT.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hepprune import digits
from hepprune.hardware.cost.matrices import Design, Matrix, Quantiser, extract
from hepprune.hardware.resources import Estimate, LayerEstimate, Resources
from hepprune.hardware.targets import Target
from hepprune.network import Network

DSP_DIGITS = 3  # fewer signed digits are one addition of shifted inputs, which Vitis HLS puts into LUT
DSP_WEIGHT_WIDTH = 9  # narrower weights use no DSP (hls4ml documentation)
DSP_WIDE, DSP_NARROW = 27, 18  # operands of one DSP48E2
TREE_EXTRA_BITS = 4.4  # LUT per term beyond the accumulator's width: 20.2 to 20.5 for 16 bits in four dense layers
PRODUCT_EXTRA_BITS = 9.0  # LUT of one addition in a product beyond the input's width
DSP_LUT = 6.0  # LUT beside each DSP product (Bind Op report)
RELU_LUT_PER_BIT = 1.75  # 28 LUT per 16-bit value
SATURATION_LUT_PER_BIT = 1.65  # 81 LUT where 16 bits are rounded and saturated too (l1-jet-id): half of the rest each
REGISTERS_PER_TERM_BIT = 0.33  # per cycle within a dense layer: 0.30 to 0.37 in four of them
LEVEL_NS = (
    0.65  # one adder level; gives the cycles (0 or 1) of the jet tagger and of 26 of 27 single layers (wa-hls4ml)
)
DEFAULT_UNCERTAINTY = 0.27  # Vitis HLS
SOFTMAX_CYCLES, SOFTMAX_LUT, SOFTMAX_FF = 5, 150.0, 100.0  # stable softmax; the last two per class


@dataclass(frozen=True)
class MatrixPrice:
    """The price of one dense layer with what follows it, and its cycles."""

    resources: Resources
    cycles: int


def estimate(network: Network, target: Target) -> Estimate:
    """Return the price at reuse factor 1, at stage "csynth"; the initiation interval is 1.

    Raises:
        NetworkError: a layer has no fixed-point form.
        RecipeError: the target has no known clock.
    """
    design = extract(network)
    uncertainty = DEFAULT_UNCERTAINTY if target.clock_uncertainty is None else target.clock_uncertainty
    prices = [price_matrix(m, usable_ns=target.period_ns * (1 - uncertainty)) for m in design.matrices]
    layers = [LayerEstimate(m.name, p.resources, p.cycles) for m, p in zip(design.matrices, prices, strict=True)]
    layers += _head(design)
    total = Resources(0.0, _registers_between(design), 0.0, 0.0, 0.0)
    for layer in layers:
        total = total + layer.resources
    n_cycles = 1 + sum(int(layer.depth) + 1 for layer in layers)  # one register before each call, one at the port
    return Estimate("csynth", "latency", total, n_cycles, 1, target.period_ns, tuple(layers))


def price_matrix(matrix: Matrix, *, usable_ns: float) -> MatrixPrice:
    """Return the price of one matrix when a clock period leaves `usable_ns` for logic."""
    terms = digits.count(matrix.weight)
    in_width = float(_widths(matrix.arriving.low, matrix.arriving.high, matrix.arriving.fraction).max(initial=1.0))
    n_terms = int((matrix.weight != 0).sum())
    dsp, product_lut = _products(matrix, terms, in_width)
    accumulator = _accumulator_width(matrix)
    lut = n_terms * (accumulator + TREE_EXTRA_BITS) + product_lut
    lut += sum(_quantiser_lut(quantiser, matrix.alive) for quantiser in matrix.quantisers)
    cycles = _cycles(terms, uses_dsp=dsp > 0, usable_ns=usable_ns)
    ff = max(in_width * matrix.weight.any(axis=0).sum(), REGISTERS_PER_TERM_BIT * accumulator * n_terms * cycles)
    return MatrixPrice(Resources(lut, float(ff), float(dsp), 0.0, 0.0), cycles)


def _products(matrix: Matrix, terms: NDArray[np.int64], in_width: float) -> tuple[int, float]:
    """Return the DSP and the LUT of all products; a weight that an input meets twice is multiplied once."""
    dsp_width, n_multiplied, n_additions = matrix.weight_type.width, 0, 0
    in_dsp = dsp_width >= DSP_WEIGHT_WIDTH
    for column, n_digits in zip(matrix.weight.T, terms.T, strict=True):
        first = np.unique(column, return_index=True)[1]
        multiplied = (n_digits[first] >= DSP_DIGITS) & in_dsp
        n_multiplied += int(multiplied.sum())
        n_additions += int(np.maximum(n_digits[first] - 1, 0)[~multiplied].sum())
    wide, narrow = max(in_width, dsp_width), min(in_width, dsp_width)
    dsp = n_multiplied * math.ceil(wide / DSP_WIDE) * math.ceil(narrow / DSP_NARROW)
    return dsp, DSP_LUT * n_multiplied + (in_width + PRODUCT_EXTRA_BITS) * n_additions


def _accumulator_width(matrix: Matrix) -> float:
    """Return the bits of the sums: those of the dense layer's own type, or all that their range needs."""
    if matrix.quantisers and not matrix.quantisers[0].relu and matrix.quantisers[0].kind:
        return float(matrix.quantisers[0].kind.width)
    return float(_widths(matrix.total.low, matrix.total.high, matrix.total.fraction).max(initial=1.0))


def _quantiser_lut(quantiser: Quantiser, alive: NDArray[np.bool_]) -> float:
    if not quantiser.relu:
        return 0.0
    kind, before = quantiser.kind, quantiser.before
    per_bit = RELU_LUT_PER_BIT
    if kind is not None:
        per_bit += SATURATION_LUT_PER_BIT * ((kind.overflow != "WRAP") + (kind.rounding != "TRN"))
    return per_bit * float(_widths(before.low, before.high, before.fraction)[alive].sum())


def _cycles(terms: NDArray[np.int64], *, uses_dsp: bool, usable_ns: float) -> int:
    """Return the whole clock periods that product and adder tree fill; a DSP product lasts about two levels."""
    n_terms = int((terms > 0).sum(axis=1).max(initial=0))
    if n_terms == 0:
        return 0
    product = 2 if uses_dsp else math.ceil(math.log2(int(terms.max())))
    return math.floor((math.ceil(math.log2(n_terms)) + product) * LEVEL_NS / usable_ns)


def _head(design: Design) -> list[LayerEstimate]:
    """Return the softmax if there is one: an exponential table per two classes, one inverse, a DSP per class."""
    if design.head != "Softmax":
        return []
    n = len(design.matrices[-1].weight)
    cells = Resources(SOFTMAX_LUT * n, SOFTMAX_FF * n, float(n), math.ceil(n / 2) + 1.0, 0.0)
    return [LayerEstimate("softmax", cells, SOFTMAX_CYCLES)]


def _registers_between(design: Design) -> float:
    """Return the bits of the input port and of every layer's result, each held once."""
    ranges = [design.port, *(matrix.leaving for matrix in design.matrices)]
    return float(sum(_widths(r.low, r.high, r.fraction).sum() for r in ranges))


def _widths(low: NDArray[np.float64], high: NDArray[np.float64], fraction: int) -> NDArray[np.float64]:
    """Return the bits that hold each range."""
    widths: NDArray[np.float64] = np.ceil(np.log2((high - low) * 2.0**fraction + 1))
    return widths
