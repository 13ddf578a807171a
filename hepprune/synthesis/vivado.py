"""Vivado's `report_utilization`: the cells that logic synthesis left of a design."""

import re
from pathlib import Path

from hepprune.errors import ReportError
from hepprune.hardware.resources import Measurement, Resources
from hepprune.synthesis.reports import report_parser

# Later sections tell each SLR's share of the same cells, under the same labels.
_SHARES = re.compile(r"^\d+\. SLR .*\n-+$", re.MULTILINE)


@report_parser("vsynth", mark=r"(?s)Tool Version\s*:\s*Vivado.*report_utilization")
def parse(path: Path, text: str, clock_ns: float | None = None) -> Measurement:
    """Return the totals of the device; a Block RAM Tile is 36 Kb, so two BRAM18. The report knows no clock or cycles.

    UltraScale parts count "CLB LUTs", 7-series parts "Slice LUTs"; URAM stays unknown where the part has none.

    Raises:
        ReportError: a row is missing or no number, or `clock_ns` was not given.
    """
    if clock_ns is None:
        raise ReportError(f"'{path}' is a utilisation report, which holds no clock period; give clock_ns")
    version = _header(path, text, "Tool Version", r"Vivado v\.(\S+)")
    part = _header(path, text, "Device", r"(\S+)")
    text = _SHARES.split(text)[0]
    tiles = _used(path, text, "Block RAM Tile")
    resources = Resources(
        lut=_used(path, text, "CLB LUTs", "Slice LUTs"),
        ff=_used(path, text, "CLB Registers", "Slice Registers"),
        dsp=_used(path, text, "DSPs"),
        bram18=None if tiles is None else 2 * tiles,
        uram=_used(path, text, "URAM", optional=True),
    )
    return Measurement("vsynth", "vivado", version, part, clock_ns, resources)


def _used(path: Path, text: str, *labels: str, optional: bool = False) -> float | None:
    """Return the Used column of the first row with one of these labels.

    A starred label has a footnote. How many columns follow differs from release to release.
    """
    row = re.search(rf"^\| *(?:{'|'.join(labels)})\*? *\| *([^|\n]*?) *\|", text, re.MULTILINE)
    if row is None:
        if optional:
            return None
        raise ReportError(f"'{path}' has no row '{' or '.join(labels)}'; expected it in a whole utilisation report")
    if not re.fullmatch(r"\d{1,12}(\.\d{1,3})?", row[1]):
        line = text.count("\n", 0, row.start()) + 1
        raise ReportError(f"'{path}', line {line}: '{row[1][:40]}' used of {labels[0]}; expected a number")
    return float(row[1])


def _header(path: Path, text: str, label: str, value: str) -> str:
    found = re.search(rf"^\| *{label} *: *{value}", text, re.MULTILINE)
    if found is None:
        raise ReportError(f"'{path}' has no line '{label} :' in its header; expected one from report_utilization")
    return found[1]
