"""Why a run of a tool failed, read from its log, and what helps."""

import re
from dataclasses import dataclass
from typing import Annotated, Self

from pydantic import AliasChoices, Field

from hepprune.errors import ReportError

_MAX_MESSAGE = 300
_MAX_LOG = 2**20  # characters from its end; the banner is sought at its beginning
_MAX_LINES, _MAX_LINE = 2**16, 2000
_HEAD = 4096
_ERROR = re.compile(r"(^|\s)ERROR:|^Error\b|^@E\b|^(slurmstepd|srun): error:")
_HARMLESS = re.compile(r"\s*(INFO|WARNING|Info|Warning|@[IW])\b")  # they use the words that errors use
_DONE = re.compile(
    r"SYNTHESIS COMPLETED IN|(synth|place)_design completed successfully|\[HLS 200-789\] \*+ Estimated Fmax|"
    r"\[VLOG 209-307\] Generating Verilog RTL"
)
_FINISHED = re.compile(r"\[HLS 200-111\] Finished Command csynth_design")  # said where it failed, too
_RUNNING = re.compile(r"\[HLS 200-1510\] Running: (\w+)")
BANNER = r"(?m)^(?:\*{4,}| |(?=V\w+ HLS - High-Level)) *(Vivado|Vitis)\b"
_BANNER = re.compile(BANNER + r"[^\n]*?(?: v|\n +Version )(\d{4}\.\d(?:\.\d)?)")
_PART = re.compile(
    r"[Ss]etting target device to '([\w.-]+)'|Loading part:? '?([\w.-]+)|synth_design [^\n]*-part ([\w.-]+)"
)
_CLOCK = re.compile(r"Setting up clock '\w+' with a period of (\d{1,6}(?:\.\d{1,6})?)ns")


@dataclass(frozen=True, kw_only=True)
class Failure:
    """A run without figures: its kind (a key of FAILURES), the log's own words, and what helps."""

    kind: str
    message: str
    fix: Annotated[str, Field(validation_alias=AliasChoices("fix", "cure"))]  # `cure` in ledgers of before
    tool: str | None = None
    version: str | None = None
    part: str | None = None
    clock_ns: float | None = None
    line: int | None = None
    exit_code: int | None = None

    @property
    def sentence(self) -> str:
        """Kind, cause and fix in one sentence."""
        return f"the run failed ({self.kind.replace('_', ' ')}): {self.message}; {self.fix}"


class RunFailedError(ReportError):
    """A tool's run that failed; `failure` says why."""

    def __init__(self, sentence: str, failure: Failure) -> None:
        super().__init__(sentence)
        self.failure = failure

    def __reduce__(self) -> tuple[type[Self], tuple[str, Failure]]:
        """Keep the failure on the way from one process to another."""
        return type(self), (str(self), self.failure)


@dataclass(frozen=True)
class FailureKind:
    """How a log tells of a kind of failure, and what helps."""

    mark: re.Pattern[str]
    fix: str


def _kind(mark: str, fix: str) -> FailureKind:
    return FailureKind(re.compile(mark), fix)


# The first that fits a line names it; the earliest line that any of them fits is the cause.
FAILURES: dict[str, FailureKind] = {
    "out_of_memory": _kind(
        r"\bKilled\b\s*(\"?\$|$)|Killed signal terminated program|std::bad_alloc|[Oo]ut [Oo]f [Mm]emory|"
        r"Cannot allocate memory|memory exhausted|\boom[_-]kill|Exceeded (job|step) memory limit|TERM_MEMLIMIT|"
        r"PBS: job killed: v?mem",
        "give the tool more memory, raise the reuse factor, or take strategy resource or io_stream",
    ),
    "over_time": _kind(
        r"CANCELLED AT [^\n]* DUE TO TIME LIMIT|TERM_RUNLIMIT|PBS: job killed: (walltime|cput)",
        "allow more time, raise the reuse factor, or take a smaller design",
    ),
    "no_licence": _kind(
        r"\[Common 17-345\]|valid license was not found|[Ll]icen[cs]e checkout failed|necessary license",
        "point XILINXD_LICENSE_FILE at a licence for this tool and part, or take a part that needs none",
    ),
    "unroll_limit": _kind(
        r"\[XFORM 203-504\]|Stop unrolling loop|unroll(ing)? (factor|limit)[^\n]{0,60}(exceed|too large)",
        "the layer is too large to unroll: raise its reuse factor, take strategy resource, or prune it further",
    ),
    "dataflow_violation": _kind(
        r"failed dataflow checking|\[HLS 200-(779|976|979|1013)\]",
        "a value is read or written by more than one process: write the project again with hepprune, which clones it",
    ),
    "elaboration": _kind(
        r"Cannot find any design unit to elaborate|\[Synth 8-(439|285)\]|Cannot find generated Verilog",
        "a source file was not found: write the project again whole, and run it from its own folder",
    ),
    "missing_part": _kind(
        r"\[Common 17-69\][^\n]{0,300}part|part '?[\w.-]+'? (is not|was not|not) (installed|found)|\[HLS 200-1023\]",
        "install the device in the tool, or take a part that is installed",
    ),
    "over_capacity": _kind(
        r"\[Place 30-(640|487|99)\]|more [\w ]{1,60} (cells|sites) than are available|over-?utilized",
        "the design does not fit the part: lower the budget of that resource, or take a larger part",
    ),
    "crash": _kind(
        r"Abnormal program termination|An (unexpected|unrecoverable) error has occurred|internal compiler error|"
        r"Segmentation fault|EXCEPTION_ACCESS_VIOLATION|\(core dumped\)|hs_err_pid\d+\.log|^Stack dump:|"
        r"(double free|stack smashing|terminate called)",
        "the tool itself crashed: run it again with more memory, or with another release of it",
    ),
    "source": _kind(
        r"ERROR: \[HLS 207-|\[HLS 214-|^(?!slurmstepd|srun).*: (fatal )?error: |\[XFORM 203-1403\]",
        "the C++ does not compile with this release: write the project again for the tool's release",
    ),
    "simulation": _kind(
        r"\[COSIM 212-4\]|\[SIM 211-100\]|ERROR: Test failed|co-simulation finished: FAIL",
        "the simulation disagrees: run hepprune's own equivalence checks on the same project",
    ),
}
_TIMING = _kind(
    r"\[Timing 38-282\]|[Tt]iming (constraints are )?not met|failed to meet the timing|"
    r"Estimated clock period[^\n]{0,300}exceeds the target",
    "the clock is not met: lower the clock, allow more pipeline stages, or raise the reuse factor",
)
FAILURES["timing_not_met"] = _TIMING
FAILURES["unknown"] = _kind(r"(?!)", "read the log from that line on")


def classify(log: str, *, exit_code: int | None = None) -> Failure | None:
    """Return why the run that wrote a log failed; None where nothing in it says that it did.

    Errors before a synthesis that was completed were none, nor were those of commands after which a script went on:
    scripts try commands that not every release has. A clock that was not met is the cause only where no error is.
    """
    lines = [line[:_MAX_LINE] for line in log[-_MAX_LOG:].split("\n")[-_MAX_LINES:]]
    before = log.count("\n") + 1 - len(lines)
    log = "\n".join((log[:_HEAD], *lines))
    events = [(number, line.strip(), _event(line)) for number, line in enumerate(lines, before + 1) if line.strip()]
    clocks = [event for event in events if event[2] == "timing_not_met"]
    left = [event for event in events[_excused(events) :] if event[2] in FAILURES.keys() - {"timing_not_met"}]
    causes = [event for event in left if event[2] != "unknown"]
    for number, line, kind in [*causes[:1], *left[:1], *clocks[:1]]:
        return _failure(kind, line, log=log, line=number, exit_code=exit_code)
    if exit_code:
        last = events[-1][1] if events else "it printed nothing"
        return _failure("unknown", last, log=log, exit_code=exit_code)
    return None


def _event(line: str) -> str:
    """Return the kind of failure that a line tells of, or which step of a run; nothing where it tells neither."""
    if _DONE.search(line):
        return "done"
    if _FINISHED.search(line):
        return "finished"
    if running := _RUNNING.search(line):
        return f"running {running[1]}"
    if not _HARMLESS.match(line):
        named = (name for name, kind in FAILURES.items() if kind is not _TIMING and kind.mark.search(line))
        if fatal := next(named, None):
            return fatal
    if _ERROR.search(line):
        return "unknown"
    return "timing_not_met" if _TIMING.mark.search(line) else ""


def _excused(events: list[tuple[int, str, str]]) -> int:
    """Return how many events from the first on are not a failure.

    They came before a synthesis that ended well, or are errors of other commands, such as settings of another release,
    before a command that the script went on to.
    """
    excused, broken, command = 0, False, ""
    for place, (_, _, event) in enumerate(events, 1):
        if event == "done" or (event == "finished" and not broken):
            excused, broken = place, False
        elif event.startswith("running "):
            command = event
            excused = excused if broken else place
        elif event in FAILURES and event != "timing_not_met":
            broken |= event != "unknown" or command.endswith("_design")
    return excused


def _failure(kind: str, message: str, *, log: str, line: int | None = None, exit_code: int | None = None) -> Failure:
    banner, part, clock = _BANNER.search(log[:_HEAD]), _PART.search(log), _CLOCK.search(log)
    return Failure(
        kind=kind,
        message=message[:_MAX_MESSAGE],
        fix=FAILURES[kind].fix,
        tool=banner and _tool(banner[0]),
        version=banner and banner[2],
        part=part and next(filter(None, part.groups())),
        clock_ns=float(clock[1]) if clock else None,
        line=line,
        exit_code=exit_code,
    )


def _tool(banner: str) -> str:
    if "HLS" not in banner:
        return "vitis" if "Vitis" in banner else "vivado"
    return "vivado_hls" if "Vivado" in banner else "vitis"
