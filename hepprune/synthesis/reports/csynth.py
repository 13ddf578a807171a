"""The csynth.xml of Vivado HLS and Vitis HLS, 2016.4 to 2025.1: what C synthesis predicts of a function."""

import re
from collections.abc import Collection
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element, ParseError

from hepprune.errors import ReportError, explained
from hepprune.hardware.resources import LayerMeasurement, Measurement, Resources
from hepprune.synthesis.reports.modules import of_module
from hepprune.synthesis.reports.registry import bounded, report_parser
from hepprune.synthesis.reports.tables import cycles, number, part_cycles, part_number

DSP_TAGS = ("DSP", "DSP48E", "DSP48")  # what a DSP was called over the years
_LAST_VIVADO_HLS = (2020, 1)
_MAX_TAGS, _MAX_ATTRIBUTES = 2**19, 2**22  # newer releases describe every operator by a dozen attributes
_MAX_TAG = 2**16  # characters
_PRECISION_NS = 5e-4  # periods are printed to a picosecond


@report_parser("csynth", mark=r"^\s*(<\?xml[^>]*>\s*)?<(!DOCTYPE|profile\b)")
def parse(path: Path, text: str, _clock_ns: float | None = None) -> Measurement:
    """Return the totals of the top function, latency and interval at their worst, and its modules where there are any.

    `clock_met` says whether the estimated period, with the clock uncertainty on top, fits the target: HLS' own test.

    Raises:
        ReportError: no sound XML, an entity or document type in it, or an element that is missing or no number.
    """
    root = _root(path, text)
    timing = _child(root, "PerformanceEstimates/SummaryOfTimingAnalysis", path)
    overall = _child(root, "PerformanceEstimates/SummaryOfOverallLatency", path)
    version = _text(root, "ReportVersion/Version", path)
    clock = _number(root, "UserAssignments/TargetClockPeriod", path)
    if not clock:
        raise ReportError(f"'{path}': TargetClockPeriod is unknown or zero; expected a period in ns")
    area = _child(root, "AreaEstimates/Resources", path)
    tags = resource_tags({each.tag for each in area}).items()
    # URAM came late
    counts = {name: _number(area, tag, path, optional=name == "uram") for name, tag in tags}
    return Measurement(
        **origin(version, _text(root, "UserAssignments/Part", path)),
        clock_ns=clock,
        resources=Resources(**counts),
        latency_cycles=_cycles(overall, "Worst-caseLatency", path),
        interval_cycles=_cycles(overall, "Interval-max", path),
        clock_met=fits(
            _number(timing, "EstimatedClockPeriod", path),
            clock - (_number(root, "UserAssignments/ClockUncertainty", path, optional=True) or 0.0),
        ),
        layers=_layers(root),
    )


def _layers(root: Element) -> tuple[LayerMeasurement, ...]:
    """Return the modules that the top function calls, once for each call; only the whole csynth.xml lists them."""
    modules = {(module.findtext("Name") or "").strip(): module for module in root.iterfind("ModuleInformation/Module")}
    called = root.iterfind("RTLDesignHierarchy/TopModule/InstancesList/Instance/ModuleName")
    names = [(element.text or "").strip() for element in called]
    return tuple(_layer(name, modules[name]) for name in names if name in modules)


def _layer(name: str, module: Element) -> LayerMeasurement:
    """Return what is known of a module; what is missing or unreadable of it is unknown."""
    area, overall = "AreaEstimates/Resources/", "PerformanceEstimates/SummaryOfOverallLatency/"
    tags = resource_tags({each.tag for each in module.iterfind(f"{area}*")})
    counts = {name: part_number(module.findtext(area + tag) or "") for name, tag in tags.items()}
    cycles_of = (module.findtext(overall + key) or "" for key in ("Worst-caseLatency", "PipelineInitiationInterval"))
    return of_module(name, Resources(**counts), *map(part_cycles, cycles_of))


def resource_tags(there: Collection[str]) -> dict[str, str]:
    """Return the tag of each resource; that of DSPs changed over the years, and the one that is there is taken."""
    dsp = next((tag for tag in DSP_TAGS if tag in there), "DSP")
    return {"lut": "LUT", "ff": "FF", "dsp": dsp, "bram18": "BRAM_18K", "uram": "URAM"}


def _root(path: Path, text: str) -> Element:
    from defusedxml.common import DefusedXmlException
    from defusedxml.ElementTree import fromstring

    bounded(path, text, "<", most=_MAX_TAGS)
    bounded(path, text, "=", most=_MAX_ATTRIBUTES)
    if any(len(tag.partition(">")[0]) >= _MAX_TAG for tag in text.split("<")[1:]):
        raise ReportError(f"'{path}' has a tag of more than 64 kB; expected a csynth report")
    with (  # a ValueError is a byte that no XML may hold, or a wrong encoding
        explained(ReportError, f"'{path}' is not sound XML, or only part of it:", ParseError, ValueError),
        explained(ReportError, f"'{path}' has a document type or entities; expected none:", DefusedXmlException),
    ):
        root: Element = fromstring(text, forbid_dtd=True)
    return root


def origin(version: str, part: str) -> dict[str, Any]:
    """Return where figures of C synthesis are from: by its version it was Vivado HLS up to 2020.1, then Vitis HLS."""
    year = re.match(r"(\d{4})\.(\d{1,3})", version)
    tool = "vivado_hls" if year and (int(year[1]), int(year[2])) <= _LAST_VIVADO_HLS else "vitis"
    return {"stage": "csynth", "tool": tool, "version": version, "part": part}


def fits(estimated_ns: float | None, available_ns: float) -> bool | None:
    """Return whether an estimated period keeps the clock; None where it is unknown."""
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


def _value(element: Element, name: str, path: Path, *, optional: bool = False) -> str:
    found = element.find(name) if optional else _child(element, name, path)
    return "" if found is None else (found.text or "").strip()


def _number(element: Element, name: str, path: Path, *, optional: bool = False) -> float | None:
    """Return a number, None where the report says that it is unknown; only an optional one may be left out."""
    return number(_value(element, name, path, optional=optional), what=name, path=path)


def _cycles(element: Element, name: str, path: Path) -> int | None:
    return cycles(_value(element, name, path), what=name, path=path)
