"""Layers that let only part of a value through, another part for each jet."""

from typing import Any

import torch
from torch import Tensor

from hepprune.errors import NetworkError
from hepprune.fixed import Quantiser
from hepprune.network.layers.base import Layer, Shape, layer


@layer
class TopK(Layer):
    """The k largest channels as they are, the first of equals, and zero for the others."""

    def __init__(self, name: str, k: int, result: Quantiser | None = None) -> None:
        super().__init__(name, result)
        if k < 1:
            raise NetworkError(f"layer '{name}' lets {k} channels through; at least one is needed")
        self.k = k

    def compute(self, *values: Tensor, quantised: bool) -> Tensor:
        """Return the value with all but its largest channels at zero."""
        (arriving,) = values
        largest = torch.argsort(arriving, dim=-1, descending=True, stable=True)[..., : self.k]
        return arriving * torch.zeros_like(arriving).scatter(-1, largest, 1.0)

    def shape(self, *arriving: Shape) -> Shape:
        """Return the arriving shape, and refuse fewer than k channels."""
        before = self.only(arriving)
        if before[-1] < self.k:
            raise NetworkError(f"layer '{self.name}' lets {self.k} channels through and is given {before[-1]}")
        return before

    def settings(self) -> dict[str, Any]:
        """Return the constructor's values."""
        return super().settings() | {"k": self.k}
