"""Physics metrics, each with its statistical error and, on the same jets, the error of a difference.

Every metric takes finite logits (n_jets, n_classes) and the class of each jet; anything else is a DataError.
It returns one influence value per jet: how far that jet pulls the metric from its mean. Its spread gives the error of
the metric, and the spread of two influences' difference gives the error of a paired comparison
(the infinitesimal jackknife, Efron 1981; for the AUC it is the variance of DeLong, DeLong and Clarke-Pearson 1988).
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_softmax
from scipy.stats import rankdata

from hepprune.errors import DataError, unknown

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


@dataclass(frozen=True)
class Difference:
    """How much one network's metric differs from another's on the same jets, with the paired error."""

    value: float
    error: float

    @property
    def significant(self) -> bool:
        """Whether the difference exceeds its error."""
        return abs(self.value) > self.error


def difference(first: Score, second: Score) -> Difference:
    """Return first - second, both on the same jets in the same order."""
    if first.influence.shape != second.influence.shape:
        raise DataError("two scores can only be compared on the same jets")
    return Difference(first.value - second.value, _error(first.influence - second.influence))


def _error(influence: Floats) -> float:
    return float(np.std(influence) / np.sqrt(len(influence)))


Metric = Callable[[Floats, NDArray[np.integer[Any]]], Score]
METRICS: dict[str, Metric] = {}


def metric(function: Metric) -> Metric:
    """Register a metric under its own name, and refuse logits and labels that it would make no sense of."""

    @functools.wraps(function)
    def checked(logits: Floats, labels: NDArray[np.integer[Any]]) -> Score:
        _check(logits, labels)
        return function(logits, labels)

    METRICS[function.__name__] = checked
    return checked


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
def accuracy(logits: Floats, labels: NDArray[np.integer[Any]]) -> Score:
    """Score the fraction of jets whose largest logit, the first of equals, is their class."""
    return _mean(logits.argmax(axis=1) == labels)


@metric
def cross_entropy(logits: Floats, labels: NDArray[np.integer[Any]]) -> Score:
    """Score the mean negative log-likelihood of the true class, in nats; lower is better."""
    return _mean(-log_softmax(logits, axis=1)[np.arange(len(labels)), labels])


@metric
def auc(logits: Floats, labels: NDArray[np.integer[Any]]) -> Score:
    """Score the one-vs-rest area under the ROC curve, averaged over the classes present, on softmax probabilities."""
    probabilities = np.round(log_softmax(logits, axis=1), 10)  # ties of fixed-point logits survive the order of sums
    present = [c for c in range(logits.shape[1]) if 0 < np.count_nonzero(labels == c) < len(labels)]
    if not present:
        raise DataError("an AUC needs jets of at least two classes")
    scores = [_binary_auc(probabilities[:, c], labels == c) for c in present]
    return Score(float(np.mean([s.value for s in scores])), np.mean([s.influence for s in scores], axis=0))


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


def _mean(per_jet: NDArray[Any]) -> Score:
    values = per_jet.astype(np.float64)
    return Score(float(values.mean()), values - values.mean())


def _binary_auc(scores: Floats, positive: NDArray[np.bool_]) -> Score:
    n, n_positive = len(scores), int(positive.sum())
    ranks = rankdata(scores)
    beaten = np.empty(n)  # the fraction of the other class that lies on the right side of each jet
    beaten[positive] = (ranks[positive] - rankdata(scores[positive])) / (n - n_positive)
    beaten[~positive] = 1 - (ranks[~positive] - rankdata(scores[~positive])) / n_positive
    value = float(beaten[positive].mean())
    share = np.where(positive, n_positive, n - n_positive) / n
    return Score(value, (beaten - value) / share)
