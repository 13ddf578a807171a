"""Vitis HLS and Vivado, where they are on PATH; their reports are read for real.

No vendor tool has been run where hepprune is developed: there the commands run against a substitute that writes the
file tree of recorded runs, and fails in the way recorded runs failed.
"""

import logging
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

from hepprune.errors import ReportError, ToolMissingError
from hepprune.files import content_hash, stored, write_text
from hepprune.hardware.resources import Measurement
from hepprune.synthesis import reports
from hepprune.synthesis.job import Job, run
from hepprune.synthesis.tools import synthesis_tool

log = logging.getLogger(__name__)

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.\-]*")  # no option of a command either
_HLS_OPTIONS = {"vitis-run": ("--mode", "hls", "--tcl"), "vitis_hls": ("-f",), "vivado_hls": ("-f",)}
_HLS_COMMANDS = {program: (program, *options, "build_prj.tcl") for program, options in _HLS_OPTIONS.items()}
_HLS = tuple(_HLS_COMMANDS)
_VERSION_OPTIONS = {"vitis-run": "--version"}  # the others take -version
_VERSION_LIMIT_S = 120.0
_SWITCHES = ("reset", "csim", "synth", "cosim", "validation", "export", "vsynth", "fifo_opt")


def version(*programs: str) -> str:
    """Return the first line that says a version, of the first of these programs on PATH; its path if it says none.

    Raises:
        ToolMissingError: none of them is on PATH.
    """
    program = _first_on_path(programs)
    command = [program, _VERSION_OPTIONS.get(program, "-version")]
    try:
        said = subprocess.run(
            command, capture_output=True, text=True, errors="replace", check=False, timeout=_VERSION_LIMIT_S
        ).stdout
    except (OSError, subprocess.TimeoutExpired) as problem:
        log.warning("%s does not say its version: %s", program, problem)
        said = ""
    lines = [line.strip() for line in said.splitlines() if re.search(r"20\d\d\.\d", line)]
    return lines[0] if lines else str(Path(shutil.which(program) or program).resolve())  # vendors put the release in it


def _first_on_path(programs: tuple[str, ...]) -> str:
    for program in programs:
        if shutil.which(program):
            return program
    raise ToolMissingError(f"{' or '.join(programs)} is not on PATH")


@synthesis_tool("vitis", stage="csynth", version=partial(version, *_HLS), needs_hls=True, needs=(_HLS,))
def synthesise(job: Job) -> Measurement:
    """Run the C synthesis of the HLS project's own `build_prj.tcl`, and return its figures.

    Raises:
        ReportError: the tool failed, ran over its time, or wrote no sound report.
    """
    project = _project(job)
    report = project / f"{job.top}_prj" / "solution1" / "syn" / "report" / f"{job.top}_csynth.xml"
    with _csynth_only(project):
        run(_HLS_COMMANDS[_first_on_path(_HLS)], job, cwd=project, writes=report)
    return replace(reports.read(report), tool="vitis")


def _both_versions() -> str:
    return f"{version(*_HLS)}; {version('vivado')}"


@synthesis_tool("vitis_vivado", stage="vsynth", version=_both_versions, needs_hls=True, needs=(_HLS, ("vivado",)))
def synthesise_both(job: Job) -> Measurement:
    """Run C synthesis, then the HLS project's own `vivado_synth.tcl`: cells from Vivado, cycles from C synthesis.

    Nothing times the netlist, so the clock is assumed. C synthesis that was done of the same sources is not done again.

    Raises:
        ReportError: a tool failed, ran over its time, or wrote no sound report.
    """
    project = _project(job)
    predicted = resumed(job, project, synthesise)
    report = project / "vivado_synth.rpt"
    run(("vivado", "-mode", "batch", "-source", "vivado_synth.tcl"), job, cwd=project, writes=report)
    return replace(
        reports.read(report, clock_ns=job.clock_ns),
        tool="vitis_vivado",
        part=job.part,
        latency_cycles=predicted.latency_cycles,
        interval_cycles=predicted.interval_cycles,
    )


def resumed(job: Job, project: Path, run_csynth: Callable[[Job], Measurement]) -> Measurement:
    """Return C synthesis of a project: what an earlier run kept, if of the same sources and its Verilog is there."""
    note = job.folder / "csynth.json"
    key = content_hash(*(file.read_bytes() for file in sources(project)), job.part, job.clock_ns, version(*_HLS))
    known = stored.noted(Measurement, note, key)
    if known and (project / f"{job.top}_prj" / "solution1" / "syn").is_dir():
        return known
    return stored.note(Measurement, note, key, run_csynth(job))


def sources(project: Path) -> list[Path]:
    """Return what C synthesis reads: the project's own scripts and everything in its firmware folder."""
    scripts = [file for file in (project / "build_prj.tcl", project / "project.tcl") if file.is_file()]
    below = (file for file in (project / "firmware").rglob("*") if file.suffix in {".cpp", ".h", ".txt"})
    return scripts + sorted(file for file in below if file.is_file())


def _project(job: Job) -> Path:
    if job.hls_project is None or not (job.hls_project / "build_prj.tcl").is_file():
        raise ReportError(f"Vitis HLS needs an HLS project with a build_prj.tcl, and '{job.hls_project}' is none")
    return job.hls_project.resolve()


@contextmanager
def _csynth_only(project: Path) -> Iterator[None]:
    """Set the project's switches to C synthesis alone while the block runs; Vivado has a run of its own."""
    switches = project / "build_opt.tcl"
    before = switches.read_text(encoding="utf-8") if switches.is_file() else None
    chosen = "".join(f"    {name} {int(name in {'reset', 'synth'})}\n" for name in _SWITCHES)
    write_text(switches, f"array set opt {{\n{chosen}}}\n")
    try:
        yield
    finally:
        if before is None:
            switches.unlink()
        else:
            write_text(switches, before)


@synthesis_tool("vivado", stage="vsynth", version=partial(version, "vivado"), needs=(("vivado",),))
def synthesise_rtl(job: Job) -> Measurement:
    """Synthesise the Verilog out of context in Vivado; cycles are the RTL's, and its timing says if the clock is met.

    Raises:
        ReportError: the tool failed, ran over its time, or wrote no sound report.
    """
    folder = job.folder.resolve()
    report, slack = folder / "vivado_synth.rpt", folder / "slack_ns.txt"
    slack.unlink(missing_ok=True)
    write_text(folder / "clock.xdc", f"create_clock -period {job.clock_ns:g} -name clk [get_ports clk]\n")
    script = write_text(folder / "synthesis.tcl", _script(job))
    run(("vivado", "-mode", "batch", "-nojournal", "-source", script.name), job, cwd=folder, writes=report)
    # no number where Vivado found no timed path
    text = slack.read_text(encoding="utf-8").strip() if slack.is_file() else ""
    met = float(text) >= 0 if re.fullmatch(r"-?\d+(\.\d+)?", text) else None
    return job.of_rtl(reports.read(report, clock_ns=job.clock_ns), part=job.part, clock_met=met)


def _script(job: Job) -> str:
    for value in (job.part, job.top):
        if not _NAME.fullmatch(value):
            raise ReportError(f"'{value}' has characters that Tcl would read as commands; rename it")
    sources = job.quoted("Tcl", quotes="{}", unquotable="{}\\\n")
    files = "\n".join(f"read_verilog -sv {each}" for each in sources)
    return f"""{files}
read_xdc -mode out_of_context clock.xdc
synth_design -mode out_of_context -flatten_hierarchy rebuilt -top {job.top} -part {job.part}
report_utilization -file vivado_synth.rpt
set paths [get_timing_paths -max_paths 1]
if {{[llength $paths]}} {{
    set file [open slack_ns.txt w]
    puts $file [get_property SLACK $paths]
    close $file
}}
"""
