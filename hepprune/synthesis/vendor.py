"""Vitis HLS and Vivado, where they are on PATH; their reports are read for real.

No vendor tool could be installed where hepprune is tested: there the commands run against a recorded stand-in that
writes the real file tree, and fails in the real way.
"""

import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

from hepprune.errors import ReportError, ToolMissingError
from hepprune.files import write_text
from hepprune.hardware.resources import Measurement
from hepprune.synthesis import reports
from hepprune.synthesis.job import Job, run

_NAME = re.compile(r"[A-Za-z0-9_.\-]+")


def version(*programs: str) -> str:
    """Return the first line that says a version, of the first of these programs that is on PATH."""
    program = next((found for name in programs if (found := shutil.which(name))), None)
    if program is None:
        raise ToolMissingError(f"{' or '.join(programs)} is not on PATH")
    said = subprocess.run([program, "-version"], capture_output=True, text=True, check=False, timeout=300).stdout
    lines = [line.strip() for line in said.splitlines() if re.search(r"v?20\d\d\.\d", line)]
    return lines[0] if lines else "unknown"


def synthesise(job: Job) -> Measurement:
    """Run the HLS project's own `build_prj.tcl` in Vitis HLS, and return the figures of C synthesis.

    Raises:
        ReportError: the tool failed, ran over its time, or wrote no report.
    """
    if job.hls_project is None:
        raise ReportError("Vitis HLS needs an HLS project, and this design has none")
    command = ["vitis_hls", "-f", "build_prj.tcl"]
    if shutil.which("vitis-run"):
        command = ["vitis-run", "--mode", "hls", "--tcl", "build_prj.tcl"]
    run(command, job, cwd=job.hls_project)
    report = job.hls_project / f"{job.top}_prj" / "solution1" / "syn" / "report" / f"{job.top}_csynth.xml"
    return reports.read(report)


def synthesise_rtl(job: Job) -> Measurement:
    """Synthesise the Verilog out of context in Vivado; cycles are those of the RTL, the clock is as the report says.

    Raises:
        ReportError: the tool failed, ran over its time, or wrote no report.
    """
    script = write_text(job.folder / "synthesis.tcl", _script(job))
    run(["vivado", "-mode", "batch", "-nojournal", "-source", script.name], job, cwd=job.folder)
    measured = reports.read(job.folder / "vivado_synth.rpt")
    return replace(
        measured,
        clock_ns=job.clock_ns,
        latency_cycles=job.latency_cycles,
        interval_cycles=job.interval_cycles,
        clock_met=_clock_met(job.folder / "timing_met.txt"),
    )


def _script(job: Job) -> str:
    if not _NAME.fullmatch(job.part) or not _NAME.fullmatch(job.top):
        raise ReportError(f"part '{job.part}' or top '{job.top}' has characters that Tcl would read as commands")
    files = "\n".join(f"read_verilog -sv {{{_quotable(source)}}}" for source in job.sources)
    return f"""{files}
synth_design -mode out_of_context -flatten_hierarchy rebuilt -top {job.top} -part {job.part}
create_clock -period {job.clock_ns:g} [get_ports clk]
report_utilization -file vivado_synth.rpt
set slack [get_property SLACK [get_timing_paths -max_paths 1]]
set file [open timing_met.txt w]
puts $file [expr {{$slack >= 0}}]
close $file
"""


def _quotable(path: Path) -> str:
    text = str(path.resolve())
    if any(character in text for character in "{}\\\n"):
        raise ReportError(f"the path '{text}' cannot be quoted for Tcl; move the build folder")
    return text


def _clock_met(path: Path) -> bool | None:
    return path.read_text(encoding="utf-8").strip() == "1" if path.is_file() else None
