"""What becomes of each aten operator."""

from importlib import import_module

from hepprune.frontends.pytorch.operators.registry import OPERATORS
from hepprune.frontends.pytorch.operators.shaping import MOVES, SAME

__all__ = ["MOVES", "OPERATORS", "SAME"]

for _name in ("arithmetic", "contraction", "normalisation", "pooling", "recurrent", "weighted"):
    import_module(f"{__name__}.{_name}")  # each registers its operators
