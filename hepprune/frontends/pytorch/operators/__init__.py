"""What becomes of each aten operator."""

from hepprune.frontends.pytorch.operators import (  # noqa: F401 -- each registers its operators
    arithmetic,
    contraction,
    elementwise,
    growing,
    normalisation,
    pooling,
    recurrent,
    shaping,
    weighted,
)
from hepprune.frontends.pytorch.operators.registry import OPERATORS
from hepprune.frontends.pytorch.operators.shaping import MOVES, SAME

__all__ = ["MOVES", "OPERATORS", "SAME"]
