"""Vivado's reports of cells, flat or by hierarchy, and of clocks, and HLS' own summary of an exported design."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hepprune.errors import ReportError
from hepprune.hardware.resources import LayerMeasurement, Measurement, Resources
from hepprune.synthesis.reports.modules import of_module
from hepprune.synthesis.reports.registry import report_parser, required_clock
from hepprune.synthesis.reports.tables import Row, number, part_number, tables

_SLACK = re.compile(r"^ *WNS\(ns\).*\n[ -]*\n *(\S+) +(\S+) +(\S+) +(\S+)(?: +(\S+))?", re.MULTILINE)
_PERIOD = re.compile(r"^\S+ +\{[\d. ]+\} +(\d{1,6}\.\d{1,6}) ", re.MULTILINE)
_REQUIREMENT = re.compile(r"^ *Requirement: +(\d{1,6}\.\d{1,6})ns", re.MULTILINE)
_EXPORTED = {"LUT": "lut", "FF": "ff", "DSP": "dsp", "BRAM": "bram18", "URAM": "uram"}


@report_parser("timing", mark=r"(?s)Tool Version\s*:\s*Vivado.*report_timing_summary")
def parse_timing(path: Path, text: str, clock_ns: float | None = None) -> Measurement:
    """Return the period of the first clock and whether no path is too slow or too fast for it; no cells, no cycles.

    Raises:
        ReportError: the summary is missing or damaged, or the design has no clock and `clock_ns` was not given.
    """
    slacks = _SLACK.search(text)
    if slacks is None:
        raise ReportError(f"'{path}' has no line 'WNS(ns)' with its figures; expected a whole timing summary")
    period = _PERIOD.search(text) or _REQUIREMENT.search(text)
    setup, hold = (_slack(path, slacks[group]) for group in (1, 5))
    return Measurement(
        **origin(path, text),
        clock_ns=required_clock(path, float(period[1]) if period else clock_ns),
        resources=Resources(),
        clock_met=None if setup is None else setup >= 0 and (hold is None or hold >= 0),
    )


def _slack(path: Path, text: str | None) -> float | None:
    bare = (text or "NA").removeprefix("-")
    value = number(bare, what="the slack", path=path)
    return value if value is None or bare == text else -value


@report_parser("export", mark=r"^\s*Implementation tool: Xilinx Vivado")
def parse_export(path: Path, text: str, _clock_ns: float | None = None) -> Measurement:
    """Return the summary that HLS' `export_design` leaves of a synthesised or implemented design; BRAM is 18 Kb there.

    Raises:
        ReportError: a line is missing or holds no number.
    """
    implemented = "Post-Implementation Resource usage" in text
    counts = {name: _line(path, text, label) for label, name in _EXPORTED.items() if label != "URAM"}
    uram = _line(path, text, "URAM") if re.search(r"^URAM:", text, re.MULTILINE) else None
    clock = _line(path, text, "CP required")
    if not clock:
        raise ReportError(f"'{path}': 'CP required' is unknown or zero; expected a period in ns")
    return Measurement(
        stage="route" if implemented else "vsynth",
        tool="vivado",
        version=_word(path, text, r"Implementation tool: Xilinx Vivado v?\.?"),
        part=_word(path, text, "Device target: *"),
        clock_ns=clock,
        resources=Resources(**counts, uram=uram),
        clock_met=_met(text, clock),
    )


def _met(text: str, clock_ns: float) -> bool | None:
    """Return what the last line says of the clock; older releases only give the period that was achieved."""
    if said := re.search(r"^Timing (not )?met", text, re.MULTILINE):
        return said[1] is None
    achieved = re.findall(r"^CP achieved post-\w+: +(\d{1,6}(?:\.\d{1,6})?)", text, re.MULTILINE)
    return float(achieved[-1]) <= clock_ns if achieved else None


def _line(path: Path, text: str, label: str) -> float | None:
    return number(_word(path, text, rf"{label}: *"), what=label, path=path)


def _word(path: Path, text: str, before: str) -> str:
    found = re.search(rf"^{before}(\S+)", text, re.MULTILINE)
    if found is None:
        raise ReportError(f"'{path}' has no line '{before.rstrip(' *?')}'; expected it in the summary of an export")
    return found[1]


# Later sections tell each SLR's share of the same cells, under the same labels.
_SHARES = re.compile(r"^\d+\. SLR .*\n-+$", re.MULTILINE)
# Synthesized, Optimized; Placed, Physopt postPlace, Routed, Physopt postRoute, some also Fully or Partially.
_STATE = re.compile(r"^\| *Design State *: *([^|\n]*)", re.MULTILINE)
_PLACED = re.compile(r"(?i)\b(placed|routed|post(place|route))\b|physopt")
_COMMAND = re.compile(r"(?im)^\| *Command *:.*_(placed|routed|postroute)")  # older reports of timing tell no state
_INDENT = 2  # blanks for each level of the hierarchy
_COLUMNS = {"Total LUTs": "lut", "FFs": "ff", "DSP Blocks": "dsp", "DSP48 Blocks": "dsp", "DSPs": "dsp", "URAM": "uram"}


@report_parser(
    "vsynth_hierarchy", mark=r"(?s)Tool Version\s*:\s*Vivado.*(report_utilization[^\n]*-hierarchical|by Hierarchy)"
)
def parse_hierarchy(path: Path, text: str, clock_ns: float | None = None) -> Measurement:
    """Return the totals of the top module and of each instance in it; RAMB36 counts as two BRAM18.

    Raises:
        ReportError: the table is missing, a cell is not a number, or `clock_ns` was not given.
    """
    clock = required_clock(path, clock_ns)
    own = origin(path, text)
    for heading, *rows in tables(path, text):
        if heading.cells[:2] == ("Instance", "Module") and rows:
            top, *below = rows
            inside = [row for row in below if row.indent == top.indent + _INDENT and not row.cells[0].startswith("(")]
            cells = zip(heading.cells[2:], top.cells[2:], strict=False)
            values = {name: number(cell, what=name, path=path, line=top.line) for name, cell in cells}
            if not {"Total LUTs", "FFs"} <= values.keys():
                raise ReportError(f"'{path}', line {heading.line}: expected the columns 'Total LUTs' and 'FFs'")
            layers = tuple(_layer(heading, row) for row in inside if len(row.cells) > 1)
            return Measurement(**own, clock_ns=clock, resources=_resources(values), layers=layers)
    raise ReportError(f"'{path}' has no table of instances; expected 'Instance' and 'Module' in its heading")


def _layer(heading: Row, row: Row) -> LayerMeasurement:
    values = {name: part_number(cell) for name, cell in zip(heading.cells[2:], row.cells[2:], strict=False)}
    return of_module(row.cells[1], _resources(values), also=row.cells[0])


def _resources(values: Mapping[str, float | None]) -> Resources:
    counts = {_COLUMNS[name]: value for name, value in values.items() if name in _COLUMNS}
    tiles, halves = values.get("RAMB36"), values.get("RAMB18")
    return Resources(**counts, bram18=None if tiles is None or halves is None else 2 * tiles + halves)


@report_parser("vsynth", mark=r"(?s)Tool Version\s*:\s*Vivado.*report_utilization")
def parse(path: Path, text: str, clock_ns: float | None = None) -> Measurement:
    """Return the totals of the device; a Block RAM Tile is 36 Kb, so two BRAM18. The report knows no clock or cycles.

    UltraScale parts count "CLB LUTs", 7-series parts "Slice LUTs"; URAM stays unknown where the part has none.

    Raises:
        ReportError: a row is missing or no number, or `clock_ns` was not given.
    """
    clock = required_clock(path, clock_ns)
    own = origin(path, text)
    cells = _SHARES.split(text)[0]
    tiles = _used(path, cells, "Block RAM Tile")
    resources = Resources(
        lut=_used(path, cells, "CLB LUTs", "Slice LUTs"),
        ff=_used(path, cells, "CLB Registers", "Slice Registers"),
        dsp=_used(path, cells, "DSPs"),
        bram18=None if tiles is None else 2 * tiles,
        uram=_used(path, cells, "URAM", optional=True),
    )
    return Measurement(**own, clock_ns=clock, resources=resources)


def _used(path: Path, text: str, *labels: str, optional: bool = False) -> float | None:
    """Return the Used column of the first row with one of these labels.

    A starred label has a footnote. How many columns follow differs from release to release.
    """
    row = re.search(rf"^\| *(?:{'|'.join(labels)})\*? *\|([^|\n]*)\|", text, re.MULTILINE)
    if row is None:
        if optional:
            return None
        raise ReportError(f"'{path}' has no row '{' or '.join(labels)}'; expected it in a whole utilisation report")
    used = row[1].strip()
    if not re.fullmatch(r"\d{1,12}(\.\d{1,3})?", used):
        line = text.count("\n", 0, row.start()) + 1
        raise ReportError(f"'{path}', line {line}: '{used[:40]}' used of {labels[0]}; expected a number")
    return float(used)


def origin(path: Path, text: str) -> dict[str, Any]:
    """Return tool, version and part of one of Vivado's reports, and its stage: that of a netlist, or of placed cells.

    Raises:
        ReportError: the header does not tell them.
    """
    state = _STATE.search(text)
    placed = _PLACED.search(state[1]) if state else _COMMAND.search(text)
    found = {"stage": "route" if placed else "vsynth", "tool": "vivado"}
    for key, label, value in (("version", "Tool Version", r"Vivado v\.(\S+)"), ("part", "Device", r"(\S+)")):
        said = re.search(rf"^\| *{label} *: *{value}", text, re.MULTILINE)
        if said is None:
            raise ReportError(f"'{path}' has no line '{label} :' in its header; expected one of Vivado's reports")
        found[key] = said[1]
    return found
