"""Settling: from the separable approximation to a plan that the price of the whole network confirms.

The whole network costs less than its layers alone say, where neurons are gone, and at times more. So the limits are
rescaled by what the last plan really costs, and the problem is solved again, until nothing changes.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from hepprune.errors import BudgetMissedError
from hepprune.search import pareto
from hepprune.search.choices import Knapsack, Problem
from hepprune.search.pareto import Plan, Solution
from hepprune.search.solvers import milp

_ROUNDS = 6
_SAME = 1e-3
_NEAR = 0.1, 10.0  # a plan is no basis for a correction beyond these

# Returns what a plan's whole networks use, as a share of each limit by name.
Shares = Callable[[Plan], Mapping[str, float]]


@dataclass(frozen=True)
class Settled:
    """A solution whose plan meets the budget as the whole networks are priced: the shares of the limits they use.

    `rounds` counts how often the problem was solved.
    """

    solution: Solution
    used: dict[str, float]
    rounds: int


def settle(problem: Problem, solve: Callable[[Problem], Solution], shares: Shares) -> Settled:
    """Return the plan of least predicted loss that whole networks confirm.

    Raises:
        BudgetMissedError: none does; it names the limit that binds and the closest point, as the whole networks are
            priced.
    """
    factors: dict[str, float] = {}
    best: Settled | None = None
    closest: dict[str, float] = {}
    for round_ in range(1, _ROUNDS + 1):
        scaled = problem.rescaled(factors)
        try:
            solution = solve(scaled)
        except BudgetMissedError:
            solution = None
        plan = _cheapest(scaled) if solution is None else solution.chosen
        used = dict(shares(plan))
        closest = min((closest, used), key=_worst) if closest else used
        if solution is not None and _worst(used) <= 1 and (best is None or plan.loss < best.solution.chosen.loss):
            best = Settled(solution, used, round_)
        corrected = {name: _correction(factors.get(name, 1.0) * plan.used[name], used[name]) for name in used}
        if all(abs(corrected[name] / factors.get(name, 1.0) - 1) < _SAME for name in corrected):
            break
        factors = corrected
    if best is None:
        name = max(closest, key=closest.__getitem__)
        limit = Knapsack.of(problem).limits[Knapsack.of(problem).names.index(name)]
        raise pareto.missed(name, float(limit), closest[name] * float(limit))
    return best


def _worst(used: Mapping[str, float]) -> float:
    return max(used.values(), default=0.0)


def _cheapest(problem: Problem) -> Plan:
    """Return the closest plan to a budget, which may be over it."""
    knapsack = Knapsack.of(problem)
    return pareto.plan(problem, knapsack, milp.cheapest(knapsack))


def _correction(predicted: float, real: float) -> float:
    """Return the factor of a limit that makes up for plans costing less, or more, than is predicted."""
    if predicted <= 0 or real <= 0:
        return 1.0
    low, high = _NEAR
    return min(max(predicted / real, low), high)
