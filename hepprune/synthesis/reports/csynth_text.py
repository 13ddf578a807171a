"""The csynth.rpt of Vivado HLS and Vitis HLS, 2016.4 to 2025.1: the same figures as its XML, and those of its modules.

Its tables of instances have a share for every layer; FIFOs and memories between layers have tables of their own. Of a
whole project Vitis HLS writes a tree of modules (`+`) and loops (`o`) since 2020.2.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hepprune.errors import ReportError
from hepprune.hardware.resources import LayerMeasurement, Measurement, Resources
from hepprune.synthesis.reports.csynth import DSP_TAGS, fits, origin
from hepprune.synthesis.reports.modules import buffers, of_module
from hepprune.synthesis.reports.registry import report_parser, required_clock
from hepprune.synthesis.reports.tables import UNKNOWN, Row, cycles, number, part_cycles, part_number, tables

_COLUMNS = {"LUT": "lut", "FF": "ff", "BRAM_18K": "bram18", "URAM": "uram"} | dict.fromkeys(DSP_TAGS, "dsp")
_MAX_COLUMNS = 64


@report_parser("csynth_text", mark=r"== (Vivado|Vitis) HLS Report for '")
def parse(path: Path, text: str, _clock_ns: float | None = None) -> Measurement:
    """Return the totals of the function, latency and interval at their worst, and the share of each of its modules.

    Raises:
        ReportError: a table is missing, or a cell is not a number.
    """
    own, found = _origin(path, text), list(tables(path, text))
    # the estimated period keeps the target with the uncertainty on top
    row = _table(found, "Clock", path)[1]
    values = [number(cell, what="the clock", path=path, line=row.line) for cell in row.cells[1:4]]
    if len(values) < 3 or not values[0]:
        raise ReportError(f"'{path}', line {row.line}: expected target, estimated period and uncertainty in ns")
    clock, met = values[0], fits(values[1], values[0] - (values[2] or 0.0))
    latency = _table(found, "Latency", path)[-1]
    if len(latency.cells) < 5:
        raise ReportError(f"'{path}', line {latency.line}: expected latency, interval and pipelining")
    return Measurement(
        **own,
        clock_ns=clock,
        resources=_total(_table(found, "Name", path), path),
        latency_cycles=cycles(latency.cells[1], what="the latency", path=path, line=latency.line),
        interval_cycles=cycles(latency.cells[-2], what="the interval", path=path, line=latency.line),
        clock_met=met,
        layers=(*_modules(found), *buffers(_buffers(found))),
    )


def _origin(path: Path, text: str) -> dict[str, Any]:
    """Return stage, tool, version and part, by the first word behind two labels in a report's head."""
    found = []
    for label in ("Version", "Target device"):
        said = re.search(rf"^ *\* {label}: +(\S+)", text, re.MULTILINE)
        if said is None:
            raise ReportError(f"'{path}' has no line '* {label}:'; expected one in an HLS report")
        found.append(said[1])
    return origin(*found)


def _table(found: list[list[Row]], first: str, path: Path) -> list[Row]:
    for rows in found:
        if len(rows) > 1 and re.match(rf"{first}\b", rows[0].cells[0]):
            return rows
    raise ReportError(f"'{path}' has no table with the heading '{first}'; expected one in a whole HLS report")


def _total(rows: list[Row], path: Path) -> Resources:
    total = next((row for row in rows if row.cells[0] == "Total"), None)
    if total is None:
        raise ReportError(f"'{path}', line {rows[0].line}: the table has no row 'Total'")
    counted = _counted(rows[0], total)
    found = Resources(**{name: number(cell, what=tag, path=path, line=total.line) for tag, name, cell in counted})
    missing = {"lut", "ff", "dsp", "bram18"} - found.known().keys()
    if missing:
        raise ReportError(f"'{path}', line {total.line}: the total has no {', '.join(sorted(missing))}")
    return found


def _counted(heading: Row, row: Row) -> Iterator[tuple[str, str, str]]:
    """Yield the heading's name of each resource, ours, and the row's cell."""
    for tag, cell in zip(heading.cells[:_MAX_COLUMNS], row.cells, strict=False):
        if tag in _COLUMNS:
            yield tag, _COLUMNS[tag], cell


def _part(heading: Row, row: Row) -> Resources:
    """Return the counts of a module or buffer; `-` in a table of instances is unknown, as elsewhere."""
    return Resources(**{name: part_number(cell) for _, name, cell in _counted(heading, row)})


def _modules(found: list[list[Row]]) -> Iterator[LayerMeasurement]:
    """Yield every instance in the table of resources, with its cycles from the table of latencies."""
    timed = dict(_latencies(found))
    for heading, row in _rows(found, "Instance", "BRAM_18K"):
        if len(row.cells) > 1 and row.cells[0] != "Total":
            module = row.cells[1]
            latency, interval = timed.get(row.cells[0], (None, None))
            yield of_module(module, _part(heading, row), latency, interval, also=row.cells[0])


def _latencies(found: list[list[Row]]) -> Iterator[tuple[str, tuple[int | None, int | None]]]:
    """Yield (latency, interval) of each instance; its heading has three rows, of which the last says min and max."""
    for rows in found:
        heading = next((row for row in rows[:3] if row.cells[0] == "Instance"), None)
        if heading is None or "min" not in heading.cells:
            continue
        for row in rows[rows.index(heading) + 1 :]:
            if len(row.cells) == len(heading.cells) and len(row.cells) >= 6:
                yield row.cells[0], (part_cycles(row.cells[3]), part_cycles(row.cells[-2]))


def _buffers(found: list[list[Row]]) -> Iterator[tuple[str, Resources]]:
    for first, second in (("Memory", "BRAM_18K"), ("Name", "Depth")):
        for heading, row in _rows(found, first, second):
            if row.cells[0] != "Total":
                yield row.cells[0], _part(heading, row)


def _rows(found: list[list[Row]], first: str, also: str) -> Iterator[tuple[Row, Row]]:
    """Yield (heading, row) of the tables whose heading starts with one word and holds another."""
    for rows in found:
        heading = rows[0]
        if heading.cells[0] == first and also in heading.cells:
            yield from ((heading, row) for row in rows[1:])


_COUNTS = {"bram18": "BRAM", "dsp": "DSP", "ff": "FF", "lut": "LUT", "uram": "URAM"}
_MODULE = re.compile(r"\+ *(\S+?)\*?(?= |$)")  # a star marks dataflow
_SAME_CLOCK = 1e-3  # long latencies in ns have four digits


@report_parser("csynth_tree", mark=r"== Synthesis Summary Report of '")
def parse_tree(path: Path, text: str, clock_ns: float | None = None) -> Measurement:
    """Return the totals of the top function and of each module that it calls.

    The tree has a latency in cycles and in ns, whose ratio is the clock period where it is met; else `clock_ns` is
    needed.

    Raises:
        ReportError: the tree is missing, a cell is not a number, or the clock period is unknown.
    """
    own = _origin(path, text)
    columns, rows = _tree(path, text)
    top, *below = (row for row in rows if _MODULE.match(row.cells[0]))
    latency = cycles(_cell(top, columns, "Latency", path), what="the latency", path=path, line=top.line)
    met = _met(top, columns, path, turned=_is_turned(own["version"], rows, columns))
    cells = {name: (tag, _cell(top, columns, tag, path)) for name, tag in _COUNTS.items()}  # in which a `-` is none
    counts = {name: number(cell, what=tag, path=path, line=top.line) or 0.0 for name, (tag, cell) in cells.items()}
    return Measurement(
        **own,
        clock_ns=_period(top, columns, path, clock_ns) if latency and met else required_clock(path, clock_ns),
        resources=Resources(**counts),
        latency_cycles=latency,
        interval_cycles=cycles(_cell(top, columns, "Interval", path), what="the interval", path=path, line=top.line),
        clock_met=met,
        layers=tuple(_module(row, columns) for row in below if row.indent == top.indent + 1),
    )


def _tree(path: Path, text: str) -> tuple[dict[str, int], list[Row]]:
    """Return the places of the columns by the first word of their headings, and the rows of modules and loops."""
    for rows in tables(path, text):
        if len(rows) > 2 and rows[0].cells[0] == "Modules":
            columns: dict[str, int] = {}
            for place, words in enumerate(zip(rows[0].cells, rows[1].cells, strict=False)):
                columns.setdefault(" ".join(filter(None, words)).split(" (")[0] or "loops", place)
            # of two that are called Latency the first one, in cycles, is kept
            falling = sorted(columns.items(), key=lambda column: -column[1])
            columns = {"Latency" if name.startswith("Latency") else name: place for name, place in falling}
            if any(_MODULE.match(row.cells[0]) for row in rows[2:]):
                return columns, rows[2:]
    raise ReportError(f"'{path}' has no tree of modules; expected 'Modules & Loops' in a synthesis summary")


def _cell(row: Row, columns: dict[str, int], name: str, path: Path) -> str:
    text = _known_cell(row, columns, name)
    if text is None:
        raise ReportError(f"'{path}', line {row.line}: no column '{name}' in the tree of modules")
    return text


def _known_cell(row: Row, columns: dict[str, int], name: str) -> str | None:
    place = columns.get(name)
    return None if place is None or place >= len(row.cells) else row.cells[place]


def _is_turned(version: str, rows: list[Row], columns: dict[str, int]) -> bool:
    """Return whether slacks have the other sign, as in 2020.2, where what is left of a period is printed below zero.

    Where they have not, since 2021.2 at the latest, a row without an issue is never below zero.
    """
    cells = [(_known_cell(row, columns, "Issue Type"), _known_cell(row, columns, "Slack") or "") for row in rows]
    return version.startswith("2020.2") or any(issue == "-" and (_slack(text) or 0) < 0 for issue, text in cells)


def _slack(text: str) -> float | None:
    bare = text.removeprefix("-")
    value = part_number(bare)
    return value if value is None or bare == text else -value


def _met(row: Row, columns: dict[str, int], path: Path, *, turned: bool) -> bool | None:
    """Return whether the period is kept: neither a slack below zero nor the issue `Timing`, which -0.00 may have."""
    text = _cell(row, columns, "Slack", path)
    slack = _slack(text)
    if slack is None and text not in UNKNOWN:
        raise ReportError(f"'{path}', line {row.line}: the slack is '{text[:40]}'; expected ns")
    if "Timing" in (_known_cell(row, columns, "Issue Type") or ""):
        return False
    return None if slack is None else (slack <= 0 if turned else slack >= 0)


def _period(row: Row, columns: dict[str, int], path: Path, clock_ns: float | None) -> float:
    """Return the latency in ns for each cycle, or `clock_ns` if it is that but for the digits that are printed."""
    in_cycles, in_ns = columns["Latency"], columns["Latency"] + 1
    latency = [number(row.cells[place], what="the latency", path=path, line=row.line) for place in (in_cycles, in_ns)]
    if not latency[0] or not latency[1]:
        raise ReportError(f"'{path}', line {row.line}: expected the latency in cycles and in ns")
    period = round(latency[1] / latency[0], 3)
    return period if clock_ns is None or abs(period / clock_ns - 1) > _SAME_CLOCK else clock_ns


def _module(row: Row, columns: dict[str, int]) -> LayerMeasurement:
    """Return what is known of a module: a `-` is none of a resource, and what cannot be read is unknown."""
    found = _MODULE.match(row.cells[0])
    module = found[1] if found else row.cells[0]
    cells = {name: _known_cell(row, columns, tag) or "" for name, tag in _COUNTS.items()}
    counts = {name: 0.0 if cell in UNKNOWN else part_number(cell) for name, cell in cells.items()}
    times = (part_cycles(_known_cell(row, columns, name) or "") for name in ("Latency", "Interval"))
    return of_module(module, Resources(**counts), *times)
