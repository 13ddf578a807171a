"""Pooling: the largest or the mean value of a window, or of all positions."""

import math

import torch
from torch import Tensor, nn

from hepprune.errors import NetworkError, refused
from hepprune.fixed import Quantiser
from hepprune.network.layers.base import Layer, Shape, check_choice, check_work, layer
from hepprune.network.layers.weighted import Padding, bordered, windows

KINDS = ("max", "average")
_LARGEST = {1: nn.functional.max_pool1d, 2: nn.functional.max_pool2d, 3: nn.functional.max_pool3d}


@layer
class Pool(Layer):
    """The largest or the mean value of each window of positions; padded places count in no mean and no maximum."""

    takes = ("kind", "size", "strides", "padding")

    def __init__(
        self,
        name: str,
        kind: str,
        size: tuple[int, ...],
        *,
        strides: tuple[int, ...] | None = None,
        padding: Padding | None = None,
        result: Quantiser | None = None,
    ) -> None:
        super().__init__(name, result)
        check_choice(name, "pooling", kind, KINDS)
        if len(size) not in _LARGEST:
            raise refused(name, f"pools {len(size)} axes; 1 to 3 are known")
        self.kind, self.size, self.strides = kind, tuple(size), tuple(strides or size)
        self.padding = tuple((int(low), int(high)) for low, high in padding or ((0, 0),) * len(size))
        if {len(self.size), len(self.strides), len(self.padding)} != {len(self.size)}:
            raise NetworkError(f"layer '{name}': size, strides and padding need as many entries each")
        if min(*self.size, *self.strides) < 1 or any(p < 0 for pair in self.padding for p in pair):
            raise NetworkError(f"layer '{name}': size and strides start at 1, padding at 0")

    def compute(self, arriving: Tensor, *, quantised: bool) -> Tensor:
        """Return the pooled values."""
        values = arriving.movedim(-1, 1)
        if self.kind == "max":
            padded = bordered(values, self.padding, -torch.inf)
            pooled: Tensor = _LARGEST[len(self.size)](padded, self.size, self.strides)
        else:  # sums over windows, divided by how many of each window's values are real
            axes = tuple(range(-len(self.size), 0))
            totals, counts = (self._unfolded(each).sum(dim=axes) for each in (values, torch.ones_like(values[:1])))
            pooled = totals / counts
        return pooled.movedim(1, -1)

    def _unfolded(self, values: Tensor) -> Tensor:
        """Return padded values (n_jets, channels, *positions) by window, (n_jets, channels, *places, *size)."""
        return windows(bordered(values, self.padding), self.size, self.strides, (1,) * len(self.size))

    def windows(self, values: Tensor) -> Tensor:
        """Return what each output looks at, (n_jets, *places, channels, size of a window)."""
        rank = len(self.size)
        return self._unfolded(values.movedim(-1, 1)).movedim(1, rank + 1).flatten(rank + 2)

    def shape(self, *arriving: Shape) -> Shape:
        """Return (*windows, channels)."""
        before = self.only(arriving, rank=len(self.size) + 1, does=f"pools {len(self.size)} axes")
        each = zip(before[:-1], self.size, self.strides, self.padding, strict=True)
        shape = (*((n + sum(p) - k) // s + 1 for n, k, s, p in each), before[-1])
        return check_work(self.name, shape, 8 * math.prod(self.size))  # sums over windows take longer than products


@layer
class GlobalPool(Layer):
    """The largest or the mean value over all positions, one per channel."""

    takes = ("kind", "keep_axes")

    def __init__(self, name: str, kind: str, keep_axes: bool = False, result: Quantiser | None = None) -> None:  # noqa: FBT001, FBT002 -- stored by name
        super().__init__(name, result)
        check_choice(name, "pooling", kind, KINDS)
        self.kind, self.keep_axes = kind, keep_axes

    def compute(self, arriving: Tensor, *, quantised: bool) -> Tensor:
        """Return one value per channel."""
        axes = tuple(range(1, arriving.ndim - 1))
        reduce = torch.amax if self.kind == "max" else torch.mean
        return reduce(arriving, dim=axes, keepdim=self.keep_axes)

    def shape(self, *arriving: Shape) -> Shape:
        """Return (channels,), or ones in the place of positions."""
        before = self.only(arriving)
        if len(before) < 2:
            raise refused(self.name, f"has no positions to pool in the shape {before}")
        return (*(1 for _ in before[:-1]), before[-1]) if self.keep_axes else before[-1:]
