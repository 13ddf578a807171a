"""Which layers can give, and how much to take from each until a budget holds."""

from hepprune.search import greedy, moves, sensitivity, stages, uniform
from hepprune.search.greedy import within

__all__ = ["greedy", "moves", "sensitivity", "stages", "uniform", "within"]
