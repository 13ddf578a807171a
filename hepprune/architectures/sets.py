"""Networks of constituents in any order: Deep Sets, and the linear interaction network."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from pydantic import ConfigDict, PositiveInt

from hepprune.architectures.base import STRICT, Sketch
from hepprune.network import GlobalPool, Merge

Pooling = Literal["average", "max"]


@dataclass(frozen=True, kw_only=True)
class DeepSets:
    """The same layers `phi` for each constituent, their mean or largest values, and layers `rho`.

    Zaheer et al., arXiv:1703.06114; for jets Komiske, Metodiev and Thaler, arXiv:1810.05165.
    """

    rank: ClassVar[int] = 2
    __pydantic_config__: ClassVar[ConfigDict] = STRICT
    kind: Literal["deepsets"] = "deepsets"
    phi: tuple[PositiveInt, ...] = (32, 32)
    rho: tuple[PositiveInt, ...] = (32,)
    pool: Pooling = "average"

    def body(self, sketch: Sketch, name: str) -> str:
        """Add the layers up to the last of `rho`."""
        each = sketch.hidden("phi", name, self.phi)
        return sketch.hidden("rho", sketch.add(GlobalPool("pool", self.pool), each), self.rho)


@dataclass(frozen=True, kw_only=True)
class Interaction:
    """An interaction network whose edges are linear: each constituent meets the mean of all, once a block.

    A full graph of edges a_i + b_j, summed over j, is n a_i + sum_j b_j: it needs no pair (JEDI-linear, Que et al.,
    arXiv:2508.15468). `nodes` are the values of a constituent after each block.
    """

    rank: ClassVar[int] = 2
    __pydantic_config__: ClassVar[ConfigDict] = STRICT
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
