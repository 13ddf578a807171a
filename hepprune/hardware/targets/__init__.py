"""Where a network has to run: the clock, the chip and the budget of a trigger, each preset with its source."""

from hepprune.hardware.targets.files import TARGETS, load
from hepprune.hardware.targets.target import BUNCH_CROSSING_NS, Target, levels_per_cycle

__all__ = ["BUNCH_CROSSING_NS", "TARGETS", "Target", "levels_per_cycle", "load"]
