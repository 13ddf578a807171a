"""A node: one place in the graph of a Network, with all that what walks over the graph has to know of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from hepprune.errors import NetworkError
from hepprune.fixed import Quantiser
from hepprune.network import quantise
from hepprune.network.layers.base import Layer, Shape

MAX_LAYERS = 2000
Features = Tensor | Sequence[Tensor]  # one tensor (n_jets, *shape) for each input, in order; alone where there is one


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """A place in the graph: the layer that computes there, its own or a shared one, and what its value passes next.

    `results` are the quantisers of the value in the order it passes them: the layer's, then that of the place itself.
    `shape` is that of one jet's value.
    """

    name: str
    layer: Layer
    results: tuple[Quantiser, ...]
    sources: tuple[str, ...]
    shape: Shape

    def quantised(self, value: Tensor) -> Tensor:
        """Return a value (n_jets, *shape) under the quantisers of the place."""
        for quantiser in self.results:
            value = quantise.activations(value, quantiser)
        return value


def check_depth(n_layers: int) -> None:
    """Refuse more layers than any trigger network has, before time is spent on making them."""
    if n_layers > MAX_LAYERS:
        raise NetworkError(f"a network of {n_layers} layers is not a trigger network; it has at most {MAX_LAYERS}")


def as_tuple(features: Any) -> tuple[Any, ...]:
    """Return features as one array or tensor for each input; a list of numbers is an array."""
    several = isinstance(features, tuple) or (isinstance(features, list) and any(hasattr(f, "shape") for f in features))
    return tuple(features) if several else (features,)
