"""How many clock periods a chain of operators fills: their delays by family, against what a period leaves for logic.

HLS puts operators one after another into a clock period as long as they fit, and starts the next period where one does
not. The delays are those of its operator library for a 7-series part of speed grade 2, as any schedule report of Vitis
HLS prints them; other families are faster by one factor.
"""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

# One level of an adder tree. UltraScale+: five do not fit into 4.375 ns (wa-hls4ml and DeepSets, 12.5 % uncertainty),
# eight do into two cycles of 3.65 ns (jet MLP, 27 %), so between 0.875 and 0.9125. 7-series: a single one fits into
# 4.375 ns and into 2.91 ns (36 MLPs of one group): three inputs at once, of 3.15 ns, leave no room for another. No
# report shows UltraScale, which is put between them.
_LEVEL_NS = {"7-series": 2.2, "UltraScale": 1.4, "UltraScale+": 0.89}
_SPEED = {"7-series": 1.0, "UltraScale": 0.7, "UltraScale+": 0.5}  # of other operators
_LIKE_ULTRASCALE_PLUS = "UltraScale+"  # what no family is known of is priced as, and Versal and Agilex are

PRODUCT_NS, WIDE_PRODUCT_NS, COMPARE_NS, CHOOSE_NS, ADD_NS, CAST_NS, READ_NS = 3.81, 4.5, 2.13, 0.80, 1.56, 0.99, 2.77
ROUND_NS = COMPARE_NS + CHOOSE_NS + 0.61  # a value that is rounded and saturated, as those MLPs report it
DSP_LEVELS = 2  # a product in a DSP, or of any weight with three signed digits or more, takes as long as two adders


@dataclass(frozen=True)
class Clock:
    """What a clock period leaves for logic, in ns, and the family of the part; None is priced as UltraScale+."""

    usable_ns: float
    family: str | None = None

    @property
    def level_ns(self) -> float:
        """The delay of one level of an adder tree."""
        return _LEVEL_NS.get(self.family or "", _LEVEL_NS[_LIKE_ULTRASCALE_PLUS])

    @property
    def levels(self) -> float:
        """How many levels of an adder tree fit into a period; below 1 where one spans several."""
        fitting = math.floor(self.usable_ns / self.level_ns)
        return float(fitting) if fitting else 1 / math.ceil(self.level_ns / self.usable_ns)

    def ns(self, delay: float) -> float:
        """Return the delay of an operator of 7-series on this family."""
        return delay * _SPEED.get(self.family or "", _SPEED[_LIKE_ULTRASCALE_PLUS])

    def whole(self, delay: float) -> int:
        """Return the whole periods that a delay of 7-series fills on this family."""
        return math.floor(self.ns(delay) / self.usable_ns)

    def product_periods(self) -> int:
        """Return the periods that a product in a DSP takes for itself: none where adders fit behind it."""
        return self._registered(self.ns(PRODUCT_NS)) if self.ns(PRODUCT_NS) > self.usable_ns else 0

    def cycles(self, delays: Iterable[float]) -> int:
        """Return after how many periods the last of a chain of operators is done; a delay of 0 is a register."""
        cycles, spent = 1, 0.0
        for delay in map(self.ns, delays):
            if spent and (not delay or spent + delay > self.usable_ns):
                cycles, spent = cycles + 1, 0.0
            cycles += self._registered(delay) - 1
            spent += min(delay, self.usable_ns)
        return cycles - 1

    def _registered(self, delay_ns: float) -> int:
        """Return the periods of one operator; one that spans several is registered where it begins and ends."""
        return 1 if delay_ns <= self.usable_ns else math.ceil(delay_ns / self.usable_ns) + 1


def softmax(n: int, *, in_lut: bool = False) -> Iterator[float]:
    """Yield the delays of a softmax of n values: the largest is found and subtracted, two tables read, one multiplied.

    The address of a table is registered. A product built of LUT takes one period, whether it fits into it or not.
    """
    depth = math.ceil(math.log2(max(n, 2)))
    for _ in range(depth):
        yield from (COMPARE_NS, CHOOSE_NS)
    yield from (ADD_NS, CAST_NS, READ_NS, 0.0, READ_NS)
    yield from (ADD_NS,) * depth
    yield from (READ_NS, 0.0, READ_NS, READ_NS if in_lut else WIDE_PRODUCT_NS)
