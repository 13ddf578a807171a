"""From several reports of one design to one measurement of each of its stages."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any, TypeVar

from hepprune.hardware.resources import RESOURCES, LayerMeasurement, Measurement, Resources
from hepprune.synthesis.reports import UNKNOWN

Modules = tuple[LayerMeasurement, ...]
T = TypeVar("T", Measurement, LayerMeasurement)
_CYCLES = ("latency_cycles", "interval_cycles")
_STATED = ("version", *_CYCLES, "clock_met")
_WITHOUT_CYCLES = {"vsynth", "route", "yosys", "nextpnr-ecp5"}


def merged(measured: Iterable[Measurement]) -> list[Measurement]:
    """Return one measurement of each stage, filled from all reports that do not contradict it; one that does stays."""
    whole: list[Measurement] = []
    for each in measured:
        for place, known in enumerate(whole):
            if _agree(known, each):
                whole[place] = _filled(known, each)
                break
        else:
            whole.append(each)
    return whole


def _agree(one: Measurement, other: Measurement) -> bool:
    if (one.stage, one.clock_ns) != (other.stage, other.clock_ns) or not _same_part(one.part, other.part):
        return False
    pairs = [(getattr(one, name), getattr(other, name)) for name in _STATED]
    pairs += [(getattr(one.resources, name), getattr(other.resources, name)) for name in RESOURCES]
    return all(a == b for a, b in pairs if not {a, b} & {None, UNKNOWN})


def _same_part(one: str, other: str) -> bool:
    """Whether two reports are of one part; Vivado leaves its speed grade out in some and a dash or `xc` in others."""
    if UNKNOWN in {one, other}:
        return True
    short, long = sorted((part.lower().replace("-", "").removeprefix("xc") for part in (one, other)), key=len)
    return long.startswith(short)


def _filled(known: Measurement, more: Measurement) -> Measurement:
    """Return a measurement with what it does not know taken from another of the same design and stage."""
    part = max((known.part, more.part), key=lambda part: (part != UNKNOWN, len(part)))
    layers = _filled_layers(known.layers, more.layers)
    return replace(known, part=part, layers=layers, **_lacking(known, more, *_STATED))


def _lacking(known: T, more: T, *names: str) -> dict[str, Any]:
    """Return what only the other one has of values of these names, and the counts that either has."""
    values = {name: getattr(more, name) for name in names if getattr(known, name) in {None, UNKNOWN}}
    return values | {"resources": Resources(**(more.resources.known() | known.resources.known()))}


def _filled_layers(known: Modules, more: Modules) -> Modules:
    """Return modules with the counts and cycles that only the other report has of them."""
    if not known:
        return more
    others = {each.module: each for each in more}
    pairs = [(each, others.get(each.module, each)) for each in known]
    return tuple(replace(each, **_lacking(each, other, "layer", *_CYCLES)) for each, other in pairs)


def with_cycles(measured: list[Measurement], verilog: tuple[int, int] | None) -> list[Measurement]:
    """Return measurements in which stages that tell no cycles have those of C synthesis, or else of the Verilog."""
    predicted = next((each for each in measured if each.stage == "csynth" and each.latency_cycles is not None), None)
    latency, interval = (predicted.latency_cycles, predicted.interval_cycles) if predicted else verilog or (None, None)
    silent = [each.stage in _WITHOUT_CYCLES and each.latency_cycles is None for each in measured]
    filled = [replace(each, latency_cycles=latency, interval_cycles=interval) for each in measured]
    return [new if lacks else each for each, new, lacks in zip(measured, filled, silent, strict=True)]
