"""Run a synthesis tool, read its reports, keep what was measured."""

from hepprune.synthesis.tools import SYNTHESIS_TOOLS, Job, Tool, choose

__all__ = ["SYNTHESIS_TOOLS", "Job", "Tool", "choose"]
