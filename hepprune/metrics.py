"""Physics metrics, each with its statistical error and, on the same jets, the error of a difference.

Every metric takes finite logits (n_jets, n_classes) and the class of each jet; anything else is a DataError.
It returns one influence value per jet: how far that jet pulls the metric from its mean. Its spread gives the error of
the metric, and the spread of two influences' difference gives the error of a paired comparison
(the infinitesimal jackknife, Efron 1981; for the AUC it is the variance of DeLong, DeLong and Clarke-Pearson 1988).
"""

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_softmax
from scipy.stats import rankdata

from hepprune.errors import DataError, unknown
from hepprune.scores import Difference, Stated

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Score:
    """A metric's value and the pull of each jet on it, (n_jets,) with mean zero."""

    value: float
    influence: Floats

    @property
    def error(self) -> float:
        """The statistical error (one standard deviation)."""
        return _error(self.influence)

    @property
    def stated(self) -> Stated:
        """The value with its error, without the jets."""
        return Stated(self.value, self.error)


def difference(first: Score, second: Score) -> Difference:
    """Return first - second, both on the same jets in the same order."""
    if first.influence.shape != second.influence.shape:
        raise DataError("two scores can only be compared on the same jets")
    return Difference(first.value - second.value, _error(first.influence - second.influence))


def stated(scores: Mapping[str, Score]) -> dict[str, Stated]:
    """Return every metric's value with its error."""
    return {name: score.stated for name, score in scores.items()}


def differences(first: Mapping[str, Score], second: Mapping[str, Score]) -> dict[str, Difference]:
    """Return first - second of every metric, on the same jets."""
    return {name: difference(score, second[name]) for name, score in first.items()}


def lost(name: str, change: float) -> float:
    """Return how much of a metric a change of it loses; below zero it gains."""
    return change if name.rpartition(".")[2] in LOWER_IS_BETTER else -change


def _error(influence: Floats) -> float:
    return float(np.std(influence) / np.sqrt(len(influence)))


Metric = Callable[..., Score]  # of logits (n_jets, n_classes), classes (n_jets,) and, if there are some, weights
METRICS: dict[str, Metric] = {}
LOWER_IS_BETTER: set[str] = set()


def metric(function: Metric) -> Metric:
    """Register a metric of classes under its own name, and refuse logits and labels that it would make no sense of."""

    @functools.wraps(function)
    def checked(logits: Floats, labels: NDArray[np.integer[Any]], weight: Floats | None = None) -> Score:
        _check(logits, labels)
        return function(logits, labels) if weight is None else function(logits, labels, weight)

    METRICS[function.__name__] = checked
    return checked


def of_values(function: Metric) -> Metric:
    """Register a metric of values (n_jets, n_out) against targets of the same shape, all of them finite."""

    @functools.wraps(function)
    def checked(values: Floats, targets: Floats, weight: Floats | None = None) -> Score:
        if not np.size(values):
            raise DataError("a metric needs at least one jet")
        flat, wanted = values.reshape(len(values), -1), np.asarray(targets, np.float64).reshape(len(targets), -1)
        if flat.shape != wanted.shape:
            raise DataError(f"values of shape {values.shape} are not judged by targets of shape {targets.shape}")
        if not (np.isfinite(flat).all() and np.isfinite(wanted).all()):
            raise DataError("values or targets are not finite; look for NaN and extreme values among the features")
        return function(flat, wanted, weight)

    METRICS[function.__name__] = checked
    return checked


def lower_is_better(function: Metric) -> Metric:
    """Note that less of a metric is better."""
    LOWER_IS_BETTER.add(function.__name__)
    return function


def _check(logits: Floats, labels: NDArray[np.integer[Any]]) -> None:
    """Refuse anything but finite logits (n_jets, n_classes) and, for each jet, one of the classes."""
    if logits.ndim != 2 or not logits.size:
        raise DataError(f"a metric needs at least one jet and class, not logits of shape {logits.shape}")
    if labels.shape != logits.shape[:1] or not np.issubdtype(labels.dtype, np.integer):
        raise DataError(f"{len(logits)} jets need as many whole labels, not {labels.dtype} of shape {labels.shape}")
    if not np.isfinite(logits).all():
        jet = int(np.argmin(np.isfinite(logits).all(axis=1)))
        raise DataError(f"the logits of jet {jet} are not finite; look for NaN and extreme values among the features")
    if not 0 <= labels.min() <= labels.max() < logits.shape[1]:
        wrong = int(labels.min() if labels.min() < 0 else labels.max())
        raise DataError(f"the label {wrong} is none of the {logits.shape[1]} classes, 0 to {logits.shape[1] - 1}")


def find(name: str) -> Metric:
    """Return the metric of that name."""
    if name not in METRICS:
        raise DataError(unknown("metric", name, METRICS))
    return METRICS[name]


@metric
def accuracy(logits: Floats, labels: NDArray[np.integer[Any]], weight: Floats | None = None) -> Score:
    """Score the fraction of jets whose largest logit, the first of equals, is their class."""
    return mean(logits.argmax(axis=1) == labels, weight)


@lower_is_better
@metric
def cross_entropy(logits: Floats, labels: NDArray[np.integer[Any]], weight: Floats | None = None) -> Score:
    """Score the mean negative log-likelihood of the true class, in nats; lower is better."""
    return mean(-log_softmax(logits, axis=1)[np.arange(len(labels)), labels], weight)


@metric
def auc(logits: Floats, labels: NDArray[np.integer[Any]], weight: Floats | None = None) -> Score:
    """Score the one-vs-rest area under the ROC curve, averaged over the classes present, on softmax probabilities."""
    probabilities = np.round(log_softmax(logits, axis=1), 10)  # ties of fixed-point logits survive the order of sums
    present = [c for c in range(logits.shape[1]) if 0 < np.count_nonzero(labels == c) < len(labels)]
    if not present:
        raise DataError("an AUC needs jets of at least two classes")
    return _average([_binary_auc(probabilities[:, c], labels == c, weight) for c in present])


@of_values
def label_accuracy(values: Floats, targets: Floats, weight: Floats | None = None) -> Score:
    """Score the fraction of labels that are right, a logit above zero being a yes."""
    return mean(((values > 0) == (targets > 0.5)).mean(axis=1), weight)


@lower_is_better
@of_values
def label_cross_entropy(values: Floats, targets: Floats, weight: Floats | None = None) -> Score:
    """Score the mean binary cross-entropy of logits over labels, in nats; lower is better."""
    return mean((np.logaddexp(0, values) - targets * values).mean(axis=1), weight)


@of_values
def label_auc(values: Floats, targets: Floats, weight: Floats | None = None) -> Score:
    """Score the area under the ROC curve of each label's logit, averaged over those that differ between jets."""
    yes = targets > 0.5
    present = [c for c in range(yes.shape[1]) if 0 < np.count_nonzero(yes[:, c]) < len(yes)]
    if not present:
        raise DataError("an AUC needs jets with a label and jets without it")
    return _average([_binary_auc(values[:, c], yes[:, c], weight) for c in present])


@lower_is_better
@of_values
def mean_squared_error(values: Floats, targets: Floats, weight: Floats | None = None) -> Score:
    """Score the mean squared residual over outputs, in units of the target squared; lower is better."""
    return mean(((values - targets) ** 2).mean(axis=1), weight)


@lower_is_better
@of_values
def mean_absolute_error(values: Floats, targets: Floats, weight: Floats | None = None) -> Score:
    """Score the mean size of the residuals over outputs, in units of the target; lower is better."""
    return mean(np.abs(values - targets).mean(axis=1), weight)


@lower_is_better
@of_values
def mean_squared_relative_error(values: Floats, targets: Floats, weight: Floats | None = None) -> Score:
    """Score the mean of ((value - target) / target)^2 over outputs; lower is better.

    Raises:
        DataError: a target is zero.
    """
    if not targets.all():
        raise DataError("a target is zero, and nothing can be relative to it")
    return mean((((values - targets) / targets) ** 2).mean(axis=1), weight)


def roc(scores: Floats, positive: NDArray[np.bool_]) -> tuple[Floats, Floats]:
    """Return efficiency and mistag rate at every distinct threshold, from the tightest to the loosest.

    Scores and `positive` are (n_jets,); jets of equal score pass together.

    Raises:
        DataError: one of the two kinds of jets is missing, or a score is no number.
    """
    if scores.shape != positive.shape or np.isnan(scores).any():
        raise DataError("a ROC curve needs one score for each jet, a number")
    if not 0 < np.count_nonzero(positive) < len(positive):
        raise DataError("a ROC curve needs jets of the class and jets of other classes")
    order = np.argsort(-scores, kind="stable")
    last = np.append(np.flatnonzero(np.diff(scores[order])), len(scores) - 1)  # the last jet of each threshold
    passed = np.cumsum(positive[order])[last]
    return passed / passed[-1], (last + 1 - passed) / (len(scores) - passed[-1])


def mean(per_jet: NDArray[Any], weight: Floats | None = None) -> Score:
    """Score the mean of a value per jet.

    Raises:
        DataError: there are no jets, or weights that cannot be.
    """
    values = per_jet.astype(np.float64)
    if not len(values):
        raise DataError("a metric needs at least one jet")
    if weight is None:
        return Score(float(values.mean()), values - values.mean())
    share = _shares(weight, len(values))
    average = float((share * values).mean())
    return Score(average, share * (values - average))


def _shares(weight: Floats, n_jets: int) -> Floats:
    """Return weights with a mean of one."""
    if weight.shape != (n_jets,) or not np.isfinite(weight).all() or (weight < 0).any() or not weight.any():
        raise DataError(f"{n_jets} jets need as many finite weights, none negative and not all of them zero")
    shares: Floats = weight / weight.mean()
    return shares


def _average(scores: Sequence[Score]) -> Score:
    return Score(float(np.mean([s.value for s in scores])), np.mean([s.influence for s in scores], axis=0))


def _binary_auc(scores: Floats, positive: NDArray[np.bool_], weight: Floats | None = None) -> Score:
    if weight is not None:
        return _weighted_auc(scores, positive, _shares(weight, len(scores)))
    n, n_positive = len(scores), int(positive.sum())
    ranks = rankdata(scores)
    beaten = np.empty(n)  # the fraction of the other class that lies on the right side of each jet
    beaten[positive] = (ranks[positive] - rankdata(scores[positive])) / (n - n_positive)
    beaten[~positive] = 1 - (ranks[~positive] - rankdata(scores[~positive])) / n_positive
    value = float(beaten[positive].mean())
    share = np.where(positive, n_positive, n - n_positive) / n
    return Score(value, (beaten - value) / share)


def _weighted_auc(scores: Floats, positive: NDArray[np.bool_], share: Floats) -> Score:
    """Return the probability that a jet of the class, drawn by weight, scores above one of the others; ties count half.

    A jet pulls by its weight times the weighted fraction of the other class on its right side, less the AUC.
    """
    beaten = np.empty(len(scores))
    for mine in (positive, ~positive):
        others, weights = scores[~mine], share[~mine]
        order = np.argsort(others, kind="stable")
        below = np.concatenate([[0.0], np.cumsum(weights[order])])
        left, right = (np.searchsorted(others[order], scores[mine], side) for side in ("left", "right"))
        beaten[mine] = (below[left] + below[right]) / (2 * below[-1])
    beaten[~positive] = 1 - beaten[~positive]
    value = float(np.average(beaten[positive], weights=share[positive]))
    mass = np.where(positive, share[positive].sum(), share[~positive].sum()) / len(scores)
    return Score(value, share * (beaten - value) / mass)
