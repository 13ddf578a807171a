"""The optimum of the separable approximation: integer programming (HiGHS, Huangfu and Hall 2018), or partial plans.

By dynamic programming, choice by choice, every partial plan is kept that could still be the best. One goes when another
costs no more of anything, when what is left cannot bring it within the limits, or when a Lagrangian bound (Held and
Karp 1971) says that it cannot beat a plan already known.
"""

from collections.abc import Callable, Sequence
from itertools import accumulate
from typing import cast

import numpy as np

from hepprune.errors import RecipeError
from hepprune.search.plans import pareto
from hepprune.search.plans.choices import PlanProblem
from hepprune.search.plans.knapsack import Floats, Knapsack
from hepprune.search.plans.pareto import Picks, PlanSolution
from hepprune.search.plans.solvers import paths

_OBJECTIVE = 1e4  # the scale of the losses: HiGHS stops at an absolute gap of 1e-6
# Returns the plan of least loss within a share of a knapsack's limits, None where there is none.
SolveKnapsack = Callable[[Knapsack, float], Picks | None]
_MOST_STATES = 2**20
_COMPARED = 2**12  # states up to which every pair is compared; beyond, bounds alone thin them out
_TOLERANCE = 1e-12


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


def dynamic_programming(problem: PlanProblem, *, n_points: int = 12) -> PlanSolution:
    """Return what `exact` returns, found without a solver of linear programmes but for the bounds' multipliers.

    Raises:
        BudgetMissedError: no plan meets the budget.
        RecipeError: more than a million partial plans have to be kept.
    """
    return swept(problem, by_states, name="dynamic_programming", n_points=n_points)


def by_states(knapsack: Knapsack, share: float = 1.0) -> Picks | None:
    """Return the plan of least loss within a share of the limits, None where there is none."""
    kept = [pareto.nondominated(losses, uses) for losses, uses in zip(knapsack.losses, knapsack.uses, strict=True)]
    losses = [each[places] for each, places in zip(knapsack.losses, kept, strict=True)]
    uses = [each[places] for each, places in zip(knapsack.uses, kept, strict=True)]
    limits = knapsack.limits * share * (1 + 1e-9) + 1e-12 - knapsack.fixed
    known = paths.best(knapsack, share)
    incumbent = np.inf if known is None else knapsack.loss(known)
    prices = _multipliers(losses, uses, limits)
    # what the choices from each place on need at least (n + 1, n_limits), and owe at those prices (n + 1,)
    least = (each.min(axis=0) for each in reversed(uses))
    needed = list(accumulate(least, initial=np.zeros(len(prices))))[::-1]
    dues = ((loss + use @ prices).min() for loss, use in zip(reversed(losses), reversed(uses), strict=True))
    owed = list(accumulate(dues, initial=0.0))[::-1]
    loss, use, picks = np.zeros(1), np.zeros((1, len(limits))), np.zeros((1, 0), dtype=np.int64)
    for place in range(len(losses)):
        loss = (loss[:, None] + losses[place]).ravel()
        use = (use[:, None] + uses[place]).reshape(len(loss), len(limits))
        picks = np.hstack([np.repeat(picks, len(kept[place]), axis=0), np.tile(kept[place], len(picks))[:, None]])
        bound = loss + use @ prices + owed[place + 1] - limits @ prices
        alive = (use + needed[place + 1] <= limits).all(axis=1) & (bound <= incumbent + _TOLERANCE)
        loss, use, picks = loss[alive], use[alive], picks[alive]
        if len(loss) > _MOST_STATES:
            raise RecipeError("dynamic programming has to keep more than a million partial plans here; use 'exact'")
        if 1 < len(loss) <= _COMPARED:
            best = pareto.nondominated(loss, use)
            loss, use, picks = loss[best], use[best], picks[best]
    if not len(loss):
        return known
    return tuple(picks[int(np.argmin(loss))].tolist())


def _multipliers(losses: list[Floats], uses: list[Floats], limits: Floats) -> Floats:
    """Return what a unit of each limit is worth in the linear relaxation, (n_limits,); zeros where it has no answer.

    Any prices that are not negative give a valid bound, so that rounding in them costs time and no optimum.
    """
    from scipy.optimize import linprog

    if not len(limits):
        return np.zeros(0)
    sizes = [len(each) for each in losses]
    found = linprog(
        np.concatenate(losses),
        A_ub=np.concatenate(uses).T,
        b_ub=limits,
        A_eq=np.repeat(np.eye(len(sizes)), sizes, axis=1),
        b_eq=np.ones(len(sizes)),
        bounds=(0, 1),
    )
    return np.zeros(len(limits)) if found.x is None else np.maximum(-found.ineqlin.marginals, 0.0)
