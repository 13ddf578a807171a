"""Reports of every tool: `read` finds the parser that knows a file by its first lines."""

# each registers its parsers
from hepprune.synthesis.reports import cosim, csynth, csynth_text, logs, oneapi, solution, vivado
from hepprune.synthesis.reports.registry import REPORT_PARSERS, UNKNOWN, kind_of, parse, read, top_of

__all__ = ["REPORT_PARSERS", "UNKNOWN", "kind_of", "parse", "read", "top_of"]
__all__ += ["cosim", "csynth", "csynth_text", "logs", "oneapi", "solution", "vivado"]
