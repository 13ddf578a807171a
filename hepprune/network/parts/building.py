"""A network of steps under construction."""

import math

import torch

from hepprune.fixed import FixedPoint, Quantiser
from hepprune.network.graph import Network
from hepprune.network.layers import Dense, Input, Layer, Permute, Reshape, Shape

INPUT = "x"
BIT = FixedPoint(1, 1, signed=False)


class Building:
    """Layers and what each reads, in the order they run; the first is the input."""

    def __init__(self, shape: Shape) -> None:
        self.layers: list[Layer] = [Input(INPUT, shape)]
        self.sources: dict[str, tuple[str, ...]] = {}

    def add(self, layer: Layer, *sources: str) -> str:
        """Add a layer that reads others, without any the last one, and return its name."""
        self.sources[layer.name] = sources or (self.layers[-1].name,)
        self.layers.append(layer)
        return layer.name

    def sum(self, name: str, n_values: int, *sources: str, result: Quantiser | None = None, scale: float = 1.0) -> str:
        """Add the sum over the last axis, times a power of two; the axis stays, of size one."""
        kind = FixedPoint(1, 1 + round(math.log2(scale)), signed=False)
        ones, zeros = torch.full((1, n_values), scale, dtype=torch.float64), torch.zeros(1, dtype=torch.float64)
        return self.add(Dense(name, ones, zeros, weight_type=kind, bias_type=BIT, result=result), *sources)

    def rows(self, axis: int) -> str:
        """Bring an axis of the last layer's value to the front, all others behind it as one."""
        shape = self.network().shapes[self.layers[-1].name]
        outer, inner = math.prod(shape[:axis]), math.prod(shape[axis + 1 :])
        if outer > 1:
            self.add(Reshape("blocks", (outer, shape[axis], inner)))
            self.add(Permute("turned", (1, 0, 2)))
        return self.add(Reshape("rows", (shape[axis], outer * inner)))

    def columns(self, shape: Shape, axis: int) -> str:
        """Bring rows back to the shape and the axis that they are from."""
        outer, inner = math.prod(shape[:axis]), math.prod(shape[axis + 1 :])
        if outer > 1:
            self.add(Reshape("columns", (shape[axis], outer, inner)))
            self.add(Permute("back", (1, 0, 2)))
        return self.add(Reshape("ordered", shape))

    def network(self) -> Network:
        """Return the network."""
        return Network(self.layers, self.sources)
