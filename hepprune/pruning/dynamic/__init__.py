"""Pruning during inference: what is computed depends on the jet.

Early exits end a network where it is sure, and gates choose the channels that are worth computing. Firmware that takes
a jet each clock cycle has to build, and to wait for, all that any jet may need: its cost is the worst case. A mean cost
below that is worth something on processors, in firmware that shares its multipliers over several cycles (II > 1), and
where everything after the last exit lies behind the stage whose latency is budgeted.
"""

from hepprune.pruning.dynamic.exits import Branched, Exited, leave, losses, with_exits
from hepprune.pruning.dynamic.gates import Gated, Work, gated_work, multiplications, opened, penalty, with_gates

__all__ = ["Branched", "Exited", "Gated", "Work", "gated_work", "leave", "losses", "multiplications"]
__all__ += ["opened", "penalty", "with_exits", "with_gates"]
