"""Ranking priced as a part of an adder graph: the place of the largest value, and the k largest."""

import itertools

import numpy as np

from hepprune.hardware.cost.circuits import operations
from hepprune.hardware.cost.circuits.operations import Bill
from hepprune.hardware.cost.circuits.rules import CIRCUITS, only
from hepprune.hardware.cost.circuits.wires import Bools, Wires, constants, joined, where
from hepprune.network import Argmax
from hepprune.network.layers import TopK


@CIRCUITS.of(Argmax)
def _argmax(bill: Bill, alive: Bools, layer: Argmax, arriving: Wires) -> Wires:
    values = only(alive, arriving).reshaped(-1, arriving.shape[-1])
    places = constants(np.broadcast_to(np.arange(float(values.shape[-1])), values.shape))
    while values.shape[-1] > 1:
        even = values.shape[-1] // 2 * 2
        (ours, theirs), (here, there) = ((w[:, 0:even:2], w[:, 1:even:2]) for w in (values, places))
        key = operations.subtract(bill, ours, theirs)
        chosen = operations.choose(bill, key, there, here)
        values, places = (
            joined([made, rest[:, even:]], axis=-1)
            for made, rest in ((operations.largest(bill, ours, theirs), values), (chosen, places))
        )
    return places.reshaped(*layer.shape(arriving.shape))


@CIRCUITS.of(TopK)
def _top(bill: Bill, alive: Bools, layer: TopK, arriving: Wires) -> Wires:
    """Return the channels, each of which counts how many are ahead of it."""
    values = arriving.reshaped(-1, arriving.shape[-1])
    ahead: list[list[Wires]] = [[] for _ in range(values.shape[-1])]
    for first, second in itertools.combinations(range(values.shape[-1]), 2):
        # one where the value is negative, zero where it is not
        value = operations.subtract(bill, values[:, first], values[:, second])
        bill.add(value.negated / 2, value.moving)
        bit = Wires.of(np.zeros(value.shape), np.ones(value.shape), 0, value.level, value.smooth)
        loses = where((value.low < 0) & (value.high >= 0), bit, constants((value.high < 0).astype(np.float64)))
        ahead[first].append(loses)
        ahead[second].append(operations.plus(bill, operations.negative(loses), np.ones(loses.shape)))
    found = []
    for place, losing in enumerate(ahead):
        value = values[:, place]
        zero = constants(np.zeros(value.shape))
        together = Wires(np.stack([each.planes for each in (*losing, zero)], axis=-1))
        key = operations.plus(bill, operations.total(bill, together), np.full(value.shape, -float(layer.k)))
        found.append(operations.choose(bill, key, value, zero).planes)
    return only(alive, Wires(np.stack(found, axis=-1)).reshaped(*arriving.shape))
