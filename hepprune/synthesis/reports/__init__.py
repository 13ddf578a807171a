"""Reports of every tool: `read` finds the parser that knows a file by its first lines."""

# each registers its parsers
from hepprune.synthesis.reports import (
    cosim,
    csynth,
    csynth_text,
    csynth_tree,
    logs,
    modules,
    oneapi,
    solution,
    timing,
    vivado,
)
from hepprune.synthesis.reports.registry import (
    MAX_BYTES,
    REPORT_PARSERS,
    UNKNOWN,
    decoded,
    kind_of,
    parse,
    read,
    text_of,
    top_of,
)

__all__ = [
    "MAX_BYTES",
    "REPORT_PARSERS",
    "UNKNOWN",
    "decoded",
    "kind_of",
    "modules",
    "parse",
    "read",
    "text_of",
    "top_of",
]
__all__ += ["cosim", "csynth", "csynth_text", "csynth_tree", "logs", "oneapi", "solution", "timing", "vivado"]
