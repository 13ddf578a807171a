"""Run a synthesis tool, read its reports, keep what was measured."""

from hepprune.synthesis import csynth, vendor, vivado, yosys  # each registers its tools and parsers
from hepprune.synthesis.job import Job
from hepprune.synthesis.reports import REPORT_PARSERS, read
from hepprune.synthesis.tools import SYNTHESIS_TOOLS, Tool, choose

__all__ = [
    "REPORT_PARSERS",
    "SYNTHESIS_TOOLS",
    "Job",
    "Tool",
    "choose",
    "csynth",
    "read",
    "vendor",
    "vivado",
    "yosys",
]
