"""One place in a trigger that a network has to run in."""

from dataclasses import dataclass, field, replace

from hepprune.errors import RecipeError
from hepprune.hardware import devices
from hepprune.hardware.resources import Budget

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
