"""Run a synthesis tool, read its reports, keep what was measured."""

from hepprune.synthesis import (  # each registers its tools and parsers
    cosim,
    csynth,
    csynth_text,
    csynth_tree,
    logs,
    oneapi,
    solution,
    timing,
    vendor,
    vivado,
    yosys,
)
from hepprune.synthesis.job import Job
from hepprune.synthesis.reports import REPORT_PARSERS, read
from hepprune.synthesis.tools import SYNTHESIS_TOOLS, Tool, choose

__all__ = [
    "REPORT_PARSERS",
    "SYNTHESIS_TOOLS",
    "Job",
    "Tool",
    "choose",
    "cosim",
    "csynth",
    "csynth_text",
    "csynth_tree",
    "logs",
    "oneapi",
    "read",
    "solution",
    "timing",
    "vendor",
    "vivado",
    "yosys",
]
