"""A user's own target, from YAML; whatever is wrong with it is said in one sentence."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from hepprune.errors import RecipeError, unknown
from hepprune.files import documents
from hepprune.files.documents import Section
from hepprune.hardware import devices
from hepprune.hardware.resources import RESOURCES, Budget, Resources
from hepprune.hardware.targets.target import Target

_MOST = 10**9  # of whole numbers: what is larger is not a count, and may be more than a float holds


class _Taken(Section):
    """What other firmware on the same share of the chip takes."""

    lut: Annotated[float, Field(ge=0)] = 0.0
    ff: Annotated[float, Field(ge=0)] = 0.0
    dsp: Annotated[float, Field(ge=0)] = 0.0
    bram18: Annotated[float, Field(ge=0)] = 0.0


class HardLimits(Section):
    """What a design may use at most, each where it is said."""

    latency_ns: Annotated[float, Field(gt=0)] | None = None
    interval_cycles: Annotated[int, Field(ge=1, le=_MOST)] | None = None
    lut: Annotated[float, Field(ge=0)] | None = None
    ff: Annotated[float, Field(ge=0)] | None = None
    dsp: Annotated[float, Field(ge=0)] | None = None
    bram18: Annotated[float, Field(ge=0)] | None = None


class _Limits(HardLimits):
    """Hard limits; `share` is a fraction of the chip, or of one SLR, and single counts win over it.

    What `taken` leaves of the share is divided evenly among `models` networks.
    """

    share: Annotated[float, Field(gt=0, le=1)] | None = None
    share_of: Literal["chip", "slr"] = "chip"
    models: Annotated[int, Field(ge=1, le=_MOST)] = 1
    taken: _Taken = Field(default_factory=_Taken)
    uram: Annotated[float, Field(ge=0)] | None = None


class _Device(Section):
    """What a part has that hepprune does not know; `slr` counts its super logic regions."""

    family: Literal["7-series", "UltraScale", "UltraScale+", "Versal", "Agilex"] | None = None
    lut: Annotated[int, Field(ge=1, le=_MOST)]
    ff: Annotated[int, Field(ge=1, le=_MOST)]
    dsp: Annotated[int, Field(ge=0, le=_MOST)]
    bram18: Annotated[int, Field(ge=0, le=_MOST)]
    uram: Annotated[int, Field(ge=0, le=_MOST)] = 0
    slr: Annotated[int, Field(ge=1, le=_MOST)] = 1


class _TargetFile(Section):
    """A user's target; reserved_cycles are taken off the latency for a wrapper around the network."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_]*$")]
    part: Annotated[str, Field(pattern=r"^\s*[A-Za-z0-9][A-Za-z0-9._-]*\s*$")] | None = None
    clock_ns: Annotated[float, Field(gt=0)] | None = None
    clock_uncertainty: Annotated[float, Field(ge=0, lt=1)] | None = None
    levels_per_cycle: Annotated[int, Field(ge=1, le=_MOST)] | None = None
    device: _Device | None = None
    reserved_cycles: Annotated[int, Field(ge=0, le=_MOST)] = 0
    budget: _Limits = Field(default_factory=_Limits)
    source: str = ""
    note: str = ""

    def _faults(self) -> Iterator[str]:
        if self.budget.latency_ns is not None and self.budget.latency_ns <= self._reserved_ns:
            yield f"{self.reserved_cycles} reserved cycles leave nothing of {self.budget.latency_ns} ns"
        if self.budget.share is None and (self.budget.models > 1 or self.budget.taken != _Taken()):
            yield "budget.models and budget.taken divide a share of the chip; give budget.share"
        if self.part is None and (self.device is not None or self.budget.share is not None):
            asks = "device" if self.device is not None else "budget.share"
            yield f"{asks} is of a part; give part, too"

    @property
    def _reserved_ns(self) -> float:
        return self.reserved_cycles * (self.clock_ns or 0.0)

    def target(self) -> Target:
        limits, own = self.budget, self.device
        own_device = None if own is None else devices.Device(part=str(self.part), **own.model_dump())
        share, whole = limits.share, Resources()
        if share is not None:
            device = own_device or devices.find(str(self.part))
            share /= device.slr if limits.share_of == "slr" else 1
            taken = limits.taken.model_dump()
            left = {name: count - taken[name] for name, count in device.share(share).common.known().items()}
            if (worst := min(left, key=left.__getitem__)) and left[worst] < 0:
                text = f"budget.taken.{worst} is more than its share of {self.part} holds"
                raise RecipeError(f"target '{self.name}': {text}")
            whole = Resources(**{name: count / limits.models for name, count in left.items()})
        counts = {name: count for name in RESOURCES if (count := getattr(limits, name)) is not None}
        cells = Resources(**(whole.known() | counts))
        latency = limits.latency_ns and limits.latency_ns - self._reserved_ns
        alike = {"name", "part", "clock_ns", "clock_uncertainty", "reserved_cycles", "source", "note"}
        return Target(
            **self.model_dump(include=alike),
            budget=Budget(latency, limits.interval_cycles, cells),
            levels=self.levels_per_cycle,
            device_share=share,
            own_device=own_device,
        )


def _preset(name: str, *, confidence: str, **known: Any) -> Target:
    """Return a target of ours; how far it can be trusted is not for a file of a user to say."""
    return replace(_TargetFile(name=name, **known).target(), confidence=confidence)


_PRESETS = documents.read(Path(__file__).with_name("presets.yaml"), kind="targets", keys="of one target")
TARGETS = {name: _preset(name, **known) for name, known in _PRESETS.items()}


def load(name_or_path: str | Path) -> Target:
    """Return a preset by name, or the target of a YAML file.

    Raises:
        RecipeError: the name is unknown, the file is missing or no YAML, or a key is unknown, missing or out of range.
    """
    if str(name_or_path) in TARGETS:
        return TARGETS[str(name_or_path)]
    path = Path(name_or_path)
    if path.suffix not in (".yaml", ".yml"):
        raise RecipeError(unknown("target", str(name_or_path), TARGETS) + ", or give the path of a YAML file")
    content = documents.read(path, kind="target", keys="name and clock_ns")
    found = documents.checked(_TargetFile, content, f"'{path}'", wording=_wording)
    if found.clock_ns is None:
        raise RecipeError(f"'{path}': clock_ns: missing")
    return found.target()


def _wording(fault: Any) -> str:
    """Return what is wrong with a value: that it is missing, or what stands there and what should."""
    if fault["type"] == "missing":
        return "missing"
    wanted = fault["msg"].partition(" should ")[2].partition(",")[0]
    return f"{fault['input']!r} should {wanted}{_unit(str(fault['loc'][-1]))}"


def _unit(key: str) -> str:
    """Return in which unit a number is given, to follow "a valid number"."""
    if key.endswith("_ns"):
        return ", in ns and without a unit"
    if key.endswith("_cycles"):
        return ", in clock cycles"
    if key in {"share", "clock_uncertainty"}:
        return f", a fraction such as {0.25 if key == 'share' else 0.125}"
    return ", a count of cells (for a fraction of the chip give budget.share)" if key in _Taken.model_fields else ""
