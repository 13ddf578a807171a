"""Where a network has to run: the clock, the chip and the budget of a trigger, each preset with its source."""

from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from hepprune import documents
from hepprune.errors import RecipeError, unknown
from hepprune.hardware import devices
from hepprune.hardware.resources import Budget, Resources

BUNCH_CROSSING_NS = 25.0
_NS_PER_LEVEL = 1.0  # an assumption: five adder levels per 5 ns cycle, which Vivado closes on UltraScale+ parts


def levels_per_cycle(clock_ns: float) -> int:
    """Return how many adder levels one clock period is assumed to hold, at least one."""
    return max(1, int(clock_ns / _NS_PER_LEVEL))


@dataclass(frozen=True)
class Target:
    """One place in a trigger: part, clock period in ns, its uncertainty as a fraction of it, and the budget.

    None is unknown; `clock_uncertainty` None leaves the tool's default, `levels` None one adder level per ns.
    `confidence` is "published", "prototype" or "user"; `note` says what the source leaves open.
    """

    name: str
    part: str | None = None
    clock_ns: float | None = None
    clock_uncertainty: float | None = None
    budget: Budget = field(default_factory=Budget)
    levels: int | None = None
    device_share: float | None = None
    reserved_cycles: int = 0
    source: str = ""
    confidence: str = "user"
    note: str = ""

    @property
    def period_ns(self) -> float:
        """The clock period.

        Raises:
            RecipeError: it is unknown for this target.
        """
        if self.clock_ns is None:
            raise RecipeError(f"target '{self.name}' has no known clock; copy it into a YAML target and set clock_ns")
        return self.clock_ns

    @property
    def levels_per_cycle(self) -> int:
        """Adder levels between two registers."""
        return self.levels or levels_per_cycle(self.period_ns)

    @property
    def part_name(self) -> str:
        """The whole part name, package and speed grade where they are given, as vendor tools take it.

        Raises:
            RecipeError: it is unknown, or of no known device.
        """
        return self.part.strip() if self.part else self.device.part

    @property
    def device(self) -> devices.Device:
        """The chip.

        Raises:
            RecipeError: it is unknown.
        """
        if self.part is None:
            raise RecipeError(f"target '{self.name}' has no known part; copy it into a YAML target and set part")
        return devices.find(self.part)


def _shared(part: str, share: float) -> Resources:
    """Return that share of a chip, for the cells that every tool reports."""
    whole = devices.find(part).share(share)
    return Resources(lut=whole.lut, ff=whole.ff, dsp=whole.dsp, bram18=whole.bram18)


_VU13P, _VU9P, _V7 = "xcvu13p-flga2577-2-e", "xcvu9p-flgb2104-2-i", "xc7vx690tffg1927-2"

TARGETS: dict[str, Target] = {
    target.name: target
    for target in (
        Target(
            "cms_run3_ugt",
            _V7,
            25.0,
            0.0,
            Budget(latency_ns=50.0, interval_cycles=1),
            source="AXOL1TL build scripts; arXiv:2411.19506",
            confidence="published",
            note="the share of the chip is not published; at 25 ns the limit is combinational depth",
        ),
        Target(
            "cms_run3_calo",
            _V7,
            6.25,
            None,
            Budget(latency_ns=14 * 6.25, interval_cycles=4),
            source="CICADA firmware; arXiv:2505.05532",
            confidence="published",
            note="14 cycles; the card is shared, the share is not published",
        ),
        Target(
            "cms_run3_emtf",
            budget=Budget(latency_ns=83.0),
            source="arXiv:2509.21062",
            confidence="published",
            note="83 ns end to end on a Virtex-7; part and clock are not published",
        ),
        Target(
            "cms_ph2_cl2",
            _VU13P,
            2.8,
            None,
            Budget(latency_ns=1000.0 - 72 * 2.8, resources=_shared(_VU13P, 0.25)),
            device_share=0.25,
            reserved_cycles=72,
            source="TrainTagger baseline.yaml; arXiv:2509.24371",
            confidence="prototype",
            note="about 1 us in all, 72 of 167 cycles wrapper in one prototype; clock 2.5 or 2.8 ns; one of 4 SLRs; "
            "one event every 6 crossings, so the interval depends on how many jets share an engine",
        ),
        Target(
            "atlas_l0_muon",
            clock_ns=3.125,
            budget=Budget(latency_ns=125.0, interval_cycles=8),
            source="arXiv:2201.06288",
            confidence="published",
            note="an UltraScale+ part that is not named",
        ),
        Target(
            "atlas_gep",
            _VU9P,
            budget=Budget(latency_ns=1200.0, resources=_shared(_VU9P, 0.05)),
            device_share=0.05,
            source="abstracts on machine learning in the ATLAS global event processor",
            confidence="prototype",
            note="the clock is not published",
        ),
        Target(
            "generic_vu13p",
            _VU13P,
            5.0,
            0.125,
            Budget(latency_ns=100.0, interval_cycles=1, resources=_shared(_VU13P, 0.1)),
            device_share=0.1,
            source="the limits most papers quote: under 100 ns, interval 1, at most 10 % of a VU13P",
            confidence="published",
        ),
    )
}


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _Taken(_Section):
    """What other firmware on the same share of the chip takes."""

    lut: Annotated[float, Field(ge=0)] = 0.0
    ff: Annotated[float, Field(ge=0)] = 0.0
    dsp: Annotated[float, Field(ge=0)] = 0.0
    bram18: Annotated[float, Field(ge=0)] = 0.0


class _Limits(_Section):
    """Hard limits; `share` is a fraction of the chip, or of one SLR, and single counts win over it.

    What `taken` leaves of the share is divided evenly among `models` networks.
    """

    latency_ns: Annotated[float, Field(gt=0)] | None = None
    interval_cycles: Annotated[int, Field(ge=1)] | None = None
    share: Annotated[float, Field(gt=0, le=1)] | None = None
    share_of: Literal["chip", "slr"] = "chip"
    models: Annotated[int, Field(ge=1)] = 1
    taken: _Taken = Field(default_factory=_Taken)
    lut: Annotated[float, Field(ge=0)] | None = None
    ff: Annotated[float, Field(ge=0)] | None = None
    dsp: Annotated[float, Field(ge=0)] | None = None
    bram18: Annotated[float, Field(ge=0)] | None = None
    uram: Annotated[float, Field(ge=0)] | None = None


class _TargetFile(_Section):
    """A user's target; reserved_cycles are taken off the latency for a wrapper around the network."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_]*$")]
    part: str
    clock_ns: Annotated[float, Field(gt=0)]
    clock_uncertainty: Annotated[float, Field(ge=0, lt=1)] | None = None
    levels_per_cycle: Annotated[int, Field(ge=1)] | None = None
    reserved_cycles: Annotated[int, Field(ge=0)] = 0
    budget: _Limits = Field(default_factory=_Limits)
    source: str = ""
    note: str = ""

    @model_validator(mode="after")
    def _leave_latency(self) -> "_TargetFile":
        if self.budget.latency_ns is not None and self.budget.latency_ns <= self.reserved_cycles * self.clock_ns:
            raise ValueError(f"{self.reserved_cycles} reserved cycles leave nothing of {self.budget.latency_ns} ns")
        return self

    @model_validator(mode="after")
    def _divide_a_share(self) -> "_TargetFile":
        if self.budget.share is None and (self.budget.models > 1 or self.budget.taken != _Taken()):
            raise ValueError("budget.models and budget.taken divide a share of the chip; give budget.share")
        return self

    def target(self) -> Target:
        limits, device = self.budget, devices.find(self.part)
        share = limits.share and limits.share / (device.slr if limits.share_of == "slr" else 1)
        whole = self._own_part(_shared(self.part, share)) if share else Resources()
        own = {name: getattr(limits, name) for name in (cell.name for cell in fields(Resources))}
        cells = Resources(**(whole.known() | {name: count for name, count in own.items() if count is not None}))
        latency = limits.latency_ns and limits.latency_ns - self.reserved_cycles * self.clock_ns
        return Target(
            self.name,
            self.part,
            self.clock_ns,
            self.clock_uncertainty,
            Budget(latency, limits.interval_cycles, cells),
            levels=self.levels_per_cycle,
            device_share=share,
            reserved_cycles=self.reserved_cycles,
            source=self.source,
            note=self.note,
        )

    def _own_part(self, whole: Resources) -> Resources:
        """Return what one of the networks may use of a share."""
        taken = self.budget.taken.model_dump()
        left = {name: count - taken[name] for name, count in whole.known().items()}
        if (worst := min(left, key=left.__getitem__)) and left[worst] < 0:
            raise RecipeError(f"target '{self.name}': budget.taken.{worst} is more than its share of {self.part} holds")
        return Resources(**{name: count / self.budget.models for name, count in left.items()})


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
    return _parse(path).target()


def _parse(path: Path) -> _TargetFile:
    content = documents.read(path, kind="target", keys="name, part and clock_ns")
    try:
        return _TargetFile.model_validate(content)
    except ValidationError as problem:
        raise RecipeError(f"'{path}': {_first(problem)}") from problem


def _first(problem: ValidationError) -> str:
    """Return the first fault in one sentence, with its place, and the keys known there if one is not."""
    fault = problem.errors()[0]
    place = ".".join(str(part) for part in fault["loc"]) or "target"
    if fault["type"] != "extra_forbidden":
        return f"{place}: {fault['msg']}"
    section = _Limits if fault["loc"][0] == "budget" else _TargetFile
    return f"{place}: unknown key; known here: {', '.join(section.model_fields)}"
