"""What matters in a network, and how to take away what does not."""

from hepprune.pruning import importance, masks, plan, statistics
from hepprune.pruning.structure import coupling, surgery

__all__ = ["coupling", "importance", "masks", "plan", "statistics", "surgery"]
