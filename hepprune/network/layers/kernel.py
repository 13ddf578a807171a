"""Kernels: the weights of a layer that can be cut, the same for every kind of layer that has some."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor

from hepprune.errors import refused
from hepprune.fixed import FixedPoint, Quantiser, digits
from hepprune.fixed.quantisers import FixedPoints
from hepprune.network import quantise

if TYPE_CHECKING:
    from hepprune.network.layers.base import Layer


@dataclass(frozen=True, eq=False)
class Kernel:
    """The weights of one matrix product of a layer, seen in place: what is done to them is done to the layer.

    `name` is the layer's, or `<layer>.<array>` where it has several. Each row, an output or a gate of one, is one adder
    tree at each place; a column is an input; between them lie the positions of a convolution. The channels of a layer
    with `groups` are read by as many equal parts of the rows.
    """

    name: str
    layer: "Layer"
    array: str = "weight"
    groups: int = 1

    @property
    def weight(self) -> Tensor:
        """The float weights, (n_rows, *positions, n_columns)."""
        return cast("Tensor", getattr(self.layer, self.array))

    @property
    def digit_limit(self) -> Tensor:
        """The most signed digits that each weight may have, like the weights; 0 is pruned."""
        return cast("Tensor", getattr(self.layer, self.array.removesuffix("weight") + "digit_limit"))

    @property
    def type(self) -> Quantiser | None:
        """What rounds the weights."""
        return cast("Quantiser | None", getattr(self.layer, f"{self.array}_type"))

    @property
    def fixed_type(self) -> FixedPoint:
        """The type of the weights.

        Raises:
            NetworkError: they have none, or a quantiser that is not a single fixed-point type.
        """
        if isinstance(self.type, FixedPoint):
            return self.type
        raise refused(self.name, "has no fixed-point type for its weights")

    @property
    def reuse_factor(self) -> int:
        """How many weights share a multiplier."""
        return int(getattr(self.layer, "reuse_factor", 1))

    @property
    def n_rows(self) -> int:
        """Outputs, or gates of them."""
        return self.weight.shape[0]

    @property
    def n_columns(self) -> int:
        """Inputs that a row reads at each position."""
        return self.weight.shape[-1]

    def used(self, *, quantised: bool = True) -> Tensor:
        """Return the weights that act, pruned ones zero."""
        if quantised and self.type:
            return quantise.weights(self.weight, self.type, self.digit_limit)
        return self.weight * (self.digit_limit > 0)

    def rows(self) -> Tensor:
        """Return the weights that act as one adder tree a row, (n_rows, terms)."""
        return self.used().flatten(1)

    @torch.no_grad()
    def digit_counts(self) -> Tensor:
        """Return the signed digits that each quantised weight has, like the weights, int64.

        Raises:
            NetworkError: the weights are not in fixed point.
        """
        if not isinstance(self.type, FixedPoint | FixedPoints):
            raise refused(self.name, "is not in fixed point, and only there are digits")
        integers = quantise.weight_integers(self.weight, self.type, self.digit_limit)
        return torch.as_tensor(digits.count(integers.cpu().numpy()))

    def reads(self, arriving: Tensor) -> Tensor:
        """Return what the weights multiply of a layer's input, (n_jets, n_places, groups, terms)."""
        return self.layer.kernel_reads(self, arriving)
