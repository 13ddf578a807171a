"""What a trim cuts: what is over the budget after the long training, as gently as may be.

A move changes one layer. Where several sums are equally deep, as in the step of a recurrent cell, none of them makes
the design faster alone, and the moves that do free something may cost more than the network is worth. So there is
another way to the same goals: without the digits that are worth least in all layers together.
"""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from functools import partial

import torch

from hepprune import training
from hepprune.errors import BudgetMissedError
from hepprune.network import Network
from hepprune.pruning.statistics import Statistics
from hepprune.search import allocation
from hepprune.search.cutting import cut_until, gather
from hepprune.search.moves import gain, missed
from hepprune.search.stages import Problem, Step

Way = tuple[Network, tuple[Step, ...]]


def trim(network: Network, problem: Problem, goals: Mapping[str, float]) -> Way:
    """Return what is left within the goals, and the moves: of the ways there the one that validation loses least by.

    Raises:
        BudgetMissedError: there is none.
    """
    one_by_one = partial(cut_until, network, replace(problem, trims=True), goals)
    if not problem.settings.digits or problem.settings.bits:
        return one_by_one()
    try:
        moved = one_by_one()
    except BudgetMissedError:
        return fewer_digits(network, problem, goals)
    with suppress(BudgetMissedError):
        fewer = fewer_digits(network, problem, goals)
        judged = partial(training.validated, validation=problem.validation, monitor=problem.settings.objective)
        return fewer if judged(fewer[0]).beats(judged(moved[0])) else moved
    return moved


def fewer_digits(network: Network, problem: Problem, goals: Mapping[str, float]) -> Way:
    """Return a network without the digits that are worth least among all, and that as the one move.

    Raises:
        BudgetMissedError: even one digit a layer is too much.
    """
    found, gathered = network.clone(), gather(problem, network)
    usage, before = problem.budget.usage, problem.price(network)
    allocation.allocate(found, gathered, problem.price, fits=lambda figures: allocation.within(usage(figures), goals))
    after = problem.price(found)
    if not allocation.within(usage(after), goals):
        raise missed(problem.budget, after, found)
    return found, (_step(network, found, gathered, gain(before, after, problem.budget, goals)),)


@torch.no_grad()
def _step(before: Network, after: Network, gathered: Statistics, freed: float) -> Step:
    pairs = [(kernel, after.kernel(kernel.name)) for kernel in before.kernels]
    lost = [(int(old.digit_counts().sum() - new.digit_counts().sum()), old, new) for old, new in pairs]
    changed = [(old.name, (old.used() - new.used()) ** 2) for _, old, new in lost]
    loss = sum(float((gathered[name].weight_fisher * change).sum()) / 2 for name, change in changed)
    layers = tuple(old.name for n, old, _ in lost if n)
    return Step(layers=layers, kind="digit", n_units=sum(n for n, *_ in lost), predicted_loss=loss, gain=freed)
