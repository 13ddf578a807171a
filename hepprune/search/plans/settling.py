"""Settling: the plan of least loss that whole networks confirm, from an atlas that does not depend on the budget.

Where no plan of the atlas fits, plans near the closest are priced until one does; only then is a budget called out of
reach, and the error says whether every plan was priced or how many were.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from hepprune.search.plans import exploring, pareto
from hepprune.search.plans.atlas import Atlas, Figures, Whole
from hepprune.search.plans.choices import PlanProblem
from hepprune.search.plans.exploring import Chart
from hepprune.search.plans.knapsack import missed
from hepprune.search.plans.links import Links
from hepprune.search.plans.pareto import Plan, PlanSolution, PlanStep

_RESCUED = 240  # plans that are priced beyond the atlas where none of it fits
EXHAUSTED = 3000  # plans up to which all are priced before a budget is called out of reach
_POINTS = 12  # of a front

# Returns a plan with the loss and error that its whole networks have.
Judge = Callable[[Plan], Plan]


@dataclass(frozen=True)
class Settled:
    """A solution whose plan meets the budget as the whole networks are priced: the shares of the limits they use.

    The front and the chosen plan have the losses of whole networks. `n_priced` of `n_plans` plans were priced whole.
    """

    solution: PlanSolution
    used: dict[str, float]
    n_priced: int
    n_plans: int


def settle(
    problem: PlanProblem,
    atlas: Atlas,
    judge: Judge = lambda plan: plan,
    *,
    name: str = "greedy",
    also: tuple[Whole, ...] = (),
    exhausted: int = EXHAUSTED,
) -> Settled:
    """Return the plan of least loss, as `judge` sees whole networks, of the atlas and `also` others.

    `name` is the solver's that led there. Up to `exhausted` plans all are priced before a budget is called
    out of reach.

    Raises:
        BudgetMissedError: none meets the budget; it names the limit that binds and the closest point, as the whole
            networks are priced.
    """
    limits = problem.limits
    contenders = [*atlas.contenders(), *also]
    fitting = [whole for whole in contenders if whole.fits(limits)] or _rescued(problem, atlas, exhausted)
    if not fitting:
        closest = atlas.closest(limits)
        shares = closest.shares(limits)
        binding = max(shares, key=shares.__getitem__)
        tried = f" ({'all' if atlas.complete else f'{len(atlas):,}'} of {atlas.n_plans:,} plans priced)"
        raise missed(binding, limits[binding], closest.figures.get(binding, math.inf), tried=tried)
    judged = [_judged(whole, judge, problem.sums) for whole in fitting]
    chosen = min(judged, key=lambda plan: (plan.loss, plan.worst))
    beyond = [_judged(whole, judge, problem.sums) for whole in _over(contenders, problem)]
    front = pareto.thinned(pareto.front([*judged, *beyond]), _POINTS)
    n_priced = len(atlas)
    steps = tuple(_steps(problem, atlas, chosen))
    solution = PlanSolution(solver=name, front=front, chosen=chosen, optimal=atlas.complete, steps=steps)
    return Settled(solution, chosen.used, n_priced, atlas.n_plans)


def _judged(whole: Whole, judge: Judge, limits: Figures) -> Plan:
    return replace(judge(whole.plan), used=whole.shares(limits))


def _over(contenders: list[Whole], problem: PlanProblem) -> list[Whole]:
    """Return a few plans over the limits on cells or latency that lose less than others which are no further over."""
    quick = (whole for whole in contenders if whole.fits(problem.intervals))
    over = {whole.plan.key: whole for whole in quick if not whole.fits(problem.sums)}
    plans = [replace(whole.plan, used=whole.shares(problem.sums)) for whole in over.values()]
    return [over[plan.key] for plan in pareto.thinned(pareto.front(plans), _POINTS)]


def _rescued(problem: PlanProblem, atlas: Atlas, exhausted: int) -> list[Whole]:
    """Return what fits among plans near those closest to the limits, and then among all where they can be priced."""
    limits = problem.limits
    if not atlas.complete:
        chart = Chart.of(problem, atlas)
        for whole in list(atlas):
            chart.price(chart.links.picks(whole.plan))
        exploring.refine(chart, chart.weights(limits), n=_RESCUED, until=lambda: atlas.closest(limits).fits(limits))
        if not atlas.closest(limits).fits(limits) and atlas.n_plans <= exhausted:
            exploring.exhaust(problem, atlas)
    return [whole for whole in atlas if whole.fits(limits)]


def _steps(problem: PlanProblem, atlas: Atlas, chosen: Plan) -> Iterator[PlanStep]:
    """Yield the steps of the solution that is nearest to a plan, then what lies between, each priced as a whole."""
    links, limits = Links.of(problem.limited({})), problem.sums
    wanted = links.picks(chosen)

    def apart(solution: PlanSolution) -> tuple[int, float]:  # in how many layers, and by how much in loss
        pairs = [(a.option, b.option) for a, b in zip(solution.chosen.picks, chosen.picks, strict=True)]
        return sum(a.key != b.key for a, b in pairs), abs(sum(a.loss - b.loss for a, b in pairs))

    near = min((solution for solution in atlas.solutions if solution.steps), key=apart, default=None)
    steps = () if near is None else near.steps
    changes = [(problem.places.index((step.model, step.layer)), step.after, step.reason) for step in steps]
    changes += [(choice, chosen.picks[choice].option, "found on whole networks") for choice in range(len(wanted))]
    picks = list(links.knapsack.start)
    for choice, option, reason in changes:
        place = next(place for place, each in enumerate(links.options[choice]) if each.key == option.key)
        if picks[choice] == place:
            continue
        before, used = links.options[choice][picks[choice]], atlas.add(links.plan(picks)).shares(limits)
        picks[choice], after = place, links.options[choice][place]
        left = atlas.add(links.plan(picks)).shares(limits)
        freed = {name: used[name] - left[name] for name in limits}
        yield PlanStep.of(problem.places[choice], before, after, freed=freed, reason=reason)
