import math

from hypothesis import given
from hypothesis import strategies as st

from hepprune.hardware.resources import RESOURCES, Budget, Estimate, Resources

COUNTS = st.none() | st.integers(0, 2**40).map(float)  # whole numbers, so that sums are exact
CELLS = st.builds(Resources, **dict.fromkeys(RESOURCES, COUNTS))


def estimate(resources: Resources, *, cycles: int = 6, interval: int = 1) -> Estimate:
    return Estimate(
        stage="yosys",
        strategy="distributed_arithmetic",
        resources=resources,
        latency_cycles=cycles,
        interval_cycles=interval,
        clock_ns=5.0,
    )


@given(CELLS, CELLS, CELLS)
def test_sums_commute_and_associate_and_nothing_known_changes_nothing(a: Resources, b: Resources, c: Resources) -> None:
    zero = Resources(**dict.fromkeys(RESOURCES, 0.0))
    assert a + b == b + a
    assert (a + b) + c == a + (b + c)
    assert a + zero == a


@given(CELLS, CELLS)
def test_what_one_side_does_not_know_the_sum_does_not_know(a: Resources, b: Resources) -> None:
    assert (a + b).known().keys() == a.known().keys() & b.known().keys()


@given(CELLS, st.floats(0, 1e3))
def test_scaling_touches_only_what_is_named(a: Resources, factor: float) -> None:
    scaled = a.scaled({"lut": factor})
    assert scaled.known().keys() == a.known().keys()
    assert {k: v for k, v in scaled.known().items() if k != "lut"} == {k: v for k, v in a.known().items() if k != "lut"}
    if a.lut is not None:
        assert scaled.lut == a.lut * factor


@given(CELLS, CELLS, st.none() | st.floats(1, 1e4), st.none() | st.integers(1, 10))
def test_a_budget_is_met_exactly_when_nothing_exceeds_it(
    limits: Resources, used: Resources, latency_ns: float | None, interval: int | None
) -> None:
    budget, figures = Budget(latency_ns, interval, limits), estimate(used)
    usage, exceeded = budget.usage(figures), budget.exceeded(figures)
    assert usage.keys() == budget.limits().keys()
    assert exceeded == {name: usage[name] for name in exceeded}
    assert budget.met_by(figures) == all(fraction <= 1 for fraction in usage.values())
    assert list(exceeded.values()) == sorted(exceeded.values(), reverse=True)


@given(CELLS)
def test_a_budget_of_what_is_used_is_met_and_one_below_it_is_not(used: Resources) -> None:
    figures = estimate(used)
    assert Budget(figures.latency_ns, figures.interval_cycles, used).met_by(figures)
    for name, value in used.known().items():
        if value > 0:
            tighter = Budget(resources=Resources(**{name: value / 2}))
            assert math.isclose(tighter.exceeded(figures)[name], 2.0)


def test_an_unknown_figure_never_meets_a_limit_and_no_limit_is_always_met() -> None:
    assert Budget(resources=Resources(dsp=10)).exceeded(estimate(Resources(lut=1.0))) == {"dsp": math.inf}
    assert Budget().met_by(estimate(Resources()))
    assert Budget(resources=Resources(dsp=0)).met_by(estimate(Resources(dsp=0.0)))


def test_a_budget_is_held_to_the_cells_that_figures_tell() -> None:
    figures = estimate(Resources(lut=100.0, dsp=0.0))
    budget = Budget(latency_ns=50.0, resources=Resources(lut=300.0, ff=10.0, dsp=0.0))
    assert budget.held_to(figures) == Budget(latency_ns=50.0, resources=Resources(lut=100.0, ff=10.0, dsp=0.0))
    tight = Budget(interval_cycles=1, resources=Resources(lut=99.0))
    assert tight.held_to(figures) == tight
