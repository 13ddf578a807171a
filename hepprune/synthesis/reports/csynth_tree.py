"""The csynth.rpt that Vitis HLS writes for a whole project since 2020.2: a tree of modules (`+`) and loops (`o`)."""

import re
from pathlib import Path

from hepprune.errors import ReportError
from hepprune.hardware.resources import LayerMeasurement, Measurement, Resources
from hepprune.synthesis.reports.csynth import tool_of
from hepprune.synthesis.reports.csynth_text import header
from hepprune.synthesis.reports.modules import layer_of
from hepprune.synthesis.reports.registry import report_parser, required_clock
from hepprune.synthesis.reports.tables import UNKNOWN, Row, cycles, number, part_cycles, part_number, tables

_COUNTS = ("BRAM", "DSP", "FF", "LUT", "URAM")
_MODULE = re.compile(r"\+ *(\S+?)\*?(?= |$)")  # a star marks dataflow
_SAME_CLOCK = 1e-3  # long latencies in ns have four digits


@report_parser("csynth_tree", mark=r"== Synthesis Summary Report of '")
def parse(path: Path, text: str, clock_ns: float | None = None) -> Measurement:
    """Return the totals of the top function and of each module that it calls.

    The tree has a latency in cycles and in ns, whose ratio is the clock period where it is met; else `clock_ns` is
    needed.

    Raises:
        ReportError: the tree is missing, a cell is not a number, or the clock period is unknown.
    """
    version, part = header(path, text, "Version"), header(path, text, "Target device")
    columns, rows = _tree(path, text)
    top, *below = (row for row in rows if _MODULE.match(row.cells[0]))
    latency = cycles(_cell(top, columns, "Latency", path), what="the latency", path=path, line=top.line)
    met = _met(top, columns, path, turned=_is_turned(version, rows, columns))
    # in this tree a `-` is none
    bram18, dsp, ff, lut, uram = (
        number(_cell(top, columns, name, path), what=name, path=path, line=top.line) or 0.0 for name in _COUNTS
    )
    return Measurement(
        stage="csynth",
        tool=tool_of(version),
        version=version,
        part=part,
        clock_ns=_period(top, columns, path, clock_ns) if latency and met else required_clock(path, clock_ns),
        resources=Resources(lut=lut, ff=ff, dsp=dsp, bram18=bram18, uram=uram),
        latency_cycles=latency,
        interval_cycles=cycles(_cell(top, columns, "Interval", path), what="the interval", path=path, line=top.line),
        clock_met=met,
        layers=tuple(_layer(row, columns) for row in below if row.indent == top.indent + 1),
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


def _layer(row: Row, columns: dict[str, int]) -> LayerMeasurement:
    """Return what is known of a module: a `-` is none of a resource, and what cannot be read is unknown."""
    found = _MODULE.match(row.cells[0])
    module = found[1] if found else row.cells[0]
    cells = {name: _known_cell(row, columns, name) or "" for name in (*_COUNTS, "Latency", "Interval")}
    bram18, dsp, ff, lut, uram = (0.0 if cells[name] in UNKNOWN else part_number(cells[name]) for name in _COUNTS)
    resources = Resources(lut=lut, ff=ff, dsp=dsp, bram18=bram18, uram=uram)
    return LayerMeasurement(
        layer=layer_of(module),
        module=module,
        resources=resources,
        latency_cycles=part_cycles(cells["Latency"]),
        interval_cycles=part_cycles(cells["Interval"]),
    )
