"""The csynth.rpt that Vitis HLS writes for a whole project since 2020.2: a tree of modules (`+`) and loops (`o`)."""

import re
from pathlib import Path

from hepprune.errors import ReportError
from hepprune.hardware.resources import LayerMeasurement, Measurement, Resources
from hepprune.synthesis.reports.csynth import tool_of
from hepprune.synthesis.reports.csynth_text import header
from hepprune.synthesis.reports.modules import layer_of
from hepprune.synthesis.reports.registry import report_parser, required_clock
from hepprune.synthesis.reports.tables import Row, cycles, number, tables

_COUNTS = ("BRAM", "DSP", "FF", "LUT", "URAM")
_MODULE = re.compile(r"\+ *(\S+)")


@report_parser("csynth_tree", mark=r"== Synthesis Summary Report of '")
def parse(path: Path, text: str, clock_ns: float | None = None) -> Measurement:
    """Return the totals of the top function and of each module that it calls.

    The tree has a latency in cycles and in ns, whose ratio is the clock period where it is met; else `clock_ns` is
    needed.

    Raises:
        ReportError: the tree is missing, a cell is no number, or the clock period is unknown.
    """
    version, part = header(path, text, "Version"), header(path, text, "Target device")
    columns, modules = _tree(path, text)
    top, *below = modules
    latency = cycles(_cell(top, columns, "Latency", path), what="the latency", path=path, line=top.line)
    met = _met(top, columns, path)
    return Measurement(
        stage="csynth",
        tool=tool_of(version),
        version=version,
        part=part,
        clock_ns=_period(top, columns, path) if latency and met else required_clock(path, clock_ns),
        resources=_resources(top, columns, path),
        latency_cycles=latency,
        interval_cycles=cycles(_cell(top, columns, "Interval", path), what="the interval", path=path, line=top.line),
        clock_met=met,
        layers=tuple(_layer(row, columns, path) for row in below if row.indent == top.indent + 1),
    )


def _tree(path: Path, text: str) -> tuple[dict[str, int], list[Row]]:
    """Return the places of the columns by the first word of their headings, and the rows of modules."""
    for rows in tables(path, text):
        if len(rows) > 2 and rows[0].cells[0] == "Modules":
            columns: dict[str, int] = {}
            for place, words in enumerate(zip(rows[0].cells, rows[1].cells, strict=False)):
                columns.setdefault(" ".join(filter(None, words)).split(" (")[0] or "loops", place)
            columns = {"Latency" if name.startswith("Latency") else name: place for name, place in _first(columns)}
            modules = [row for row in rows[2:] if _MODULE.match(row.cells[0])]
            if modules:
                return columns, modules
    raise ReportError(f"'{path}' has no tree of modules; expected 'Modules & Loops' in a synthesis summary")


def _first(columns: dict[str, int]) -> list[tuple[str, int]]:
    """Return columns such that of two that are called Latency, the first one, in cycles, is kept."""
    return sorted(columns.items(), key=lambda column: -column[1])


def _cell(row: Row, columns: dict[str, int], name: str, path: Path) -> str:
    place = columns.get(name)
    if place is None or place >= len(row.cells):
        raise ReportError(f"'{path}', line {row.line}: no column '{name}' in the tree of modules")
    return row.cells[place]


def _resources(row: Row, columns: dict[str, int], path: Path) -> Resources:
    """Return a row's counts; in this tree a `-` is none."""
    bram18, dsp, ff, lut, uram = (
        number(_cell(row, columns, name, path), what=name, path=path, line=row.line) or 0.0 for name in _COUNTS
    )
    return Resources(lut=lut, ff=ff, dsp=dsp, bram18=bram18, uram=uram)


def _met(row: Row, columns: dict[str, int], path: Path) -> bool | None:
    text = _cell(row, columns, "Slack", path)
    slack = number(text.removeprefix("-"), what="the slack", path=path, line=row.line)
    return None if slack is None else slack == 0 or not text.startswith("-")


def _period(row: Row, columns: dict[str, int], path: Path) -> float:
    in_cycles, in_ns = columns["Latency"], columns["Latency"] + 1
    latency = [number(row.cells[place], what="the latency", path=path, line=row.line) for place in (in_cycles, in_ns)]
    if not latency[0] or not latency[1]:
        raise ReportError(f"'{path}', line {row.line}: expected the latency in cycles and in ns")
    return round(latency[1] / latency[0], 3)


def _layer(row: Row, columns: dict[str, int], path: Path) -> LayerMeasurement:
    found = _MODULE.match(row.cells[0])
    module = found[1] if found else row.cells[0]
    latency, interval = (
        cycles(_cell(row, columns, name, path), what=name, path=path, line=row.line) for name in ("Latency", "Interval")
    )
    return LayerMeasurement(layer_of(module), module, _resources(row, columns, path), latency, interval)
