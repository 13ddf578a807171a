"""Solvers: which option to take for each layer, so that a budget holds and the metric suffers least.

Each takes a Problem and returns a Solution with its Pareto front; a new one is one function in the table.
"""

from typing import Protocol

from hepprune.errors import RecipeError, check_known
from hepprune.search.plans.choices import PlanProblem
from hepprune.search.plans.pareto import PlanSolution
from hepprune.search.plans.solvers.evolve import check_trials, evolve
from hepprune.search.plans.solvers.greedy import greedy
from hepprune.search.plans.solvers.milp import dynamic_programming, exact

__all__ = ["SOLVERS", "Solver", "check_trials", "dynamic_programming", "evolve", "exact", "find", "greedy"]


class Solver(Protocol):
    """Finds a plan that meets every limit of a problem.

    Raises:
        BudgetMissedError: there is none; the message names the limit that binds and the closest point.
    """

    def __call__(self, problem: PlanProblem, *, n_points: int = 12) -> PlanSolution:
        """Return the front, of about `n_points` plans where it is sampled, and the plan chosen."""


SOLVERS: dict[str, Solver] = {
    "dynamic_programming": dynamic_programming,
    "evolve": evolve,
    "greedy": greedy,
    "exact": exact,
}


def find(name: str) -> Solver:
    """Return the solver of that name."""
    check_known("solver", name, SOLVERS, RecipeError)
    return SOLVERS[name]
