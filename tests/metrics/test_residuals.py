"""Residuals against numpy and scipy."""

from functools import partial

import numpy as np
import pytest
from hypothesis import given
from scipy.stats import norm

from hepprune import metrics
from hepprune.errors import DataError
from tests.metrics.samples import momenta
from tests.networks import SEEDS


@given(SEEDS)
def test_values_equal_those_of_numpy(seed: int) -> None:
    values, truth = momenta(seed, n_jets=500)
    residuals, ratio = (values - truth)[:, 0], (values / truth)[:, 0]
    low, middle, high = np.quantile(residuals, [0.16, 0.5, 0.84])
    inside = (truth[:, 0] >= 20) & (truth[:, 0] < 40)
    expected = {
        "bias": residuals.mean(),
        "bias(relative)": (ratio - 1).mean(),
        "absolute_bias": abs(residuals.mean()),
        "resolution": residuals.std(),
        "resolution(relative)": ratio.std(),
        "resolution(68 %)": (high - low) / 2,
        "resolution(90 %, relative)": np.diff(np.quantile(ratio, [0.05, 0.95]))[0] / 2,
        "tails(2)": np.mean(np.abs(residuals - middle) > high - low),
        "response": ratio.mean(),
        "response(20, 40)": ratio[inside].mean(),
    }
    for name, value in expected.items():
        assert metrics.find(name)(values, truth).value == pytest.approx(value, rel=1e-12), name


def test_a_gaussian_has_its_known_width_and_error() -> None:
    values = np.random.default_rng(0).normal(size=(100_000, 1))
    deviation, interval = (metrics.find(n)(values, 0 * values) for n in ("resolution", "resolution(68 %)"))
    assert deviation.error == pytest.approx(1 / np.sqrt(2e5), rel=0.03)
    width = norm.ppf(0.84)
    assert interval.value == pytest.approx(width, rel=0.01)
    exact = np.sqrt(0.16 * (1 - 2 * 0.16) / 2 / 1e5) / norm.pdf(width)  # of half the difference of two quantiles
    assert interval.error == pytest.approx(exact, rel=0.1)


def test_outputs_are_averaged() -> None:
    values, truth = momenta(1)
    two, truths = np.hstack([values, 3 * values]), np.hstack([truth, 3 * truth])
    for name in ("bias", "absolute_bias", "resolution", "resolution(68 %)"):
        one, both = metrics.find(name)(values, truth), metrics.find(name)(two, truths)
        assert (both.value, both.error) == pytest.approx((2 * one.value, 2 * one.error))


def test_a_perfect_regression_has_no_width_and_no_error() -> None:
    truth = np.linspace(1, 2, 50)[:, None]
    for name in ("bias", "absolute_bias", "resolution", "resolution(68 %)", "tails(3)"):
        found = metrics.find(name)(truth, truth)
        assert (found.value, found.error) == (0.0, 0.0)


def test_what_cannot_be_divided_or_found_is_refused() -> None:
    values, truth = momenta(2)
    with pytest.raises(DataError, match="a target is zero"):
        metrics.find("bias(relative)")(values, 0 * truth)
    with pytest.raises(DataError, match="no jet has a target from 200 to 300"):
        metrics.find("response(200, 300)")(values, truth)
    with pytest.raises(DataError, match="a response is of one output, not of 2"):
        metrics.find("response")(np.hstack([values, values]), np.hstack([truth, truth]))
    with pytest.raises(DataError, match="are not judged by targets"):
        metrics.find("bias")(values, truth[1:])
    for width in (metrics.interval, partial(metrics.tails, widths=3)):
        with pytest.raises(DataError, match="a metric needs at least one jet"):
            width(np.zeros(0))


def test_nothing_correlates_with_outputs_that_are_all_the_same() -> None:
    values, truth = momenta(3)
    for weight in (None, np.linspace(0.5, 2, len(truth))):
        dead = metrics.correlation(np.full_like(values, 0.1), truth, weight)
        alive = metrics.correlation(values, truth, weight)
        assert (dead.value, dead.error) == (0.0, 0.0)
        assert metrics.difference(alive, dead).error == alive.error
        both = metrics.correlation(np.hstack([values, 0 * values]), np.hstack([truth, truth]), weight)
        assert (both.value, both.error) == pytest.approx((alive.value / 2, alive.error / 2))
    with pytest.raises(DataError, match="targets of an output are all the same"):
        metrics.correlation(values, 0 * truth + 3)
