"""Sizes and places that a graph's nodes hold, once units have left: bounds, shapes and counts move like arrays."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from hepprune.errors import NetworkError
from hepprune.frontends.pytorch.fitting import Fitting
from hepprune.frontends.pytorch.values import Value
from hepprune.network import Network, Reshape

# Where a node holds a setting, by its key: the number of an input, or the name of an attribute.
SettingPlace = tuple[str, int | str]
END = 2**62


@dataclass(kw_only=True)
class GraphFit(Fitting):
    """The network that a graph is to compute, beside the one that was read from it, and where its tensors lie there."""

    known: Network
    n_jets: int
    values: Mapping[str, Any]

    def shape(self, tensor: str) -> tuple[int, ...] | None:
        """Return the sizes that a tensor has now, the example's jets among them; None where no layer tells."""
        value = self.values.get(tensor)
        if not isinstance(value, Value) or value.layer not in self.known.layers:
            return None
        readers = self.known.readers(self.known[value.layer])
        for name in (value.layer, *(node.name for node in readers if isinstance(node, Reshape))):
            old, new = ((self.n_jets, *net.shapes[name]) for net in (self.known, self.network))
            found = value.shape if old == new else _resized(value.index, old, new)
            if found is not None:
                return found
        return None


def _resized(index: Tensor, old: tuple[int, ...], new: tuple[int, ...]) -> tuple[int, ...] | None:
    """Return the shape of `index`, places in a value of the sizes `old`, where these become `new`.

    None where an axis of the value does not lie along a single one of the index.
    """
    now, known = list(index.shape), [1] * index.ndim
    carrying: dict[int, list[int]] = {}
    step = math.prod(old)
    for size, after in zip(old, new, strict=True):
        step //= size
        along = varying(index // step % size)
        if len(along) > 1 or (not along and size > 1):
            return None
        for axis in along:
            known[axis] *= size
            carrying.setdefault(axis, []).append(after)
    for axis, sizes in carrying.items():
        if known[axis] != index.shape[axis]:
            return None
        now[axis] = math.prod(sizes)
    return tuple(now)


def varying(places: Tensor) -> list[int]:
    """Return the axes along which an array is not constant."""
    return [axis for axis in range(places.ndim) if bool((places != places.narrow(axis, 0, 1)).any())]


def open_sizes(index: Tensor, n_jets: int, title: str) -> list[int]:
    """Return the shape of a value with -1 in the place of the axis that the jets lie along.

    Raises:
        NetworkError: they lie along several.
    """
    sizes = list(index.shape)
    along = varying(index // (index.numel() // n_jets))
    if len(along) > 1:
        raise NetworkError(f"'{title}' brings jets into a shape of fixed sizes")
    for axis in along:
        sizes[axis] = -1
    return sizes
