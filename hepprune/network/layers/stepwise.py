"""Layers that compute in several steps, each of a fixed-point type of its own, once they have these types."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from hepprune.errors import NetworkError
from hepprune.fixed import Quantiser
from hepprune.network import quantise
from hepprune.network.layers.base import Layer


class Stepwise(Layer):
    """A layer that hardware computes in steps: `types` are those of all steps, or there are none and it is in float."""

    def __init__(self, name: str, result: Quantiser | None, types: Mapping[str, Quantiser | None]) -> None:
        super().__init__(name, result)
        self.types = {step: kind for step, kind in types.items() if kind is not None}
        if missing := [step for step in types if self.types and step not in self.types]:
            raise NetworkError(f"layer '{name}' has types of some steps and lacks its {' and '.join(missing)}")

    def settings(self) -> dict[str, Any]:
        """Return the constructor's values; types of steps only where there are some."""
        return super().settings() | self.types

    def typed(self, values: Tensor, step: str) -> Tensor:
        """Return values in the type of a step."""
        return quantise.activations(values, self.types[step])
