"""A node: one place in the graph of a Network, with all that what walks over the graph has to know of it."""

from dataclasses import dataclass

from torch import Tensor

from hepprune.fixed import Quantiser
from hepprune.network import quantise
from hepprune.network.layers.base import Layer, Shape


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
