"""Vendor reports into `Measurement`s: the csynth XML of Vivado/Vitis HLS, the utilisation report of Vivado.

Reports are untrusted: sizes are bounded, XML entities are refused, and a damaged file is an error that names the file
and what was expected in it.
"""

import re
from collections.abc import Callable
from pathlib import Path
from xml.etree.ElementTree import Element, ParseError

from defusedxml.common import DefusedXmlException

from hepprune.errors import ReportError
from hepprune.hardware.resources import Measurement, Resources

_MAX_BYTES = 2**26
_UNKNOWN = {"", "undef", "?", "-", "~0", "N/A", "NA"}

Parser = Callable[[Path], Measurement]
REPORT_PARSERS: dict[str, Parser] = {}


def parser(suffix: str) -> Callable[[Parser], Parser]:
    """Register the parser of files whose name ends so."""

    def register(function: Parser) -> Parser:
        REPORT_PARSERS[suffix] = function
        return function

    return register


def read(path: Path) -> Measurement:
    """Read a report by the end of its name.

    Raises:
        ReportError: the file is missing, damaged, too large, or of no known kind.
    """
    for suffix, function in REPORT_PARSERS.items():
        if path.name.endswith(suffix):
            return function(path)
    raise ReportError(f"'{path}' is no report known here; names end in {', '.join(REPORT_PARSERS)}")


def _text(path: Path) -> str:
    if not path.is_file():
        raise ReportError(f"no report at '{path}'")
    if path.stat().st_size > _MAX_BYTES:
        raise ReportError(f"'{path}' is larger than {_MAX_BYTES} bytes, so it is no report")
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as problem:
        raise ReportError(f"'{path}' is no text: byte {problem.start} is not UTF-8") from problem


@parser("csynth.xml")
def csynth(path: Path) -> Measurement:
    """Read the csynth.xml of Vivado HLS 2016.4 up to Vitis HLS 2025.1: totals of the top, latency and II at worst."""
    from defusedxml.ElementTree import fromstring

    try:
        root = fromstring(_text(path))
    except (ParseError, DefusedXmlException) as problem:
        raise ReportError(f"'{path}' is no sound XML: {problem}") from problem
    assignments = _child(root, "UserAssignments", path)
    performance = _child(root, "PerformanceEstimates", path)
    area = _child(_child(root, "AreaEstimates", path), "Resources", path)
    clock, uncertainty = (_number(assignments, name, path) for name in ("TargetClockPeriod", "ClockUncertainty"))
    estimated = _number(performance, "SummaryOfTimingAnalysis/EstimatedClockPeriod", path)
    latency = _number(performance, "SummaryOfOverallLatency/Worst-caseLatency", path)
    interval = _number(performance, "SummaryOfOverallLatency/Interval-max", path)
    if clock is None:
        raise ReportError(f"'{path}': TargetClockPeriod is no number of ns")
    return Measurement(
        stage="csynth",
        tool="hls",
        version=_child(root, "ReportVersion/Version", path).text or "unknown",
        part=_child(assignments, "Part", path).text or "unknown",
        clock_ns=clock,
        resources=_cells(area, path),
        latency_cycles=None if latency is None else int(latency),
        interval_cycles=None if interval is None else int(interval),
        clock_met=None if estimated is None else estimated <= clock - (uncertainty or 0.0),
    )


def _child(element: Element, name: str, path: Path) -> Element:
    found = element.find(name)
    if found is None:
        raise ReportError(f"'{path}' has no {name} in {element.tag}; a csynth report has")
    return found


def _number(element: Element, name: str, path: Path) -> float | None:
    found = element.find(name)
    text = "" if found is None else (found.text or "").strip()
    if text in _UNKNOWN:
        return None
    try:
        return float(text)
    except ValueError as problem:
        raise ReportError(f"'{path}': {name} is '{text}', expected a number") from problem


def _cells(area: Element, path: Path) -> Resources:
    """Return the totals; older tools say DSP48E, newer ones DSP."""
    dsp = next((value for tag in ("DSP", "DSP48E", "DSP48") if (value := _number(area, tag, path)) is not None), None)
    lut, ff, bram18, uram = (_number(area, tag, path) for tag in ("LUT", "FF", "BRAM_18K", "URAM"))
    return Resources(lut=lut, ff=ff, dsp=dsp, bram18=bram18, uram=uram)


@parser("vivado_synth.rpt")
def vivado(path: Path) -> Measurement:
    """Read Vivado's report_utilization: UltraScale "CLB LUTs" or 7-series "Slice LUTs"; a Block RAM Tile is two BRAM18."""
    text = _text(path)
    tile = _row(text, ("Block RAM Tile",))
    resources = Resources(
        lut=_row(text, ("CLB LUTs", "Slice LUTs")),
        ff=_row(text, ("CLB Registers", "Slice Registers")),
        dsp=_row(text, ("DSPs",)),
        bram18=None if tile is None else 2 * tile,
        uram=_row(text, ("URAM",)),
    )
    version = re.search(r"^\| Tool Version : Vivado v\.(\S+)", text, re.MULTILINE)
    part = re.search(r"^\| Device\s+: (\S+)", text, re.MULTILINE)
    if resources.lut is None or version is None or part is None:
        raise ReportError(
            f"'{path}' is no Vivado utilisation report: expected Tool Version, Device and a table of LUTs"
        )
    return Measurement("vsynth", "vivado", version.group(1), part.group(1), 0.0, resources)


def _row(text: str, labels: tuple[str, ...]) -> float | None:
    """Return the Used column of the first table row with one of these labels; a starred label has a footnote."""
    match = re.search(rf"^\|\s*(?:{'|'.join(labels)})\*?\s*\|\s*([\d.]+)\s*\|", text, re.MULTILINE)
    return float(match.group(1)) if match else None
