"""Confirming: the plan of least loss that whole networks confirm, from priced plans that do not depend on the budget.

Where none of these fits, plans near the closest are priced until one does; only then is a budget called out of
reach, and the error says whether every plan was priced or how many were.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from hepprune.search.plans import exploring, pareto
from hepprune.search.plans.choices import PlanProblem
from hepprune.search.plans.exploring import Chart
from hepprune.search.plans.knapsack import missed
from hepprune.search.plans.links import Links
from hepprune.search.plans.pareto import Figures, Plan, PlanSolution, PlanStep, PricedPlan, PricedPlans

_RESCUED = 240  # plans that are priced beyond those explored where none of them fits
EXHAUSTED = 3000  # plans up to which all are priced before a budget is called out of reach
_POINTS = 12  # of a front

# Returns a plan with the loss and error that its whole networks have.
Evaluate = Callable[[Plan], Plan]


@dataclass(frozen=True, kw_only=True)
class Confirmed:
    """A solution whose plan meets the budget as the whole networks are priced: the shares of the limits they use.

    The front and the chosen plan have the losses of whole networks. `n_priced` of `n_plans` plans were priced whole.
    """

    solution: PlanSolution
    used: dict[str, float]
    n_priced: int
    n_plans: int


def confirm(
    problem: PlanProblem,
    plans: PricedPlans,
    evaluate: Evaluate = lambda plan: plan,
    *,
    name: str = "greedy",
    also: tuple[PricedPlan, ...] = (),
    exhausted: int = EXHAUSTED,
) -> Confirmed:
    """Return the plan of least loss, as `evaluate` sees whole networks, of priced plans and `also` others.

    `name` is the solver's that led there. Up to `exhausted` plans all are priced before a budget is called
    out of reach.

    Raises:
        BudgetMissedError: none meets the budget; it names the limit that binds and the closest point, as the whole
            networks are priced.
    """
    limits = problem.limits
    contenders = [*plans.contenders(), *also]
    fitting = [priced for priced in contenders if priced.fits(limits)] or _rescued(problem, plans, exhausted)
    if not fitting:
        closest = plans.closest(limits)
        shares = closest.shares(limits)
        binding = max(shares, key=shares.__getitem__)
        tried = f" ({'all' if plans.complete else f'{len(plans):,}'} of {plans.n_plans:,} plans priced)"
        raise missed(binding, limits[binding], closest.figures.get(binding, math.inf), tried=tried)
    evaluated = [_evaluated(priced, evaluate, problem.sums) for priced in fitting]
    chosen = min(evaluated, key=lambda plan: (plan.loss, plan.worst))
    beyond = [_evaluated(priced, evaluate, problem.sums) for priced in _over(contenders, problem)]
    front = pareto.thinned(pareto.front([*evaluated, *beyond]), _POINTS)
    steps = tuple(_steps(problem, plans, chosen))
    solution = PlanSolution(solver=name, front=front, chosen=chosen, optimal=plans.complete, steps=steps)
    return Confirmed(solution=solution, used=chosen.used, n_priced=len(plans), n_plans=plans.n_plans)


def _evaluated(priced: PricedPlan, evaluate: Evaluate, limits: Figures) -> Plan:
    return replace(evaluate(priced.plan), used=priced.shares(limits))


def _over(contenders: list[PricedPlan], problem: PlanProblem) -> list[PricedPlan]:
    """Return a few plans over the limits on cells or latency that lose less than others which are no further over."""
    quick = (priced for priced in contenders if priced.fits(problem.intervals))
    over = {priced.plan.key: priced for priced in quick if not priced.fits(problem.sums)}
    plans = [replace(priced.plan, used=priced.shares(problem.sums)) for priced in over.values()]
    return [over[plan.key] for plan in pareto.thinned(pareto.front(plans), _POINTS)]


def _rescued(problem: PlanProblem, plans: PricedPlans, exhausted: int) -> list[PricedPlan]:
    """Return what fits among plans near those closest to the limits, and then among all where they can be priced."""
    limits = problem.limits
    if not plans.complete:
        chart = Chart.of(problem, plans)
        for priced in list(plans):
            chart.price(chart.links.picks(priced.plan))
        exploring.refine(chart, chart.weights(limits), n=_RESCUED, until=lambda: plans.closest(limits).fits(limits))
        if not plans.closest(limits).fits(limits) and plans.n_plans <= exhausted:
            exploring.exhaust(problem, plans)
    return [priced for priced in plans if priced.fits(limits)]


def _steps(problem: PlanProblem, plans: PricedPlans, chosen: Plan) -> Iterator[PlanStep]:
    """Yield the steps of the solution that is nearest to a plan, then what lies between, each priced as a whole."""
    links, limits = Links.of(problem.limited({})), problem.sums
    wanted = links.picks(chosen)

    def apart(solution: PlanSolution) -> tuple[int, float]:  # in how many layers, and by how much in loss
        pairs = [(a.option, b.option) for a, b in zip(solution.chosen.picks, chosen.picks, strict=True)]
        return sum(a.key != b.key for a, b in pairs), abs(sum(a.loss - b.loss for a, b in pairs))

    near = min((solution for solution in plans.solutions if solution.steps), key=apart, default=None)
    steps = () if near is None else near.steps
    changes = [(problem.places.index((step.model, step.layer)), step.after, step.reason) for step in steps]
    changes += [(choice, chosen.picks[choice].option, "found on whole networks") for choice in range(len(wanted))]
    picks = list(links.knapsack.start)
    for choice, option, reason in changes:
        place = next(place for place, each in enumerate(links.knapsack.options[choice]) if each.key == option.key)
        if picks[choice] == place:
            continue
        before, used = links.knapsack.options[choice][picks[choice]], plans.add(links.plan(picks)).shares(limits)
        picks[choice], after = place, links.knapsack.options[choice][place]
        left = plans.add(links.plan(picks)).shares(limits)
        freed = {name: used[name] - left[name] for name in limits}
        yield PlanStep.of(problem.places[choice], before, after, freed=freed, reason=reason)
