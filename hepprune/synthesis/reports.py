"""Which parser reads a report: the one that knows its first lines.

Reports are untrusted: sizes are bounded, and a damaged file is an error that names the file, the place and what was
expected there.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from hepprune.errors import ReportError
from hepprune.hardware.resources import Measurement

MAX_BYTES = 2**26
_HEAD = 4096  # characters in which a report says what it is

# Takes the report's path (for messages), its text, and the clock period in ns where the caller knows it.
Parse = Callable[[Path, str, float | None], Measurement]


@dataclass(frozen=True)
class ReportParser:
    """How to know a kind of report by its first lines, and how to read it."""

    mark: re.Pattern[str]
    parse: Parse


REPORT_PARSERS: dict[str, ReportParser] = {}


def report_parser(name: str, *, mark: str) -> Callable[[Parse], Parse]:
    """Register the parser of the reports in whose first lines the expression `mark` is found."""

    def register(parse: Parse) -> Parse:
        REPORT_PARSERS[name] = ReportParser(re.compile(mark), parse)
        return parse

    return register


def read(path: Path, *, clock_ns: float | None = None) -> Measurement:
    """Read a vendor's report, whatever it is called.

    `clock_ns` is for reports that say nothing of the clock (Vivado's utilisation); where the report does, it wins.

    Raises:
        ReportError: the file is missing, damaged, too large, of no known kind, or the clock period is unknown.
    """
    text = text_of(path)
    for parser in REPORT_PARSERS.values():
        if parser.mark.search(text[:_HEAD]):
            return parser.parse(path, text, clock_ns)
    raise ReportError(f"'{path}' is no report known here; its first lines fit none of {', '.join(REPORT_PARSERS)}")


def text_of(path: Path) -> str:
    """Return the text of a report.

    Raises:
        ReportError: the file is missing, is no text, or is too large to be a report.
    """
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except OSError as problem:
        raise ReportError(f"the report '{path}' cannot be read: {problem.strerror}") from problem
    if len(content) > MAX_BYTES:
        raise ReportError(f"'{path}' is larger than {MAX_BYTES // 2**20} MiB, so it is no report")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as problem:
        raise ReportError(f"'{path}' is no text: byte {problem.start} is not UTF-8") from problem
