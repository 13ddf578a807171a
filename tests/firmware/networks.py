"""Random quantised layers, one function each, from which the tests build networks of every kind."""

import math
from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor

from hepprune.fixed import FixedPoint
from hepprune.fixed.quantisers import FixedPoints
from hepprune.network import BatchNorm, Conv, Dense, Layer, Network
from hepprune.network.layers import Recurrent, Shared
from hepprune.network.layers.recurrent import GATES

FEATURES = FixedPoint(8, 3, True, "RND", "SAT")
NARROW = FixedPoint(7, 3, True, "RND", "SAT")
POSITIVE = FixedPoint(6, 2, False, "TRN", "SAT")
WEIGHTS = FixedPoint(6, 1, True, "RND", "SAT")
BIASES = FixedPoint(10, 3, True, "RND", "SAT")


def each(*shape: int, signed: bool = True, rounding: str = "TRN", overflow: str = "WRAP") -> FixedPoints:
    """Return a type for each value, of 0 to 6 bits."""
    places = np.arange(math.prod(shape)).reshape(shape)
    return FixedPoints(
        width=places % 7, integer=2 - places % 3, signed=np.asarray(signed), rounding=rounding, overflow=overflow
    )


def together(networks: Iterable[Network]) -> Network:
    """Return one network of several side by side, with all their inputs and outputs: firmware of it is built once."""
    layers: list[Layer] = []
    sources, outputs = dict[str, tuple[str, ...]](), list[str]()
    for place, network in enumerate(networks):
        named = {layer.name: f"{layer.name}_of_{place}" for layer in network}
        for layer in network:
            of = {"of": named[layer.of]} if isinstance(layer, Shared) else {}
            layers.append(layer.rebuilt(name=named[layer.name], **of))
        sources |= {named[name]: tuple(named[each] for each in read) for name, read in network.sources.items()}
        outputs += [named[name] for name in network.outputs]
    return Network(layers, sources, outputs)


class Maker:
    """Draws the constants of layers, always the same ones for a seed."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)

    def constants(self, *shape: int, scale: float = 0.5) -> Tensor:
        values = self.rng.normal(size=shape) * scale
        values[self.rng.random(shape) < 0.2] = 0
        return torch.tensor(values, dtype=torch.float32)

    def dense(self, name: str, n_in: int, n_out: int, **options: object) -> Dense:
        given = {"result": NARROW, "strategy": "latency", "weight_type": WEIGHTS, "bias_type": BIASES} | options
        return Dense(name, self.constants(n_out, n_in), self.constants(n_out), **given)

    def conv(self, name: str, *shape: int, **options: object) -> Conv:
        given = {"result": NARROW, "strategy": "latency", "weight_type": WEIGHTS, "bias_type": BIASES} | options
        return Conv(name, self.constants(*shape), self.constants(shape[0]), **given)  # type: ignore[arg-type]

    def batch_norm(self, name: str, channels: int) -> BatchNorm:
        types = {"scale_type": WEIGHTS, "shift_type": BIASES, "result": NARROW}
        return BatchNorm(name, self.constants(channels), self.constants(channels), **types)

    def recurrent(self, name: str, cell: str, n_in: int, n_out: int, **options: object) -> Recurrent:
        rows = GATES[cell] * n_out
        types = {"weight_type": WEIGHTS, "recurrent_weight_type": WEIGHTS, "bias_type": BIASES}
        return Recurrent(
            name,
            cell,
            weight=self.constants(rows, n_in),
            recurrent_weight=self.constants(rows, n_out),
            bias=self.constants(rows),
            recurrent_bias=self.constants(rows),
            **({"result": FixedPoint(10, 2, True, "RND", "SAT")} | types | options),  # type: ignore[arg-type]
        )
