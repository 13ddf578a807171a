"""What a synthesis tool is given, and how its program is run: logged, limited in time, never left running."""

import os
import re
import signal
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from hepprune.errors import ReportError

TIME_LIMIT_S = 4 * 3600.0
_TAIL_BYTES = 2**20
_ERROR = re.compile(r"(^|\s)ERROR:|^Error\b")  # Yosys puts the file and line before it


@dataclass(frozen=True)
class Job:
    """A design to measure: Verilog and its top, an HLS project if there is one, part, clock, and the RTL's cycles."""

    folder: Path
    top: str
    sources: tuple[Path, ...]
    part: str
    clock_ns: float
    latency_cycles: int
    interval_cycles: int
    hls_project: Path | None = None
    time_limit_s: float = TIME_LIMIT_S

    @property
    def log(self) -> Path:
        """Where the tool's output goes, as it comes; every program that runs for the job adds to it."""
        return self.folder / "synthesis.log"


def run(
    command: Sequence[str],
    job: Job,
    *,
    cwd: Path,
    writes: Path,
    environment: Mapping[str, str] | None = None,
    name: str | None = None,
) -> None:
    """Run a tool's program to its end, with its output in the job's log; `writes` is the report it must leave.

    `name` is what messages call it, if not by its program's name.
    The program and all it started are gone when this returns or raises, Ctrl-C included.

    Raises:
        ReportError: it failed, ran over its time, or left no report; the sentence quotes its first error.
    """
    writes.unlink(missing_ok=True)  # so that the report of an earlier run is never taken for this one's
    job.folder.mkdir(parents=True, exist_ok=True)
    name = name or Path(command[0]).name
    with job.log.open("ab") as log:
        start = log.tell()
        process = subprocess.Popen(
            list(command),
            cwd=cwd,
            env=os.environ | dict(environment or {}),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # its own group, so that what it started can be ended with it
        )
        try:
            code = process.wait(job.time_limit_s)
        except subprocess.TimeoutExpired:
            raise ReportError(f"{name} ran over its {job.time_limit_s:g} s; its log is '{job.log}'") from None
        finally:
            _end_group(process)
    if code:
        raise ReportError(f"{name} {_ending(code)}: {first_error(job.log, start=start)} (log: '{job.log}')")
    if not writes.is_file():
        raise ReportError(f"{name} ended well but left no '{writes}'; its log is '{job.log}'")


def _end_group(process: "subprocess.Popen[bytes]") -> None:
    """End what is left of the program's group; a tool's children may outlive the tool itself."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _ending(code: int) -> str:
    if code == -signal.SIGKILL:
        return "was killed, most often for lack of memory"
    return f"was ended by signal {-code}" if code < 0 else f"ended with {code}"


def first_error(log: Path, *, start: int = 0) -> str:
    """Return the first error that a log's end tells of, since later ones only follow from it; else its last line."""
    with log.open("rb") as file:
        file.seek(max(start, log.stat().st_size - _TAIL_BYTES))
        text = file.read().decode(errors="replace")
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    errors = [line for line in lines if _ERROR.search(line)]
    return (errors or lines[-1:] or ["it printed nothing"])[0]
