import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hepprune.errors import ReportError
from hepprune.hardware import calibration
from hepprune.hardware.resources import Estimate, LayerEstimate, LayerMeasurement, Measurement, Resources

RATIOS = st.floats(0.5, 2.0)


def predicted(lut: float = 2000.0, ff: float = 500.0) -> Estimate:
    cells = Resources(lut=lut, ff=ff, dsp=0.0, bram18=0.0)
    layers = (LayerEstimate(layer="dense_1", resources=cells, depth=7.0),)
    return Estimate(
        stage="yosys",
        strategy="distributed_arithmetic",
        resources=cells,
        latency_cycles=4,
        interval_cycles=1,
        clock_ns=5.0,
        layers=layers,
    )


def measured(estimate: Estimate, *, lut: float = 1.0, ff: float = 1.0, cycles: int = 0) -> Measurement:
    cells = estimate.resources.scaled({"lut": lut, "ff": ff})
    latency = estimate.latency_cycles + cycles
    return Measurement(
        stage="yosys",
        tool="yosys",
        version="0.50",
        part="xcvu13p",
        clock_ns=5.0,
        resources=cells,
        latency_cycles=latency,
        interval_cycles=1,
    )


@given(RATIOS, RATIOS, st.integers(-2, 3))
def test_one_pair_brings_its_own_design_within_eight_percent(lut: float, ff: float, cycles: int) -> None:
    estimate = predicted()
    truth = measured(estimate, lut=lut, ff=ff, cycles=cycles)
    corrected = calibration.fit([(estimate, truth)]).apply(estimate)
    assert corrected.latency_cycles == truth.latency_cycles
    for name, value in truth.resources.known().items():
        assert corrected.resources.known()[name] == pytest.approx(value, rel=0.08)
    assert corrected.layers[0].resources == corrected.resources


def test_the_feedback_loop_converges_on_a_design_measured_again_and_again() -> None:
    estimate = predicted()
    truth = measured(estimate, lut=1.6)
    misses = []
    for n in range(1, 6):
        corrected = calibration.fit([(estimate, truth)] * n).apply(estimate)
        misses.append(abs(corrected.resources.lut / truth.resources.lut - 1))  # type: ignore[operator]
    assert misses == sorted(misses, reverse=True)
    assert misses[-1] < 0.01


def test_uncertainty_falls_with_agreement_and_stays_with_disagreement() -> None:
    estimate = predicted()
    agreeing = [calibration.fit([(estimate, measured(estimate, lut=1.2))] * n)["lut"] for n in (1, 2, 5)]
    assert calibration.Correction().uncertainty == calibration.PRIOR_WIDTH
    assert calibration.PRIOR_WIDTH > agreeing[0].uncertainty > agreeing[1].uncertainty > agreeing[2].uncertainty
    torn = calibration.fit([(estimate, measured(estimate, lut=ratio)) for ratio in (0.7, 1.4)])["lut"]
    assert torn.relative_error > 0.4
    assert abs(torn.log_ratio) < abs(math.log(0.7))
    assert agreeing[2].relative_error >= calibration.LEAST_SPREAD


def test_the_uncertainty_covers_designs_not_seen() -> None:
    import numpy as np

    rng, pulls = np.random.default_rng(1), []
    for _ in range(200):
        shift = rng.normal(0, calibration.PRIOR_WIDTH)
        drawn = np.exp(shift + rng.normal(0, calibration.DESIGN_WIDTH, 4))
        learned = calibration.fit([(predicted(), measured(predicted(), lut=float(r))) for r in drawn[:3]])["lut"]
        pulls.append((math.log(drawn[3]) - learned.log_ratio) / learned.relative_error)
    assert 0.75 < float(np.std(pulls)) < 1.15


def of(
    tool: str = "yosys", version: str = "0.50", *, lut: float, strategy: str = "latency"
) -> tuple[Estimate, Measurement]:
    estimate = replace(predicted(), strategy=strategy)
    return estimate, replace(measured(estimate, lut=lut), tool=tool, version=version)


def test_a_new_version_starts_from_what_older_ones_taught_with_more_doubt() -> None:
    seen = [of(lut=1.4) for _ in range(4)]
    same, newer, other = (
        calibration.fit(seen, like=of(tool, version, lut=1.0))["lut"]
        for tool, version in (("yosys", "0.50"), ("yosys", "0.51"), ("vivado", "2024.1"))
    )
    assert same.log_ratio > newer.log_ratio > other.log_ratio > 0
    assert same.uncertainty < newer.uncertainty < other.uncertainty < calibration.PRIOR_WIDTH
    assert same.factor == pytest.approx(1.4, rel=0.05)


def test_tools_that_disagree_keep_factors_of_their_own() -> None:
    seen = [of("a", lut=1.5), of("b", lut=0.8)] * 5
    for tool, ratio in (("a", 1.5), ("b", 0.8)):
        assert calibration.fit(seen, like=of(tool, lut=1.0))["lut"].factor == pytest.approx(ratio, rel=0.05)
    between = calibration.fit(seen, like=of("c", lut=1.0))["lut"]
    assert 0.85 < between.factor < 1.4
    assert between.uncertainty > 0.2  # how much tools differ was learned


def test_strategies_share_what_their_stage_has_in_common() -> None:
    seen = [of(lut=1.4) for _ in range(4)]
    lent = calibration.fit(seen, like=of(lut=1.0, strategy="resource"))
    assert 1.0 < lent["lut"].factor < 1.25
    assert lent.strategy == "resource"


def test_an_estimate_that_doubts_itself_is_corrected_less_by_one_design() -> None:
    sure, truth = of(lut=1.5)
    unsure = replace(sure, uncertainty=Resources(lut=0.6 * (sure.resources.lut or 0)))
    bold, careful = (calibration.fit([(estimate, truth)])["lut"] for estimate in (sure, unsure))
    assert 1 < careful.factor < 1.2 < bold.factor
    assert careful.relative_error > 0.6
    many = calibration.fit([(unsure, truth)] * 30)["lut"]  # what is seen wins in the end
    assert many.factor == pytest.approx(1.5, rel=0.05)
    assert many.relative_error < 0.2


def layered(dense: float, softmax: float) -> tuple[Estimate, Measurement]:
    """A dense layer and a softmax of 1,000 LUT each, and what each was measured to be, as a ratio."""
    cells = Resources(lut=1000.0)
    layers = (
        LayerEstimate(layer="fc", resources=cells, depth=3.0),
        LayerEstimate(layer="softmax", resources=cells, depth=3.0, kind="softmax"),
    )
    estimate = Estimate(
        stage="csynth",
        strategy="latency",
        resources=Resources(lut=2000.0),
        latency_cycles=4,
        interval_cycles=1,
        clock_ns=5.0,
        layers=layers,
    )
    modules = tuple(
        LayerMeasurement(layer=name, module=f"{name}_{copy}", resources=Resources(lut=500.0 * ratio))
        for name, ratio in (("fc", dense), ("softmax", softmax))
        for copy in range(2)
    )
    total = Resources(lut=1000.0 * (dense + softmax))
    return estimate, Measurement(
        stage="csynth",
        tool="vitis",
        version="2024.1",
        part="xcvu13p",
        clock_ns=5.0,
        resources=total,
        latency_cycles=4,
        interval_cycles=1,
        layers=modules,
    )


def test_each_kind_of_layer_has_its_factor_and_the_total_is_their_sum() -> None:
    learned = calibration.fit([layered(0.8, 1.6)] * 4)
    dense, softmax = learned.kinds["lut"]["matrix"], learned.kinds["lut"]["softmax"]
    assert dense.factor < 1 < softmax.factor
    estimate = layered(1.0, 1.0)[0]
    mostly_dense = replace(
        estimate,
        resources=Resources(lut=10_000.0),
        layers=(replace(estimate.layers[0], resources=Resources(lut=9000.0)), estimate.layers[1]),
    )
    for before in (estimate, mostly_dense):
        after = learned.apply(before)
        assert after.resources.lut == pytest.approx(sum(layer.resources.lut or 0 for layer in after.layers))
        assert after.uncertainty.lut == pytest.approx((after.resources.lut or 0) * learned["lut"].relative_error)
    assert (learned.apply(mostly_dense).resources.lut or 0) < 10_000


def test_latencies_that_disagree_are_doubted() -> None:
    estimate = predicted()
    learned = calibration.fit([(estimate, measured(estimate, cycles=cycles)) for cycles in (1, 3)])
    assert learned.latency_offset_cycles == 2
    assert learned.apply(estimate).latency_error_cycles == pytest.approx(1.0)


def test_counts_of_zero_and_unknown_figures_teach_nothing() -> None:
    estimate = predicted()
    blind = replace(measured(estimate), resources=Resources(lut=3000.0, dsp=4.0), latency_cycles=None)
    learned = calibration.fit([(estimate, blind)])
    assert set(learned.corrections) == {"lut"}
    assert learned["ff"] == calibration.Correction()
    assert learned.apply(estimate).resources.ff == estimate.resources.ff
    assert learned.latency_offset_cycles == 0


def test_stages_are_never_mixed() -> None:
    estimate = predicted()
    with pytest.raises(ReportError, match="stage 'da4ml' cannot be held against a measurement at 'yosys'"):
        calibration.fit([(replace(estimate, stage="da4ml"), measured(estimate))])
    learned = calibration.fit([(estimate, measured(estimate))])
    with pytest.raises(ReportError, match="at stage 'route'"):
        learned.apply(replace(estimate, stage="route"))
    with pytest.raises(ReportError, match="not none"):
        calibration.fit([])
