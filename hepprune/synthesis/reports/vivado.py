"""Vivado's `report_utilization`, flat or by hierarchy: the cells that synthesis or placement left of a design."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hepprune.errors import ReportError
from hepprune.hardware.resources import LayerMeasurement, Measurement, Resources
from hepprune.synthesis.reports.modules import layer_of
from hepprune.synthesis.reports.registry import report_parser, required_clock
from hepprune.synthesis.reports.tables import Row, number, part_number, tables

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
    layer = layer_of(row.cells[1]) or layer_of(row.cells[0])
    values = {name: part_number(cell) for name, cell in zip(heading.cells[2:], row.cells[2:], strict=False)}
    return LayerMeasurement(layer=layer, module=row.cells[1], resources=_resources(values))


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
