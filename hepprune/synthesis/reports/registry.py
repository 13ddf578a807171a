"""Which parser reads a report: the one that knows its first lines.

Reports are untrusted: sizes are bounded, and a damaged file is an error that names the file, the place and what was
expected there.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from hepprune.errors import ReportError, explained
from hepprune.hardware.resources import Measurement
from hepprune.synthesis.failures import Failure, RunFailedError

MAX_BYTES = 2**26
MAX_MARKS = 2**20  # of those that make a report's structure: the largest public one has 80,000 in 1.7 MB
UNKNOWN = "unknown"  # the part or version that a report does not name
_STEERING = re.compile(r"[\x00-\x08\x0e-\x1f\x7f-\x9f]")
_HEAD = 4096  # characters in which a report says what it is
_TOP = re.compile(
    r"<TopModelName>\s*(\w+)|Report (?:of|for) '(\w+)'|^\| *Design +: *(\w+)|^\s*\"Top\" *: *\"(\w+)\"", re.MULTILINE
)

# Takes the report's path (for messages), its text, and the clock period in ns where the caller knows it.
Parse = Callable[[Path, str, float | None], Measurement | Failure]
P = TypeVar("P", bound=Parse)


@dataclass(frozen=True)
class ReportParser:
    """How to know a kind of report by its first lines, and how to read it."""

    mark: re.Pattern[str]
    parse: Parse


REPORT_PARSERS: dict[str, ReportParser] = {}


def report_parser(name: str, *, mark: str) -> Callable[[P], P]:
    """Register the parser of the reports in whose first lines the expression `mark` is found, the first that fits."""

    def register(parse: P) -> P:
        REPORT_PARSERS[name] = ReportParser(re.compile(mark), parse)
        return parse

    return register


def read(path: Path, *, clock_ns: float | None = None) -> Measurement:
    """Read a vendor's report, whatever it is called.

    `clock_ns` is for reports that say nothing of the clock (Vivado's utilisation); where the report does, it wins.

    Raises:
        RunFailedError: it tells of a run that failed; the sentence says why, and what helps.
        ReportError: the file is missing, damaged, too large, of no known kind, or the clock period is unknown.
    """
    found = parse(path, text_of(path), clock_ns=clock_ns)
    if isinstance(found, Failure):
        raise RunFailedError(f"'{path}': {found.sentence}", found)
    return found


def parse(path: Path, text: str, *, clock_ns: float | None = None) -> Measurement | Failure:
    """Return what a report's text says: figures, or why there are none.

    Raises:
        ReportError: it is damaged, of no known kind, or the clock period is unknown.
    """
    kind = kind_of(text)
    if kind is None:
        known = ", ".join(REPORT_PARSERS)
        raise ReportError(f"'{path}' is not a report known here; its first lines fit none of {known}")
    return REPORT_PARSERS[kind].parse(path, text, clock_ns)


def kind_of(text: str) -> str | None:
    """Return the name of the parser that knows a text's first lines; None if there is none."""
    head = text[:_HEAD]
    return next((name for name, parser in REPORT_PARSERS.items() if parser.mark.search(head)), None)


def top_of(text: str) -> str | None:
    """Return the function or module that a report is about, where its first lines name it."""
    found = _TOP.search(text[:_HEAD])
    return None if found is None else next(filter(None, found.groups()))


def required_clock(path: Path, clock_ns: float | None) -> float:
    """Return the clock period that a report without one was asked to be read with.

    Raises:
        ReportError: it was not given.
    """
    if clock_ns is None:
        raise ReportError(f"'{path}' holds no clock period; give clock_ns")
    return clock_ns


def bounded(path: Path, text: str, marks: str, *, most: int = MAX_MARKS) -> None:
    """Check that a text has no more of each of the characters that make its structure than any report has.

    64 MiB of nothing else would take gigabytes and minutes to take apart.

    Raises:
        ReportError: it has.
    """
    for mark in marks:
        if (found := text.count(mark)) > most:
            raise ReportError(f"'{path}' has {found:,} times {mark!r}, more than the {most:,} of any report")


def text_of(path: Path) -> str:
    """Return the text of a report.

    Raises:
        ReportError: the file is missing, is not text, or is too large to be a report.
    """
    with explained(ReportError, f"the report '{path}' cannot be read:", OSError), path.open("rb") as file:
        return decoded(path, file.read(MAX_BYTES + 1))


def decoded(path: Path, content: bytes) -> str:
    """Return the text that the bytes of a report are, blanks in place of what would steer a terminal.

    Raises:
        ReportError: they are not text, or too many.
    """
    if len(content) > MAX_BYTES:
        raise ReportError(f"'{path}' is larger than {MAX_BYTES // 2**20} MiB, so it is not a report")
    try:
        return _STEERING.sub(" ", content.decode("utf-8-sig"))
    except UnicodeDecodeError as problem:
        raise ReportError(f"'{path}' is not text: byte {problem.start} is not UTF-8") from problem
