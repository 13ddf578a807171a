"""Where torch's values lie in the network: an index per value instead of a layout per operator.

Reshapes, permutations and the like run on the index alone, whatever they do to the axes (the jets' among them). Only
where a layer needs its values in a certain order are they put into it, with as few layers as that takes.
"""

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from hepprune.fixed import Quantiser
from hepprune.fixed.quantisers import FixedPoints

Axes = tuple[int, ...]
_MAX_AXES = 7  # whose orders are tried one by one


@dataclass(frozen=True, eq=False, kw_only=True)
class Constant:
    """A tensor of the model; `origin` is its name there, `axes` the order of its axes that gives torch's own.

    A `fixed` one depends on no parameter: buffers, and numbers in the code. One with a `type` is a weight of it, its
    values already on its grid. One with `rows` is these of the model's tensor.
    """

    tensor: Tensor
    origin: str | None = None
    axes: Axes | None = None
    mask: str | None = None
    kept: Tensor | None = None
    fixed: bool = False
    type: FixedPoints | None = None
    rows: "Rows | None" = None

    @property
    def key(self) -> tuple[str | int | Axes | None, ...]:
        """What tells it from others: its name in the model, its mask, the order of its axes and its rows there."""
        rows = () if self.rows is None else (int(self.rows.numbers[0]), len(self.rows.numbers))
        return self.origin, self.mask, self.axes, *rows

    def native(self, values: Tensor) -> Tensor:
        """Return values shaped as `tensor` in the order of axes that the model stores."""
        return values if self.axes is None else values.permute(self.axes)

    def typed(self, arranged: Callable[[Tensor], Tensor]) -> Quantiser | None:
        """Return the type of the values once `arranged`, one for all of them where they share it."""
        if self.type is None:
            return None
        return rearranged(self.type, lambda array: arranged(array.expand(self.tensor.shape)))


@dataclass(frozen=True, eq=False)
class Rows:
    """Rows of a tensor of the model, of which the others are other layers'."""

    numbers: Tensor
    whole: Tensor


@dataclass(frozen=True, eq=False)
class Value:
    """A value of torch: `index` has its shape and says where each number lies in (n_jets, *shape) of `layer`."""

    layer: str
    index: Tensor
    moved_by: str = ""

    @property
    def shape(self) -> tuple[int, ...]:
        """Torch's shape, the jets' axis included wherever it is."""
        return tuple(self.index.shape)

    def moved(self, index: Tensor, by: str = "") -> "Value":
        """Return the same numbers in another order or shape."""
        return replace(self, index=index, moved_by=by or self.moved_by)


def rearranged(kind: FixedPoints, arranged: Callable[[Tensor], Tensor]) -> Quantiser:
    """Return types in another layout, one for all values where they share it."""
    arrays = [torch.as_tensor(np.array(array)) for array in (kind.width, kind.integer, kind.signed)]
    width, integer, signed = (arranged(array).contiguous().numpy() for array in arrays)
    return replace(kind, width=width, integer=integer, signed=signed).shared


def in_order(index: Tensor) -> bool:
    """Return whether the values lie one after the other."""
    return torch.equal(index.reshape(-1), torch.arange(index.numel()))


def axes_of(index: Tensor, shape: tuple[int, ...]) -> Axes | None:
    """Return the order of torch's axes in which the layer's value of `shape` has them; None if it has others."""
    if index.ndim != len(shape) or index.ndim > _MAX_AXES:
        return None
    for axes in itertools.permutations(range(index.ndim)):
        if all(index.shape[a] == n for a, n in zip(axes, shape, strict=True)) and in_order(index.permute(axes)):
            return axes
    return None


def inverse(axes: Axes) -> Axes:
    """Return the order of axes that undoes another."""
    return tuple(axes.index(axis) for axis in range(len(axes)))


def jets_axis(index: Tensor, n_jets: int) -> int | None:
    """Return the axis along which the jets lie, None where they share one with other values."""
    jets = torch.div(index, index.numel() // n_jets, rounding_mode="floor")
    for axis in range(index.ndim):
        if index.shape[axis] == n_jets:
            expected = torch.arange(n_jets).view(*(-1 if a == axis else 1 for a in range(index.ndim)))
            if torch.equal(jets, expected.expand(index.shape)):
                return axis
    return None


def with_jets_axis(index: Tensor, n_jets: int) -> Tensor | None:
    """Return the index with an axis of jets, split off one that holds more than jets."""
    if jets_axis(index, n_jets) is not None:
        return index
    if n_jets == 1:
        return index.unsqueeze(0)
    for axis, size in enumerate(index.shape):
        if size % n_jets == 0 and size > n_jets:
            for sizes in ((n_jets, size // n_jets), (size // n_jets, n_jets)):
                split = index.reshape(*index.shape[:axis], *sizes, *index.shape[axis + 1 :])
                if jets_axis(split, n_jets) is not None:
                    return split
    return None


def by_place(index: Tensor, axes: list[int]) -> list[int]:
    """Return axes in the order in which the values lie, the ones furthest apart first."""
    steps = {a: int(index.select(a, 1).min() - index.min()) if index.shape[a] > 1 else 0 for a in axes}
    long = iter(sorted((a for a in axes if index.shape[a] > 1), key=lambda a: -steps[a]))
    return [next(long) if index.shape[a] > 1 else a for a in axes]


def moves(order: Tensor) -> tuple[tuple[int, ...], Axes] | None:
    """Return the sizes to reshape to and the axes to permute by that bring a jet's values into `order`, if any do.

    Every order that reshapes and permutations make counts up in steps, level by level, like the digits of a clock.
    """
    sizes: list[int] = []
    steps: list[int] = []
    while len(order) > 1:
        changes = order.diff()
        other = torch.nonzero(changes != changes[0])
        run = int(other[0]) + 1 if len(other) else len(order)
        if len(order) % run or changes[0] < 1:
            return None
        rows = order.view(-1, run)
        if not torch.equal(rows - rows[:, :1], (rows[0] - rows[0, 0]).expand_as(rows)):
            return None
        sizes, steps, order = [run, *sizes], [int(changes[0]), *steps], rows[:, 0]
    ranks = sorted(range(len(steps)), key=lambda level: -steps[level])
    expected = [math.prod(sizes[later] for later in ranks[k + 1 :]) for k in range(len(ranks))]
    if [steps[level] for level in ranks] != expected:
        return None
    return tuple(sizes[level] for level in ranks), tuple(ranks.index(level) for level in range(len(sizes)))
