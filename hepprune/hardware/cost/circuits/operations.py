"""The operations of an adder graph on whole arrays of wires: what comes out, and what it costs in LUT.

The costs are da4ml's: an addition the bits of its operands above the coarser one's last place, a constant its own bits,
a choice the bits it chooses between, a product the bits of one operand times those of the other. What is always the
same costs nothing.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from hepprune.fixed import FixedPoint, digits
from hepprune.hardware.cost.circuits.wires import (
    FINEST,
    Bools,
    Floats,
    Wires,
    constant_bits,
    constants,
    last_place,
    together,
    where,
)


@dataclass
class Bill:
    """The LUT that operations have cost so far."""

    lut: float = 0.0

    def add(self, costs: Floats, which: Bools) -> None:
        """Charge the costs of some of the values."""
        self.lut += float(np.where(which, costs, 0.0).sum())


CircuitOperation = Callable[[Bill, Wires, Wires], Wires]


def _later(a: Wires, b: Wires, levels: Floats | float) -> tuple[Floats, Floats]:
    """Return the level, rounded and not, so many levels after both are there."""
    level = np.maximum(a.level, b.level) + levels
    smooth = np.logaddexp2(a.smooth, b.smooth) + levels - 1
    return level, smooth


def plus(bill: Bill, a: Wires, values: Floats) -> Wires:
    """Return the sum with constants, one that was just added before taken along."""
    changes = values != 0
    if not changes.any():
        return a
    added = a.added + values
    bill.add(constant_bits(added) - constant_bits(a.added), a.moving & changes)
    low, high = a.low + values, a.high + values
    fraction = np.where(a.moving, np.maximum(a.fraction, last_place(values)), last_place(low))
    return where(changes, a.replaced(low=low, high=high, fraction=fraction, added=added), a)


def add(bill: Bill, a: Wires, b: Wires) -> Wires:
    """Return the sums."""
    both, fraction = a.moving & b.moving, np.maximum(a.fraction, b.fraction)
    bill.add(together(a, b), both)
    summed = Wires.of(a.low + b.low, a.high + b.high, fraction, *_later(a, b, 1.0), a.negated * b.negated)
    if both.all():
        return summed
    base, rest = where(a.moving, a, b), np.where(a.moving, b.low, a.low)
    return where(both, summed, plus(bill, base, np.where(both, 0.0, rest)))


def negative(a: Wires) -> Wires:
    """Return the negatives, which cost nothing."""
    return a.replaced(low=-a.high, high=-a.low, added=-a.added)


def subtract(bill: Bill, a: Wires, b: Wires) -> Wires:
    """Return the differences."""
    return add(bill, a, negative(b))


def choose(bill: Bill, key: Wires, a: Wires, b: Wires) -> Wires:
    """Return one of two by the sign of a third."""
    decided = ~key.moving
    bill.add(together(a, b), ~decided)
    ends = np.minimum(a.low, b.low), np.maximum(a.high, b.high), np.maximum(a.fraction, b.fraction)
    level = np.maximum(np.maximum(a.level, b.level), key.level) + 1
    smooth = np.logaddexp2(np.logaddexp2(a.smooth, b.smooth), key.smooth)
    return where(decided, where(key.high < 0, a, b), Wires.of(*ends, level, smooth, a.negated))


def largest(bill: Bill, a: Wires, b: Wires) -> Wires:
    """Return the larger ones."""
    ends = np.maximum(a.low, b.low), np.maximum(a.high, b.high)
    return _extreme(bill, a, b, (a.low >= b.high, a.high <= b.low), ends)


def smallest(bill: Bill, a: Wires, b: Wires) -> Wires:
    """Return the smaller ones."""
    ends = np.minimum(a.low, b.low), np.minimum(a.high, b.high)
    return _extreme(bill, a, b, (a.high <= b.low, a.low >= b.high), ends)


def _extreme(bill: Bill, a: Wires, b: Wires, clear: tuple[Bools, Bools], ends: tuple[Floats, Floats]) -> Wires:
    """Return one of two by the sign of their difference, where it is not `clear` which; with zero it is a ReLU."""
    first, second = clear
    zero, both = (b.low == 0) & (b.high == 0) & ~(first | second), a.moving & b.moving
    compared = ~(first | second | zero)
    rest = np.where(a.moving, b.low, a.low)
    bill.add(np.where(both, together(a, negative(b)), constant_bits(a.added * a.moving - rest)), compared)
    bill.add(-constant_bits(a.added), compared & ~both)
    bill.add(together(a, b), compared)
    fraction = np.maximum(a.fraction, b.fraction)
    chosen = Wires.of(*ends, fraction, *_later(a, b, np.where(both, 2.0, 1.0)), b.negated)
    positive = Wires.of(*ends, fraction, a.level, a.smooth)
    bill.add(positive.width / 2 * (1 + a.negated), zero)
    return where(first, a, where(second, b, where(zero, positive, chosen)))


def product(bill: Bill, a: Wires, b: Wires) -> Wires:
    """Return the products."""
    both = a.moving & b.moving
    bill.add(np.minimum(together(a, a) * b.width, together(b, b) * a.width), both)
    corners = np.stack([x * y for x in (a.low, a.high) for y in (b.low, b.high)])
    turned = a.negated * (1 - b.negated) + b.negated * (1 - a.negated)
    levels = _later(a, b, np.maximum(a.width, b.width))
    made = Wires.of(corners.min(axis=0), corners.max(axis=0), a.fraction + b.fraction, *levels, turned)
    if both.all():
        return made
    base, rest = where(a.moving, a, b), np.where(a.moving, b.low, a.low)
    return where(both, made, times(bill, where(both, constants(np.zeros(a.shape)), base), rest))


def times(bill: Bill, a: Wires, values: Floats, *, balanced: bool = False) -> Wires:
    """Return products with constants: one addition for each signed digit but the first, one after the other."""
    whole = np.rint(values * 2.0**FINEST).astype(np.int64)
    more = np.maximum(digits.count(whole) - 1, 0)
    bill.add(more * a.width, a.moving)
    levels = np.ceil(np.log2(more + 1.0)) if balanced else more
    ends = a.low * values, a.high * values
    low, high = np.minimum(*ends), np.maximum(*ends)
    fraction = np.where(low < high, a.fraction + last_place(values), last_place(low))
    moved = Wires.of(low, high, fraction, a.level + levels, a.smooth + levels, a.negated, np.where(more, 0.0, a.added))
    return where(low < high, moved, constants(low))


def relu(bill: Bill, a: Wires) -> Wires:
    """Return the positive parts."""
    changes = a.low < 0
    high = np.maximum(a.high, 0)
    made = a.replaced(low=np.maximum(a.low, 0), high=high, negated=0.0, added=0.0)
    bill.add(made.width / 2 * (1 + a.negated), changes & (high > 0))
    return where(changes, where(high > 0, made, constants(np.zeros(a.shape))), a)


def rounded(bill: Bill, a: Wires, kind: FixedPoint) -> Wires:
    """Return values without bits below a type, after what its rounding adds."""
    drops, step = a.moving & (a.fraction > kind.fraction), 2.0**-kind.fraction
    fixed: Floats = kind(a.low)
    if not drops.any():
        return where(a.moving, a, constants(fixed))
    halves = np.full(a.shape, 0.0 if kind.rounding.startswith("TRN") else step / 2)
    if kind.rounding in {"RND_MIN_INF", "RND_ZERO", "RND_CONV"}:
        halves = halves - 2.0**-a.fraction
    turned = {"RND_INF", "RND_ZERO", "TRN_ZERO"} & {kind.rounding}
    extra = drops & ((a.low < 0) if turned else np.full(a.shape, kind.rounding == "RND_CONV"))
    bill.add(a.width, extra)  # the sign, or the last bit that is kept, is added
    before = plus(bill, a, np.where(drops, halves, 0.0)).replaced(level=a.level + extra, smooth=a.smooth + extra)
    low, high = np.floor(before.low / step) * step, np.floor(before.high / step) * step
    made = before.replaced(low=low, high=high, fraction=kind.fraction, negated=0.0, added=0.0)
    bill.add(made.width / 2 * a.negated, drops & made.moving)
    made = where(made.moving, made, constants(low))
    return where(drops, made, where(a.moving, a, constants(fixed)))


def quantise(bill: Bill, a: Wires, kind: FixedPoint) -> Wires:
    """Return values in a type, rounded and overflown as it says."""
    value = rounded(bill, a, kind)
    outside = value.moving & ((value.low < kind.minimum) | (value.high > kind.maximum))
    if not outside.any():
        return value
    if kind.overflow == "WRAP":
        # the sign is added once more where an unsigned type is so wide that it would not reach its top
        whole = value.width - value.fraction - 1
        short = outside & (value.low < 0) & (not kind.signed) & (kind.integer > whole + 1)
        bill.add(np.full(value.shape, 2.0), short)
        value = value.replaced(level=value.level + short, smooth=value.smooth + short)
        held = value.replaced(low=kind.minimum, high=kind.maximum, negated=0.0, added=0.0)
        bill.add(held.width / 2 * value.negated, outside)
        return where(outside, held, value)
    ends = (np.full(value.shape, end) for end in (kind.minimum, kind.maximum))
    low, high = map(constants, ends)
    clipped = smallest(bill, largest(bill, where(outside, value, low), low), high)
    return where(outside, where(clipped.moving, clipped.replaced(fraction=kind.fraction), clipped), value)


def relu_in(bill: Bill, a: Wires, kind: FixedPoint | None) -> Wires:
    """Return the positive parts in a type; what saturates looks only at the bits beyond it."""
    if kind is None:
        return relu(bill, a)
    value, kept = rounded(bill, a, kind), kind.integer - kind.signed
    inside = kept > -value.fraction
    if kind.overflow == "WRAP":
        wraps = inside & (not kind.signed) & value.moving & (value.high > kind.maximum)
        last = 2.0**kept - 2.0**-value.fraction
        held = value.replaced(low=0.0, high=last, negated=0.0, added=0.0)
        bill.add(held.width / 2 * (1 + value.negated), wraps)
        return where(wraps, held, quantise(bill, relu(bill, where(wraps, held, value)), kind))
    positive = relu(bill, value)
    beyond = positive.moving & (positive.high > kind.maximum) & inside & (positive.low < 2.0**kept)
    fraction = np.minimum(positive.fraction, kind.fraction)
    low = Wires.of(np.zeros(a.shape), 2.0**kept - 2.0**-fraction, fraction)
    top = constants(np.full(a.shape, float(kind.maximum)))
    bill.add(1 + together(low, top), beyond)
    held = Wires.of(np.zeros(a.shape), top.high, kind.fraction, positive.level + 1, positive.smooth + 1)
    return where(beyond, held, quantise(bill, where(beyond, low, positive), kind))


def reduced(bill: Bill, operation: CircuitOperation, values: Wires) -> Wires:
    """Return what an operation that may be done in any order makes of the last axis, those that come first first."""
    while values.shape[-1] > 1:
        order = np.argsort(values.level, axis=-1, kind="stable")
        values = Wires(np.take_along_axis(values.planes, order[None], axis=-1))
        pairs = values.shape[-1] // 2
        made = operation(bill, values[..., 0 : 2 * pairs : 2], values[..., 1 : 2 * pairs : 2])
        values = Wires(np.concatenate([made.planes, values.planes[..., 2 * pairs :]], axis=-1))
    return values[..., 0]


def total(bill: Bill, values: Wires) -> Wires:
    """Return the sums over the last axis, what is always the same added last as one."""
    rest = np.where(values.moving, 0.0, values.low).sum(axis=-1)
    still = constants(np.zeros(values.shape))
    return plus(bill, reduced(bill, add, where(values.moving, values, still)), rest)


def mean(bill: Bill, values: Wires, kind: FixedPoint | None) -> Wires:
    """Return the means over the last axis of what is present, so finely that they become the same in a type."""
    counts = values.present.sum(axis=-1)
    whole = total(bill, values)
    found = whole
    for count in np.unique(counts).tolist():
        here = np.broadcast_to(counts == count, whole.shape)
        part = where(here, whole, constants(np.zeros(whole.shape)))
        if count & (count - 1) == 0 or kind is None:
            divided = times(bill, part, np.full(part.shape, 1.0 / count))
        else:
            bits = int(np.ceil(np.log2(count)))
            grid = max(int(part.fraction.max()), kind.fraction + 1) + bits
            reach = max(float(np.abs([part.low.min(), part.high.max()]).max()), 2.0**-grid)
            places = min(grid + 1 + int(np.ceil(np.log2(reach))), FINEST)
            near = times(bill, part, np.full(part.shape, round(2.0**places / count) * 2.0**-places))
            divided = rounded(bill, near, FixedPoint(52, 52 - grid, rounding="RND"))
        found = where(here, divided, found)
    return found
