"""What an adder graph costs, without solving it: da4ml's cost in LUT, its depth in adder levels, its registers.

da4ml (Sun et al., arXiv:2507.04535) writes every weight in signed digits and shares sums between outputs. Its cost
rules are exact here (an addition costs the bits of its operands, a bias its own, a ReLU half a LUT per bit); only how
wide the average addition is and how much is shared, which follows from how often pairs of digits repeat, are modelled,
by the constants below. `benchmarks/fit_adder_graph.py` fits them on random networks that da4ml 0.5.2 has solved with
two spare levels, and judges them on others and on trained ones; they are what its default command printed.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hepprune.fixed import digits
from hepprune.fixed.quantisers import FixedPoints
from hepprune.hardware.cost import sharing
from hepprune.hardware.cost.kernels import KernelCounts
from hepprune.hardware.cost.matrices import ConstantMatrices, Following, Matrix, extract
from hepprune.hardware.resources import Estimate, LayerEstimate, Resources
from hepprune.hardware.targets import Target
from hepprune.network import Network

Floats = NDArray[np.float64]
FractionBits = int | NDArray[np.int64]  # bits right of the point, of all values or of each

# Bits of an addition beyond those of its inputs: all have the first, digits that lie apart and longer sums more.
EXTRA_BITS, SPREAD, FEW_TERMS = 1.87, 0.688, 5.03
# Cost falls as (1 + REPEATS repeats / terms**REPEATS_POWER) ** -SHARING_POWER.
REPEATS, REPEATS_POWER, SHARING_POWER = 30.9, 1.16, 0.089
# The same where only counts are known: an addition has bits between those of inputs and output.
COUNTED_INPUT, COUNTED_GROWTH, COUNTED_EXTRA, COUNTED_SHARING, COUNTED_POWER = 0.828, 0.202, 0.967, 0.0314, 0.0923
LATE = 1.07  # behind another matrix inputs arrive one after the other, and only what arrives together is shared
NEGATED = 0.484  # to the power of its terms: how likely a sum leaves the graph negated
UNBALANCE = 1.25  # shared sums make trees as deep as 25 % more terms would
# One standard deviation: LUT as found on networks that fitted nothing and on their matrices, FF as modelled.
RELATIVE_ERROR, LAYER_ERROR = {"lut": 0.02, "ff": 0.2}, {"lut": 0.04, "ff": 0.2}
CYCLES_ERROR = 1.0
_CONSTANT_ROUNDING = ("TRN", "RND", "RND_MIN_INF")  # adds nothing, or a constant that the bias takes along


@dataclass(frozen=True)
class MatrixPrice:
    """The price of one matrix: its signed digits (n_out, n_in), its LUT, and when each neuron arrives.

    Arrivals are in adder levels, (n_out,); `smooth_arrival` is the same before rounding up.
    """

    terms: NDArray[np.int64]
    lut: float
    arrival: Floats
    smooth_arrival: Floats


def estimate(network: Network, target: Target) -> Estimate:
    """Return the price of the adder graph, at stage "da4ml"; the initiation interval is 1, DSP and BRAM are 0.

    Raises:
        NetworkError: a layer has no fixed-point form.
        RecipeError: the target has no known clock.
    """
    design = extract(network)
    prices = price(design)
    depth = max(float(p.arrival.max()) for p in prices)
    n_cycles = max(1, math.ceil(depth / target.levels_per_cycle))
    flip_flops = registers(design, prices, n_cycles=n_cycles)
    levels = {m.name: p.smooth_arrival.max() for m, p in zip(design.matrices, prices, strict=True)}
    layers = []
    for matrix, own, ff in zip(design.matrices, prices, flip_flops, strict=True):
        cells = Resources.logic(own.lut, ff)
        # what a matrix adds to the longest path, before rounding up: what a search can follow downhill
        depth = float(levels[matrix.name] - levels.get(matrix.source or "", 0.0))
        doubt = cells.scaled(LAYER_ERROR)
        layers.append(LayerEstimate(layer=matrix.name, resources=cells, depth=depth, uncertainty=doubt))
    totals = Resources.logic(sum(p.lut for p in prices), sum(flip_flops))
    return as_estimate(layers, totals, target, n_cycles=n_cycles, errors=RELATIVE_ERROR)


def as_estimate(
    layers: Sequence[LayerEstimate], totals: Resources, target: Target, *, n_cycles: int, errors: Mapping[str, float]
) -> Estimate:
    """Return the estimate of a whole adder graph."""
    return Estimate(
        stage="da4ml",
        strategy="distributed_arithmetic",
        resources=totals,
        latency_cycles=n_cycles,
        interval_cycles=1,
        clock_ns=target.period_ns,
        layers=tuple(layers),
        uncertainty=totals.scaled(errors),
        latency_error_cycles=CYCLES_ERROR,
    )


def price(design: ConstantMatrices) -> tuple[MatrixPrice, ...]:
    """Return the price of each matrix, in order."""
    found: dict[str, MatrixPrice] = {}
    for matrix in design.matrices:
        before, terms = found.get(matrix.source or ""), digits.count(matrix.weight)
        zero = np.zeros(matrix.weight.shape[1])
        # a bias is added from its first bit to its last one
        value = np.abs(matrix.bias[matrix.alive])
        odd = value // np.maximum(value & -value, 1)
        lut = additions(matrix, terms) + float(np.frexp(odd.astype(np.float64))[1].sum())
        extra = np.zeros(len(terms))
        negated = NEGATED ** terms.sum(axis=1)
        for quantiser in matrix.quantisers:
            cost, more = _quantiser(quantiser, negated)
            lut += float(cost[matrix.alive].sum())
            extra += more
            negated = np.zeros(len(terms))
        extra *= matrix.alive
        levels = (before.arrival, before.smooth_arrival) if before else (zero, zero)
        level, smooth = (arrivals(terms, terms @ 2.0**each) for each in levels)
        found[matrix.name] = MatrixPrice(terms, lut, np.ceil(level) + extra, smooth + extra)
    return tuple(found.values())


def additions(matrix: Matrix, terms: NDArray[np.int64]) -> float:
    """Return the LUT of the additions that sum `terms` (n_out, n_in) signed digits, what outputs share taken off."""
    span = _steps(matrix.arriving.low, matrix.arriving.high, matrix.arriving.places)
    late = LATE if matrix.source else 1.0
    return late * additions_of(matrix.weight, terms, span, alike=matrix.arriving.fractions is None)


def additions_of(weight: NDArray[np.int64], terms: NDArray[np.int64], span: Floats, *, alike: bool = True) -> float:
    """Return the same of whole-number weights (n_out, n_in) on inputs that span so many steps, all there at once.

    Inputs that are not `alike`, each with bits of its own, are added narrow ones first: their mean bits count.
    """
    per_output = terms.sum(axis=1)
    summed = per_output > 1
    if not summed.any():
        return 0.0
    terms, per_output, found = terms[summed], per_output[summed], sharing.of(weight[summed])
    in_bits = np.log2(terms @ span / per_output + 1) if alike else terms @ np.log2(span + 1) / per_output
    bits = in_bits + EXTRA_BITS + SPREAD * found.spread - FEW_TERMS / per_output
    repeated = found.repeats / float(per_output.sum()) ** REPEATS_POWER
    return float(((per_output - 1) * bits).sum() * (1 + REPEATS * repeated) ** -SHARING_POWER)


def whole_matrix(kernel: KernelCounts, in_width: int) -> tuple[float, int]:
    """Return LUT and adder levels of a matrix of which only counts are known, each input `in_width` bits wide.

    Its digit pairs repeat as those of random weights do.
    """
    if kernel.tree_additions == 0:
        return 0.0, 0
    bits = COUNTED_INPUT * in_width + COUNTED_EXTRA
    unshared = kernel.tree_additions * bits + COUNTED_GROWTH * kernel.tree_growth
    crowded = kernel.tree_additions**2 / (kernel.n_out * kernel.n_inputs_read)
    levels = math.ceil(math.log2(kernel.most_terms * (UNBALANCE if kernel.most_terms > 2 else 1.0)))
    return unshared * (1 + COUNTED_SHARING * crowded) ** -COUNTED_POWER, levels


def _bits(low: Floats, high: Floats, places: FractionBits) -> Floats:
    bits: Floats = np.log2(_steps(low, high, places) + 1)
    return bits


def _steps(low: Floats, high: Floats, places: FractionBits) -> Floats:
    steps: Floats = (high - low) * 2.0 ** np.asarray(places)
    return steps


def _quantiser(quantiser: Following, negated: Floats) -> tuple[Floats, Floats]:
    """Return LUT and adder levels of a ReLU and of bringing its value into a type, (n_out,).

    A value of which the adder graph has only the negative is turned round first; `negated` is how likely that is.
    """
    before, kind = quantiser.before, quantiser.kind
    low = np.maximum(before.low, 0) if quantiser.relu else before.low
    high = np.maximum(before.high, low)
    kept = before.places if kind is None else kind.fractions if isinstance(kind, FixedPoints) else kind.fraction
    fraction = np.minimum(before.places, kept)
    width: Floats = np.ceil(np.maximum(_bits(np.minimum(low, 0), np.maximum(high, 0), fraction), 0))
    none: Floats = np.zeros(len(width))
    if kind is None:
        return width / 2 * (quantiser.relu + negated), none
    wraps = kind.overflow == "WRAP"
    held = np.minimum(width, kind.width)
    lut: Floats = (held if wraps else width) / 2 * quantiser.relu + width / 2 * negated
    if kind.rounding not in _CONSTANT_ROUNDING:
        lut = lut + width * (before.places > np.asarray(kept))
    clipped: Floats = none if wraps else (high > kind.maximum).astype(np.float64) + (low < kind.minimum)
    # A ReLU that saturates looks only at the bits beyond its type; any other value is compared with both ends.
    return lut + clipped * (kind.width + (1.0 if quantiser.relu else width)), clipped


def arrivals(terms: NDArray[np.int64], leaves: Floats) -> Floats:
    """Return when each sum (..., n_out) of signed digits (n_out, n_in) is done, in adder levels.

    A tree merges what arrives first, first: it has `leaves`, of which each term has two to the power of its level. Two
    terms have only one tree, so nothing can unbalance it.
    """
    unbalance = np.where(terms.sum(axis=1) > 2, UNBALANCE, 1.0)
    found: Floats = np.log2(np.maximum(leaves * unbalance, 1.0))
    return found


def registers(design: ConstantMatrices, prices: tuple[MatrixPrice, ...], *, n_cycles: int) -> tuple[float, ...]:
    """Return the pipeline registers in each matrix, the input port counted with the first, the logits with the last.

    Logic synthesis takes away the registers of inputs that nothing reads. At a stage boundary a sum that is not done
    holds about as many partial sums as its tree has nodes at that level.
    """
    depth = max(float(p.arrival.max()) for p in prices)
    boundaries = [math.ceil(depth / n_cycles) * stage for stage in range(1, n_cycles)]
    read = np.any([matrix.weight.any(axis=0) for matrix in design.matrices if matrix.source is None], axis=0)
    port = float(_bits(design.port.low, design.port.high, design.port.places)[read].sum())
    found: list[float] = []
    arrivals = {m.name: p.arrival for m, p in zip(design.matrices, prices, strict=True)}
    for matrix, own in zip(design.matrices, prices, strict=True):
        arrival = arrivals.get(matrix.source or "", np.zeros(matrix.weight.shape[1]))
        held = _held(matrix, own, arrival, boundaries)
        if matrix.name == design.output:
            bits = _bits(matrix.leaving.low, matrix.leaving.high, matrix.leaving.places)
            held += float(bits.sum()) + sum(float(bits[own.arrival <= level].sum()) for level in boundaries)
        found.append(held + (port if not found else 0.0))
    return tuple(found)


def _held(matrix: Matrix, own: MatrixPrice, arrival: Floats, levels: Sequence[float]) -> float:
    """Return the bits of one matrix's partial sums that live at some levels; never more than twice its inputs' bits."""
    alive, read = matrix.alive, matrix.weight.any(axis=0)
    in_bits, bits = (_bits(each.low, each.high, each.places) for each in (matrix.arriving, matrix.total))
    held = 0.0
    for level in levels:
        unfinished, here = (own.arrival > level) & alive, (arrival <= level) & read
        if unfinished.any() and here.any():
            nodes = np.maximum(own.terms[np.ix_(unfinished, here)] @ 2.0 ** (arrival[here] - level), 1.0)
            held += min(float((nodes * bits[unfinished]).sum()), 2.0 * float(in_bits[here].sum()))
    return held
