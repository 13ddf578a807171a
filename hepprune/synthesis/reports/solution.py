"""The `solution1_data.json` that HLS leaves of a solution, since 2018: metrics of every module, and who calls whom."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hepprune.errors import ReportError, explained
from hepprune.hardware.resources import LayerMeasurement, Measurement, Resources
from hepprune.synthesis.reports.csynth import fits, resource_tags
from hepprune.synthesis.reports.modules import of_module
from hepprune.synthesis.reports.registry import UNKNOWN, bounded, report_parser
from hepprune.synthesis.reports.tables import cycles, number, part_cycles, part_number


@report_parser("solution", mark=r"^\s*\{\s*\"Top\"\s*:")
def parse(path: Path, text: str, _clock_ns: float | None = None) -> Measurement:
    """Return the metrics of the top function and of each module that it calls; the file names no version.

    Raises:
        ReportError: no sound JSON, or a metric is missing or no number.
    """
    data = loaded(path, text)
    top = _text(data, "Top", path)
    hierarchy = data.get("ModuleInfo")
    metrics = section(section(hierarchy, "Metrics", path), top, path)
    timing, latency = section(metrics, "Timing", path), section(metrics, "Latency", path)
    clock = _number(timing, "Target", path)
    if not clock:
        raise ReportError(f"'{path}': the target period is unknown or zero; expected ns")
    estimate, uncertainty = (_number(timing, name, path) for name in ("Estimate", "Uncertainty"))
    area = section(metrics, "Area", path)
    counts = {count: _number(area, tag, path) for count, tag in _tags(area).items()}
    return Measurement(
        stage="csynth",
        tool="hls",
        version=UNKNOWN,
        part="".join(_text(section(data, "Target", path), name, path) for name in ("Device", "Package", "Speed")),
        clock_ns=clock,
        resources=Resources(**counts),
        latency_cycles=cycles(_text(latency, "LatencyWorst", path), what="LatencyWorst", path=path),
        interval_cycles=cycles(_interval(latency), what="the interval", path=path),
        clock_met=fits(estimate, clock - (uncertainty or 0.0)),
        layers=_layers(section(hierarchy, "Hierarchy", path), section(hierarchy, "Metrics", path), path),
    )


def loaded(path: Path, text: str) -> Mapping[str, Any]:
    """Return the object that a JSON text holds.

    Raises:
        ReportError: it is not sound JSON, or no object.
    """
    bounded(path, text, "[{,")
    with explained(ReportError, f"'{path}' is not sound JSON, or only part of it:", ValueError, RecursionError):
        found = json.loads(text)
    if not isinstance(found, dict):
        raise ReportError(f"'{path}' holds no JSON object; expected one")
    return found


def _layers(top: Mapping[str, Any], metrics: Mapping[str, Any], path: Path) -> tuple[LayerMeasurement, ...]:
    calls = top.get("Instances", [])
    names = [_text(call, "ModuleName", path) for call in calls] if isinstance(calls, list) else []
    return tuple(_layer(name, metrics[name]) for name in names if name in metrics)


def _layer(name: str, metrics: Any) -> LayerMeasurement:
    """Return what is known of a module; what is missing or unreadable of it is unknown."""
    parts = [metrics.get(section) if isinstance(metrics, dict) else None for section in ("Area", "Latency")]
    area, latency = (part if isinstance(part, dict) else {} for part in parts)
    counts = {count: part_number(str(area[tag])) for count, tag in _tags(area).items()}
    worst, interval = part_cycles(str(latency.get("LatencyWorst", ""))), part_cycles(_interval(latency))
    return of_module(name, Resources(**counts), worst, interval)


def _tags(area: Mapping[str, Any]) -> dict[str, str]:
    """Return the tags of the counts that are there; some releases leave out a resource of which there is none."""
    return {count: tag for count, tag in resource_tags(area).items() if tag in area}


def _interval(latency: Mapping[str, Any]) -> str:
    return str(latency.get("PipelineIIMax", latency.get("PipelineII", "")))


def section(value: Any, name: str, path: Path) -> Mapping[str, Any]:
    """Return an object in a value of JSON.

    Raises:
        ReportError: there is none of that name.
    """
    found = value.get(name) if isinstance(value, dict) else None
    if not isinstance(found, dict):
        raise ReportError(f"'{path}' has no object '{name}'; expected one in a report of its tool")
    return found


def _number(value: Any, name: str, path: Path) -> float | None:
    return number(_text(value, name, path), what=name, path=path)


def _text(value: Any, name: str, path: Path) -> str:
    found = value.get(name) if isinstance(value, dict) else None
    if not isinstance(found, str):
        raise ReportError(f"'{path}' has no text '{name[:40]}'; expected one where HLS describes its modules")
    return re.sub(r"\s+", " ", found).strip()
