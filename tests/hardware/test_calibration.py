import math
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hepprune.errors import ReportError
from hepprune.hardware import calibration
from hepprune.hardware.resources import Estimate, LayerEstimate, Measurement, Resources

RATIOS = st.floats(0.5, 2.0)


def predicted(lut: float = 2000.0, ff: float = 500.0) -> Estimate:
    cells = Resources(lut, ff, 0.0, 0.0)
    layers = (LayerEstimate("dense_1", cells, 7.0),)
    return Estimate("yosys", "distributed_arithmetic", cells, 4, 1, 5.0, layers)


def measured(estimate: Estimate, *, lut: float = 1.0, ff: float = 1.0, cycles: int = 0) -> Measurement:
    cells = estimate.resources.scaled({"lut": lut, "ff": ff})
    latency = estimate.latency_cycles + cycles
    return Measurement("yosys", "yosys", "0.50", "xcvu13p", 5.0, cells, latency, 1)


@given(RATIOS, RATIOS, st.integers(-2, 3))
def test_one_pair_brings_its_own_design_within_two_percent(lut: float, ff: float, cycles: int) -> None:
    estimate = predicted()
    truth = measured(estimate, lut=lut, ff=ff, cycles=cycles)
    corrected = calibration.fit([(estimate, truth)]).apply(estimate)
    assert corrected.latency_cycles == truth.latency_cycles
    for name, value in truth.resources.known().items():
        assert corrected.resources.known()[name] == pytest.approx(value, rel=0.02)
    assert corrected.layers[0].resources == corrected.resources


def test_the_feedback_loop_converges_on_a_design_measured_again_and_again() -> None:
    estimate = predicted()
    truth = measured(estimate, lut=1.6)
    misses = []
    for n in range(1, 6):
        corrected = calibration.fit([(estimate, truth)] * n).apply(estimate)
        misses.append(abs(corrected.resources.lut / truth.resources.lut - 1))  # type: ignore[operator]
    assert misses == sorted(misses, reverse=True)
    assert misses[-1] < 0.004


def test_uncertainty_falls_with_agreement_and_stays_with_disagreement() -> None:
    estimate = predicted()
    agreeing = [calibration.fit([(estimate, measured(estimate, lut=1.2))] * n)["lut"] for n in (1, 2, 5)]
    assert calibration.Correction().uncertainty == calibration.PRIOR_WIDTH
    assert calibration.PRIOR_WIDTH > agreeing[0].uncertainty > agreeing[1].uncertainty > agreeing[2].uncertainty
    torn = calibration.fit([(estimate, measured(estimate, lut=ratio)) for ratio in (0.7, 1.4)])["lut"]
    assert torn.relative_error > 0.4
    assert abs(torn.log_ratio) < abs(math.log(0.7))
    assert agreeing[2].relative_error >= calibration.DESIGN_WIDTH


def test_the_uncertainty_covers_designs_not_seen() -> None:
    import numpy as np

    rng, pulls = np.random.default_rng(1), []
    for _ in range(400):
        shift = rng.normal(0, calibration.PRIOR_WIDTH)
        drawn = np.exp(shift + rng.normal(0, calibration.DESIGN_WIDTH, 4))
        learned = calibration.fit([(predicted(), measured(predicted(), lut=float(r))) for r in drawn[:3]])["lut"]
        pulls.append((math.log(drawn[3]) - learned.log_ratio) / learned.relative_error)
    assert 0.75 < float(np.std(pulls)) < 1.1


def test_counts_of_zero_and_unknown_figures_teach_nothing() -> None:
    estimate = predicted()
    blind = replace(measured(estimate), resources=Resources(lut=3000.0, dsp=4.0), latency_cycles=None)
    learned = calibration.fit([(estimate, blind)])
    assert set(learned.corrections) == {"lut"}
    assert learned["ff"] == calibration.Correction()
    assert learned.apply(estimate).resources.ff == estimate.resources.ff
    assert learned.latency_offset_cycles == 0


@given(RATIOS, RATIOS, st.integers(-3, 3))
def test_json_round_trip(lut: float, ff: float, cycles: int) -> None:
    import tempfile

    learned = calibration.fit([(predicted(), measured(predicted(), lut=lut, ff=ff, cycles=cycles))])
    with tempfile.TemporaryDirectory() as folder:
        assert calibration.load(learned.save(Path(folder) / "calibration.json")) == learned


def test_stages_are_never_mixed(tmp_path: Path) -> None:
    estimate = predicted()
    with pytest.raises(ReportError, match="stage 'da4ml' cannot be held against a measurement at 'yosys'"):
        calibration.fit([(replace(estimate, stage="da4ml"), measured(estimate))])
    learned = calibration.fit([(estimate, measured(estimate))])
    with pytest.raises(ReportError, match="at stage 'route'"):
        learned.apply(replace(estimate, stage="route"))
    with pytest.raises(ReportError, match="not none"):
        calibration.fit([])
    with pytest.raises(ReportError, match="holds no calibration"):
        calibration.load(tmp_path / "none.json")
