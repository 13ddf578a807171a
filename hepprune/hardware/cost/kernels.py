"""What hardware sees of a kernel: which products are left, how they are built, and how deep their sums are."""

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray

from hepprune import digits
from hepprune.fixed import FixedPoint, Quantiser
from hepprune.network.quantise import weights as quantised

Integers = NDArray[np.int64]

HLS4ML_DEFAULT = FixedPoint(16, 6)  # the type hls4ml gives to what has none
DSP_DIGITS = 3  # fewer signed digits are one addition of shifted inputs, which Vitis HLS puts into LUT
NARROW_DIGITS, NARROW_WEIGHT_BITS = 4, 9  # what a product needs to reach a DSP when its input has 8 bits or fewer


@dataclass(frozen=True)
class Kernel:
    """Counts over one kernel (n_out, fan_in) of whole-number weights; zeros have left no trace in it.

    A weight that one input meets twice is multiplied once. `dsp_products` and `additions` hold for inputs wider than
    8 bits, the `narrow` ones for the others. `tree_additions` add up the signed digits of every neuron, `tree_growth`
    is the bits by which those sums are wider than what comes in, summed over the additions. `largest_sum` bounds
    |weight| summed over one neuron's inputs. `rows` are the DSP rows, `reuse_factor` consecutive weights each, that
    hold a weight other than zero.
    """

    n_out: int
    fan_in: int
    n_zeros: int
    n_products: int
    dsp_products: int
    additions: int
    narrow_dsp_products: int
    narrow_additions: int
    n_inputs_read: int
    largest_fan_in: int
    most_digits: int
    most_terms: int
    tree_additions: int
    tree_growth: float
    largest_sum: int
    weight_width: int
    reuse_factor: int
    rows: int


def of(values: torch.Tensor, kind: Quantiser | None, limit: torch.Tensor, reuse_factor: int = 1) -> Kernel:
    """Return the counts of a kernel (n_out, ...) under its type and digit limit, kept by content.

    A kernel in float counts as hls4ml would round it by default.
    """
    weight = values.detach().cpu().double().contiguous()
    cut = limit.cpu().contiguous()
    shape = tuple(weight.shape)
    return _counted(weight.numpy().tobytes(), cut.numpy().tobytes(), shape, kind, reuse_factor)  # type: ignore[arg-type]


@lru_cache(maxsize=2048)
def _counted(weight: bytes, limit: bytes, shape: tuple[int, ...], kind: Quantiser | None, reuse_factor: int) -> Kernel:
    values = torch.frombuffer(bytearray(weight), dtype=torch.float64).reshape(shape)
    limits = torch.frombuffer(bytearray(limit), dtype=torch.uint8).reshape(shape)
    quantiser = HLS4ML_DEFAULT if kind is None else kind
    whole = (quantised(values, quantiser, limits) * 2.0**quantiser.fraction).round().long().numpy()
    return count(whole.reshape(shape[0], -1), _width(quantiser), reuse_factor=reuse_factor)


def count(weight: Integers, weight_width: int, *, reuse_factor: int = 1) -> Kernel:
    """Return the counts of whole-number weights (n_out, fan_in) of that width."""
    terms = digits.count(weight)
    distinct, odd_bits = _distinct(weight)
    wide = distinct & (terms >= DSP_DIGITS)
    narrow = distinct & (terms >= NARROW_DIGITS) & (odd_bits >= NARROW_WEIGHT_BITS)
    added = np.maximum(terms - 1, 0)
    fan_ins, sums = (weight != 0).sum(axis=1), np.abs(weight).sum(axis=1)
    tree = np.maximum(terms.sum(axis=1) - 1, 0)
    return Kernel(
        n_out=len(weight),
        fan_in=weight.shape[1],
        n_zeros=int((weight == 0).sum()),
        n_products=int(fan_ins.sum()),
        dsp_products=int(wide.sum()),
        additions=int(added[distinct & ~wide].sum()),
        narrow_dsp_products=int(narrow.sum()),
        narrow_additions=int(added[distinct & ~narrow].sum()),
        n_inputs_read=int(weight.any(axis=0).sum()),
        largest_fan_in=int(fan_ins.max(initial=0)),
        most_digits=int(terms.max(initial=0)),
        most_terms=int(terms.sum(axis=1).max(initial=0)),
        tree_additions=int(tree.sum()),
        tree_growth=float(tree @ np.log2(np.maximum(sums, 1))),
        largest_sum=int(sums.max(initial=0)),
        weight_width=weight_width,
        reuse_factor=reuse_factor,
        rows=_rows(weight, reuse_factor),
    )


def _distinct(weight: Integers) -> tuple[NDArray[np.bool_], Integers]:
    """Return which weights are the first of their value on their input, and the bits left without trailing zeros."""
    order = np.argsort(weight, axis=0, kind="stable")
    ordered = np.take_along_axis(weight, order, axis=0)
    first = np.ones(weight.shape, dtype=bool)
    first[1:] = ordered[1:] != ordered[:-1]
    distinct = np.empty_like(first)
    np.put_along_axis(distinct, order, first, axis=0)
    magnitude = np.abs(weight)
    odd = magnitude // np.maximum(magnitude & -magnitude, 1)
    return distinct & (weight != 0), np.ceil(np.log2(odd + 1.0)).astype(np.int64)


def _rows(weight: Integers, reuse_factor: int) -> int:
    padded = np.zeros(math.ceil(weight.size / reuse_factor) * reuse_factor, dtype=bool)
    padded[: weight.size] = weight.ravel() != 0
    return int(padded.reshape(-1, reuse_factor).any(axis=1).sum())


def _width(kind: Quantiser) -> int:
    return kind.width if isinstance(kind, FixedPoint) else math.ceil(float(np.max(kind.bits)))
