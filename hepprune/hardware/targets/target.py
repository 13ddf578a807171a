"""Places in a trigger that a network has to run in, and those that are known by name, each with its source."""

from dataclasses import dataclass, field, replace

from hepprune.errors import RecipeError
from hepprune.hardware import devices
from hepprune.hardware.resources import Budget, Resources

BUNCH_CROSSING_NS = 25.0
# An assumption: five adder levels per 5 ns cycle, which Vivado closes on UltraScale+ parts, and slower ones as HLS's
# operator library has them: 1.4 times on UltraScale, twice on 7-series. A part of no known family is taken for fast.
_NS_PER_LEVEL = {"7-series": 2.0, "UltraScale": 1.4}
_NS_PER_FAST_LEVEL = 1.0


def levels_per_cycle(clock_ns: float, family: str | None = None) -> int:
    """Return how many adder levels one clock period is assumed to hold on a family of parts, at least one."""
    return max(1, int(clock_ns / _NS_PER_LEVEL.get(family or "", _NS_PER_FAST_LEVEL)))


@dataclass(frozen=True, kw_only=True)
class Target:
    """One place in a trigger: part, clock period in ns, its uncertainty as a fraction of it, and the budget.

    None is unknown; `clock_uncertainty` None leaves the tool's default, `levels` None as many adder levels as
    a cycle is assumed to hold on the part's family.
    `confidence` is "published", "prototype" or "user"; `note` says what the source leaves open. `own_device` is
    what its user says that the part has.
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
    own_device: devices.Device | None = None

    @property
    def period_ns(self) -> float:
        """The clock period.

        Raises:
            RecipeError: it is unknown for this target.
        """
        if self.clock_ns is None:
            raise RecipeError(f"target '{self.name}' has no known clock; copy it into a YAML target and set clock_ns")
        return self.clock_ns

    def at(self, clock_ns: float) -> "Target":
        """Return the place at another clock, which the reserved cycles and the levels of a cycle follow.

        Raises:
            RecipeError: the reserved cycles leave nothing of the latency.
        """
        if self.clock_ns is None or clock_ns == self.clock_ns:
            return replace(self, clock_ns=clock_ns)
        levels = self.levels and max(1, int(self.levels * clock_ns / self.clock_ns))
        latency = self.budget.latency_ns
        if latency is not None:
            latency -= self.reserved_cycles * (clock_ns - self.clock_ns)
            if latency <= 0:
                raise RecipeError(
                    f"target '{self.name}': {self.reserved_cycles} reserved cycles of {clock_ns:g} ns leave nothing of "
                    f"{latency + self.reserved_cycles * clock_ns:g} ns"
                )
        return replace(self, clock_ns=clock_ns, levels=levels, budget=replace(self.budget, latency_ns=latency))

    @property
    def levels_per_cycle(self) -> int:
        """Adder levels between two registers."""
        return self.levels or levels_per_cycle(self.period_ns, self.family)

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
        return self.own_device or devices.find(self.part)

    @property
    def known_device(self) -> devices.Device | None:
        """The chip, None where it is unknown."""
        return self.own_device or (None if self.part is None else devices.known(self.part))

    @property
    def family(self) -> str | None:
        """The family of the part, as its user or its name tells it."""
        named = self.known_device and self.known_device.family
        return named or (None if self.part is None else devices.family(self.part))


def _share(part: str, fraction: float) -> Resources:
    return devices.find(part).share(fraction).common


_VU13P, _VU9P, _V7 = "xcvu13p-flga2577-2-e", "xcvu9p-flgb2104-2-i", "xc7vx690tffg1927-2"


TARGETS: dict[str, Target] = {
    target.name: target
    for target in (
        Target(
            name="cms_run3_ugt",
            part=_V7,
            clock_ns=25.0,
            clock_uncertainty=0.0,
            budget=Budget(latency_ns=50.0, interval_cycles=1),
            source="AXOL1TL build scripts; arXiv:2411.19506",
            confidence="published",
            note="the share of the chip is not published; at 25 ns the limit is combinational depth",
        ),
        Target(
            name="cms_run3_calo",
            part=_V7,
            clock_ns=6.25,
            clock_uncertainty=None,
            budget=Budget(latency_ns=14 * 6.25, interval_cycles=4),
            source="CICADA firmware; arXiv:2505.05532",
            confidence="published",
            note="14 cycles; the card is shared, the share is not published",
        ),
        Target(
            name="cms_run3_emtf",
            budget=Budget(latency_ns=83.0),
            source="arXiv:2509.21062",
            confidence="published",
            note="83 ns end to end on a Virtex-7; part and clock are not published",
        ),
        Target(
            name="cms_ph2_cl2",
            part=_VU13P,
            clock_ns=2.8,
            clock_uncertainty=None,
            budget=Budget(latency_ns=1000.0 - 72 * 2.8, resources=_share(_VU13P, 0.25)),
            device_share=0.25,
            reserved_cycles=72,
            source="TrainTagger baseline.yaml; arXiv:2509.24371",
            confidence="prototype",
            note="about 1 us in all, 72 of 167 cycles wrapper in one prototype; clock 2.5 or 2.8 ns; one of 4 SLRs; "
            "one event every 6 crossings, so the interval depends on how many jets share an engine",
        ),
        Target(
            name="atlas_l0_muon",
            clock_ns=3.125,
            budget=Budget(latency_ns=125.0, interval_cycles=8),
            source="arXiv:2201.06288",
            confidence="published",
            note="an UltraScale+ part that is not named",
        ),
        Target(
            name="atlas_gep",
            part=_VU9P,
            budget=Budget(latency_ns=1200.0, resources=_share(_VU9P, 0.05)),
            device_share=0.05,
            source="abstracts on machine learning in the ATLAS global event processor",
            confidence="prototype",
            note="the clock is not published",
        ),
        Target(
            name="generic_vu13p",
            part=_VU13P,
            clock_ns=5.0,
            clock_uncertainty=0.125,
            budget=Budget(latency_ns=100.0, interval_cycles=1, resources=_share(_VU13P, 0.1)),
            device_share=0.1,
            source="the limits most papers quote: under 100 ns, interval 1, at most 10 % of a VU13P",
            confidence="published",
        ),
    )
}
