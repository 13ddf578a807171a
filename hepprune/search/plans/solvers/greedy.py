"""The greedy solver: from the best plan down, each step explained: what was cut, why, and what it cost."""

from collections.abc import Iterator

from hepprune.search.plans import pareto
from hepprune.search.plans.choices import PlanProblem
from hepprune.search.plans.knapsack import Knapsack
from hepprune.search.plans.pareto import PlanSolution, PlanStep
from hepprune.search.plans.solvers import milp, paths


def greedy(problem: PlanProblem, *, n_points: int = 12) -> PlanSolution:
    """Return the best plan on the greedy paths of `solvers.paths`, with the steps that lead to it.

    Where no plan of any path fits, the closest point that `exact` knows decides whether the budget can be met at all,
    and is taken if it can.

    Raises:
        BudgetMissedError: no plan meets the budget.
    """
    knapsack = Knapsack.of(problem)
    candidates = list(paths.paths(knapsack))
    found = paths.search(candidates, knapsack)
    if found is None:
        return _rescued(problem, knapsack)
    on_paths = (path.picks(n) for path in candidates for n in range(len(path.losses)))
    named = {picks: pareto.plan(problem, knapsack, picks) for picks in {*on_paths, found.picks}}
    front = pareto.thinned(pareto.front(named.values()), n_points)
    changes = list(found.path.steps[: found.n_steps])
    reasons = ["the least loss per share freed"] * len(changes)
    if found.extra is not None:
        changes.append(found.extra)
        reasons.append("the best single change that still fits")
    steps = tuple(_explained(problem, knapsack, list(found.path.start), changes, reasons))
    return PlanSolution(solver="greedy", front=front, chosen=named[found.picks], optimal=False, steps=steps)


def _rescued(problem: PlanProblem, knapsack: Knapsack) -> PlanSolution:
    closest = milp.cheapest(knapsack)
    if not knapsack.fits(knapsack.use(closest)):
        raise pareto.unreachable(knapsack, closest)
    picks = milp.optimum(knapsack) or closest
    plan = pareto.plan(problem, knapsack, picks)
    start = milp.least_loss(knapsack)
    why = "no greedy path ends within the budget; the exact solver's plan is taken"
    changes = [(choice, option) for choice, option in enumerate(picks) if option != start[choice]]
    steps = tuple(_explained(problem, knapsack, list(start), changes, [why] * len(changes)))
    return PlanSolution(solver="greedy", front=(plan,), chosen=plan, optimal=True, steps=steps)


def _explained(
    problem: PlanProblem, knapsack: Knapsack, picks: list[int], changes: list[tuple[int, int]], reasons: list[str]
) -> Iterator[PlanStep]:
    """Yield the steps that change one choice after the other."""
    for (choice, option), reason in zip(changes, reasons, strict=True):
        before, after = (knapsack.options[choice][place] for place in (picks[choice], option))
        freed = knapsack.uses[choice][picks[choice]] - knapsack.uses[choice][option]
        each = zip(knapsack.names, freed, knapsack.limits, strict=True)
        shares = {name: float(value / limit) if limit else 0.0 for name, value, limit in each}
        yield PlanStep.of(problem.places[choice], before, after, freed=shares, reason=reason)
        picks[choice] = option
