"""Plain global magnitude pruning, which the search is compared with."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from hepprune.network import Kernel, Network
from hepprune.pruning import granularity as granularities
from hepprune.pruning import masks
from hepprune.pruning.masks import Cut
from hepprune.pruning.selection import NORMALISATIONS
from hepprune.pruning.statistics import Statistics
from hepprune.pruning.structure.constants import constants
from hepprune.pruning.structure.coupling.units import follow, read_by_constants
from hepprune.search.moves import Move
from hepprune.search.moves.neurons import Branch
from hepprune.search.sensitivity import ROW


@dataclass(frozen=True)
class GlobalMagnitude:
    """The proposal of plain global magnitude pruning: the smallest weights of the whole network.

    It is what the search is compared with (Han et al., arXiv:1506.02626). The largest weight of each output's value
    stays, and one that leads there from an input: what loses its last one is lost for good, and the comparison would
    be with a tagger of fewer classes. Where only whole DSP rows pay, whole rows go. `adaptive` makes the weights of
    layers comparable before they are ranked (LAMP, Lee et al., arXiv:2010.07611). With `bypassing` only layers keep
    a weight that an output cannot do without: the others lead around, as a sum around a branch does.
    """

    granularity: str = "weight"
    adaptive: bool = False
    bypassing: bool = False

    def __call__(self, network: Network, statistics: Statistics, fraction: float) -> Iterator[Move]:
        """Yield the one move."""
        kernels, kept = network.kernels, _kept(network)
        if self.bypassing:
            kept = {name: kept[name] for name in kept.keys() & needed(network)}
        alive = torch.cat([kernel.digit_limit.flatten() > 0 for kernel in kernels])
        compare = NORMALISATIONS["lamp" if self.adaptive else "none"]
        weights = torch.cat([self._magnitudes(kernel, kept.get(kernel.name), compare) for kernel in kernels])
        free = int((weights < torch.inf).sum())
        n_cut = min(max(1, round(fraction * int(alive.sum()))), free - 1)
        if n_cut < 1:
            return
        chosen = torch.zeros_like(alive)
        chosen[torch.argsort(weights, stable=True)[:n_cut]] = True
        parts = torch.split(chosen, [kernel.weight.numel() for kernel in kernels])
        units = [tuple(torch.nonzero(part).flatten().tolist()) for part in parts]
        cuts = tuple(Cut(k.name, "weight", u) for k, u in zip(kernels, units, strict=True) if u)
        yield Move(cuts, 0.0, "layer-adaptive magnitude" if self.adaptive else "global magnitude")

    def _magnitudes(self, kernel: Kernel, kept: Tensor | None, compare: Callable[[Tensor], Tensor]) -> Tensor:
        """Return the magnitudes of a kernel's weights, flat; infinite where there is nothing to cut.

        Where rows go, that of a weight is the mean of its DSP row, so that whole rows come one after the other.
        """
        acts = kernel.digit_limit.flatten() > 0
        sizes = compare(torch.where(acts, kernel.weight.detach().abs().flatten(), 0.0))
        found = torch.where(acts if kept is None else acts & ~kept.flatten(), sizes, torch.inf)
        if self.granularity != ROW:
            return found
        rows = granularities.groups(kernel, ROW)
        total = found.new_zeros(int(rows[-1]) + 1).index_add(0, rows[acts], found[acts])
        mean = total / torch.bincount(rows[acts], minlength=len(total))
        return torch.where(acts, mean[rows], torch.inf)


def _kept(network: Network) -> dict[str, Tensor]:
    """Return the weights that stay, (n_rows, terms) by the kernel's name: a path from an input to each output's value.

    Of a recurrent layer one stays that a state's next value comes from.
    """
    units, kept = follow(network), dict[str, Tensor]()
    path = {int(unit) for name in network.raw_outputs for ids in units.values[name] for unit in ids}
    path |= read_by_constants(network, units)
    for layer in reversed([layer for layer in network if layer.kernels]):
        kernel, made = layer.kernels[0], units.carried.get(layer.name, units.made.get(layer.name))
        if made is None:
            continue
        wanted = torch.tensor([int(unit) in path for unit in made])
        n_gates = kernel.n_rows // len(made)
        gate = torch.arange(n_gates) == min(2, n_gates - 1)
        rows = torch.nonzero((gate[:, None] & wanted).flatten()).flatten()
        acts = kernel.digit_limit.flatten(1) > 0
        terms = torch.where(acts, kernel.weight.detach().abs().flatten(1), -1.0).argmax(dim=1)[rows]
        kept[kernel.name] = torch.zeros_like(acts).index_put((rows, terms), torch.tensor(True))
        read = units.read.get(layer.name)
        path |= set() if read is None else {int(read[term % kernel.n_columns]) for term in terms.tolist()}
    return kept


def needed(network: Network) -> set[str]:
    """Return the kernels that an output cannot do without, tried from the last on."""
    gone: tuple[Kernel, ...] = ()
    for kernel in reversed(network.kernels):
        values = constants(masks.apply(network, Branch("bypassed", (*gone, kernel)).cuts))
        if not any(bool(values[name].isfinite().any()) for name in network.raw_outputs):
            gone = (*gone, kernel)
    return {kernel.name for kernel in network.kernels} - {kernel.name for kernel in gone}
