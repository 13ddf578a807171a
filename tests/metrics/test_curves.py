"""Curves against scipy's exact intervals, numpy and the bootstrap."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from hepprune import metrics
from hepprune.errors import DataError
from hepprune.metrics.curves import ONE_SIGMA
from tests.metrics.samples import bootstrap, momenta

EDGES = np.array([20.0, 40.0, 60.0, 80.0, 100.0, 120.0])


@given(st.integers(0, 40), st.integers(0, 40), st.sampled_from([ONE_SIGMA, 0.95]))
def test_clopper_pearson_is_that_of_scipy(passed: int, failed: int, confidence: float) -> None:
    total = passed + failed
    low, high = metrics.clopper_pearson(np.array([passed]), np.array([total]), confidence)
    if total:
        exact = binomtest(passed, total).proportion_ci(confidence, method="exact")
        assert (low[0], high[0]) == pytest.approx((exact.low, exact.high), abs=1e-12)
    else:
        assert (low[0], high[0]) == (0.0, 1.0)


def test_a_turn_on_counts_bin_by_bin() -> None:
    values, truth = (each[:, 0] for each in momenta(1))
    passed = values > 50
    found = metrics.turn_on(truth, passed, EDGES)
    for index, score in enumerate(found.scores[:4]):
        used = (truth >= EDGES[index]) & (truth < EDGES[index + 1])
        assert score.value == pytest.approx(passed[used].mean())
        assert score.error == pytest.approx(passed[used].std() / np.sqrt(used.sum()))
        exact = binomtest(int(passed[used].sum()), int(used.sum())).proportion_ci(ONE_SIGMA, method="exact")
        assert (found.low[index], found.high[index]) == pytest.approx((exact.low, exact.high))
    assert np.isnan(found.values[4])
    assert (found.low[4], found.high[4]) == (0.0, 1.0)


def test_two_turn_ons_differ_with_paired_errors() -> None:
    values, truth = (each[:, 0] for each in momenta(2))
    other = values + np.random.default_rng(3).normal(size=len(values))
    first, second = (metrics.turn_on(truth, each > 50, EDGES) for each in (values, other))
    change = metrics.difference(second.scores[1], first.scores[1])

    def again(rows: np.ndarray) -> float:
        pair = [metrics.turn_on(truth[rows], each[rows] > 50, EDGES).values[1] for each in (values, other)]
        return float(pair[1] - pair[0])

    assert change.error == pytest.approx(bootstrap(again, len(truth)), rel=0.2)


def test_a_weight_counts_a_jet_that_often_and_weights_widen_the_interval() -> None:
    values, truth = (each[:, 0] for each in momenta(4))
    weight = np.random.default_rng(5).exponential(size=len(values))
    plain, weighted = metrics.turn_on(truth, values > 50, EDGES), metrics.turn_on(truth, values > 50, EDGES, weight)
    used = (truth >= 40) & (truth < 60)
    assert weighted.values[1] == pytest.approx(np.average(values[used] > 50, weights=weight[used]))
    assert weighted.high[1] - weighted.low[1] > plain.high[1] - plain.low[1]
    again = metrics.turn_on(truth, values > 50, EDGES, np.full(len(values), 7.0))
    np.testing.assert_allclose([again.low, again.high], [plain.low, plain.high])


def test_a_rate_falls_with_the_threshold_and_a_pure_one_is_lower() -> None:
    scores = np.random.default_rng(6).normal(size=50_000)
    thresholds, fired = np.linspace(-1, 3, 9), scores + np.random.default_rng(7).normal(size=50_000) > 2
    found = metrics.rate(scores, thresholds, n_bunches=2760)
    expected = [np.mean(scores > each) * 11.246 * 2760 for each in thresholds]
    np.testing.assert_allclose(found.values, expected)
    exact = binomtest(int((scores > 3).sum()), 50_000).proportion_ci(ONE_SIGMA, method="exact")
    assert (found.low[-1], found.high[-1]) == pytest.approx((exact.low * 31_038.96, exact.high * 31_038.96))
    assert (found.low < found.values).all()
    pure = metrics.rate(scores, thresholds, n_bunches=2760, fired=fired)
    np.testing.assert_allclose(pure.values, [np.mean((scores > t) & ~fired) * 11.246 * 2760 for t in thresholds])


@pytest.mark.parametrize("what", ["mean", "median", "std", "68 %"])
def test_the_response_in_bins_has_the_errors_of_the_bootstrap(what: str) -> None:
    values, truth = (each[:, 0] for each in momenta(8))
    found = metrics.response(values, truth, EDGES, what=what)  # type: ignore[arg-type]
    ratio = (values / truth)[(truth >= 40) & (truth < 60)]
    low, high = np.quantile(ratio, [0.16, 0.84])
    expected = {"mean": ratio.mean(), "median": np.median(ratio), "std": ratio.std(), "68 %": (high - low) / 2}
    assert found.values[1] == pytest.approx(expected[what])

    def again(rows: np.ndarray) -> float:
        return float(metrics.response(values[rows], truth[rows], EDGES, what=what).values[1])  # type: ignore[arg-type]

    assert found.scores[1].error == pytest.approx(bootstrap(again, len(truth)), rel=0.2)
    assert found.high[1] - found.low[1] == pytest.approx(2 * found.scores[1].error)


def test_bins_and_truths_that_cannot_be_are_refused() -> None:
    passed = np.ones(3, bool)
    with pytest.raises(DataError, match="each above the one before"):
        metrics.turn_on(np.ones(3), passed, np.array([1.0, 1.0]))
    with pytest.raises(DataError, match="3 jets need as many truths"):
        metrics.turn_on(np.ones(2), passed, EDGES)
    with pytest.raises(DataError, match="a truth is zero"):
        metrics.response(np.ones(3), np.zeros(3), np.array([-1.0, 1.0]))
    with pytest.raises(DataError, match="a score for each jet"):
        metrics.rate(np.array([np.nan]), np.zeros(1), n_bunches=2760)
