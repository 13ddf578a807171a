"""The weights and biases of dense layers as they act, quantised once a step: all of them in one vector."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from hepprune.fixed import MANTISSA, ROUNDING, FixedPoint
from hepprune.network import Dense, quantise
from hepprune.network.quantise import TABLED


@dataclass(frozen=True)
class ActingArray:
    """One array of a layer: its type, None in float, and the signed digits that each of its weights may have."""

    values: Tensor
    kind: FixedPoint | None
    digit_limit: Tensor | None

    @property
    def ends(self) -> tuple[Tensor, Tensor]:
        """The ends between which each value gets a gradient: a bias in its range, a pruned weight nowhere."""
        ends = [torch.full_like(self.values, sign * torch.inf) for sign in (-1, 1)]
        if self.digit_limit is not None:
            ends[0][self.digit_limit == 0] = torch.inf
        elif self.kind is not None:
            ends = [torch.full_like(self.values, end) for end in (self.kind.minimum, self.kind.maximum)]
        return ends[0].flatten(), ends[1].flatten()


@dataclass(frozen=True)
class Limited:
    """The weights that may not take every value of their type: their places, and each one's part of a table."""

    places: Tensor
    starts: Tensor
    table: Tensor

    def __call__(self, integers: Tensor) -> None:
        """Write over the whole numbers of limited weights those next to them that their digits allow."""
        rows = integers.index_select(0, self.places).add_(self.starts)
        integers.index_copy_(0, self.places, self.table.index_select(0, rows.long()))


@dataclass(frozen=True, kw_only=True)
class Fixed:
    """Arrays in fixed point: units of their last places (and one over it), ends of their ranges in these."""

    unit: Tensor
    inverse: Tensor
    low: Tensor
    high: Tensor
    rounding: str
    limited: Limited | None

    @classmethod
    def of(cls, parts: Sequence[ActingArray]) -> "Fixed | None":
        """Return arrays that are all in fixed point.

        None where one rounding and one clamp do not serve all types, and a table each the digit limits.
        """
        kinds = [part.kind for part in parts if part.kind is not None]
        narrow = all(part.kind.width <= TABLED for part in parts if part.kind and part.digit_limit is not None)
        clamped = all(kind.overflow != "WRAP" and kind.width <= MANTISSA for kind in kinds)
        if not (narrow and clamped and len({kind.rounding for kind in kinds}) == 1):
            return None
        numbers = [(kind.step, 2.0**kind.fraction, *kind.integer_range) for kind in kinds]
        unit, inverse, low, high = (
            torch.cat([torch.full_like(each.values, n).flatten() for n, each in zip(column, parts, strict=True)])
            for column in zip(*numbers, strict=True)
        )
        rounding, limited = kinds[0].rounding, _limited(parts)
        return cls(unit=unit, inverse=inverse, low=low, high=high, rounding=rounding, limited=limited)

    def __call__(self, values: Tensor) -> Tensor:
        """Return values as they act."""
        integers: Tensor = torch.clamp(ROUNDING[self.rounding](values * self.inverse), self.low, self.high)
        if self.limited is not None:
            self.limited(integers)
        return integers.mul_(self.unit)


@dataclass(frozen=True)
class Acting:
    """Arrays of one vector as they act, in float or fixed point, and which of them get a gradient."""

    parts: Sequence[ActingArray]
    low: Tensor
    high: Tensor
    fixed: Fixed | None

    @classmethod
    def of(cls, layers: Sequence[Dense], *, quantised: bool) -> "Acting | None":
        """Return the arrays of layers, weight and bias after each other; None where types are not all of one make."""
        parts: list[ActingArray] = []
        for layer in layers:
            types = (layer.weight_type, layer.bias_type) if quantised else (None, None)
            parts.append(ActingArray(layer.weight, types[0], layer.digit_limit))  # type: ignore[arg-type]
            parts.append(ActingArray(layer.bias, types[1], None))  # type: ignore[arg-type]
        low, high = (torch.cat(ends) for ends in zip(*(part.ends for part in parts), strict=True))
        kinds = {type(part.kind) for part in parts}
        if kinds == {type(None)}:
            return cls(parts, low, high, None)
        fixed = Fixed.of(parts) if kinds == {FixedPoint} else None
        return None if fixed is None else cls(parts, low, high, fixed)

    def used(self, values: Tensor) -> list[Tensor]:
        """Return the arrays as they act, weight and bias of each layer after each other."""
        acting = values * (self.low < torch.inf) if self.fixed is None else self.fixed(values)
        found = torch.split(acting, [part.values.numel() for part in self.parts])
        return [each.view(part.values.shape) for each, part in zip(found, self.parts, strict=True)]


def _limited(parts: Sequence[ActingArray]) -> Limited | None:
    """Return the weights whose digit limit binds on some value of their type."""
    places, starts, tables, first, size = [], [], [], 0, 0
    for part in parts:
        if part.kind is not None and part.digit_limit is not None:
            table = quantise.limited(part.kind).to(part.values)
            limit = part.digit_limit.flatten().long()
            binding = (limit < len(table) - 1).nonzero().flatten()
            places.append(binding + first)
            starts.append(limit[binding] * table.shape[1] - part.kind.integer_range[0] + size)
            tables.append(table.flatten())
            size += table.numel()
        first += part.values.numel()
    where = torch.cat(places)
    return Limited(where, torch.cat(starts).to(tables[0]), torch.cat(tables)) if len(where) else None
