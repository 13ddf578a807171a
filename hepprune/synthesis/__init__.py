"""Run a synthesis tool, read its reports, keep what was measured."""

from hepprune.synthesis import nextpnr, vendor, yosys  # each registers its tools
from hepprune.synthesis.job import Job
from hepprune.synthesis.reports import REPORT_PARSERS, read
from hepprune.synthesis.tools import SYNTHESIS_TOOLS, Tool, choose

__all__ = ["REPORT_PARSERS", "SYNTHESIS_TOOLS", "Job", "Tool", "choose", "nextpnr", "read", "vendor", "yosys"]
