"""Cuts: moves taken one by one, each the best for what it frees of the limits that are still broken.

What a trim cuts, after the long training, it cuts as gently as may be. A move changes one layer. Where several sums
are equally deep, as in the step of a recurrent cell, none of them makes the design faster alone, and the moves that do
free something may cost more than the network is worth. So there is another way to the same goals: without the digits
that are worth least in all layers together.
"""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from functools import partial

import torch

from hepprune import metrics, training
from hepprune.errors import BudgetMissedError
from hepprune.hardware.resources import Estimate
from hepprune.network import Network
from hepprune.pruning import statistics
from hepprune.pruning.statistics import Statistics
from hepprune.search import allocation
from hepprune.search.moves import Move, gain, missed
from hepprune.search.moves.neurons import BLOCK
from hepprune.search.stages import Problem, Step

_TRIED = 4  # moves of which the objective is measured, the best as predicted
_SPARE = 0.02  # of the limits: how far below them a trim may lead where a smaller move leads on
Way = tuple[Network, tuple[Step, ...]]


def cut_until(network: Network, problem: Problem, goals: Mapping[str, float]) -> tuple[Network, tuple[Step, ...]]:
    """Return a masked network that uses no more of each limit than its goal, and the moves that led there.

    Each move is the one with the least predicted loss per share of the broken limits that it frees. With a metric as
    the objective, of the few best by that the one which loses least of the metric is taken. A trim is too short to
    train away what a whole branch is worth, and has no need to lead far beyond the goals: a move that does either is
    taken where no other frees anything.
    """
    gathered = gather(problem, network)
    steps: list[Step] = []
    estimate = problem.price(network)
    while _missing(problem.budget.usage(estimate), goals) > 0:
        move, freed, network, estimate = _best(network, estimate, problem, goals, gathered)
        loss, n_units = move.predicted_loss, move.n_units
        steps.append(Step(layers=move.layers, kind=move.kind, n_units=n_units, predicted_loss=loss, gain=freed))
    return network, tuple(steps)


def _missing(used: Mapping[str, float], goals: Mapping[str, float]) -> float:
    """Return by how much limits are used beyond their goals, in fractions of those limits."""
    return sum(max(0.0, value - goals[name]) for name, value in used.items())


def _best(
    network: Network, estimate: Estimate, problem: Problem, goals: Mapping[str, float], gathered: statistics.Statistics
) -> tuple[Move, float, Network, Estimate]:
    """Return the best move with what it frees and what it leads to, from the full step down to single units."""
    used = problem.budget.usage(estimate)
    candidates, most = [], _missing(used, goals) + _SPARE
    for move in problem.propose(network, gathered, problem.settings.step):
        masked = move.made(network)
        price = problem.price(masked)
        freed = gain(estimate, price, problem.budget, goals)
        if move.knobs:  # what frees one limit may take of another, of which none may break, or break further
            then = problem.budget.usage(price)
            if freed <= 0 or any(then[name] > max(1.0, used[name]) for name in used):
                continue
        loss = move.predicted_loss / freed if freed > 0 else move.predicted_loss
        avoided = (move.kind == BLOCK, freed > most) if problem.trims else ()
        candidates.append(((freed <= 0, *avoided, loss), move, freed, masked, price))
    if not candidates:
        raise missed(problem.budget, estimate, network)
    ranked = sorted(candidates, key=lambda candidate: candidate[0])
    if problem.settings.objective != "loss" and len(ranked) > 1:
        name, tried = problem.settings.objective, [masked for *_, masked, _ in ranked[:_TRIED]]
        scores = (training.scores(each, problem.validation, names=[name])[name] for each in (network, *tried))
        before, *after = scores
        changes = [metrics.difference(each, before) for each in after]
        lost = [metrics.lost(name, each.value) if each.significant else 0.0 for each in changes]
        shares = [each / freed if freed > 0 else each for each, (_, _, freed, _, _) in zip(lost, ranked, strict=False)]
        ranked = [ranked[min(range(len(shares)), key=lambda index: (*ranked[index][0][:-1], shares[index]))]]
    _, move, freed, masked, price = ranked[0]
    return move, freed, masked, price


def gather(problem: Problem, network: Network) -> statistics.Statistics:
    """Return what a problem's training jets tell of the weights and values of a network."""
    sample = problem.train.first(problem.settings.statistics_jets)
    return statistics.gather(*training.placed(network, sample))


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
