"""The order of things: jets -> baseline -> sensitivity -> search -> firmware -> synthesis -> calibration -> result."""

from hepprune.pipeline.context import silent
from hepprune.pipeline.front import front
from hepprune.pipeline.run import compare, run

__all__ = ["compare", "front", "run", "silent"]
