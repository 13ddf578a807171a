"""Settling: the plan of least loss that whole networks confirm, from an atlas that does not depend on the budget.

Where no plan of the atlas fits, plans near the closest are priced until one does; only then is a budget called out of
reach, and the error says whether every plan was priced or how many were.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from hepprune.errors import BudgetMissedError
from hepprune.search.plans import exploring, pareto
from hepprune.search.plans.atlas import Atlas, Figures, Whole
from hepprune.search.plans.choices import Problem
from hepprune.search.plans.exploring import Chart
from hepprune.search.plans.links import Links
from hepprune.search.plans.pareto import Plan, Solution, Step

_RESCUED = 240  # plans that are priced beyond the atlas where none of it fits
_EXHAUSTED = 3000  # plans up to which all are priced before a budget is called out of reach
_POINTS = 12  # of a front

# Returns a plan with the loss and error that its whole networks have.
Judge = Callable[[Plan], Plan]


@dataclass(frozen=True)
class Settled:
    """A solution whose plan meets the budget as the whole networks are priced: the shares of the limits they use.

    The front and the chosen plan have the losses of whole networks. `n_priced` of `n_plans` plans were priced whole.
    """

    solution: Solution
    used: dict[str, float]
    n_priced: int
    n_plans: int


def settle(
    problem: Problem,
    atlas: Atlas,
    judge: Judge = lambda plan: plan,
    *,
    name: str = "greedy",
    also: tuple[Whole, ...] = (),
) -> Settled:
    """Return the plan of least loss, as `judge` sees whole networks, of the atlas and `also` others.

    `name` is the solver's that led there.

    Raises:
        BudgetMissedError: none meets the budget; it names the limit that binds and the closest point, as the whole
            networks are priced.
    """
    limits = problem.limits
    contenders = [*atlas.contenders(), *also]
    fitting = [whole for whole in contenders if whole.fits(limits)] or _rescued(problem, atlas)
    if not fitting:
        raise _unreachable(atlas, limits)
    judged = [_judged(whole, judge, limits) for whole in fitting]
    chosen = min(judged, key=lambda plan: (plan.loss, plan.worst))
    beyond = [_judged(whole, judge, limits) for whole in _over(contenders, limits)]
    front = pareto.thinned(pareto.front([*judged, *beyond]), _POINTS)
    n_priced = len(atlas)
    steps = tuple(_steps(problem, atlas, limits, chosen))
    solution = Solution(name, front, chosen, optimal=atlas.complete, steps=steps)
    return Settled(solution, chosen.used, n_priced, atlas.n_plans)


def _judged(whole: Whole, judge: Judge, limits: Figures) -> Plan:
    return replace(judge(whole.plan), used=whole.shares(limits))


def _over(contenders: list[Whole], limits: Figures) -> list[Whole]:
    """Return a few plans over the limits that lose less than others which are no further over."""
    over = {whole.plan.key: whole for whole in contenders if not whole.fits(limits)}
    plans = [replace(whole.plan, used=whole.shares(limits)) for whole in over.values()]
    return [over[plan.key] for plan in pareto.thinned(pareto.front(plans), _POINTS)]


def _rescued(problem: Problem, atlas: Atlas) -> list[Whole]:
    """Return what fits among plans near those closest to the limits, and then among all where they can be priced."""
    limits = problem.limits
    if not atlas.complete:
        chart = Chart.of(problem, atlas)
        for whole in list(atlas):
            chart.price(chart.links.picks(whole.plan))
        exploring.refine(chart, chart.weights(limits), n=_RESCUED, until=lambda: atlas.closest(limits).fits(limits))
        if not atlas.closest(limits).fits(limits) and atlas.n_plans <= _EXHAUSTED:
            exploring.exhaust(problem, atlas)
    return [whole for whole in atlas if whole.fits(limits)]


def _steps(problem: Problem, atlas: Atlas, limits: Figures, chosen: Plan) -> Iterator[Step]:
    """Yield the steps of the solution that is nearest to a plan in loss, and what lies between the two."""
    told = [solution for solution in atlas.solutions if solution.steps]
    lost = sum(pick.option.loss for pick in chosen.picks)
    near = min(told, key=lambda solution: abs(solution.chosen.loss - lost), default=None)
    if near is not None:
        yield from near.steps
    links = Links.of(problem.limited({}))
    before = list(links.start if near is None else links.picks(near.chosen))
    for choice, (pick, after) in enumerate(zip(chosen.picks, links.picks(chosen), strict=True)):
        if before[choice] != after:
            old, used = links.options[choice][before[choice]], atlas.add(links.plan(before)).shares(limits)
            before[choice] = after
            left = atlas.add(links.plan(before)).shares(limits)
            freed = {name: used[name] - left[name] for name in limits}
            loss, error = pick.option.loss - old.loss, max(old.error, pick.option.error)
            yield Step(pick.model, pick.layer, old, pick.option, loss, error, freed, "found on whole networks")


def _unreachable(atlas: Atlas, limits: Figures) -> BudgetMissedError:
    closest = atlas.closest(limits)
    shares = closest.shares(limits)
    name = max(shares, key=shares.__getitem__)
    tried = f"each of the {atlas.n_plans:,}" if atlas.complete else f"{len(atlas):,} of {atlas.n_plans:,}"
    figure = closest.figures.get(name, math.inf)
    return pareto.missed(name, limits[name], figure, told=f" ({tried} plans priced)")
