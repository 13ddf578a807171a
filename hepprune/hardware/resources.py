"""What a design needs: predicted (`Estimate`) and measured (`Measurement`), never mixed, and the `Budget` both face."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

RESOURCES = ("lut", "ff", "dsp", "bram18", "uram")  # the fields of Resources, in order
STAGES = ("da4ml", "csynth", "vsynth", "route", "yosys", "nextpnr-ecp5")


@dataclass(frozen=True, kw_only=True)
class Resources:
    """Counts of FPGA cells, BRAM in 18 Kb halves; an unknown is None."""

    lut: float | None = None
    ff: float | None = None
    dsp: float | None = None
    bram18: float | None = None
    uram: float | None = None

    @classmethod
    def logic(cls, lut: float = 0.0, ff: float = 0.0) -> "Resources":
        """Return LUT and registers, and none of the other cells."""
        return cls(lut=lut, ff=ff, dsp=0.0, bram18=0.0, uram=0.0)

    def known(self) -> dict[str, float]:
        """Return the counts that are known, by name."""
        return {name: value for name in RESOURCES if (value := getattr(self, name)) is not None}

    @property
    def common(self) -> "Resources":
        """The cells that every tool reports."""
        return replace(self, uram=None)

    def __add__(self, other: "Resources") -> "Resources":
        """Return the sum; what either side does not know stays unknown."""
        both = self.known().keys() & other.known().keys()
        return Resources(**{name: getattr(self, name) + getattr(other, name) for name in both})

    def scaled(self, factors: Mapping[str, float]) -> "Resources":
        """Return each known count times its factor, 1 where none is named."""
        return Resources(**{name: value * factors.get(name, 1.0) for name, value in self.known().items()})


@dataclass(frozen=True, kw_only=True)
class LayerEstimate:
    """The predicted share of one layer, and one standard deviation of each count where it is known.

    `kind` is what the cost model calls such a layer: what one of them teaches, others of its kind learn.
    """

    layer: str
    resources: Resources
    depth: float  # from first input to last result: adder levels (distributed_arithmetic) or cycles (the others)
    uncertainty: Resources = Resources()
    interval_cycles: int = 1
    kind: str = "matrix"


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A prediction for a whole design, at the stage it predicts, with one standard deviation where it is known.

    Layers of one model err alike, so their uncertainties are added.
    """

    stage: str
    strategy: str
    resources: Resources
    latency_cycles: int
    interval_cycles: int
    clock_ns: float
    layers: tuple[LayerEstimate, ...] = ()
    uncertainty: Resources = Resources()
    latency_error_cycles: float | None = None

    @property
    def latency_ns(self) -> float:
        """Latency in ns if the clock is met."""
        return self.latency_cycles * self.clock_ns


@dataclass(frozen=True, kw_only=True)
class LayerMeasurement:
    """What a tool reported for one module below the top; `layer` is None where its name does not say whose it is."""

    layer: str | None
    module: str
    resources: Resources
    latency_cycles: int | None = None
    interval_cycles: int | None = None


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """What a tool reported for a design; `clock_met` is None where no timing report says so ("assumed").

    `critical_path_ns` is the longest path between registers, where a tool timed it on the part.
    """

    stage: str
    tool: str
    version: str
    part: str
    clock_ns: float
    resources: Resources
    latency_cycles: int | None = None
    interval_cycles: int | None = None
    clock_met: bool | None = None
    layers: tuple[LayerMeasurement, ...] = ()
    critical_path_ns: float | None = None

    @property
    def frequency_mhz(self) -> float | None:
        """The highest clock frequency, where the longest path was timed."""
        return 1000 / self.critical_path_ns if self.critical_path_ns else None

    @property
    def latency_ns(self) -> float | None:
        """Latency in ns if the clock is met."""
        return None if self.latency_cycles is None else self.latency_cycles * self.clock_ns

    @property
    def clock(self) -> str:
        """`met`, `missed`, or `assumed` where nothing has timed the design."""
        return {True: "met", False: "missed", None: "assumed"}[self.clock_met]


@dataclass(frozen=True)
class Budget:
    """Hard limits; None is not a limit. Latency in ns, the initiation interval in clock cycles."""

    latency_ns: float | None = None
    interval_cycles: int | None = None
    resources: Resources = field(default_factory=Resources)

    def holding(self, limits: Mapping[str, float]) -> "Budget":
        """Return a budget in which these limits, by name, take the place of its own."""
        known = self.limits() | dict(limits)
        latency, cycles = known.pop("latency_ns", None), known.pop("interval_cycles", None)
        return Budget(latency, None if cycles is None else int(cycles), Resources(**known))

    def limits(self) -> dict[str, float]:
        """Return every limit that is set, by name."""
        own = {"latency_ns": self.latency_ns, "interval_cycles": self.interval_cycles}
        return {name: float(value) for name, value in own.items() if value is not None} | self.resources.known()

    def usage(self, figures: Estimate | Measurement) -> dict[str, float]:
        """Return what is used of each limit, as a fraction (1 is all of it); an unknown figure counts as infinite."""
        return {name: share_of(figure(figures, name), limit) for name, limit in self.limits().items()}

    def unreported(self, figures: Estimate | Measurement) -> list[str]:
        """Return the limits of which the figures report nothing."""
        return [name for name in self.limits() if figure(figures, name) is None]

    def exceeded(self, figures: Estimate | Measurement) -> dict[str, float]:
        """Return the limits that are broken, worst first, each with the fraction used."""
        broken = {name: used for name, used in self.usage(figures).items() if used > 1.0}
        return dict(sorted(broken.items(), key=lambda item: -item[1]))

    def doubted(self, figures: Estimate) -> tuple[str, ...]:
        """Return the limits that hold, but not by one standard deviation of the estimate."""
        values, doubts, limits = figures.resources.known(), figures.uncertainty.known(), self.limits()
        values["latency_ns"] = figures.latency_ns
        doubts["latency_ns"] = (figures.latency_error_cycles or 0.0) * figures.clock_ns
        held = values.keys() & doubts.keys() & limits.keys() - self.exceeded(figures).keys()
        return tuple(sorted(name for name in held if values[name] + doubts[name] > limits[name]))

    def held_to(self, figures: Estimate) -> "Budget":
        """Return a budget with the same limits, but none of cells beyond what figures tell."""
        known = figures.resources.known()
        held = {name: min(limit, known.get(name, limit)) for name, limit in self.resources.known().items()}
        return replace(self, resources=Resources(**held))

    def met_by(self, figures: Estimate | Measurement) -> bool:
        """Return whether no limit is broken."""
        return not self.exceeded(figures)


def figure(figures: Estimate | Measurement, name: str) -> float | None:
    """Return what figures say of a limit by its name, None where they say nothing."""
    value: float | None = getattr(figures.resources if name in RESOURCES else figures, name)
    return value


def share_of(value: float | None, limit: float) -> float:
    """Return the share of a limit that a value takes; infinite where it is unknown, or there is none of it to take."""
    if value is None or limit == 0:
        return 0.0 if value == 0 else math.inf
    return value / limit
