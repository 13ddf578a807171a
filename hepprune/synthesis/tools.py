"""Which tool measures a design: a vendor's where it is installed, else Yosys."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from hepprune.errors import ReportError, ToolMissingError, unknown
from hepprune.hardware.resources import Measurement
from hepprune.synthesis import vendor, yosys
from hepprune.synthesis.job import Job

__all__ = ["SYNTHESIS_TOOLS", "Job", "Tool", "choose"]


@dataclass(frozen=True)
class Tool:
    """A way to measure: the stage its figures belong to, the program it needs, whether it reads the HLS project."""

    name: str
    stage: str
    programs: tuple[str, ...]
    needs_hls: bool
    run: Callable[[Job], Measurement]
    version: Callable[[], str]

    @property
    def installed(self) -> bool:
        """Whether one of its programs is on PATH; a tool that comes with hepprune needs none."""
        return not self.programs or any(shutil.which(program) for program in self.programs)


# In the order that `auto` prefers them.
SYNTHESIS_TOOLS: dict[str, Tool] = {
    tool.name: tool
    for tool in (
        Tool(
            "vitis",
            "csynth",
            ("vitis-run", "vitis_hls"),
            needs_hls=True,
            run=vendor.synthesise,
            version=partial(vendor.version, "vitis-run", "vitis_hls"),
        ),
        Tool(
            "vivado",
            "vsynth",
            ("vivado",),
            needs_hls=False,
            run=vendor.synthesise_rtl,
            version=partial(vendor.version, "vivado"),
        ),
        Tool("yosys", "yosys", (), needs_hls=False, run=yosys.synthesise, version=yosys.release),
    )
}


def choose(name: str) -> Tool:
    """Return the tool of that name, or for `auto` the first one installed.

    Raises:
        ToolMissingError: it was asked for by name and is not on PATH.
    """
    if name == "auto":
        return next(tool for tool in SYNTHESIS_TOOLS.values() if tool.installed)
    if name not in SYNTHESIS_TOOLS:
        raise ReportError(unknown("synthesis tool", name, [*SYNTHESIS_TOOLS, "auto"]))
    tool = SYNTHESIS_TOOLS[name]
    if not tool.installed:
        raise ToolMissingError(
            f"synthesis tool '{name}' needs {' or '.join(tool.programs)} on PATH; 'auto' takes what is there"
        )
    return tool
