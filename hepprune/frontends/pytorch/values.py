"""Where torch's values lie in the network: an index per value instead of a layout per operator.

Reshapes, permutations and the like run on the index alone, whatever they do to the axes (the jets' among them). Only
where a layer needs its values in a certain order are they put into it, with as few layers as that takes.
"""

import itertools
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
    def shape(self) -> tuple[int, ...]:
        """The sizes of its axes."""
        return tuple(self.tensor.shape)

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


def by_place(index: Tensor, axes: list[int]) -> list[int]:
    """Return axes in the order in which the values lie, the ones furthest apart first."""
    steps = {a: int(index.select(a, 1).min() - index.min()) if index.shape[a] > 1 else 0 for a in axes}
    long = iter(sorted((a for a in axes if index.shape[a] > 1), key=lambda a: -steps[a]))
    return [next(long) if index.shape[a] > 1 else a for a in axes]
