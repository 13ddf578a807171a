"""Normalisation as it is at inference: batch norm an affine map, layer norm a statistic of each jet."""

import math
from typing import Any, ClassVar, Literal

from torch import Tensor, nn

from hepprune.errors import NetworkError
from hepprune.fixed import Quantiser
from hepprune.network import quantise
from hepprune.network.layers.activation import FUNCTIONS
from hepprune.network.layers.base import Layer, Shape, Stepwise, hold, layer, parameter

_LEAST = 1e-12  # of an epsilon, so that a table has a value where nothing varies


@layer
class BatchNorm(Layer):
    """The affine map `scale * x + shift` over the last axis, which `network.folding` takes into a layer beside it.

    A `fixed` one, such as a number that values are multiplied by, is a constant of the model: it is not trained, keeps
    the types it has, and is folded into nothing. Of a product or a sum alone the other array is `held`: not trained.
    """

    takes = ("scale_type", "shift_type")
    takes_unless: ClassVar[dict[str, Any]] = {"fixed": False, "held": None}
    scale: Tensor
    shift: Tensor

    def __init__(
        self,
        name: str,
        scale: Tensor,
        shift: Tensor,
        *,
        scale_type: Quantiser | None = None,
        shift_type: Quantiser | None = None,
        result: Quantiser | None = None,
        fixed: bool = False,
        held: Literal["scale", "shift"] | None = None,
    ) -> None:
        super().__init__(name, result)
        if scale.ndim != 1 or scale.shape != shift.shape:
            raise NetworkError(f"layer '{name}': scale {tuple(scale.shape)} and shift {tuple(shift.shape)} do not fit")
        self.fixed, self.held = fixed, held
        for key, values in (("scale", scale), ("shift", shift)):
            hold(self, key, values, fixed=fixed or key == held)
        self.scale_type, self.shift_type = scale_type, shift_type

    def used_scale(self, *, quantised: bool = True) -> Tensor:
        """Return the factors that act, (channels,)."""
        return quantise.activations(self.scale, self.scale_type if quantised else None)

    def used_shift(self, *, quantised: bool = True) -> Tensor:
        """Return the shifts that act, (channels,)."""
        return quantise.activations(self.shift, self.shift_type if quantised else None)

    def compute(self, arriving: Tensor, *, quantised: bool) -> Tensor:
        """Return scale * values + shift."""
        return arriving * self.used_scale(quantised=quantised) + self.used_shift(quantised=quantised)

    def shape(self, *arriving: Shape) -> Shape:
        """Return the shape as it comes in, and refuse another number of channels."""
        return self.only(arriving) if len(self.scale) == 1 else self.ending_in(len(self.scale), arriving)


@layer
class LayerNorm(Stepwise):
    """(x - mean) / sqrt(variance + epsilon) over the last axis, times a scale, plus a shift (arXiv:1607.06450).

    With types it is computed without a division: what is `centred` has the mean subtracted and is made smaller by
    `share`, which is one for 2**k channels; the sum of its squares is looked up in a table of inverse roots.
    """

    takes = ("epsilon",)
    steps = ("centred_type", "squares_type", "root_type", "normal_type", "scale_type", "shift_type")

    def __init__(
        self,
        name: str,
        scale: Tensor,
        shift: Tensor,
        epsilon: float = 1e-3,
        result: Quantiser | None = None,
        **types: Quantiser | None,
    ) -> None:
        super().__init__(name, result, **types)
        if scale.ndim != 1 or scale.shape != shift.shape:
            raise NetworkError(f"layer '{name}': scale {tuple(scale.shape)} and shift {tuple(shift.shape)} do not fit")
        self.scale, self.shift, self.epsilon = parameter(scale), parameter(shift), epsilon

    @property
    def share(self) -> float:
        """The number of channels over the next power of two."""
        return len(self.scale) * 2.0**-self.n_bits

    @property
    def n_bits(self) -> int:
        """Bits that count the channels."""
        return (len(self.scale) - 1).bit_length()

    @property
    def root(self) -> dict[str, float]:
        """The parameters of "inverse_root" that make of the sum of squares what is to multiply the centred values."""
        n_channels = len(self.scale)
        return {"scale": math.sqrt(n_channels), "epsilon": max(self.epsilon, _LEAST) * n_channels * self.share**2}

    def compute(self, arriving: Tensor, *, quantised: bool) -> Tensor:
        """Return the normalised values."""
        if not (quantised and self.types):
            return nn.functional.layer_norm(arriving, arriving.shape[-1:], self.scale, self.shift, self.epsilon)
        centred = self.typed(self.centred(arriving), "centred_type")
        squares = self.typed(centred.square().sum(dim=-1, keepdim=True), "squares_type")
        root = self.typed(FUNCTIONS["inverse_root"](squares, **self.root), "root_type")
        normal = self.typed(centred * root, "normal_type")
        return normal * self.typed(self.scale, "scale_type") + self.typed(self.shift, "shift_type")

    def centred(self, values: Tensor) -> Tensor:
        """Return how far values are above their mean, times the share."""
        return (len(self.scale) * values - values.sum(dim=-1, keepdim=True)) * 2.0**-self.n_bits

    def shape(self, *arriving: Shape) -> Shape:
        """Return the shape as it comes in, and refuse another number of channels."""
        return self.ending_in(len(self.scale), arriving)
