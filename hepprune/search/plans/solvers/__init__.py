"""Solvers: which option to take for each layer, so that a budget holds and the metric suffers least.

Each takes a Problem and returns a Solution with its Pareto front; a new one is one decorated function.
"""

from hepprune.search.plans.solvers.dynamic import dynamic_programming
from hepprune.search.plans.solvers.evolve import check_trials, evolve
from hepprune.search.plans.solvers.greedy import greedy
from hepprune.search.plans.solvers.milp import exact
from hepprune.search.plans.solvers.registry import SOLVERS, Solver, find, solver

__all__ = ["SOLVERS", "Solver", "check_trials", "dynamic_programming", "evolve", "exact", "find", "greedy", "solver"]
