"""Solvers: which option to take for each layer, so that a budget holds and the metric suffers least.

Each takes a Problem and returns a Solution with its Pareto front; a new one is one decorated function.
"""

from hepprune.search.solvers.dynamic import dynamic_programming
from hepprune.search.solvers.evolve import evolve
from hepprune.search.solvers.greedy import greedy
from hepprune.search.solvers.milp import exact
from hepprune.search.solvers.registry import SOLVERS, Solver, find, gap, solver

__all__ = ["SOLVERS", "Solver", "dynamic_programming", "evolve", "exact", "find", "gap", "greedy", "solver"]
