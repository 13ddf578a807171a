"""A network drawn layer by layer: names, shapes and He-initialised weights (He et al., arXiv:1502.01852)."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from pydantic import ConfigDict
from torch import Tensor

from hepprune.errors import NetworkError
from hepprune.network import Conv, Dense, Input, Layer, Network, ReLU

Shape = tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class Drawn(ABC):
    """An architecture, drawn from an input on, as a recipe has it: a misspelt key there is no default."""

    rank: ClassVar[int] = 2  # axes of the input, channels among them
    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    @abstractmethod
    def body(self, sketch: "Sketch", name: str) -> str:
        """Add the layers that read layer `name`, and return the one that the outputs read, of one axis."""


def draw(architecture: Drawn, inputs: Mapping[str, Shape], outputs: Mapping[str, int], *, seed: int) -> Network:
    """Return a float network of an architecture for one input by its name and shape, and outputs by name and size.

    Raises:
        NetworkError: there are several inputs, or the input has another number of axes than the architecture takes.
    """
    kind = type(architecture).__name__
    if len(inputs) != 1:
        raise NetworkError(f"{kind} takes one input, and here are {', '.join(inputs)}")
    ((name, shape),) = inputs.items()
    if len(shape) != architecture.rank:
        axes = {2: "(constituents, features)", 3: "(rows, columns, channels)"}[architecture.rank]
        raise NetworkError(f"{kind} takes values {axes}, and the input '{name}' has the shape {shape}")
    sketch = Sketch(torch.Generator().manual_seed(seed))
    last = architecture.body(sketch, sketch.add(Input(name, shape)))
    for output, n_out in outputs.items():
        sketch.dense(output, last, n_out)
    return sketch.network(list(outputs))


@dataclass
class Sketch:
    """Layers so far and what each reads; the methods add one and return its name."""

    generator: torch.Generator
    layers: list[Layer] = field(default_factory=list)
    sources: dict[str, tuple[str, ...]] = field(default_factory=dict)
    shapes: dict[str, Shape] = field(default_factory=dict)

    def add(self, layer: Layer, *sources: str) -> str:
        """Add a layer that reads others."""
        self.layers.append(layer)
        if sources:
            self.sources[layer.name] = sources
        arriving = [self.shapes[source] for source in sources]
        self.shapes[layer.name] = layer.shape(*arriving)
        return layer.name

    def drawn(self, *shape: int, n_in: int, gain: float = 2.0) -> Tensor:
        """Return weights of a layer that adds up `n_in` terms; a gain of 2 is for a ReLU behind it."""
        scale: float = (gain / n_in) ** 0.5
        return torch.randn(*shape, generator=self.generator) * scale

    def dense(self, name: str, source: str, n_out: int, *, gain: float = 2.0) -> str:
        """Add a dense layer over the last axis."""
        n_in = self.shapes[source][-1]
        return self.add(Dense(name, self.drawn(n_out, n_in, n_in=n_in, gain=gain), torch.zeros(n_out)), source)

    def hidden(self, prefix: str, source: str, sizes: Sequence[int]) -> str:
        """Add dense layers with a ReLU behind each, `prefix_1`, `prefix_1_relu` and so on."""
        for index, size in enumerate(sizes, start=1):
            source = self.relu(self.dense(f"{prefix}_{index}", source, size))
        return source

    def conv(self, name: str, source: str, n_out: int, kernel: Shape, *, strides: Shape | None = None) -> str:
        """Add a convolution over all axes but the last, without padding."""
        n_in = self.shapes[source][-1]
        fan_in = n_in * torch.Size(kernel).numel()
        weight = self.drawn(n_out, *kernel, n_in, n_in=fan_in)
        return self.add(Conv(name, weight, torch.zeros(n_out), strides=strides), source)

    def relu(self, source: str) -> str:
        """Add a ReLU of a layer's values."""
        return self.add(ReLU(f"{source}_relu"), source)

    def network(self, outputs: Sequence[str]) -> Network:
        """Return the network of the layers so far."""
        return Network(self.layers, self.sources, outputs)
