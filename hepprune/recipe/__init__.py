"""recipe.yaml -> Recipe: everything one run needs, checked before anything starts; unknown keys are refused."""

from hepprune.recipe.data import Data
from hepprune.recipe.outputs import Head
from hepprune.recipe.reading import load, pruning
from hepprune.recipe.recipe import Recipe
from hepprune.recipe.sections import (
    Bits,
    Checks,
    Limits,
    Model,
    Prune,
    Search,
    Synthesis,
    Training,
)

__all__ = [
    "Bits",
    "Checks",
    "Data",
    "Head",
    "Limits",
    "Model",
    "Prune",
    "Recipe",
    "Search",
    "Synthesis",
    "Training",
    "load",
    "pruning",
]
