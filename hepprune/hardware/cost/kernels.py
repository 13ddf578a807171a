"""What hardware sees of a kernel: which products are left, how they are built, and how deep their sums are."""

import hashlib
import math
from dataclasses import dataclass
from operator import add
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from hepprune.fixed import FixedPoint, Quantiser, digits
from hepprune.network.quantise import weights as quantised

Integers = NDArray[np.int64]

HLS4ML_DEFAULT = FixedPoint(16, 6)  # the type hls4ml gives to what has none
DSP_DIGITS = 3  # fewer signed digits are one addition of shifted inputs, which HLS puts into LUT
DSP_PRODUCT_BITS = 17  # a product of fewer bits is built of LUT
DSP_OPERAND_BITS = 11  # and so is one whose operands both have fewer
_KNOWN: dict[tuple[Any, ...], "KernelCounts"] = {}  # by the content of weights, which are not kept
_MOST_KNOWN = 4096


class Products(NamedTuple):
    """Counts over products with constants: all of them and their signed digits, then those that are built.

    A weight that one input meets twice is multiplied once, so fewer are `distinct`; `additions` make those of shifted
    inputs.
    """

    n: int = 0
    n_digits: int = 0
    distinct: int = 0
    additions: int = 0

    def __add__(self, other: "Products") -> "Products":  # type: ignore[override]
        """Return the counts of both."""
        return Products(*map(add, self, other))


@dataclass(frozen=True, kw_only=True)
class KernelCounts:
    """Counts over one kernel (n_out, fan_in) of whole-number weights; zeros have left no trace in it.

    `n_sums` neurons add up anything; what the others put out is known. `easy` products have so few signed digits that
    no DSP makes them; `hard` ones are by the bits of their weight. `tree_additions` add up the signed digits of every
    neuron, `tree_growth` is the bits by which those sums are wider than what comes in, summed over the additions.
    `largest_sum` bounds |weight| summed over one neuron's inputs. `rows` are the DSP rows, `reuse_factor` consecutive
    weights each, that hold a weight other than zero.
    """

    n_out: int
    n_sums: int
    fan_in: int
    n_zeros: int
    easy: Products
    hard: tuple[Products, ...]
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

    @property
    def n_products(self) -> int:
        """The weights other than zero."""
        return self.n_out * self.fan_in - self.n_zeros

    def in_dsp(self, in_width: int) -> Products:
        """Return the products that go to DSP where inputs have that many bits."""
        return sum(self.hard[_least_weight_bits(in_width) :], Products())

    def in_lut(self, in_width: int) -> Products:
        """Return the products that are built of LUT."""
        return sum(self.hard[: _least_weight_bits(in_width)], self.easy)


def _least_weight_bits(in_width: int) -> int:
    """Return the bits from which a weight with enough digits is multiplied in a DSP."""
    other = DSP_OPERAND_BITS if in_width < DSP_OPERAND_BITS else 0
    return max(DSP_PRODUCT_BITS - in_width, other)


def of(values: torch.Tensor, kind: Quantiser | None, limit: torch.Tensor, reuse_factor: int = 1) -> KernelCounts:
    """Return the counts of a kernel (n_out, ...) under its type and digit limit, kept by content.

    A kernel in float counts as hls4ml would round it by default.
    """
    weight, cut = values.detach().cpu().double().contiguous(), limit.cpu().contiguous()
    content = hashlib.blake2b(weight.numpy().data)
    content.update(cut.numpy().data)
    key = (content.digest(), tuple(weight.shape), kind, reuse_factor)
    found = _KNOWN.get(key)  # looked up once: another thread may empty it at any time
    if found is None:
        if len(_KNOWN) >= _MOST_KNOWN:
            _KNOWN.clear()
        found = _KNOWN[key] = _counted(weight, cut, kind, reuse_factor)
    return found


def _counted(weight: torch.Tensor, limit: torch.Tensor, kind: Quantiser | None, reuse_factor: int) -> KernelCounts:
    quantiser = HLS4ML_DEFAULT if kind is None else kind
    whole = (quantised(weight, quantiser, limit) * 2.0**quantiser.fraction).round().long().numpy()
    width = quantiser.width if isinstance(quantiser, FixedPoint) else math.ceil(float(np.max(quantiser.bits)))
    return count(whole.reshape(len(weight), -1), width, reuse_factor=reuse_factor)


def count(weight: Integers, weight_width: int, *, reuse_factor: int = 1) -> KernelCounts:
    """Return the counts of whole-number weights (n_out, fan_in) of that width."""
    terms = digits.count(weight)
    fan_ins, sums = (weight != 0).sum(axis=1), np.abs(weight).sum(axis=1)
    tree = np.maximum(terms.sum(axis=1) - 1, 0)
    # products by the bits of their weight, a negative one's sign among them; easy ones have none
    magnitude = np.where(weight < 0, -weight - 1, weight)
    bits = np.frexp(magnitude.astype(np.float64))[1].astype(np.int64) + (weight < 0)
    place, first = np.where(terms >= DSP_DIGITS, bits, 0).ravel(), _distinct(weight)
    columns = (weight != 0, terms, first, first * (terms - 1))
    products = (np.bincount(place, weights=column.ravel()).astype(int).tolist() for column in columns)
    easy, *hard = (Products(*row) for row in zip(*products, strict=True))
    each = min(reuse_factor, weight.size)
    rows = np.zeros(math.ceil(weight.size / each) * each, dtype=bool)
    rows[: weight.size] = weight.ravel() != 0
    return KernelCounts(
        n_out=len(weight),
        n_sums=int((fan_ins > 0).sum()),
        fan_in=weight.shape[1],
        n_zeros=int((weight == 0).sum()),
        easy=easy,
        hard=(Products(), *hard),
        n_inputs_read=int(weight.any(axis=0).sum()),
        largest_fan_in=int(fan_ins.max(initial=0)),
        most_digits=int(terms.max(initial=0)),
        most_terms=int(terms.sum(axis=1).max(initial=0)),
        tree_additions=int(tree.sum()),
        tree_growth=float(tree @ np.log2(np.maximum(sums, 1))),
        largest_sum=int(sums.max(initial=0)),
        weight_width=weight_width,
        reuse_factor=reuse_factor,
        rows=int(rows.reshape(-1, each).any(axis=1).sum()),
    )


def _distinct(weight: Integers) -> NDArray[np.bool_]:
    """Return which weights are not zero and the first of their value on their input."""
    order = np.argsort(weight, axis=0, kind="stable")
    ordered = np.take_along_axis(weight, order, axis=0)
    first = np.ones(weight.shape, dtype=bool)
    first[1:] = ordered[1:] != ordered[:-1]
    distinct: NDArray[np.bool_] = np.empty_like(first)
    np.put_along_axis(distinct, order, first, axis=0)
    distinct &= weight != 0
    return distinct
