"""What matters in a network, and how to take away what does not."""

from hepprune.pruning import coupling, importance, masks, plan, statistics, surgery

__all__ = ["coupling", "importance", "masks", "plan", "statistics", "surgery"]
