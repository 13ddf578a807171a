"""Values whose last places a search may take: features, and what neurons put out, each with a type of its own."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from hepprune.errors import NetworkError
from hepprune.fixed import FixedPoint
from hepprune.fixed.quantisers import FixedPoints
from hepprune.network import Dense, Input, Layer, Network, ReLU, Shared
from hepprune.pruning.importance import Criterion
from hepprune.pruning.masks import BIT, Cut, Cuts
from hepprune.pruning.statistics import Statistics

NOISE = 16.0  # how much more than alone a bit is worth among others: the noise of many rounded values adds up


@dataclass(frozen=True, eq=False)
class Values:
    """The values of one layer, which has a type for each, and the dense layers that read them, by name.

    Curves and trust know them by the name of the layer.
    """

    layer: Layer
    types: FixedPoints
    readers: tuple[str, ...]
    alone = True  # their layer alone changes

    @property
    def name(self) -> str:
        """The layer that puts them out."""
        return self.layer.name

    def scores(self, statistics: Statistics, criterion: Criterion) -> Tensor:
        """Return the loss that each value's last place is predicted to cost, (n_values,), 0 where there is none.

        A last place of 2**-f is noise of 4**-f / 12, and the one before of four times that; the loss is half the Fisher
        information of the value times the rest.

        Raises:
            NetworkError: the criterion is another than `fisher`.
        """
        if criterion.name != "fisher":
            raise NetworkError(f"the criterion '{criterion.name}' scores no bits of values; 'fisher' does")
        fisher = torch.stack([statistics[name].read_fisher for name in self.readers]).double().sum(dim=0)
        return torch.where(self.alive(), fisher / 8 * torch.as_tensor(4.0**-self.types.fractions), 0.0)

    def alive(self) -> Tensor:
        """Return which values have a bit left, (n_values,) bool."""
        return torch.as_tensor(self.types.width > 0)

    def cuts(self, units: Tensor) -> Cuts:
        """Return the cut of the last places of some values, by index."""
        return (Cut(self.name, BIT, tuple(units.tolist())),)


def find(network: Network) -> Iterator[Values]:
    """Yield the values that nothing but dense layers on single jets reads, whose information is known of each.

    They are those of inputs, ReLUs and dense layers in fixed point; where a layer has one type for all, each gets it.
    """
    used = network.preceding(network.raw_outputs)
    elsewhere = {layer.of for layer in network if isinstance(layer, Shared)}
    for layer in network:
        shape, readers = network.shapes[layer.name], [each for each in network.readers(layer) if each.name in used]
        single = len(shape) == 1 and layer.name not in {*network.raw_outputs, *elsewhere}
        if not (single and readers and layer.name in used and isinstance(layer, Input | ReLU | Dense)):
            continue
        if not all(isinstance(r, Dense) and not r.fixed and r.name not in elsewhere for r in readers):
            continue
        types = FixedPoints.of(layer.result, shape) if isinstance(layer.result, FixedPoint) else layer.result
        if isinstance(types, FixedPoints) and types.width.shape == shape:
            yield Values(layer.rebuilt(result=types), types, tuple(reader.name for reader in readers))
