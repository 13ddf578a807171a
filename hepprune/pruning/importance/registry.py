"""What a criterion is: a decorated function that scores the units of a layer, and the table of all of them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from hepprune.errors import NetworkError, check_known, refused, unknown
from hepprune.network import Kernel, Network
from hepprune.task.sample import Sample

WEIGHTS = ("weight", "digit")
NEURONS = ("neuron",)
BLOCKS = ("layer",)

# Jets to what a criterion reads of each kernel or block, by its name.
Gather = Callable[[Network, Sample], Mapping[str, Any]]


@dataclass(frozen=True, kw_only=True)
class Criterion:
    """How much each unit of a kernel matters: call it with that, a granularity and the layer's statistics.

    `gathers` takes jets to those statistics, None where no jets are needed. A group of weights scores the sum of its
    weights' scores, or their root of summed squares where `norm` is set. A `seeded` criterion draws its scores.

    Raises:
        NetworkError: the criterion has no meaning at that granularity, lacks its statistics, or is not finite.
    """

    function: Callable[..., Tensor]
    granularities: tuple[str, ...]
    gathers: Gather | None = None
    norm: bool = False
    seeded: bool = False

    def __post_init__(self) -> None:
        """Take over the description of the function, with its formula and paper."""
        object.__setattr__(self, "__doc__", self.function.__doc__)

    @property
    def name(self) -> str:
        """The name it is found by."""
        return self.function.__name__

    def check(self, jets: object) -> None:
        """Refuse to do without jets, or what was gathered on them, where the criterion needs some."""
        if self.gathers is not None and jets is None:
            raise NetworkError(f"the criterion '{self.name}' needs jets to gather its statistics from")

    def gather(self, network: Network, data: Sample | None) -> Mapping[str, Any]:
        """Return what it reads of each kernel or block of a network, nothing where it needs no jets."""
        self.check(data)
        return {} if self.gathers is None or data is None else self.gathers(network, data)

    @torch.no_grad()
    def __call__(self, kernel: Kernel, granularity: str, statistics: Any = None, *, seed: int = 0) -> Tensor:
        """Return a score per unit, least important lowest: (n_out,) for neurons, else (n_weights,) row by row."""
        if granularity not in self.granularities:
            raise NetworkError(f"criterion '{self.name}': " + unknown("granularity", granularity, self.granularities))
        self.check(statistics)
        scores = self.function(kernel, granularity, seed if self.seeded else statistics).flatten()
        if not torch.isfinite(scores).all():
            raise refused(kernel.name, f"has no finite score by the criterion '{self.name}': look for NaN weights")
        return scores


CRITERIA: dict[str, Criterion] = {}


def criterion(
    *, granularities: tuple[str, ...], gathers: Gather | None = None, norm: bool = False, seeded: bool = False
) -> Callable[[Callable[..., Tensor]], Criterion]:
    """Register a function of (layer, granularity, statistics) as a criterion under its own name."""

    def register(function: Callable[..., Tensor]) -> Criterion:
        made = Criterion(function=function, granularities=granularities, gathers=gathers, norm=norm, seeded=seeded)
        CRITERIA[made.name] = made
        return made

    return register


def find(name: str) -> Criterion:
    """Return the criterion of that name."""
    check_known("criterion", name, CRITERIA, NetworkError)
    return CRITERIA[name]
