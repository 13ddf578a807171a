"""Networks of constituents, in any order (Deep Sets, interaction) or by pT (recurrent, attention), and of images."""

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from pydantic import PositiveInt

from hepprune.errors import NetworkError
from hepprune.network import Einsum, GlobalPool, Merge, Pool, Recurrent, Reshape, Softmax
from hepprune.network.layers.recurrent import GATES
from hepprune.recipe.architectures.base import Drawn, Sketch

Pooling = Literal["average", "max"]


@dataclass(frozen=True, kw_only=True)
class DeepSets(Drawn):
    """The same layers `phi` for each constituent, their mean or largest values, and layers `rho`.

    Zaheer et al., arXiv:1703.06114; for jets Komiske, Metodiev and Thaler, arXiv:1810.05165.
    """

    kind: Literal["deepsets"] = "deepsets"
    phi: tuple[PositiveInt, ...] = (32, 32)
    rho: tuple[PositiveInt, ...] = (32,)
    pool: Pooling = "average"

    def body(self, sketch: Sketch, name: str) -> str:
        """Add the layers up to the last of `rho`."""
        each = sketch.hidden("phi", name, self.phi)
        return sketch.hidden("rho", sketch.add(GlobalPool("pool", self.pool), each), self.rho)


@dataclass(frozen=True, kw_only=True)
class Interaction(Drawn):
    """An interaction network whose edges are linear: each constituent meets the mean of all, once a block.

    A full graph of edges a_i + b_j, summed over j, is n a_i + sum_j b_j: it needs no pair (JEDI-linear, Que et al.,
    arXiv:2508.15468). `nodes` are the values of a constituent after each block.
    """

    kind: Literal["interaction"] = "interaction"
    nodes: tuple[PositiveInt, ...] = (32, 32)
    rho: tuple[PositiveInt, ...] = (32,)
    pool: Pooling = "average"

    def body(self, sketch: Sketch, name: str) -> str:
        """Add the blocks, the pooling and the layers `rho`."""
        for index, size in enumerate(self.nodes, start=1):
            own = sketch.dense(f"own_{index}", name, size)
            mean = sketch.add(GlobalPool(f"mean_{index}", "average", keep_axes=True), name)
            others = sketch.dense(f"others_{index}", mean, size)
            name = sketch.relu(sketch.add(Merge(f"node_{index}", "add"), own, others))
        return sketch.hidden("rho", sketch.add(GlobalPool("pool", self.pool), name), self.rho)


@dataclass(frozen=True, kw_only=True)
class GRU(Drawn):
    """A gated recurrent unit (Cho et al., arXiv:1406.1078) of `units` states, its last state, and layers `rho`."""

    kind: Literal["gru"] = "gru"
    units: PositiveInt = 16
    rho: tuple[PositiveInt, ...] = (16,)

    def body(self, sketch: Sketch, name: str) -> str:
        """Add the cell and the layers `rho`."""
        n_in, rows = sketch.shapes[name][-1], GATES["gru"] * self.units
        cell = Recurrent(
            "gru",
            "gru",
            weight=sketch.drawn(rows, n_in, n_in=n_in, gain=1.0),
            recurrent_weight=sketch.drawn(rows, self.units, n_in=self.units, gain=1.0),
            bias=torch.zeros(rows),
            recurrent_bias=torch.zeros(rows),
        )
        return sketch.hidden("rho", sketch.add(cell, name), self.rho)


@dataclass(frozen=True, kw_only=True)
class Attention(Drawn):
    """A block of self-attention (Vaswani et al., arXiv:1706.03762) around which values pass, pooled, and layers `rho`.

    Constituents are brought to `heads` x `channels` values each, which every head has as queries, keys and values.
    """

    kind: Literal["attention"] = "attention"
    heads: PositiveInt = 2
    channels: PositiveInt = 8
    rho: tuple[PositiveInt, ...] = (16,)
    pool: Pooling = "average"

    def body(self, sketch: Sketch, name: str) -> str:
        """Add the embedding, the block, the pooling and the layers `rho`."""
        size, stem = self.heads * self.channels, sketch.hidden("stem", name, [self.heads * self.channels])
        query, key, value = (self._split(sketch, role, stem) for role in ("query", "key", "value"))
        scores = sketch.add(Einsum("scores", "qhd,khd->hqk"), query, key)
        weights = sketch.add(Softmax("softmax"), scores)
        context = sketch.add(Einsum("context", "hqk,khd->qhd"), weights, value)
        joined = sketch.add(Reshape("joined", (sketch.shapes[name][0], size)), context)
        out = sketch.relu(sketch.add(Merge("attended", "add"), stem, sketch.dense("mixed", joined, size)))
        return sketch.hidden("rho", sketch.add(GlobalPool("pool", self.pool), out), self.rho)

    def _split(self, sketch: Sketch, role: str, stem: str) -> str:
        """Return the values of a role, head by head; queries come divided by the root of their channels."""
        n_steps, size = sketch.shapes[stem]
        gain = 1.0 / self.channels**0.5 if role == "query" else 1.0
        flat = sketch.dense(role, stem, size, gain=gain)
        return sketch.add(Reshape(f"{role}_heads", (n_steps, self.heads, self.channels)), flat)


@dataclass(frozen=True, kw_only=True)
class Convolutional(Drawn):
    """Convolutions of `filters` each, every one with a ReLU and a pooling of 2 x 2 behind it, and layers `rho`.

    With a `stride` convolutions move by so many pixels; with the pooling "none" they stand alone.
    """

    rank: ClassVar[int] = 3
    kind: Literal["convolutional"] = "convolutional"
    filters: tuple[PositiveInt, ...] = (4, 8)
    kernel: PositiveInt = 3
    rho: tuple[PositiveInt, ...] = (16,)
    stride: PositiveInt = 1
    pool: Literal["average", "max", "none"] = "max"

    def body(self, sketch: Sketch, name: str) -> str:
        """Add the convolutions, one axis of all that is left, and the layers `rho`."""
        for index, n_filters in enumerate(self.filters, start=1):
            if min(sketch.shapes[name][:2]) < self.kernel + (0 if self.pool == "none" else self.stride):
                raise NetworkError(
                    f"an image of {sketch.shapes[name][:2]} is too small for convolution {index}; take fewer filters"
                )
            kernel, strides = (self.kernel, self.kernel), (self.stride, self.stride)
            name = sketch.relu(sketch.conv(f"conv_{index}", name, n_filters, kernel, strides=strides))
            if self.pool != "none":
                name = sketch.add(Pool(f"pool_{index}", self.pool, (2, 2)), name)
        flat = sketch.add(Reshape("flat", (math.prod(sketch.shapes[name]),)), name)
        return sketch.hidden("rho", flat, self.rho)
