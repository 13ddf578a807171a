"""One layer at a time in symbolic fixed-point arithmetic, exactly as the Network computes it.

What flows are arrays of variables (`hepprune.firmware.verilog.adders`) of the layer's shape. A layer that only moves
values is run on their places; one with a kernel is a constant matrix at each place.
"""

from hepprune.firmware.tracing import kernels, merging, tables
from hepprune.firmware.tracing.base import TRACES, trace

__all__ = ["TRACES", "kernels", "merging", "tables", "trace"]
