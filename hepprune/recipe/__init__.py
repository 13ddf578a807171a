"""recipe.yaml -> Recipe: everything one run needs, checked before anything starts; unknown keys are refused."""

from hepprune.recipe.data import Data
from hepprune.recipe.outputs import Head
from hepprune.recipe.reading import as_front, load, pruning
from hepprune.recipe.recipe import Recipe
from hepprune.recipe.sections import Bits, Checks, Limits, Model, Prune, Search, Synthesis, Teacher, Training

__all__ = ["Bits", "Checks", "Data", "Head", "Limits", "Model", "Prune", "Recipe", "Search", "Synthesis", "Teacher"]
__all__ += ["Training", "as_front", "load", "pruning"]
