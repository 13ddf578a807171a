"""What says whether a clock is met: Vivado's `report_timing_summary`, and HLS' own summary of an exported design."""

import re
from pathlib import Path

from hepprune.errors import ReportError
from hepprune.hardware.resources import Measurement, Resources
from hepprune.synthesis.reports.registry import report_parser, required_clock
from hepprune.synthesis.reports.tables import number
from hepprune.synthesis.reports.vivado import origin

_SLACK = re.compile(r"^ *WNS\(ns\).*\n[ -]*\n *(\S+) +(\S+) +(\S+) +(\S+)(?: +(\S+))?", re.MULTILINE)
_PERIOD = re.compile(r"^\S+ +\{[\d. ]+\} +(\d{1,6}\.\d{1,6}) ", re.MULTILINE)
_REQUIREMENT = re.compile(r"^ *Requirement: +(\d{1,6}\.\d{1,6})ns", re.MULTILINE)
_EXPORTED = {"LUT": "lut", "FF": "ff", "DSP": "dsp", "BRAM": "bram18", "URAM": "uram"}


@report_parser("timing", mark=r"(?s)Tool Version\s*:\s*Vivado.*report_timing_summary")
def parse(path: Path, text: str, clock_ns: float | None = None) -> Measurement:
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
