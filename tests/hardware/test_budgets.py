import math

import pytest

from hepprune.errors import RecipeError
from hepprune.hardware import budgets, targets
from hepprune.hardware.resources import Budget, Resources
from hepprune.hardware.targets import Target

TARGET = targets.load("generic_vu13p")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("lut=10%", ("lut", 172800.0)),
        ("lut = 50k", ("lut", 50000.0)),
        ("dsp=120", ("dsp", 120.0)),
        ("bram=4", ("bram18", 4.0)),
        ("latency=100ns", ("latency_ns", 100.0)),
        ("latency=0.1 us", ("latency_ns", 100.0)),
        ("latency_ns=100", ("latency_ns", 100.0)),
        ("latency=6cycles", ("latency_ns", 30.0)),
        ("ii=2", ("interval_cycles", 2.0)),
    ],
)
def test_limits_are_read_with_their_units(text: str, expected: tuple[str, float]) -> None:
    assert budgets.read(TARGET, text) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("lut", "'lut' is not a limit"),
        ("luts=3", "unknown limit 'luts'; choose one of: lut"),
        ("lut=10ns", "'lut=10ns' is not a count of cells"),
        ("lut=many", "'lut=many' holds no number"),
        ("latency=30%", "'latency=30%' is not a time"),
        ("latency=30 LUT", "'latency=30 LUT' is not a time"),
        ("interval=2.5", "'interval=2.5' is not a whole number of clock cycles"),
        ("interval=2ns", "'interval=2ns' is not a whole number of clock cycles"),
        ("lut=0.1", "0.1 lut is less than one cell; a share of the chip is written 10%"),
        ("lut=1e9", "more than the 1,728,000 that"),
        ("latency=0.1", "0.1 ns is less than one cycle of 5 ns"),
        ("latency=1e-7s", None),
        ("dsp=-1", "'dsp=-1' is below zero; write for example dsp="),
        ("interval=0", "an interval of 0 cycles is not possible"),
        ("interval=1e400", "'interval=1e400' is too large; write for example interval=1"),
        ("lut=1e400%", "'lut=1e400%' is too large; write for example lut=1000 or lut=10%"),
        ("lut=1e308%", "'lut=1e308%' is too large"),
        ("latency=1e400", "'latency=1e400' is too large"),
        ("latency=1e308s", "'latency=1e308s' is too large"),
    ],
)
def test_wrong_units_are_refused_in_one_sentence(text: str, said: str | None) -> None:
    if said is None:
        assert budgets.resolve(TARGET, [text]).latency_ns == pytest.approx(100)
        return
    with pytest.raises(RecipeError, match=said):
        budgets.resolve(TARGET, [text])


def test_what_is_written_wins_over_the_target() -> None:
    found = budgets.resolve(TARGET, ["lut=1000", "latency=50"])
    assert (found.latency_ns, found.interval_cycles) == (50.0, 1)
    assert (found.resources.lut, found.resources.dsp) == (1000.0, TARGET.budget.resources.dsp)


@pytest.mark.parametrize(
    ("target", "budget", "said"),
    [
        (Target(name="stopped", part="xcvu13p", clock_ns=0.0), Budget(), "'stopped' has a clock period of 0 ns"),
        (Target(name="odd", part="xcvu13p", clock_ns=math.nan), Budget(), "'odd' has a clock period of nan ns"),
        (TARGET, Budget(resources=Resources(lut=math.nan)), "the limit lut of nan is not a finite number"),
        (TARGET, Budget(latency_ns=math.inf), "the limit latency_ns of inf is not a finite number"),
    ],
)
def test_clocks_parts_and_numbers_that_cannot_be_are_refused(target: Target, budget: Budget, said: str) -> None:
    with pytest.raises(RecipeError, match=said):
        budgets.check(target, budget)


def test_limits_of_a_part_that_is_not_known_are_counts() -> None:
    unknown = Target(name="mine", part="xc7z008sclg400-1", clock_ns=5.0)
    assert budgets.resolve(unknown, ["lut=9000000"]).resources.lut == 9_000_000
    with pytest.raises(RecipeError, match="unknown part 'xc7z008sclg400-1'"):
        budgets.resolve(unknown, ["lut=10%"])
