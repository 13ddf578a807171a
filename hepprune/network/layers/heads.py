"""The heads that turn logits into probabilities or a class; between layers a softmax weighs values, as in attention."""

from typing import Any, ClassVar

import torch
from torch import Tensor

from hepprune.errors import refused
from hepprune.fixed import Quantiser
from hepprune.network.layers.activation import FUNCTIONS
from hepprune.network.layers.base import Layer, Shape, Stepwise, checked_axis, layer


@layer
class Softmax(Stepwise):
    """Probabilities along an axis; as the last layer a head, left out of losses and of RTL.

    With types it is the product of two tables, as firmware has it: the exponential of how far each value is below the
    largest, and the inverse of the sum of these; each table has a type for its argument and one for what it puts out.
    """

    is_head = True
    takes_unless: ClassVar[dict[str, Any]] = {"axis": -1}
    steps = ("distance_type", "exponential_type", "total_type", "inverse_type")

    def __init__(self, name: str, result: Quantiser | None = None, axis: int = -1, **types: Quantiser | None) -> None:
        super().__init__(name, result, **types)
        self.axis = axis

    def compute(self, arriving: Tensor, *, quantised: bool) -> Tensor:
        """Return exp(x) / sum(exp(x)) along the axis."""
        axis = self.axis if self.axis < 0 else self.axis + 1
        if not (quantised and self.types):
            return torch.softmax(arriving, dim=axis)
        largest = arriving.detach().amax(axis, keepdim=True)  # what is subtracted moves no probability
        distance = self.typed(largest - arriving, "distance_type")
        exponentials = self.typed(FUNCTIONS["decay"](distance), "exponential_type")
        total = self.typed(exponentials.sum(axis, keepdim=True), "total_type")
        return exponentials * self.typed(FUNCTIONS["reciprocal"](total), "inverse_type")

    def shape(self, *arriving: Shape) -> Shape:
        """Return the shape as it comes in."""
        before = self.only(arriving)
        checked_axis(self.name, self.axis, len(before))
        return before


@layer
class Argmax(Layer):
    """The index of the largest logit, the first of equals; a head."""

    is_head = True

    def compute(self, arriving: Tensor, *, quantised: bool) -> Tensor:
        """Return the index as a float, (n_jets, 1)."""
        return arriving.argmax(dim=-1, keepdim=True).to(arriving.dtype)

    def shape(self, *arriving: Shape) -> Shape:
        """Return the shape with one index in its last axis."""
        return (*self.only(arriving)[:-1], 1)


@layer
class TopK(Layer):
    """The k largest channels as they are, the first of equals, and zero for the others."""

    takes = ("k",)

    def __init__(self, name: str, k: int, result: Quantiser | None = None) -> None:
        super().__init__(name, result)
        if k < 1:
            raise refused(name, f"lets {k} channels through; at least one is needed")
        self.k = k

    def compute(self, arriving: Tensor, *, quantised: bool) -> Tensor:
        """Return the value with all but its largest channels at zero."""
        largest = torch.argsort(arriving, dim=-1, descending=True, stable=True)[..., : self.k]
        return arriving * torch.zeros_like(arriving).scatter(-1, largest, 1.0)

    def shape(self, *arriving: Shape) -> Shape:
        """Return the arriving shape, and refuse fewer than k channels."""
        before = self.only(arriving)
        if before[-1] < self.k:
            raise refused(self.name, f"lets {self.k} channels through and is given {before[-1]}")
        return before
