"""The ndjson files of oneAPI's FPGA reports: estimated and fitted resources, and the cycles of each kernel.

ALUTs count as LUT and registers as FF, though an Intel ALUT is not a Xilinx LUT6; a RAM block there is an M20K of 20
Kb, no BRAM18, so BRAM stays unknown.
"""

import json
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from hepprune.errors import ReportError, explained
from hepprune.hardware.resources import LayerMeasurement, Measurement, Resources
from hepprune.synthesis.reports.modules import of_module
from hepprune.synthesis.reports.registry import UNKNOWN, bounded, report_parser, required_clock
from hepprune.synthesis.reports.solution import loaded, section
from hepprune.synthesis.reports.tables import number, part_number

_VERSION = re.compile(r"oneapi/compiler/(\d{4}\.\d{1,3})")
_MAX_MHZ = 1e5
_PACKED = 2  # multipliers that share a DSP, the `dsp_packing_factor`


@report_parser("oneapi_fit", mark=r"^\s*\{\s*\"quartusFitClockSummary\"")
def parse_fit(path: Path, text: str, clock_ns: float | None = None) -> Measurement:
    """Return what Quartus' fitter placed on the whole device; without `clock_ns` the clock is the fastest it met.

    Raises:
        ReportError: no sound JSON, or a figure is missing.
    """
    data = loaded(path, text)
    clocks, used = (_nodes(data, f"quartusFit{name}Summary", path) for name in ("Clock", "ResourceUsage"))
    fastest = 1e3 / _mhz(clocks[0].get("clock fmax"), path)
    lut, ff, dsp = (_count(used[0].get(name), name, path) for name in ("alut", "reg", "dsp"))
    counts = ([_part(node.get(key)) for key in ("alut", "reg", "dsp")] for node in used[1:])
    layers = tuple(_function(node, _packed(*each)) for node, each in zip(used[1:], counts, strict=True))
    return Measurement(
        stage="route",
        tool="quartus",
        version=UNKNOWN,
        part=UNKNOWN,
        clock_ns=round(fastest, 4) if clock_ns is None else clock_ns,
        resources=Resources(lut=lut, ff=ff, dsp=dsp),
        clock_met=clock_ns is None or fastest <= clock_ns,
        layers=layers,
    )


def _function(node: Mapping[str, Any], resources: Resources, *cycles: int | None) -> LayerMeasurement:
    """Return what is known of a kernel; its name is cut short, the compiler's own name is whole."""
    return of_module(str(node.get("name")), resources, *cycles, also=str(node.get("compiler_name")))


@report_parser("oneapi_area", mark=r"^\s*\{\s*\"columns\"\s*:\s*\[\s*\"\"\s*,\s*\"ALUTs")
def parse_area(path: Path, text: str, clock_ns: float | None = None) -> Measurement:
    """Return the estimated resources of the whole system and of its kernels.

    Raises:
        ReportError: a line is not sound JSON, a figure is missing, or `clock_ns` was not given.
    """
    system, *nodes = lines(path, text)
    kernels = [node for node in nodes if node.get("type") == "function" and node.get("parent") == 0]
    layers = tuple(_function(node, _used(node.get("total_kernel_resources"))) for node in kernels)
    return _estimated(path, text, _row(system.get("total"), path), layers, clock_ns=clock_ns)


@report_parser("oneapi_summary", mark=r"^\s*\{\s*\"name\"\s*:\s*\"Kernel Summary\"")
def parse_summary(path: Path, text: str, clock_ns: float | None = None) -> Measurement:
    """Return the estimated resources of the whole system and of its kernels.

    Raises:
        ReportError: a line is not sound JSON, a figure is missing, or `clock_ns` was not given.
    """
    nodes = lines(path, text)
    total = next((node for node in nodes if node.get("name") == "Total"), {})
    compiled = {str(node.get("name")): node for node in nodes if "compiler_name" in node}
    kernels = [node for node in nodes if node.get("parent") == "estimatedResources" and "classes" not in node]
    layers = tuple(_function(compiled.get(str(node.get("name")), node), _used(node.get("data"))) for node in kernels)
    return _estimated(path, text, _row(total.get("data"), path), layers, clock_ns=clock_ns)


def _estimated(
    path: Path, text: str, total: Resources, layers: tuple[LayerMeasurement, ...], *, clock_ns: float | None
) -> Measurement:
    return Measurement(
        stage="csynth",
        tool="oneapi",
        version=_version(text),
        part=UNKNOWN,
        clock_ns=required_clock(path, clock_ns),
        resources=total,
        layers=layers,
    )


@report_parser("oneapi_loops", mark=r"^\s*\{\s*\"name\"\s*:\s*\"loop_attributes\"")
def parse_loops(path: Path, text: str, _clock_ns: float | None = None) -> Measurement:
    """Return the largest interval of any loop, and for each kernel the latency of its longest block.

    Kernels run side by side, so that no figure here is the latency of the whole; it stays unknown.

    Raises:
        ReportError: a line is not sound JSON, or a figure is missing.
    """
    _, *nodes = lines(path, text)
    kernels = [node for node in nodes if node.get("type") == "kernel"]
    if not kernels:
        raise ReportError(f"'{path}' has no kernel; expected at least one among the loops")
    blocks = {str(node.get("id")): node for node in nodes if node.get("type") in ("bb", "loop")}
    slowest = min(_mhz(kernel.get("fmax"), path) for kernel in kernels)
    layers = tuple(_timed(kernel, blocks, path) for kernel in kernels)
    intervals = [layer.interval_cycles for layer in layers if layer.interval_cycles is not None]
    found = _estimated(path, text, Resources(), layers, clock_ns=round(1e3 / slowest, 4))
    return replace(found, interval_cycles=max(intervals, default=None))


def _timed(kernel: Mapping[str, Any], blocks: Mapping[str, Mapping[str, Any]], path: Path) -> LayerMeasurement:
    children = kernel.get("children")
    known = [str(child) for child in children] if isinstance(children, list) else []
    own = [blocks[child] for child in known if child in blocks]
    interval, latency = _largest([_count(block.get("ii"), "ii", path) for block in own]), None
    with suppress(ReportError):  # of an unreadable block nobody knows whether it is the longest
        latency = _largest([_count(block.get("lt"), "lt", path) for block in own])
    return _function(kernel, Resources(), latency, interval)


def _largest(values: list[float | None]) -> int | None:
    return max((int(value) for value in values if value is not None), default=None)


def lines(path: Path, text: str) -> list[Mapping[str, Any]]:
    """Return the objects of an ndjson text, one a line, at least one.

    Raises:
        ReportError: a line is not a JSON object, or there is none.
    """
    bounded(path, text, "[{,\n")
    found: list[Mapping[str, Any]] = []
    for place, line in enumerate(text.split("\n"), 1):
        with explained(ReportError, f"'{path}', line {place}: no sound JSON:", ValueError, RecursionError):
            value = json.loads(line) if line.strip() else None
        if isinstance(value, dict):
            found.append(value)
        elif line.strip():
            raise ReportError(f"'{path}', line {place}: expected a JSON object")
    if not found:
        raise ReportError(f"'{path}' is empty; expected a JSON object in each line")
    return found


def _version(text: str) -> str:
    found = _VERSION.search(text)
    return UNKNOWN if found is None else found[1]


def _nodes(data: Mapping[str, Any], name: str, path: Path) -> list[Mapping[str, Any]]:
    nodes = section(data, name, path).get("nodes")
    if not isinstance(nodes, list) or not nodes or not all(isinstance(node, dict) for node in nodes):
        raise ReportError(f"'{path}' has no nodes in '{name}'; expected what Quartus' fitter says")
    return nodes


def _row(data: Any, path: Path) -> Resources:
    """Return ALUTs, FFs and DSPs of a row whose columns are ALUTs, FFs, RAMs, DSPs, MLABs and halves of DSPs."""
    if not isinstance(data, list) or len(data) < 4:
        raise ReportError(f"'{path}' has no row of resources where one is due; expected ALUTs, FFs, RAMs, DSPs")
    return _used([_count(value, "a resource", path) for value in data[:6]])


def _used(data: Any) -> Resources:
    """Return a kernel's row; what is missing or unreadable in it is unknown."""
    values = data if isinstance(data, list) else []
    lut, ff, _, dsp, _, halves = (_part(value) for value in (*values[:6], *(None,) * (4 - len(values)), 0, 0)[:6])
    return _packed(lut, ff, dsp, halves)


def _packed(lut: float | None, ff: float | None, dsp: float | None, halves: float | None = 0.0) -> Resources:
    return Resources(lut=lut, ff=ff, dsp=None if dsp is None or halves is None else dsp + halves / _PACKED)


def _part(value: Any) -> float | None:
    return part_number("" if value is None else str(value))


def _count(value: Any, what: str, path: Path) -> float | None:
    return number("" if value is None else str(value), what=what, path=path)


def _mhz(value: Any, path: Path) -> float:
    found = _count(value, "the clock frequency", path)
    if not found or found > _MAX_MHZ:
        raise ReportError(f"'{path}' has no clock frequency in MHz; expected one")
    return found
