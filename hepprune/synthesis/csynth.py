"""The csynth.xml of Vivado HLS and Vitis HLS, 2016.4 to 2025.1: what C synthesis predicts of the top function."""

import re
from pathlib import Path
from xml.etree.ElementTree import Element, ParseError

from hepprune.errors import ReportError
from hepprune.hardware.resources import Measurement, Resources
from hepprune.synthesis.reports import report_parser

_UNKNOWN = {"", "undef", "?", "-", "~0", "N/A", "NA"}
_NUMBER = re.compile(r"\d{1,18}(\.\d{1,18})?")
_LAST_VIVADO_HLS = (2020, 1)
_PRECISION_NS = 5e-4  # periods are printed to a picosecond


@report_parser("csynth", mark=r"^\s*(<\?xml[^>]*>\s*)?<(!DOCTYPE|profile\b)")
def parse(path: Path, text: str, _clock_ns: float | None = None) -> Measurement:
    """Return the totals of the top function, latency and interval at their worst.

    `clock_met` says whether the estimated period, with the clock uncertainty on top, fits the target: HLS' own test.

    Raises:
        ReportError: no sound XML, an entity or document type in it, or an element that is missing or no number.
    """
    root = _root(path, text)
    timing = _child(root, "PerformanceEstimates/SummaryOfTimingAnalysis", path)
    cycles = _child(root, "PerformanceEstimates/SummaryOfOverallLatency", path)
    version = _text(root, "ReportVersion/Version", path)
    clock = _number(root, "UserAssignments/TargetClockPeriod", path)
    if not clock:
        raise ReportError(f"'{path}': TargetClockPeriod is unknown or zero; expected a period in ns")
    return Measurement(
        stage="csynth",
        tool=_tool(version),
        version=version,
        part=_text(root, "UserAssignments/Part", path),
        clock_ns=clock,
        resources=_resources(_child(root, "AreaEstimates/Resources", path), path),
        latency_cycles=_cycles(cycles, "Worst-caseLatency", path),
        interval_cycles=_cycles(cycles, "Interval-max", path),
        clock_met=_fits(
            _number(timing, "EstimatedClockPeriod", path),
            clock - (_number(root, "UserAssignments/ClockUncertainty", path, optional=True) or 0.0),
        ),
    )


def _root(path: Path, text: str) -> Element:
    from defusedxml.common import DefusedXmlException
    from defusedxml.ElementTree import fromstring

    try:
        root: Element = fromstring(text, forbid_dtd=True)
    except ParseError as problem:
        raise ReportError(f"'{path}' is no sound XML, or only part of it: {problem}") from problem
    except DefusedXmlException as problem:
        raise ReportError(f"'{path}' has a document type or entities; expected none: {problem}") from problem
    return root


def _tool(version: str) -> str:
    year = re.match(r"(\d{4})\.(\d+)", version)
    return "vivado_hls" if year and (int(year[1]), int(year[2])) <= _LAST_VIVADO_HLS else "vitis"


def _resources(area: Element, path: Path) -> Resources:
    """Return the totals; the tag of DSPs changed over the years, URAM came late."""
    dsp = next((tag for tag in ("DSP", "DSP48E", "DSP48") if area.find(tag) is not None), "DSP")
    lut, ff, dsps, bram18 = (_number(area, tag, path) for tag in ("LUT", "FF", dsp, "BRAM_18K"))
    return Resources(lut=lut, ff=ff, dsp=dsps, bram18=bram18, uram=_number(area, "URAM", path, optional=True))


def _fits(estimated_ns: float | None, available_ns: float) -> bool | None:
    return None if estimated_ns is None else estimated_ns <= available_ns + _PRECISION_NS


def _child(element: Element, name: str, path: Path) -> Element:
    found = element.find(name)
    if found is None:
        raise ReportError(f"'{path}' has no {name} in its {element.tag}; expected it in a csynth report")
    return found


def _text(element: Element, name: str, path: Path) -> str:
    text = (_child(element, name, path).text or "").strip()
    if not text:
        raise ReportError(f"'{path}': {name} is empty; expected text")
    return text


def _number(element: Element, name: str, path: Path, *, optional: bool = False) -> float | None:
    """Return a number, None where the report says that it is unknown; only an optional one may be left out."""
    found = element.find(name) if optional else _child(element, name, path)
    text = "" if found is None else (found.text or "").strip()
    if text in _UNKNOWN:
        return None
    if not _NUMBER.fullmatch(text):
        raise ReportError(f"'{path}': {name} is '{text[:40]}'; expected a number or one of undef, ?, -")
    return float(text)


def _cycles(element: Element, name: str, path: Path) -> int | None:
    value = _number(element, name, path)
    if value is not None and not value.is_integer():
        raise ReportError(f"'{path}': {name} is {value}; expected whole clock cycles")
    return None if value is None else int(value)
