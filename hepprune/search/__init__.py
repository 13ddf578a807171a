"""Which layers can give, and how much to take from each until a budget holds."""

from hepprune.search import greedy, moves, sensitivity, stages, uniform

__all__ = ["greedy", "moves", "sensitivity", "stages", "uniform"]
