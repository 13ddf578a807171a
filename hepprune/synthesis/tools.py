"""Which tool measures a design: a vendor's where it is installed, else Yosys."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

from hepprune.errors import RecipeError, ToolMissingError, unknown
from hepprune.hardware.resources import Measurement
from hepprune.synthesis.job import Job

RunTool = Callable[[Job], Measurement]

# What `auto` takes first: the truer stage, and the vendor before the open flow.
_PREFERRED = ("vitis_vivado", "vitis", "vivado", "yosys")


@dataclass(frozen=True, kw_only=True)
class Tool:
    """A way to measure: the stage its figures belong to, what it needs, whether it reads the HLS project.

    `needs` holds one tuple for each program needed, which names its alternatives; `package` is a Python package.
    """

    name: str
    stage: str
    run: RunTool
    version: Callable[[], str]
    needs_hls: bool = False
    needs: tuple[tuple[str, ...], ...] = ()
    package: str | None = None

    def missing(self) -> list[str]:
        """Return what this machine lacks of it, each as it should be asked for."""
        lacking = [" or ".join(names) for names in self.needs if not any(shutil.which(name) for name in names)]
        if self.package and find_spec(self.package) is None:
            lacking.append(f"`pip install {self.package.replace('_', '-')}`")
        return lacking


SYNTHESIS_TOOLS: dict[str, Tool] = {}


def synthesis_tool(name: str, **known: Any) -> Callable[[RunTool], RunTool]:
    """Register a function as the way to measure with a tool, of which all else is `known` that a `Tool` has."""

    def register(run: RunTool) -> RunTool:
        SYNTHESIS_TOOLS[name] = Tool(name=name, run=run, **known)
        return run

    return register


def choose(name: str = "auto", *, hls: bool | None = None) -> Tool:
    """Return the tool of that name, or for `auto` the best one installed.

    With `hls` it is one of those that take HLS projects, or where that is False of the others.

    Raises:
        RecipeError: no tool has that name.
        ToolMissingError: this machine lacks it, or for `auto` every tool.
    """
    if name == "auto":
        ordered = [tool for each in _PREFERRED if hls in {None, (tool := SYNTHESIS_TOOLS[each]).needs_hls}]
        if installed := next((tool for tool in ordered if not tool.missing()), None):
            return installed
        lacking = [f"{tool.name} needs {' and '.join(tool.missing())}" for tool in ordered]
        raise ToolMissingError(f"no synthesis tool is installed: {'; '.join(lacking)}")
    if name not in SYNTHESIS_TOOLS:
        raise RecipeError(unknown("synthesis tool", name, [*SYNTHESIS_TOOLS, "auto"]))
    tool = SYNTHESIS_TOOLS[name]
    if lacking := tool.missing():
        raise ToolMissingError(f"synthesis tool '{name}' needs {' and '.join(lacking)}, not found; 'auto' takes others")
    return tool
