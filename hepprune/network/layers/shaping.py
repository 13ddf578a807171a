"""Layers that only move values: reshape, permute, pad, crop, repeat, join and slice."""

import math

import torch
from torch import Tensor, nn

from hepprune.errors import NetworkError, refused
from hepprune.fixed import Quantiser
from hepprune.network.layers.base import Layer, Shape, check_size, checked_axis, layer

Pairs = tuple[tuple[int, int], ...]


@layer
class Reshape(Layer):
    """The same values in row-major order under another shape; a flatten is a reshape to one axis."""

    takes = ("target",)

    def __init__(self, name: str, target: Shape, result: Quantiser | None = None) -> None:
        super().__init__(name, result)
        self.target = tuple(target)
        if list(self.target).count(-1) > 1:
            raise NetworkError(f"layer '{name}': only one axis of {self.target} can be left open with -1")

    def compute(self, arriving: Tensor, *, quantised: bool) -> Tensor:
        """Return the values under the shape."""
        return arriving.reshape(len(arriving), *self.target)

    def shape(self, *arriving: Shape) -> Shape:
        """Return the shape, its open axis worked out."""
        before = self.only(arriving)
        known = math.prod(size for size in self.target if size != -1)
        after = tuple(math.prod(before) // max(known, 1) if size == -1 else size for size in self.target)
        if math.prod(after) != math.prod(before):
            raise refused(self.name, f"cannot bring {before} into the shape {self.target}")
        return check_size(self.name, after)


@layer
class Permute(Layer):
    """The axes in another order; `order` counts from 0, the jets' axis left out."""

    takes = ("order",)

    def __init__(self, name: str, order: tuple[int, ...], result: Quantiser | None = None) -> None:
        super().__init__(name, result)
        self.order = tuple(order)
        if sorted(self.order) != list(range(len(self.order))):
            raise NetworkError(f"layer '{name}': {self.order} is not an order of axes")

    def compute(self, arriving: Tensor, *, quantised: bool) -> Tensor:
        """Return the values with their axes in order."""
        return arriving.permute(0, *(axis + 1 for axis in self.order))

    def shape(self, *arriving: Shape) -> Shape:
        """Return the sizes in order."""
        before = self.only(arriving, rank=len(self.order), does=f"orders {len(self.order)} axes")
        return tuple(before[axis] for axis in self.order)


class _Borders(Layer):
    """(before, after) for each axis of positions; the channels stay as they are."""

    takes = ("borders",)

    def __init__(self, name: str, borders: Pairs, result: Quantiser | None = None) -> None:
        super().__init__(name, result)
        self.borders = tuple((int(low), int(high)) for low, high in borders)
        if any(size < 0 for pair in self.borders for size in pair):
            raise refused(name, f"has a negative border in {self.borders}")

    def _sizes(self, arriving: tuple[Shape, ...], sign: int) -> Shape:
        before = self.only(arriving, rank=len(self.borders) + 1, does=f"has {len(self.borders)} borders")
        sizes = (size + sign * sum(pair) for size, pair in zip(before[:-1], self.borders, strict=True))
        return check_size(self.name, (*sizes, before[-1]))


@layer
class Pad(_Borders):
    """Zeros around the positions."""

    def compute(self, arriving: Tensor, *, quantised: bool) -> Tensor:
        """Return the values with zeros around them."""
        return nn.functional.pad(arriving, [0, 0, *(p for pair in reversed(self.borders) for p in pair)])

    def shape(self, *arriving: Shape) -> Shape:
        """Return the shape with its borders."""
        return self._sizes(arriving, 1)


@layer
class Crop(_Borders):
    """The positions without their borders."""

    def compute(self, arriving: Tensor, *, quantised: bool) -> Tensor:
        """Return the values inside."""
        sizes = arriving.shape[1:-1]
        inner = (slice(low, n - high) for (low, high), n in zip(self.borders, sizes, strict=True))
        return arriving[(slice(None), *inner)]

    def shape(self, *arriving: Shape) -> Shape:
        """Return the shape without its borders."""
        return self._sizes(arriving, -1)


@layer
class UpSample(Layer):
    """Every position repeated `factors` times along each axis (nearest neighbour)."""

    takes = ("factors",)

    def __init__(self, name: str, factors: tuple[int, ...], result: Quantiser | None = None) -> None:
        super().__init__(name, result)
        self.factors = tuple(factors)

    def compute(self, repeated: Tensor, *, quantised: bool) -> Tensor:
        """Return the repeated values."""
        for axis, factor in enumerate(self.factors, start=1):
            repeated = torch.repeat_interleave(repeated, factor, dim=axis)
        return repeated

    def shape(self, *arriving: Shape) -> Shape:
        """Return the shape with each axis of positions multiplied."""
        before = self.only(arriving, rank=len(self.factors) + 1, does=f"has factors {self.factors}")
        sizes = (size * factor for size, factor in zip(before[:-1], self.factors, strict=True))
        return check_size(self.name, (*sizes, before[-1]))


@layer
class Concatenate(Layer):
    """Values of several layers one after the other along an axis, which counts the jets' axis as 0 or from the end."""

    takes = ("axis",)

    def __init__(self, name: str, axis: int = -1, result: Quantiser | None = None) -> None:
        super().__init__(name, result)
        if axis == 0:
            raise refused(name, "would concatenate along the axis of jets")
        self.axis = axis

    def compute(self, *values: Tensor, quantised: bool) -> Tensor:
        """Return the joined values."""
        return torch.cat(values, dim=self.axis)

    def shape(self, *arriving: Shape) -> Shape:
        """Return the joined shape."""
        rank = len(arriving[0]) if arriving else 0
        axis = checked_axis(self.name, self.axis - 1 if self.axis > 0 else self.axis, rank)
        rest = {(*shape[:axis], *shape[axis + 1 :]) for shape in arriving}
        if len(rest) != 1 or {len(shape) for shape in arriving} != {rank}:
            raise refused(self.name, f"cannot join the shapes {arriving} along axis {self.axis}")
        joined = sum(shape[axis] for shape in arriving)
        return check_size(self.name, (*arriving[0][:axis], joined, *arriving[0][axis + 1 :]))


@layer
class Slice(Layer):
    """The values from `start` up to `stop` along an axis; a split is one slice for each of its parts."""

    takes = ("start", "stop", "axis", "step")

    def __init__(
        self, name: str, start: int, stop: int, *, axis: int = -1, step: int = 1, result: Quantiser | None = None
    ) -> None:
        super().__init__(name, result)
        if axis == 0 or not 0 <= start < stop or step < 1:
            raise refused(name, f"cannot take {start}:{stop}:{step} along axis {axis}")
        self.start, self.stop, self.axis, self.step = start, stop, axis, step

    def compute(self, arriving: Tensor, *, quantised: bool) -> Tensor:
        """Return the part."""
        axis = self.axis % arriving.ndim
        return arriving[(*(slice(None),) * axis, slice(self.start, self.stop, self.step))]

    def shape(self, *arriving: Shape) -> Shape:
        """Return the shape of the part."""
        before = self.only(arriving)
        axis = checked_axis(self.name, self.axis - 1 if self.axis > 0 else self.axis, len(before))
        if self.stop > before[axis]:
            raise refused(self.name, f"takes values up to {self.stop} of {before[axis]}")
        return (*before[:axis], len(range(self.start, self.stop, self.step)), *before[axis + 1 :])


MOVING = (Reshape, Permute, Pad, Crop, UpSample, Concatenate, Slice)
