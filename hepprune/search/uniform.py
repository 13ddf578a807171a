"""What the search is measured against: plain global magnitude pruning, fine-tuned the same way, at the same cost."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from hepprune.errors import BudgetMissedError
from hepprune.hardware.resources import Budget, Resources
from hepprune.network import Network
from hepprune.pruning.structure import surgery
from hepprune.search import greedy
from hepprune.search.magnitude import GlobalMagnitude, needed
from hepprune.search.moves import knobs
from hepprune.search.moves.neurons import Branch
from hepprune.search.stages import Outcome, Problem, Settings
from hepprune.training import Fit

BELOW, ABOVE = 0.01, 0.05  # how far its cost may lie from the goal; fine-tuning moves it by more than any aim is fine
_ATTEMPTS, _FINER, _STEP = 5, 3, 0.01
_LEAST = 1.0  # LUT


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
