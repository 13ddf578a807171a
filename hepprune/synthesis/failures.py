"""Why a run of a tool failed, told from its log, and what helps."""

import re
from dataclasses import dataclass
from typing import Self

from hepprune.errors import ReportError

_MAX_MESSAGE = 300
_MAX_LOG = 2**22  # characters from its end; the banner is sought at its beginning
_MAX_LINE = 2000
_HEAD = 4096
_ERROR = re.compile(r"(^|\s)ERROR:|^Error\b|^@E\b")
_HARMLESS = re.compile(r"\s*(INFO|WARNING|Info|Warning|@[IW])\b")  # they use the words that errors use
_DONE = re.compile(r"SYNTHESIS COMPLETED IN|synth_design completed successfully|place_design completed successfully")
BANNER = r"(?m)^(?:\*{4,}| ) *(Vivado|Vitis)\b"
_BANNER = re.compile(BANNER + r"[^\n]*?(?: v|\n +Version )(\d{4}\.\d(?:\.\d)?)")
_PART = re.compile(
    r"[Ss]etting target device to '([\w.-]+)'|Loading part:? '?([\w.-]+)|synth_design [^\n]*-part ([\w.-]+)"
)
_CLOCK = re.compile(r"Setting up clock '\w+' with a period of (\d{1,6}(?:\.\d{1,6})?)ns")


@dataclass(frozen=True)
class Failure:
    """A run without figures: its kind (a key of FAILURES), the log's own words, and what helps."""

    kind: str
    message: str
    cure: str
    tool: str | None = None
    version: str | None = None
    part: str | None = None
    clock_ns: float | None = None
    line: int | None = None
    exit_code: int | None = None

    @property
    def sentence(self) -> str:
        """Kind, cause and cure in one sentence."""
        return f"the run failed ({self.kind.replace('_', ' ')}): {self.message}; {self.cure}"


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
    cure: str


def _kind(mark: str, cure: str) -> FailureKind:
    return FailureKind(re.compile(mark), cure)


# The first that fits a line names it; the earliest line that any of them fits is the cause.
FAILURES: dict[str, FailureKind] = {
    "out_of_memory": _kind(
        r"\bKilled\b\s*(\"?\$|$)|std::bad_alloc|[Oo]ut of memory|Cannot allocate memory|memory exhausted",
        "give the tool more memory, raise the reuse factor, or take strategy resource or io_stream",
    ),
    "no_licence": _kind(
        r"\[Common 17-345\]|valid license was not found|[Ll]icen[cs]e checkout failed|necessary license",
        "point XILINXD_LICENSE_FILE at a licence for this tool and part, or take a part that needs none",
    ),
    "unroll_limit": _kind(
        r"\[XFORM 203-504\]|Stop unrolling loop|unroll(ing)? (factor|limit)[^\n]{0,300}(exceed|too large)",
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
        r"\[Place 30-(640|487|99)\]|more [\w ]{1,80} (cells|sites) than are available|over-?utilized",
        "the design does not fit the part: lower the budget of that resource, or take a larger part",
    ),
    "source": _kind(
        r"ERROR: \[HLS 207-|\[HLS 214-|: (fatal )?error: |\[XFORM 203-1403\]",
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
FAILURES["over_time"] = _kind(r"(?!)", "allow more time, raise the reuse factor, or take a smaller design")
FAILURES["unknown"] = _kind(r"(?!)", "read the log from that line on")


def classify(log: str, *, exit_code: int | None = None) -> Failure | None:
    """Return why the run that wrote a log failed; None where nothing in it says that it did.

    Errors before a synthesis that was completed were none: scripts try commands that not every release has. A clock
    that was not met is the cause only where no error is.
    """
    skipped = max(0, len(log) - _MAX_LOG)
    lines = [line[:_MAX_LINE] for line in log[skipped:].split("\n")]
    before = log.count("\n", 0, skipped)
    log = "\n".join((log[:_HEAD], *lines))
    done = max((place for place, line in enumerate(lines) if _DONE.search(line)), default=-1)
    for search in (_fatal, _first_error, _timing):
        for number, line in enumerate(lines, before + 1):
            if (number > before + done + 1 or search is _timing) and (kind := search(line)):
                return _failure(kind, line.strip(), log=log, line=number, exit_code=exit_code)
    if exit_code:
        last = next((line.strip() for line in reversed(lines) if line.strip()), "it printed nothing")
        return _failure("unknown", last, log=log, exit_code=exit_code)
    return None


def _fatal(line: str) -> str | None:
    if _HARMLESS.match(line):
        return None
    return next((name for name, kind in FAILURES.items() if kind is not _TIMING and kind.mark.search(line)), None)


def _first_error(line: str) -> str | None:
    return "unknown" if _ERROR.search(line) else None


def _timing(line: str) -> str | None:
    return "timing_not_met" if _TIMING.mark.search(line) else None


def _failure(kind: str, message: str, *, log: str, line: int | None = None, exit_code: int | None = None) -> Failure:
    banner, part, clock = _BANNER.search(log[:_HEAD]), _PART.search(log), _CLOCK.search(log)
    return Failure(
        kind,
        message[:_MAX_MESSAGE],
        FAILURES[kind].cure,
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
