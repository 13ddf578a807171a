from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.metrics import accuracy_score, log_loss, roc_auc_score, roc_curve

from hepprune import metrics
from hepprune.errors import DataError
from hepprune.metrics import Score
from hepprune.metrics.scores import Difference
from hepprune.task import Classes
from tests.networks import SEEDS

Pair = tuple[NDArray[np.float64], NDArray[np.int64]]


def draw(seed: int, *, n_jets: int = 300, n_classes: int = 5, step: float = 0.0) -> Pair:
    """Return logits that know a little of the labels; a step rounds them, so that there are ties."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, n_classes, n_jets)
    logits = rng.normal(size=(n_jets, n_classes)) + np.eye(n_classes)[labels]
    return np.round(logits / step) * step if step else logits, labels


def bootstrap(statistic: Callable[[NDArray[np.int64]], float], n_jets: int, n_draws: int = 200) -> float:
    rng = np.random.default_rng(1)
    return float(np.std([statistic(rng.integers(0, n_jets, n_jets)) for _ in range(n_draws)]))


@given(SEEDS, st.integers(2, 5), st.sampled_from([0.0, 0.5, 2.0]))
def test_auc_equals_scikit_learn_ties_included(seed: int, n_classes: int, step: float) -> None:
    logits, labels = draw(seed, n_classes=n_classes, step=step)
    ordered = np.sort(logits, axis=1)  # the same logits in another order have the same sum to the last bit
    scores = logits - np.log(np.exp(ordered - ordered[:, -1:]).sum(axis=1, keepdims=True)) - ordered[:, -1:]
    expected = [roc_auc_score(labels == c, np.round(scores[:, c], 9)) for c in range(n_classes)]
    assert metrics.auc(logits, labels).value == pytest.approx(np.mean(expected), abs=1e-9)


def test_auc_equals_the_one_against_rest_average_of_scikit_learn() -> None:
    logits, labels = draw(0)
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    expected = roc_auc_score(labels, probabilities, multi_class="ovr", average="macro")
    assert metrics.auc(logits, labels).value == pytest.approx(expected, abs=1e-12)


def test_identical_logits_have_an_auc_of_one_half() -> None:
    score = metrics.auc(np.zeros((100, 3)), np.arange(100) % 3)
    assert score.value == pytest.approx(0.5, abs=1e-12)
    assert score.error == pytest.approx(0, abs=1e-12)


def test_auc_leaves_out_classes_without_jets() -> None:
    logits, labels = draw(0, n_classes=3)
    kept = labels != 2
    scores = logits[kept] - np.log(np.exp(logits[kept]).sum(axis=1, keepdims=True))
    expected = [roc_auc_score(labels[kept] == c, scores[:, c]) for c in (0, 1)]
    assert metrics.auc(logits[kept], labels[kept]).value == pytest.approx(np.mean(expected))
    with pytest.raises(DataError, match="at least two classes"):
        metrics.auc(logits, np.zeros(len(logits), dtype=np.int64))


def test_auc_leaves_out_classes_whose_jets_do_not_count() -> None:
    logits, labels = draw(0, n_classes=3)
    weight = (labels != 2).astype(float)
    kept = metrics.auc(logits[labels != 2], labels[labels != 2])
    assert metrics.auc(logits, labels, weight).value == pytest.approx(kept.value)
    with pytest.raises(DataError, match="at least two classes"):
        metrics.auc(logits, labels, (labels == 2).astype(float))


@given(SEEDS)
def test_accuracy_has_its_binomial_error(seed: int) -> None:
    logits, labels = draw(seed)
    score = metrics.accuracy(logits, labels)
    assert score.value == accuracy_score(labels, logits.argmax(axis=1))
    assert score.error == pytest.approx(np.sqrt(score.value * (1 - score.value) / len(labels)))


def test_the_first_of_equal_logits_wins() -> None:
    assert metrics.accuracy(np.zeros((4, 2)), np.array([0, 0, 0, 1])).value == 0.75


@given(SEEDS)
def test_cross_entropy_equals_scikit_learn(seed: int) -> None:
    logits, labels = draw(seed)
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    assert metrics.cross_entropy(logits, labels).value == pytest.approx(log_loss(labels, probabilities))


@pytest.mark.parametrize("name", Classes().metrics)
@pytest.mark.parametrize("step", [0.0, 1.0])
def test_errors_agree_with_the_bootstrap(name: str, step: float) -> None:
    logits, labels = draw(3, n_jets=500, n_classes=3, step=step)
    metric = metrics.find(name)
    expected = bootstrap(lambda jets: metric(logits[jets], labels[jets]).value, len(labels))
    assert metric(logits, labels).error == pytest.approx(expected, rel=0.15)


@pytest.mark.parametrize("name", Classes().metrics)
def test_errors_of_differences_agree_with_the_bootstrap(name: str) -> None:
    logits, labels = draw(5, n_jets=500, n_classes=3)
    other = logits + np.random.default_rng(2).normal(size=logits.shape) * 0.5
    metric = metrics.find(name)
    found = metrics.difference(metric(logits, labels), metric(other, labels))
    expected = bootstrap(
        lambda jets: metric(logits[jets], labels[jets]).value - metric(other[jets], labels[jets]).value, len(labels)
    )
    assert found.error == pytest.approx(expected, rel=0.15)
    assert found.error < np.hypot(metric(logits, labels).error, metric(other, labels).error)


@pytest.mark.parametrize("name", Classes().metrics)
def test_identical_scores_differ_by_exactly_nothing(name: str) -> None:
    logits, labels = draw(0)
    found = metrics.difference(metrics.find(name)(logits, labels), metrics.find(name)(logits.copy(), labels))
    assert (found.value, found.error, found.significant) == (0.0, 0.0, False)


@pytest.mark.parametrize("name", Classes().metrics)
@given(seed=SEEDS)
def test_influences_have_mean_zero(name: str, seed: int) -> None:
    assert metrics.find(name)(*draw(seed)).influence.mean() == pytest.approx(0, abs=1e-12)


def test_a_difference_beyond_its_error_is_significant() -> None:
    assert Difference(-0.02, 0.01).significant
    assert not Difference(0.01, 0.01).significant


def test_other_jets_cannot_be_compared() -> None:
    with pytest.raises(DataError, match="on the same jets"):
        metrics.difference(Score(0.5, np.zeros(3)), Score(0.5, np.zeros(4)))


def test_no_jets_have_no_metric() -> None:
    for name in metrics.METRICS:
        with pytest.raises(DataError, match="at least one jet"):
            metrics.find(name)(np.zeros((0, 5)), np.zeros(0, dtype=np.int64))


NO_JETS = {
    "NaN": (np.full((3, 2), np.nan), np.array([0, 1, 0]), "logits of jet 0 are not finite"),
    "infinite": (np.array([[0.0, 1.0], [np.inf, 0.0]]), np.array([0, 1]), "logits of jet 1 are not finite"),
    "below": (np.zeros((3, 2)), np.array([0, 1, -1]), "label -1 is none of the 2 classes"),
    "above": (np.zeros((3, 2)), np.array([0, 1, 2]), "label 2 is none of the 2 classes"),
    "fewer": (np.zeros((3, 2)), np.array([0, 1]), "3 jets need as many whole labels"),
    "one-hot": (np.zeros((2, 2)), np.eye(2, dtype=np.int64), "2 jets need as many whole labels"),
    "broken": (np.zeros((3, 2)), np.array([0.0, 0.5, 1.0]), "3 jets need as many whole labels, not float64"),
    "flat": (np.zeros(3), np.array([0, 1, 0]), r"not logits of shape \(3,\)"),
}


@pytest.mark.parametrize("name", Classes().metrics)
@pytest.mark.parametrize("what", NO_JETS)
def test_what_no_metric_makes_sense_of_is_refused_by_each(name: str, what: str) -> None:
    logits, labels, said = NO_JETS[what]
    with pytest.raises(DataError, match=said):
        metrics.find(name)(logits, labels)


def test_a_metric_of_your_own_is_spared_what_makes_no_sense(monkeypatch: pytest.MonkeyPatch) -> None:
    for table in (metrics.METRICS, metrics.SUITS):
        monkeypatch.setitem(table, "spread", None)  # forgotten again after the test

    @metrics.metric
    def spread(logits: NDArray[np.float64], labels: NDArray[np.int64]) -> Score:
        return Score(float(logits.std()), np.zeros(len(labels)))

    assert metrics.find("spread") is spread
    assert spread(np.eye(2), np.array([0, 1])).value == 0.5
    with pytest.raises(DataError, match="not finite"):
        spread(np.full((3, 2), np.nan), np.array([0, 1, 0]))


def test_an_unknown_metric_lists_the_choices() -> None:
    with pytest.raises(DataError, match="unknown metric 'acuracy'; choose one of: accuracy, "):
        metrics.find("acuracy")


@given(SEEDS, st.sampled_from([0.0, 0.5, 2.0]))
def test_the_roc_curve_equals_that_of_scikit_learn_ties_included(seed: int, step: float) -> None:
    scores, labels = draw(seed, n_classes=2, step=step)
    mistag, efficiency, _ = roc_curve(labels == 0, scores[:, 0], drop_intermediate=False)
    found = metrics.roc(scores[:, 0], labels == 0)
    np.testing.assert_allclose(found, [efficiency[1:], mistag[1:]])  # theirs begins where nothing passes


def test_a_roc_curve_needs_a_number_for_each_jet() -> None:
    for scores in (np.array([0.0, np.nan, 1.0]), np.zeros(2)):
        with pytest.raises(DataError, match="one score for each jet"):
            metrics.roc(scores, np.array([True, False, True]))


def test_a_roc_curve_of_one_kind_of_jets_is_refused() -> None:
    with pytest.raises(DataError, match="jets of other classes"):
        metrics.roc(np.zeros(3), np.ones(3, dtype=bool))
