"""The tables of vendors' text reports: rows between `|`, below a heading, and the numbers in their cells."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from hepprune.errors import ReportError
from hepprune.synthesis.reports.registry import bounded

UNKNOWN = frozenset({"", "undef", "?", "-", "~0", "N/A", "NA", "n/a", "inf"})
_NUMBER = re.compile(r"\d{1,18}(\.\d{1,18})?(e[+-][01]\d)?")  # long latencies in ns are printed as 7.453e+03
_UNIT = re.compile(r"( ns)?( {0,8}\(~?[\d.]+%?\))?$")
_RANGE = re.compile(r"(?:\d{1,18}|undef|\?|-) *~ *(\S+)")
_MAX_CELL = 80  # characters of a cell that can be a number
_FRAME = re.compile(r"[-+= ]*")


@dataclass(frozen=True)
class Row:
    """One row of a table: its line in the file, from 1, and its cells; `indent` is how deep the first one stands."""

    line: int
    cells: tuple[str, ...]
    indent: int


def tables(path: Path, text: str) -> Iterator[list[Row]]:
    """Yield every table of a text: its rows, the heading's among them, without the frames.

    Raises:
        ReportError: it has more cells or lines than any report.
    """
    bounded(path, text, "|\n")
    rows: list[Row] = []
    for line, content in enumerate(text.splitlines(), 1):
        bare = content.strip()
        if bare.startswith("|") and bare.endswith("|") and len(bare) > 1:
            first, *others = bare[1:-1].split("|")
            rows.append(Row(line, tuple(cell.strip() for cell in (first, *others)), len(first) - len(first.lstrip())))
        elif rows and not (bare and _FRAME.fullmatch(bare)):
            yield rows
            rows = []
    if rows:
        yield rows


def number(text: str, *, what: str, path: Path, line: int | None = None) -> float | None:
    """Return a cell's number, None where the tool says that it is unknown; a unit or a share behind it is left out.

    Raises:
        ReportError: it is neither.
    """
    text = text.strip()
    bare = _UNIT.sub("", text) if len(text) <= _MAX_CELL else text
    if bare in UNKNOWN:
        return None
    if not _NUMBER.fullmatch(bare):
        place = "" if line is None else f", line {line}"
        raise ReportError(f"'{path}'{place}: {what} is '{text[:40]}'; expected a number or one of undef, ?, -")
    return float(bare)


def cycles(text: str, *, what: str, path: Path, line: int | None = None) -> int | None:
    """Return a cell's whole number of clock cycles, of a range (`20 ~ 21`) the worst; None where it is unknown.

    Raises:
        ReportError: it is neither.
    """
    spread = _RANGE.fullmatch(text.strip())
    value = number(spread[1] if spread else text, what=what, path=path, line=line)
    if value is not None and not value.is_integer():
        raise ReportError(f"'{path}': {what} is {value}; expected whole clock cycles")
    return None if value is None else int(value)


def part_number(text: str) -> float | None:
    """Return the number of a module, None where it is unknown or unreadable: that costs the figure, not the report."""
    try:
        return number(text, what="", path=Path())
    except ReportError:
        return None


def part_cycles(text: str) -> int | None:
    """Return the cycles of a module, None where they are unknown or unreadable: that costs the figure alone."""
    try:
        return cycles(text, what="", path=Path())
    except ReportError:
        return None
