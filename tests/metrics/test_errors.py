"""Every metric with arguments: its error, that of a difference, and its weights, against the bootstrap and repetition."""

from collections.abc import Callable

import numpy as np
import pytest

from hepprune import metrics
from hepprune.metrics import Conditions, Score
from tests.metrics.samples import Jets, anomalies, bootstrap, classes, many, many_classes, momenta, overconfident, value

LHC = Conditions(classes=("q", "g", "t"), n_bunches=2760)
CASES: dict[str, Callable[[int], Jets]] = {
    "auc(t)": classes,
    "auc(t/q)": classes,
    "auc(t/q+g)": classes,
    "auc(mse)": anomalies,
    "rejection(0.5, t)": many_classes,
    "rejection(0.8, t/q)": many_classes,
    "rejection(50 %)": many,
    "efficiency_at_background(2 %)": many,
    "efficiency_at_background(0.1, t/g)": many_classes,
    "efficiency_at_background(0.1, mu2)": anomalies,
    "efficiency_at_rate(1 MHz)": many,
    "efficiency_at_rate(4 MHz, mse)": anomalies,
    "bias": momenta,
    "bias(relative)": momenta,
    "absolute_bias": momenta,
    "resolution": momenta,
    "resolution(relative)": momenta,
    "resolution(68 %)": momenta,
    "resolution(95 %, relative)": momenta,
    "tails(3)": momenta,
    "tails(2, relative)": momenta,
    "correlation": momenta,
    "response": momenta,
    "response(20, 40)": momenta,
    "calibration_error": overconfident,
    "calibration_error(10)": classes,
}


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_errors_agree_with_the_bootstrap(name: str) -> None:
    jets, metric = CASES[name](3), metrics.find(name, LHC)
    expected = bootstrap(lambda rows: value(metric, jets, rows), len(jets[0]))
    assert metric(*jets).error == pytest.approx(expected, rel=0.2)


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_errors_of_weighted_jets_agree_with_the_bootstrap(name: str) -> None:
    jets, metric = CASES[name](4), metrics.find(name, LHC)
    weight = np.random.default_rng(5).exponential(size=len(jets[0]))
    expected = bootstrap(lambda rows: value(metric, jets, rows, weight), len(jets[0]))
    found = metric(*jets, weight)
    assert found.error == pytest.approx(expected, rel=0.2)
    assert found.influence.mean() == pytest.approx(0, abs=1e-3 * found.influence.std())


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_errors_of_differences_agree_with_the_bootstrap(name: str) -> None:
    jets, metric = CASES[name](6), metrics.find(name, LHC)
    raw, truth = jets
    other = raw + 0.3 * raw.std() * np.random.default_rng(7).normal(size=raw.shape)
    changed = other, truth
    found = metrics.difference(metric(*changed), metric(*jets))
    expected = bootstrap(lambda rows: value(metric, changed, rows) - value(metric, jets, rows), len(raw))
    assert found.error == pytest.approx(expected, rel=0.2)
    assert found.error < np.hypot(metric(*changed).error, metric(*jets).error)
    same = metrics.difference(metric(raw.copy(), truth), metric(*jets))
    assert (same.value, same.error) == (0.0, 0.0)


@pytest.mark.parametrize("name", CASES)
def test_a_jet_of_weight_three_counts_as_three_jets(name: str) -> None:
    raw, truth = CASES[name](8)
    metric, counts = metrics.find(name, LHC), np.random.default_rng(9).integers(1, 4, len(raw))
    parts = truth if isinstance(truth, tuple) else (truth,)
    repeated = tuple(np.repeat(part, counts, axis=0) for part in parts)
    expected = metric(np.repeat(raw, counts, axis=0), repeated if isinstance(truth, tuple) else repeated[0])
    interpolated = 5e-3 if name.startswith(("resolution", "tails")) else 1e-9  # between jets, of which there are more
    weighted = metric(raw, truth, counts.astype(float))
    assert weighted.value == pytest.approx(expected.value, rel=interpolated)
    ones, plain = metric(raw, truth, np.ones(len(raw))), metric(raw, truth)
    assert (ones.value, ones.error) == pytest.approx((plain.value, plain.error), rel=1e-9)


def test_jets_that_a_pair_leaves_out_do_not_pull() -> None:
    logits, truth = classes(1)
    score = metrics.find("auc(2/0)")(logits, truth)
    kept = truth != 1
    alone = metrics.find("auc(2/0)")(logits[kept], truth[kept])
    assert isinstance(score, Score)
    assert not score.influence[~kept].any()
    assert (score.value, score.error) == pytest.approx((alone.value, alone.error))


@pytest.mark.slow
@pytest.mark.parametrize("n_passing", [12, 200])
def test_errors_are_the_spread_of_experiments_however_few_background_jets_pass(n_passing: int) -> None:
    rng, found, changes = np.random.default_rng(0), [], []
    for _ in range(200):
        signal = rng.random(10_000) < 0.5
        scores = rng.normal(size=10_000) + 1.5 * signal
        pair = [
            metrics.efficiency_at_background(n_passing / np.count_nonzero(~signal), each, signal)
            for each in (scores, scores + 0.3 * rng.normal(size=10_000))
        ]
        found.append((pair[0].value, pair[0].error))
        changes.append((pair[1].value - pair[0].value, metrics.difference(pair[1], pair[0]).error))
    for values, errors in (np.transpose(found), np.transpose(changes)):
        assert np.median(errors) == pytest.approx(values.std(), rel=0.15)
        assert np.mean(np.abs(values - values.mean()) < errors) == pytest.approx(0.68, abs=0.1)
