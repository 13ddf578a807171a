"""The table of solvers, by name."""

from typing import Protocol, TypeVar

from hepprune.errors import RecipeError, check_known
from hepprune.search.plans.choices import PlanProblem
from hepprune.search.plans.pareto import PlanSolution


class Solver(Protocol):
    """Finds a plan that meets every limit of a problem.

    Raises:
        BudgetMissedError: there is none; the message names the limit that binds and the closest point.
    """

    def __call__(self, problem: PlanProblem, *, n_points: int = 12) -> PlanSolution:
        """Return the front, of about `n_points` plans where it is sampled, and the plan chosen."""


S = TypeVar("S", bound=Solver)
SOLVERS: dict[str, Solver] = {}


def solver(function: S) -> S:
    """Register a solver under its own name."""
    SOLVERS[function.__name__] = function  # type: ignore[attr-defined]
    return function


def find(name: str) -> Solver:
    """Return the solver of that name."""
    check_known("solver", name, SOLVERS, RecipeError)
    return SOLVERS[name]
