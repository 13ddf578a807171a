"""The optimum of the separable approximation, by mixed-integer programming (HiGHS, Huangfu and Hall 2018)."""

from collections.abc import Callable, Sequence
from typing import cast

import numpy as np

from hepprune.search.plans import pareto
from hepprune.search.plans.choices import PlanProblem
from hepprune.search.plans.knapsack import Floats, Knapsack
from hepprune.search.plans.pareto import Picks, PlanSolution

_OBJECTIVE = 1e4  # the scale of the losses: HiGHS stops at an absolute gap of 1e-6

# Returns the plan of least loss within a share of a knapsack's limits, None where there is none.
SolveKnapsack = Callable[[Knapsack, float], Picks | None]


def exact(problem: PlanProblem, *, n_points: int = 12) -> PlanSolution:
    """Return the plan of least loss within every limit, and the least loss at shares of the budget on a grid.

    Raises:
        BudgetMissedError: no plan meets the budget.
    """
    return swept(problem, optimum, name="exact", n_points=n_points)


def swept(problem: PlanProblem, solve: SolveKnapsack, *, name: str, n_points: int) -> PlanSolution:
    """Return the solution of a solver that takes a knapsack and a share of its limits."""
    knapsack = Knapsack.of(problem)
    best = solve(knapsack, 1.0)
    closest = cheapest(knapsack)
    if best is None:
        raise pareto.unreachable(knapsack, closest)
    least, most = (float(knapsack.worst(knapsack.use(picks))) for picks in (closest, least_loss(knapsack)))
    shares = np.linspace(least * (1 + 1e-9), max(most, 1.0), n_points if knapsack.names else 0)
    others = [solve(knapsack, float(share)) for share in shares]
    found = {picks for picks in (best, closest, *others) if picks is not None}
    plans = {picks: pareto.plan(problem, knapsack, picks) for picks in sorted(found)}
    return PlanSolution(solver=name, front=pareto.front(plans.values()), chosen=plans[best], optimal=True)


def least_loss(knapsack: Knapsack) -> Picks:
    """Return the plan of least loss, whatever it uses."""
    return tuple(int(np.argmin(losses)) for losses in knapsack.losses)


def optimum(knapsack: Knapsack, share: float = 1.0) -> Picks | None:
    """Return the plan of least loss within a share of the limits, None where there is none."""
    losses = np.concatenate(knapsack.losses)
    objective = losses * (_OBJECTIVE / max(float(np.abs(losses).max()), 1e-300))
    limits = knapsack.limits * share - knapsack.fixed
    if (limits < -1e-9 * np.abs(knapsack.limits)).any():
        return None
    rows = np.concatenate(knapsack.uses).T
    sizes = np.maximum(np.abs(rows).max(axis=1, initial=0.0), 1e-300)
    excluded: list[Floats] = []
    while True:  # HiGHS takes plans for feasible that are not, by its tolerance; each of them is ruled out
        bounds = [(rows / sizes[:, None], limits / sizes)] if len(rows) else []
        bounds += [(chosen[None], chosen.sum() - 1) for chosen in excluded]
        picks = _solved(knapsack, objective, bounds)
        if picks is None or knapsack.fits(knapsack.use(picks), share):
            return picks
        parts = [np.eye(len(losses))[pick] for losses, pick in zip(knapsack.losses, picks, strict=True)]
        excluded.append(np.concatenate(parts))


def cheapest(knapsack: Knapsack) -> Picks:
    """Return the plan whose worst share of any limit is smallest, the closest point to a budget out of reach."""
    limited = knapsack.limits > 0
    rows = np.concatenate(knapsack.uses).T[limited] / knapsack.limits[limited, None]
    if not len(rows):
        return least_loss(knapsack)
    fixed = (knapsack.fixed / np.where(limited, knapsack.limits, 1.0))[limited]
    worst = np.append(np.zeros(rows.shape[1]), 1.0)
    found = _solved(knapsack, worst, [(np.hstack([rows, -np.ones((len(rows), 1))]), -fixed)])
    return cast("Picks", found)


def _solved(knapsack: Knapsack, objective: Floats, most: Sequence[tuple[Floats, Floats | float]]) -> Picks | None:
    """Return the option of each choice at the least objective under which no row is more than its most.

    What the objective has beyond the options may be any number from zero up.
    """
    from scipy.optimize import Bounds, LinearConstraint, milp

    sizes = [len(losses) for losses in knapsack.losses]
    more = len(objective) - sum(sizes)
    one_each = np.hstack([np.repeat(np.eye(len(sizes)), sizes, axis=1), np.zeros((len(sizes), more))])
    found = milp(
        objective,
        constraints=[LinearConstraint(one_each, 1, 1), *(LinearConstraint(rows, -np.inf, top) for rows, top in most)],
        integrality=np.append(np.ones(sum(sizes), dtype=np.int64), np.zeros(more, dtype=np.int64)),
        bounds=Bounds(np.zeros(len(objective)), np.append(np.ones(sum(sizes)), np.full(more, np.inf))),
        options={"mip_rel_gap": 0},
    )
    if found.x is None:
        return None
    parts = np.split(np.asarray(found.x)[: sum(sizes)], np.cumsum(sizes)[:-1])
    return tuple(int(np.argmax(part)) for part in parts)
