"""What a synthesis tool is given, and how its program is run: logged, limited in time, never left running."""

import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from hepprune.errors import ReportError

TIME_LIMIT_S = 4 * 3600.0


@dataclass(frozen=True)
class Job:
    """A design to measure: Verilog and its top, the HLS project where there is one, part, clock, and the RTL's cycles."""

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
        """Where the tool's output goes, as it comes."""
        return self.folder / "synthesis.log"


def run(command: Sequence[str], job: Job, *, cwd: Path, environment: Mapping[str, str] | None = None) -> None:
    """Run a tool's program to its end with its output in the job's log.

    Raises:
        ReportError: it failed, or ran over its time; the sentence ends with the log's last line.
    """
    job.folder.mkdir(parents=True, exist_ok=True)
    with job.log.open("w", encoding="utf-8") as log:
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
            raise ReportError(f"{command[0]} ran over its {job.time_limit_s:g} s; its log is '{job.log}'") from None
        finally:
            _end(process)
    if code:
        raise ReportError(f"{Path(command[0]).name} ended with {code}: {last_line(job.log)} (log: '{job.log}')")


def _end(process: "subprocess.Popen[bytes]") -> None:
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def last_line(log: Path) -> str:
    """Return the last line of a log that says something; errors first."""
    lines = [line.strip() for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    errors = [line for line in lines if line.upper().startswith("ERROR")]
    return (errors or lines or ["it printed nothing"])[-1]
