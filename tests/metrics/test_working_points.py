"""Working points against scikit-learn's ROC curve, brute force, and the refusal of too few background events."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score, roc_curve

from hepprune import metrics
from hepprune.errors import DataError
from tests.metrics.samples import anomalies, classes, labels
from tests.networks import SEEDS

ORBIT_HZ = 11_246


@given(SEEDS, st.sampled_from([0.05, 0.3, 0.5, 0.9]), st.sampled_from([0.0, 0.5]))
def test_both_fractions_lie_on_the_roc_curve_of_scikit_learn(seed: int, fraction: float, step: float) -> None:
    raw, truth = labels(seed, n_jets=1000)
    raw = np.round(raw / step) * step if step else raw
    mistag, efficiency, _ = roc_curve(truth[:, 0] > 0, raw[:, 0], drop_intermediate=False)
    at_background = metrics.find(f"efficiency_at_background({fraction})")(raw, truth)
    assert at_background.value == pytest.approx(np.interp(fraction, mistag, efficiency), abs=1e-12)
    expected = np.interp(fraction, efficiency, mistag)
    if expected * np.count_nonzero(truth == 0) >= 10:
        rejection = metrics.find(f"rejection({fraction})")(raw, truth)
        assert rejection.value == pytest.approx(1 / expected, rel=1e-9)


@given(SEEDS)
def test_jets_of_equal_score_pass_in_part(seed: int) -> None:
    rng = np.random.default_rng(seed)
    signal = rng.random(500) < 0.5
    found = metrics.efficiency_at_background(0.25, np.zeros(500), signal)
    assert found.value == pytest.approx(0.25)


def test_the_efficiency_at_a_rate_is_that_at_the_fraction_of_all_crossings() -> None:
    raw, truth = labels(1, n_jets=20_000)
    n_bunches, rate = 2544, 500e3
    fraction = rate / (ORBIT_HZ * n_bunches)
    signal, scores = truth[:, 0] > 0, raw[:, 0]
    found = metrics.find("efficiency_at_rate(500 kHz, n_bunches=2544)")(raw, truth)
    cut = metrics.threshold(fraction, scores[~signal])
    assert np.mean(scores[~signal] > cut) * ORBIT_HZ * n_bunches == pytest.approx(rate, rel=0.01)
    ordered, last = np.sort(scores[~signal])[::-1], int(fraction * np.count_nonzero(~signal))
    assert ordered[last + 1] < cut <= ordered[last]
    assert np.mean(scores[signal] > ordered[last - 1]) < found.value < np.mean(scores[signal] > ordered[last + 1])


def test_a_threshold_is_interpolated_between_neighbouring_scores() -> None:
    scores = np.array([1.0, 2.0, 3.0, 4.0])
    assert metrics.threshold(0.5, scores) == 2.0
    assert metrics.threshold(0.375, scores) == 2.5
    assert metrics.threshold(0.375, scores[:2], np.array([1.0, 1.0])) == pytest.approx(1.25)
    weighted = metrics.threshold(0.4, np.array([1.0, 2.0, 3.0]), np.array([1.0, 2.0, 3.0]))
    assert weighted == pytest.approx(metrics.threshold(0.4, np.repeat([1.0, 2.0, 3.0], [1, 2, 3])))
    for wrong in (0.0, 1.0):
        with pytest.raises(DataError, match="fraction between 0 and 1"):
            metrics.threshold(wrong, scores)


def test_a_pure_rate_counts_only_events_that_have_not_fired() -> None:
    raw, truth = labels(2, n_jets=20_000)
    signal, scores = truth[:, 0] > 0, raw[:, 0]
    fired = np.random.default_rng(3).random(len(scores)) < 0.3
    found = metrics.efficiency_at_rate(1000, scores, signal, n_bunches=2760, fired=fired)
    ordered = np.sort(scores[~signal & ~fired])[::-1]
    n_passing = 1000 / (ORBIT_HZ / 1e3 * 2760) * np.count_nonzero(~signal)
    cut = ordered[int(n_passing)]
    assert found.value == pytest.approx(np.mean(scores[signal] > cut), abs=2e-3)
    assert found.value > metrics.efficiency_at_rate(1000, scores, signal, n_bunches=2760).value
    with pytest.raises(DataError, match=r"a rate of 25000 kHz is all there is: 2760 bunches give 21\d+\.?\d* kHz"):
        metrics.efficiency_at_rate(25_000, scores, signal, n_bunches=2760, fired=fired)


def test_a_working_point_of_fewer_than_ten_background_events_says_how_many_are_needed() -> None:
    raw, truth = labels(4, n_jets=20_000)
    n_background = np.count_nonzero(truth == 0)
    needed = int(np.ceil(10 / (5e3 / (ORBIT_HZ * 2760))))
    with pytest.raises(DataError, match=rf"only 1\.6\d? of {n_background:,} .* about {needed:,} background jets"):
        metrics.find("efficiency_at_rate(5 kHz, n_bunches=2760)")(raw, truth)
    with pytest.raises(DataError, match="about 20,000 background jets"):
        metrics.efficiency_at_background(0.0005, raw[:, 0], truth[:, 0] > 0)
    apart = np.where(truth[:, 0] > 0, 5.0, 0.0) + np.random.default_rng(1).random(len(truth))
    with pytest.raises(DataError, match=rf"only 0 of {n_background:,} .*; over {10 * n_background:,} background jets"):
        metrics.rejection(0.5, apart, truth[:, 0] > 0)


def test_ten_events_are_enough_and_heavy_ones_are_worth_fewer() -> None:
    raw, truth = labels(4, n_jets=4000)
    kept = np.append(np.flatnonzero(truth == 1), np.flatnonzero(truth == 0)[:1000])
    scores, signal = raw[kept, 0], truth[kept, 0] > 0
    assert 0 < metrics.efficiency_at_background(0.01, scores, signal).value < 1
    weight = np.random.default_rng(0).exponential(size=len(kept))
    with pytest.raises(DataError, match="of 1,000 background jets pass"):
        metrics.efficiency_at_background(0.01, scores, signal, weight)


@given(SEEDS)
def test_areas_of_pairs_and_sides_equal_scikit_learn(seed: int) -> None:
    logits, truth = classes(seed, n_jets=600, n_classes=4)
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    pair = np.isin(truth, [0, 3])
    expected = roc_auc_score(truth[pair] == 3, (p[:, 3] / (p[:, 3] + p[:, 0]))[pair])
    assert metrics.find("auc(3/0)")(logits, truth).value == pytest.approx(expected, abs=1e-12)
    assert metrics.find("auc(3)")(logits, truth).value == pytest.approx(roc_auc_score(truth == 3, p[:, 3]), abs=1e-12)
    sides = truth != 2
    ratio = (p[:, 3] + p[:, 1]) / (p[:, 3] + p[:, 1] + p[:, 0])
    expected = roc_auc_score(np.isin(truth, [1, 3])[sides], ratio[sides])
    assert metrics.find("auc(3+1/0)")(logits, truth).value == pytest.approx(expected, abs=1e-12)


def test_the_second_of_two_classes_is_the_signal() -> None:
    logits, truth = classes(5, n_classes=2)
    expected = metrics.find("rejection(0.5, 1/0)")(logits, truth)
    assert metrics.find("rejection(0.5)")(logits, truth).value == expected.value


def test_anomalies_are_told_by_what_is_lost_or_by_the_latent_layer() -> None:
    raw, (x, signal) = anomalies(6)
    lost, squares = ((raw - x) ** 2).mean(axis=1), (raw**2).sum(axis=1)
    for name, scores in {"mse": lost, "mu2": squares, "2": raw[:, 2]}.items():
        expected = roc_auc_score(signal, scores)
        assert metrics.find(f"auc({name})")(raw, (x, signal)).value == pytest.approx(expected, abs=1e-12)


def test_what_has_no_signal_or_names_none_is_refused() -> None:
    logits, truth = classes(7)
    for name, said in {
        "rejection(0.5)": "one of 3 classes has to be named as signal",
        "rejection(0.5, mse)": "one of 3 classes has to be named as signal",
        "rejection(0.5, 7)": "the class 7 is none of the 3 classes",
        "rejection(0.5, 0+1+2)": "every class is signal",
    }.items():
        with pytest.raises(DataError, match=said):
            metrics.find(name)(logits, truth)
    with pytest.raises(DataError, match="needs jets of both"):
        metrics.find("auc(2/0)")(logits, np.zeros_like(truth))
    with pytest.raises(DataError, match="needs jets of both"):
        metrics.find("auc(2/0)")(logits, truth, (truth != 0).astype(float))
    raw, (x, signal) = anomalies(7)
    with pytest.raises(DataError, match="one has to be named by its number, 0 to 3, of 4 outputs; mse or mu2"):
        metrics.find("auc(4)")(raw, (x, signal))
    with pytest.raises(DataError, match="for each jet, whether it is signal"):
        metrics.find("auc(mse)")(raw, (x, signal[1:]))
    with pytest.raises(DataError, match="say which jets are signal"):
        metrics.find("auc(0)")(raw, x)
    with pytest.raises(DataError, match="one score for each jet"):
        metrics.rejection(0.5, np.full(20, np.nan), np.arange(20) < 10)
