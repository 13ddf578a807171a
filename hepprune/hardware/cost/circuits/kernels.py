"""What constant matrices cost at each of their places: one price for every place with the same ranges."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from hepprune.errors import NetworkError
from hepprune.fixed import FixedPoint, Quantiser, digits
from hepprune.fixed.quantisers import FixedPoints, Minifloat
from hepprune.hardware.cost import distributed_arithmetic as graphs
from hepprune.hardware.cost.circuits.operations import Bill
from hepprune.hardware.cost.circuits.wires import Bools, Floats, Wires, constant_bits, last_place
from hepprune.network.layers import Kernel
from hepprune.network.quantise import weight_integers, weights

Integers = NDArray[np.int64]


@dataclass(frozen=True)
class FixedMatrix:
    """Whole-number weights (n_rows, terms), and the bits right of their point."""

    weight: Integers
    fraction: int


def integers(kernel: Kernel) -> FixedMatrix:
    """Return the weights that act.

    Raises:
        NetworkError: they have no fixed-point type.
    """
    values = kernel.weight.detach().cpu().double()
    if isinstance(kernel.type, FixedPoints | Minifloat):
        # whole numbers of the last place that the finest of them needs
        found = weights(values, kernel.type, kernel.digit_limit.cpu()).numpy()
        fraction = int(last_place(found).max(initial=0))
        whole = np.rint(np.ldexp(found, fraction)).astype(np.int64)
    else:
        fraction = kernel.fixed_type.fraction
        whole = weight_integers(values, kernel.fixed_type, kernel.digit_limit.cpu()).numpy().astype(np.int64)
    return FixedMatrix(whole.reshape(len(whole), -1), fraction)


def rounded_biases(name: str, bias: torch.Tensor, kind: Quantiser | None) -> Floats:
    """Return biases in their type.

    Raises:
        NetworkError: they have none.
    """
    if not isinstance(kind, FixedPoint | FixedPoints | Minifloat):
        raise NetworkError(f"layer '{name}' has no fixed-point type for its biases")
    found: Floats = kind(bias.detach().cpu().double().numpy())
    return found


def applied(bill: Bill, matrix: FixedMatrix, bias: Floats, arriving: Wires, *, alive: Bools | None = None) -> Wires:
    """Return a matrix times wires (n_places, terms) plus biases, (n_places, n_rows).

    Rows that are not `alive` at a place (n_places, n_rows) are left out there, and zero.
    """
    acts = np.ones((arriving.shape[0], len(bias)), bool) if alive is None else alive
    places: dict[bytes, list[int]] = {}
    ranges = np.ascontiguousarray(arriving.planes[:3].transpose(1, 0, 2))
    for place, (own, rows) in enumerate(zip(ranges, acts, strict=True)):
        places.setdefault(own.tobytes() + rows.tobytes(), []).append(place)
    found = np.empty((len(arriving.planes), *acts.shape))
    for alike in places.values():
        rows = acts[alike[0]]
        kept = FixedMatrix(matrix.weight * rows[:, None], matrix.fraction)
        found[:, alike] = _at(bill, kept, bias * rows, arriving[np.array(alike)]).planes
    return Wires(found)


def _at(bill: Bill, matrix: FixedMatrix, bias: Floats, arriving: Wires) -> Wires:
    """Return the same at places whose ranges are the same, and charge each of them."""
    weight, weight_fraction = matrix.weight, matrix.fraction
    one = arriving[0]
    acting = weight * one.moving
    terms = digits.count(acting)
    late = np.where((arriving.level * acting.any(axis=0)).any(axis=1), graphs.LATE, 1.0).sum()
    span = (one.high - one.low) * 2.0**one.fraction
    # the range as da4ml knows it, which takes each signed digit of a weight for a value of its own
    size, turned = np.abs(weight), weight < 0
    digits_up, digits_down = (3 * size & ~size) >> 1, (size & ~(3 * size)) >> 1
    positive, negative = np.where(turned, digits_down, digits_up), np.where(turned, digits_up, digits_down)
    ends = positive @ one.low - negative @ one.high, positive @ one.high - negative @ one.low
    low, high = (np.ldexp(end, -weight_fraction) + bias for end in ends)
    moving = acting.any(axis=1)
    still = weight @ np.where(one.moving, 0.0, one.low) * 2.0**-weight_fraction + bias
    bill.lut += float(late) * graphs.additions_of(acting, terms, span)
    bill.lut += len(arriving.planes[0]) * float(constant_bits(still)[moving].sum())
    zeros = np.log2(np.maximum(acting & -acting, 1))
    finest: Floats = np.where(acting, weight_fraction - zeros + one.fraction, -np.inf).max(axis=1, initial=-64)
    fraction = np.where(moving, np.maximum(finest, last_place(still)), last_place(low))
    negated = graphs.NEGATED ** terms.sum(axis=1)
    level, smooth = (graphs.arrivals(terms, 2.0**each @ terms.T) for each in (arriving.level, arriving.smooth))
    level = np.ceil(level)
    return Wires.of(low, high, fraction, level * moving, smooth * moving, negated, np.where(moving, still, 0.0))
