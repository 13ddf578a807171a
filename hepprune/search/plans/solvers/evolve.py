"""The evolutionary solver, for what is not separable: NSGA-II (Deb et al. 2002) on whole plans, through Optuna."""

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from hepprune.errors import RecipeError, explained
from hepprune.search.plans import pareto
from hepprune.search.plans.choices import PlanProblem
from hepprune.search.plans.knapsack import Knapsack, missed
from hepprune.search.plans.links import Links
from hepprune.search.plans.pareto import Picks, Plan, PlanSolution
from hepprune.search.plans.solvers import milp, paths

if TYPE_CHECKING:
    import optuna

POPULATION = 32
_WORST = 1e9  # stands for infinity, which Optuna refuses
# Takes a plan and returns it with the loss, error and shares of the limits that the whole network has.
Evaluate = Callable[[Plan], Plan]


def evolve(
    problem: PlanProblem,
    *,
    n_points: int = 12,
    evaluate: Evaluate = lambda plan: plan,
    start: Sequence[Plan] = (),
    n_trials: int = 300,
    population: int = POPULATION,
    seed: int = 0,
    advance: Callable[[int], None] = lambda _: None,
) -> PlanSolution:
    """Return the front of all plans tried, and the best of them that fits, as `evaluate` sees them.

    The first generation holds the plans to `start` from and plans of the greedy paths. Without `evaluate` the
    separable approximation is judged.
    The same seed gives the same plans, so that an `evaluate` that remembers resumes an interrupted search.

    Raises:
        BudgetMissedError: none of the plans tried meets the budget.
        RecipeError: Optuna is not installed, or fewer trials than one generation are asked for.
    """
    check_trials(n_trials, population)
    knapsack = Knapsack.of(problem)
    study = _study(population, seed)
    given = [Links.of(problem).picks(plan) for plan in start]
    for picks in list(dict.fromkeys([*given, *_first_generation(knapsack)]))[: population // 2]:
        study.enqueue_trial({str(place): pick for place, pick in enumerate(picks)})
    seen: dict[Picks, Plan] = {}
    for _ in range(n_trials):
        trial = study.ask()
        picks = tuple(trial.suggest_int(str(place), 0, len(losses) - 1) for place, losses in enumerate(knapsack.losses))
        if picks not in seen:
            seen[picks] = evaluate(pareto.plan(problem, knapsack, picks))
        study.tell(trial, [seen[picks].loss, min(seen[picks].worst, _WORST)])
        advance(1)
    return _solution(seen, knapsack, n_points)


def check_trials(n_trials: int, population: int = POPULATION) -> None:
    """Refuse fewer trials than one generation.

    Raises:
        RecipeError: they are.
    """
    if n_trials < population:
        raise RecipeError(f"{n_trials} trials are fewer than one generation of {population}")


def _study(population: int, seed: int) -> "optuna.Study":
    with explained(RecipeError, "the solver 'evolve' needs Optuna: pip install 'hepprune[search]'", ImportError):
        import optuna
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    sampler = optuna.samplers.NSGAIISampler(population_size=population, seed=seed)
    return optuna.create_study(directions=["minimize", "minimize"], sampler=sampler)


def _first_generation(knapsack: Knapsack) -> list[Picks]:
    """Return plans to start from: the greedy and the cheapest, and plans spread over the greedy paths."""
    candidates = list(paths.paths(knapsack))
    found = paths.search(candidates, knapsack)
    known = [milp.cheapest(knapsack)] + ([] if found is None else [found.picks])
    spread = [path.picks(round(part * len(path.steps))) for path in candidates for part in np.linspace(0, 1, 5)]
    return [*known, *spread]


def _solution(seen: dict[Picks, Plan], knapsack: Knapsack, n_points: int) -> PlanSolution:
    fitting = [plan for plan in seen.values() if plan.worst <= 1 + 1e-9]
    front = pareto.front(plan for plan in seen.values() if math.isfinite(plan.worst))
    if not fitting:
        used = min(seen.values(), key=lambda plan: plan.worst).used
        name = max(used, key=used.__getitem__)
        limit = float(knapsack.limits[knapsack.names.index(name)])
        raise missed(name, limit, used[name] * limit)
    chosen = min(fitting, key=lambda plan: (plan.loss, plan.worst))
    return PlanSolution(solver="evolve", front=pareto.thinned(front, n_points), chosen=chosen, optimal=False)
