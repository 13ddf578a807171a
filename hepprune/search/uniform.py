"""What the search is measured against: plain global magnitude pruning, fine-tuned the same way, at the same cost."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from hepprune.errors import BudgetMissedError
from hepprune.hardware.resources import Budget, Resources
from hepprune.network import Kernel, Network
from hepprune.pruning import granularity as granularities
from hepprune.pruning import masks
from hepprune.pruning.masks import Cut
from hepprune.pruning.selection import NORMALISATIONS
from hepprune.pruning.statistics import Statistics
from hepprune.pruning.structure import surgery
from hepprune.pruning.structure.constants import constants
from hepprune.pruning.structure.coupling.units import follow, read_by_constants
from hepprune.search import greedy
from hepprune.search.moves import Move, knobs
from hepprune.search.moves.neurons import ROW, Branch
from hepprune.search.stages import Outcome, Problem, Settings
from hepprune.training import Fit

BELOW, ABOVE = 0.01, 0.05  # how far its cost may lie from the goal; fine-tuning moves it by more than any aim is fine
_ATTEMPTS, _FINER, _STEP = 5, 3, 0.01
_LEAST = 1.0  # LUT


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


def match(
    network: Network,
    problem: Problem,
    *,
    cost: Callable[[Network], float],
    goal: float,
    granularity: str = "weight",
    state: Path | None = None,
    advance: Callable[[int], None] = lambda _: None,
) -> Outcome:
    """Return the network that global magnitude pruning gives at a `cost` of `goal`, 1 % less to 5 % more.

    `cost` is exact (a solved adder graph), while the search steers by the price; the limit is corrected by their ratio
    until the cost lies where it should, so that the comparison favours this network and not the search. Where the cost
    falls past the goal with the last weights of a layer, as all that only they supplied goes too, the way on begins
    at the whole network without that layer. A cost of less than one counts as one, as a graph without adders has none.
    Where weights alone cannot lead there, layers' own scales are evened out, then layers may go that an output can do
    without, then the goal is doubled until they can.

    Raises:
        BudgetMissedError: no cut frees anything, whatever the goal.
    """
    goal = max(goal, _LEAST)
    limit = (1 + ABOVE) * goal
    found: list[tuple[float, Outcome]] = []
    error: BudgetMissedError | None = None
    whole = begin = network
    settings, propose = _spread(problem.settings), GlobalMagnitude(granularity)
    left = _ATTEMPTS  # beside those that other means need, of which there are but few
    while left:
        left -= 1
        budget = Budget(resources=Resources(lut=limit))
        attempt = replace(problem, budget=budget, propose=propose, settings=settings)
        try:
            outcome = greedy.search(begin, attempt, state=state, advance=lambda _: advance(1))
        except BudgetMissedError as missed:
            if found:
                break
            error, before, propose = missed, propose, _freer(propose, whole)
            if propose == before:
                limit, goal = 2 * limit, 2 * goal
            left += propose.bypassing and not before.bypassing
            continue
        reached = max(cost(outcome.network), _LEAST)
        found.append((reached, outcome))
        if -BELOW <= reached / goal - 1 <= ABOVE:
            return outcome
        correction = (1 + ABOVE / 2) * goal / reached
        if reached > goal:  # what is too much can still be trimmed
            begin, settings, limit = outcome.network, replace(settings, stages=1), limit * correction
            continue
        smaller, settings = _without_dead(whole, outcome.network), _spread(problem.settings)
        limit, left = (limit * correction, left) if smaller is whole else ((1 + ABOVE) * goal, left + 1)
        whole = begin = smaller
    if not found and error is not None:
        raise error
    # No attempt came that close: the nearest, whose cost the summary shows.
    return min(found, key=lambda pair: abs(pair[0] / goal - 1))[1]


def _freer(propose: GlobalMagnitude, whole: Network) -> GlobalMagnitude:
    """Return a proposal that may cut what this one keeps, itself where none may."""
    if not propose.adaptive:
        return replace(propose, adaptive=True)
    return replace(propose, bypassing=len(needed(whole)) < len(whole.kernels))


def _without_dead(whole: Network, pruned: Network) -> Network:
    """Return the whole network without the weights of layers that pruning left none, itself where there are none."""
    left = {kernel.name for kernel in pruned.kernels if kernel.used().any()}
    lost = [kernel for kernel in whole.kernels if kernel.name not in left and kernel.used().any()]
    return knobs.settled(surgery.shrink(whole, Branch("pruned", tuple(lost)).cuts)) if lost else whole


def _spread(own: Settings) -> Settings:
    """Return as much training over more and smaller cuts, which suits weights that are cut for good."""
    short = replace(own.fine_tune, epochs=-(-own.fine_tune.epochs // _FINER))
    spread = replace(own, digits=False, bits=False, step=_STEP, stages=own.stages * _FINER, fine_tune=short)
    return spread if own.allocate is None else _as_long(spread, own.allocate)


def _as_long(own: Settings, whole: Fit) -> Settings:
    """Return settings whose cuts, of an epoch each, and long training are together as long as an allocation."""
    n_cuts = min(own.stages - 2, whole.epochs // 2)
    short, settle = replace(whole, epochs=1), replace(whole, epochs=max(whole.epochs - n_cuts, 1))
    return replace(own, allocate=None, stages=n_cuts + 2, fine_tune=short, settle=settle)
