"""Normalisation as it is at inference: batch norm an affine map, layer norm a statistic of each jet."""

from typing import Any

import torch
from torch import Tensor, nn

from hepprune.errors import NetworkError
from hepprune.fixed import Quantiser
from hepprune.network import quantise
from hepprune.network.layers.base import Layer, Shape, layer, parameter


@layer
class BatchNorm(Layer):
    """The affine map `scale * x + shift` over the last axis, which `pruning.folding` takes into a layer beside it."""

    def __init__(
        self,
        name: str,
        scale: Tensor,
        shift: Tensor,
        *,
        scale_type: Quantiser | None = None,
        shift_type: Quantiser | None = None,
        result: Quantiser | None = None,
    ) -> None:
        super().__init__(name, result)
        if scale.ndim != 1 or scale.shape != shift.shape:
            raise NetworkError(f"layer '{name}': scale {tuple(scale.shape)} and shift {tuple(shift.shape)} do not fit")
        self.scale, self.shift = parameter(scale), parameter(shift)
        self.scale_type, self.shift_type = scale_type, shift_type

    @classmethod
    def from_torch(cls, name: str, module: nn.BatchNorm1d | nn.BatchNorm2d) -> "BatchNorm":
        """Read the running statistics and the affine parameters of a torch module."""
        if module.running_mean is None or module.running_var is None:
            raise NetworkError(f"layer '{name}' keeps no running statistics, so it has no fixed form at inference")
        scale = (module.weight if module.affine else 1.0) / torch.sqrt(module.running_var + module.eps)
        return cls(name, scale, (module.bias if module.affine else 0.0) - module.running_mean * scale)

    def used_scale(self, *, quantised: bool = True) -> Tensor:
        """Return the factors that act, (channels,)."""
        return quantise.activations(self.scale, self.scale_type) if quantised and self.scale_type else self.scale

    def used_shift(self, *, quantised: bool = True) -> Tensor:
        """Return the shifts that act, (channels,)."""
        return quantise.activations(self.shift, self.shift_type) if quantised and self.shift_type else self.shift

    def compute(self, *values: Tensor, quantised: bool) -> Tensor:
        """Return scale * values + shift."""
        (arriving,) = values
        return arriving * self.used_scale(quantised=quantised) + self.used_shift(quantised=quantised)

    def shape(self, *arriving: Shape) -> Shape:
        """Return the shape as it comes in, and refuse another number of channels."""
        before = self.only(arriving)
        if before[-1] != len(self.scale) and len(self.scale) != 1:
            raise NetworkError(f"layer '{self.name}' takes {len(self.scale)} channels and is given {before[-1]}")
        return before

    def settings(self) -> dict[str, Any]:
        """Return the constructor's values."""
        return super().settings() | {"scale_type": self.scale_type, "shift_type": self.shift_type}


@layer
class LayerNorm(Layer):
    """(x - mean) / sqrt(variance + epsilon) over the last axis, times a scale, plus a shift (arXiv:1607.06450)."""

    def __init__(
        self, name: str, scale: Tensor, shift: Tensor, epsilon: float = 1e-3, result: Quantiser | None = None
    ) -> None:
        super().__init__(name, result)
        if scale.ndim != 1 or scale.shape != shift.shape:
            raise NetworkError(f"layer '{name}': scale {tuple(scale.shape)} and shift {tuple(shift.shape)} do not fit")
        self.scale, self.shift, self.epsilon = parameter(scale), parameter(shift), epsilon

    def compute(self, *values: Tensor, quantised: bool) -> Tensor:
        """Return the normalised values."""
        (arriving,) = values
        return nn.functional.layer_norm(arriving, arriving.shape[-1:], self.scale, self.shift, self.epsilon)

    def shape(self, *arriving: Shape) -> Shape:
        """Return the shape as it comes in, and refuse another number of channels."""
        before = self.only(arriving)
        if before[-1] != len(self.scale):
            raise NetworkError(f"layer '{self.name}' takes {len(self.scale)} channels and is given {before[-1]}")
        return before

    def settings(self) -> dict[str, Any]:
        """Return the constructor's values."""
        return super().settings() | {"epsilon": self.epsilon}
