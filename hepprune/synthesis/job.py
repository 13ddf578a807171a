"""What a synthesis tool is given, and how its program is run: logged, within time and memory, never left running."""

import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from hepprune.errors import ReportError
from hepprune.hardware.resources import Measurement
from hepprune.synthesis.failures import FAILURES, Failure, RunFailedError, classify

TIME_LIMIT_S = 4 * 3600.0
_TAIL_BYTES = 2**20
_POLL_S = 0.2
_OF_A_DESIGN = ("top", "sources", "part", "clock_ns", "latency_cycles", "interval_cycles")
# How the tools tell in their logs what they begin; Yosys numbers its passes, the others name theirs.
_PHASE = re.compile(
    r"\*{5} ?(?P<hls4ml>[A-Z][A-Z/ ]{3,40}) ?\*{5}|\[HLS 200-10\] (?P<hls>-- )?(?P<step>[A-Z][\w ']{3,60})|"
    r"^(Starting|Start|Phase [\d.]+) (?P<vivado>[A-Z][\w /]{3,60})|^\d+(\.\d+)*\. Executing (?P<yosys>\w+ pass)|"
    r"^Info: (?P<nextpnr>(Packing|Promoting|Creating|Running|Routing) [\w -]{3,60})",
    re.MULTILINE,
)


def unreported(_phase: str) -> None:
    """Report no phase; a lambda could not be sent to another process."""


def unstopped() -> bool:
    """Let a job run to its end."""
    return False


@dataclass(frozen=True, kw_only=True)
class Job:
    """A design to measure: Verilog and its top, an HLS project if there is one, part, clock, and the RTL's cycles.

    `progress` is told what the log says is going on; a program is ended as soon as `stopped` says so, which is how a
    thread that waits for one learns of Ctrl-C.
    """

    folder: Path
    top: str
    sources: tuple[Path, ...]
    part: str
    clock_ns: float
    latency_cycles: int
    interval_cycles: int
    hls_project: Path | None = None
    time_limit_s: float = TIME_LIMIT_S
    memory_limit_bytes: float | None = None
    progress: Callable[[str], object] = field(default=unreported, compare=False)
    stopped: Callable[[], bool] = field(default=unstopped, compare=False)

    @classmethod
    def of(cls, design: Any, folder: Path) -> "Job":
        """Return the job of a design of Verilog, for the part and clock that it was written for."""
        return cls(folder=folder, **{name: getattr(design, name) for name in _OF_A_DESIGN})

    def of_rtl(self, measured: Measurement, **known: Any) -> Measurement:
        """Return what a tool measured of the Verilog, with the cycles of the RTL and what else is known of it."""
        return replace(measured, latency_cycles=self.latency_cycles, interval_cycles=self.interval_cycles, **known)

    def quoted(self, language: str, *, quotes: str, unquotable: str) -> list[str]:
        """Return the sources' paths from the folder that a tool runs in, each between quotes of its language.

        What lies above does not matter then, and a sandbox may map that folder alone.

        Raises:
            ReportError: a path has a character that cannot be quoted.
        """
        paths = [os.path.relpath(source.resolve(), self.folder.resolve()) for source in self.sources]
        for text in paths:
            if any(character in text for character in unquotable):
                raise ReportError(f"the path '{text}' cannot be quoted for {language}; move the build folder")
        return [f"{quotes[0]}{text}{quotes[1]}" for text in paths]

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
        RunFailedError: it failed, ran over its time or memory, or left no report; the sentence quotes its first error.
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
            overrun = _watch(process, job, start)
            code = process.poll()
        finally:
            _end_group(process)
    if overrun:
        raise _failed(f"{name} {overrun[1]}; its log is '{job.log}'", job, start, kind=overrun[0])
    if code:
        cause = first_error(job.log, start=start)
        raise _failed(f"{name} {_ending(code)}: {cause} (log: '{job.log}')", job, start, code=code)
    if not writes.is_file():
        raise _failed(f"{name} ended well but left no '{writes}'; its log is '{job.log}'", job, start)


def _watch(process: "subprocess.Popen[bytes]", job: Job, start: int) -> tuple[str, str] | None:
    """Wait for the program's end, tell what its log says it begins, and return the limit that it ran over."""
    deadline, last = time.monotonic() + job.time_limit_s, ""
    while True:
        with suppress(subprocess.TimeoutExpired):
            process.wait(max(0.0, min(_POLL_S, deadline - time.monotonic())))
            return None
        if job.stopped():
            raise KeyboardInterrupt
        if time.monotonic() >= deadline:
            return "over_time", f"ran over its {job.time_limit_s:g} s"
        if job.memory_limit_bytes is not None and _memory_bytes(process.pid) > job.memory_limit_bytes:
            return "out_of_memory", f"took more than its {job.memory_limit_bytes / 1e9:g} GB"
        if (phase := _last_phase(_tail(job.log, start))) and phase != last:
            last = phase
            job.progress(phase)


def _memory_bytes(session: int) -> int:
    """Return the resident memory of all processes of a session; what ends meanwhile counts as nothing."""
    total = 0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError, ValueError, IndexError):
            values = stat.read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
            if int(values[3]) == session:
                total += int(values[21]) * os.sysconf("SC_PAGE_SIZE")
    return total


def _last_phase(log: str) -> str | None:
    found = list(_PHASE.finditer(log[-(2**14) :]))
    named = found[-1].groupdict() if found else {}
    return next((text.strip() for name, text in named.items() if text and name != "hls"), None)


def _failed(sentence: str, job: Job, start: int, *, kind: str | None = None, code: int | None = None) -> RunFailedError:
    """Return the error of a run, with the failure that its log tells of; a limit that it ran over is the cause."""
    failure = classify(_tail(job.log, start), exit_code=code)
    if kind is not None or failure is None:
        kind = kind or "unknown"
        failure = Failure(kind=kind, message=sentence, fix=FAILURES[kind].fix, exit_code=code)
    if code == -signal.SIGKILL:
        failure = replace(failure, kind="out_of_memory", fix=FAILURES["out_of_memory"].fix)
    failure = replace(failure, part=failure.part or job.part, clock_ns=failure.clock_ns or job.clock_ns)
    return RunFailedError(sentence if failure.kind == "unknown" else f"{sentence}; {failure.fix}", failure)


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
    """Return the error that a log's end tells of as the cause, since others only follow from it; else its last line."""
    failure = classify(_tail(log, start), exit_code=1)
    return failure.message if failure else "it printed nothing"


def _tail(log: Path, start: int) -> str:
    with log.open("rb") as file:
        file.seek(max(start, log.stat().st_size - _TAIL_BYTES))
        return file.read().decode(errors="replace")
