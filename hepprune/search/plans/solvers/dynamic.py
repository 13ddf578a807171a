"""The same optimum by dynamic programming: choice by choice, keeping every partial plan that could still be the best.

A partial plan goes when another costs no more of anything, when what is left cannot bring it within the limits, or when
a Lagrangian bound (Held and Karp 1971) says that it cannot beat a plan already known.
"""

import numpy as np

from hepprune.errors import RecipeError
from hepprune.search.plans import pareto
from hepprune.search.plans.choices import PlanProblem
from hepprune.search.plans.knapsack import Floats, Knapsack
from hepprune.search.plans.pareto import Picks, PlanSolution
from hepprune.search.plans.solvers import paths
from hepprune.search.plans.solvers.milp import swept

_MOST_STATES = 2**20
_COMPARED = 2**12  # states up to which every pair is compared; beyond, bounds alone thin them out
_TOLERANCE = 1e-12


def dynamic_programming(problem: PlanProblem, *, n_points: int = 12) -> PlanSolution:
    """Return what `exact` returns, found without a solver of linear programmes but for the bounds' multipliers.

    Raises:
        BudgetMissedError: no plan meets the budget.
        RecipeError: more than a million partial plans have to be kept.
    """
    return swept(problem, optimum, name="dynamic_programming", n_points=n_points)


def optimum(knapsack: Knapsack, share: float = 1.0) -> Picks | None:
    """Return the plan of least loss within a share of the limits, None where there is none."""
    kept = [pareto.nondominated(losses, uses) for losses, uses in zip(knapsack.losses, knapsack.uses, strict=True)]
    losses = [each[places] for each, places in zip(knapsack.losses, kept, strict=True)]
    uses = [each[places] for each, places in zip(knapsack.uses, kept, strict=True)]
    limits = knapsack.limits * share * (1 + 1e-9) + 1e-12 - knapsack.fixed
    known = paths.best(knapsack, share)
    incumbent = np.inf if known is None else knapsack.loss(known)
    prices = _multipliers(losses, uses, limits)
    needed, owed = _remaining(losses, uses, prices)
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


def _remaining(losses: list[Floats], uses: list[Floats], prices: Floats) -> tuple[Floats, Floats]:
    """Return what the choices from each place on need at least (n + 1, n_limits), and owe at those prices (n + 1,)."""
    n, width = len(losses), len(prices)
    needed, owed = np.zeros((n + 1, width)), np.zeros(n + 1)
    for place in reversed(range(n)):
        needed[place] = needed[place + 1] + uses[place].min(axis=0)
        owed[place] = owed[place + 1] + (losses[place] + uses[place] @ prices).min()
    return needed, owed


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
