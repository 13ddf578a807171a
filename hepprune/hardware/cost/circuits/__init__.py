"""What the adder graph of any network costs, without tracing it: every operation that the firmware has, on ranges.

The firmware's own rules (`hepprune.firmware.tracing`) say which additions, comparisons, products and tables a layer
becomes; here the same are counted for all values of a layer at once, with da4ml's cost for each.
"""

from hepprune.hardware.cost.circuits.estimating import estimate, forget
from hepprune.hardware.cost.circuits.rules import CIRCUITS

__all__ = ["CIRCUITS", "estimate", "forget"]
