"""Layers that combine the values of several layers: sums, products, and the contractions of interaction networks."""

import functools
import math
import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hepprune.errors import NetworkError, explained, refused
from hepprune.fixed import Quantiser
from hepprune.network.layers.base import Layer, Shape, check_choice, check_size, check_work, layer

OPERATIONS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "add": torch.add,
    "subtract": torch.sub,
    "multiply": torch.mul,
    "maximum": torch.maximum,
    "minimum": torch.minimum,
}
_EQUATION = re.compile(r"([a-zA-Z]+),([a-zA-Z]+)->([a-zA-Z]+)")


@layer
class Merge(Layer):
    """An operation between the values of two or more layers, one after the other; "average" is a sum and a division."""

    takes = ("operation",)

    def __init__(self, name: str, operation: str, result: Quantiser | None = None) -> None:
        super().__init__(name, result)
        check_choice(name, "operation", operation, (*OPERATIONS, "average"))
        self.operation = operation

    def compute(self, *values: Tensor, quantised: bool) -> Tensor:
        """Return the combined value."""
        if self.operation == "average":
            return functools.reduce(torch.add, values) / len(values)
        return functools.reduce(OPERATIONS[self.operation], values)

    def shape(self, *arriving: Shape) -> Shape:
        """Return the shape that all values broadcast to."""
        if len(arriving) < 2 or (self.operation == "subtract" and len(arriving) != 2):
            raise refused(self.name, f"cannot {self.operation} {len(arriving)} values")
        if len({len(shape) for shape in arriving}) != 1:
            raise refused(self.name, f"combines values of different rank, {arriving}")
        with explained(NetworkError, f"layer '{self.name}' cannot combine the shapes {arriving}", ValueError):
            return check_size(self.name, tuple(np.broadcast_shapes(*arriving)))


@layer
class Einsum(Layer):
    """A contraction of two values, `equation` as in numpy without the axis of jets ("ij,jk->ik")."""

    takes = ("equation",)

    def __init__(self, name: str, equation: str, result: Quantiser | None = None) -> None:
        super().__init__(name, result)
        match = _EQUATION.fullmatch(equation.replace(" ", ""))
        if match is None:
            raise NetworkError(f"layer '{name}': '{equation}' is not a contraction of two values such as ij,jk->ik")
        self.terms: tuple[str, str, str] = (match[1], match[2], match[3])
        if any(len(set(term)) != len(term) for term in self.terms) or not set(match[3]) <= set(match[1] + match[2]):
            raise NetworkError(f"layer '{name}': '{equation}' repeats an axis or gives one that nothing has")

    @property
    def equation(self) -> str:
        """The contraction as numpy writes it."""
        left, right, out = self.terms
        return f"{left},{right}->{out}"

    def compute(self, *values: Tensor, quantised: bool) -> Tensor:
        """Return the contraction."""
        free = next(c for c in "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz" if c not in self.equation)
        left, right, out = self.terms
        return torch.einsum(f"{free}{left},{free}{right}->{free}{out}", *values)

    def aligned(self, *values: NDArray[Any]) -> Sequence[NDArray[Any]]:
        """Return values (..., *axes of the term) as (..., *kept axes, *summed axes), repeated along those they lack."""
        axes, found = dict.fromkeys(self.terms[2] + self.terms[0] + self.terms[1]), []
        for term, value in zip(self.terms, values, strict=False):
            first = value.ndim - len(term)
            order = [*range(first), *(first + term.index(axis) for axis in axes if axis in term)]
            lacking = [first + place for place, axis in enumerate(axes) if axis not in term]
            found.append(np.expand_dims(value.transpose(order), lacking))
        return np.broadcast_arrays(*found)

    def shape(self, *arriving: Shape) -> Shape:
        """Return the sizes of the axes that are left."""
        if len(arriving) != 2:
            raise refused(self.name, f"contracts two values and is given {len(arriving)}")
        sizes: dict[str, int] = {}
        for term, shape in zip(self.terms, arriving, strict=False):
            if len(term) != len(shape) or any(sizes.setdefault(c, n) != n for c, n in zip(term, shape, strict=False)):
                raise refused(self.name, f"cannot contract {arriving} by {self.equation}")
        summed = math.prod(n for c, n in sizes.items() if c not in self.terms[2])
        return check_work(self.name, tuple(sizes[c] for c in self.terms[2]), summed)
