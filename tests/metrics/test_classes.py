"""Calibration against scikit-learn's reliability curve."""

import numpy as np
import pytest
from hypothesis import given
from scipy.special import expit
from sklearn.calibration import calibration_curve

from hepprune import metrics
from tests.metrics.samples import classes, labels
from tests.networks import SEEDS


@given(SEEDS)
def test_the_calibration_error_is_that_of_the_reliability_curve(seed: int) -> None:
    logits, truth = labels(seed, n_jets=500)
    p = expit(logits[:, 0])
    right, sure = calibration_curve(truth[:, 0], p, n_bins=15, strategy="uniform")
    counts = np.histogram(p, np.linspace(0, 1, 16))[0]
    expected = np.average(np.abs(right - sure), weights=counts[counts > 0])
    assert metrics.find("calibration_error")(logits, truth).value == pytest.approx(expected, abs=1e-9)


@given(SEEDS)
def test_of_classes_it_is_that_of_the_likeliest(seed: int) -> None:
    logits, truth = classes(seed, n_jets=500)
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    right, sure = calibration_curve(p.argmax(axis=1) == truth, p.max(axis=1), n_bins=10, strategy="uniform")
    counts = np.histogram(p.max(axis=1), np.linspace(0, 1, 11))[0]
    expected = np.average(np.abs(right - sure), weights=counts[counts > 0])
    assert metrics.find("calibration_error(10)")(logits, truth).value == pytest.approx(expected, abs=1e-9)


def test_what_is_as_sure_as_it_is_right_has_a_small_error_and_overconfidence_a_large_one() -> None:
    rng = np.random.default_rng(0)
    p = rng.random((20_000, 1))
    truth, logits = (rng.random(p.shape) < p).astype(float), np.log(p / (1 - p))
    metric = metrics.find("calibration_error")
    assert metric(logits, truth).value < 0.02
    assert metric(3 * logits, truth).value > 0.1
