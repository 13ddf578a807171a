"""Metrics of classes and of labels that are means over jets."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, log_softmax, softmax

from hepprune.metrics import arguments
from hepprune.metrics.arguments import argument
from hepprune.metrics.names import Parametrised, parametrised
from hepprune.metrics.registry import check, finite, lower_is_better, metric, of_labels
from hepprune.metrics.score import Floats, Score, average, mean, shares


@metric
def accuracy(logits: Floats, labels: NDArray[np.integer[Any]], weight: Floats | None = None) -> Score:
    """Score the fraction of jets whose largest logit, the first of equals, is their class."""
    return mean(logits.argmax(axis=1) == labels, weight)


@lower_is_better
@metric
def cross_entropy(logits: Floats, labels: NDArray[np.integer[Any]], weight: Floats | None = None) -> Score:
    """Score the mean negative log-likelihood of the true class, in nats; lower is better."""
    return mean(-log_softmax(logits, axis=1)[np.arange(len(labels)), labels], weight)


@of_labels
def label_accuracy(values: Floats, targets: Floats, weight: Floats | None = None) -> Score:
    """Score the fraction of labels that are right, a logit above zero being a yes."""
    return mean(((values > 0) == (targets > 0.5)).mean(axis=1), weight)


@lower_is_better
@of_labels
def label_cross_entropy(values: Floats, targets: Floats, weight: Floats | None = None) -> Score:
    """Score the mean binary cross-entropy of logits over labels, in nats; lower is better."""
    return mean((np.logaddexp(0, values) - targets * values).mean(axis=1), weight)


def expected_error(confidence: Floats, right: NDArray[np.bool_], weight: Floats | None = None, *, bins: int) -> Score:
    """Score how far confidence (n_jets,) is from the fraction that is right, averaged over equal bins from 0 to 1.

    This is the expected calibration error (Guo et al., arXiv:1706.04599). A jet pulls by its own miss on the side of
    its bin. Where bins hold few jets it is too large, and so is its error: chance misses add up.
    """
    share = shares(weight, len(confidence))
    place = np.minimum((confidence * bins).astype(np.int64), bins - 1)
    miss = share * (right - confidence)
    sums = np.bincount(place, miss, bins)
    value = float(np.abs(sums).sum()) / len(confidence)
    return Score(value, np.sign(sums)[place] * miss - share * value)


@parametrised("calibration_error(15)", "classes", "labels")
class CalibrationError(Parametrised):
    """The expected calibration error: of the likeliest class, or of each label's yes, averaged over labels."""

    bins: int = argument(arguments.whole, default=15)
    lower_is_better = True

    def __call__(self, raw: Floats, truth: Any, weight: Floats | None = None) -> Score:
        """Return it; lower is better."""
        if truth.ndim == 1:
            check(raw, truth)
            chosen = raw.argmax(axis=1)
            return expected_error(softmax(raw, axis=1).max(axis=1), chosen == truth, weight, bins=self.bins)
        logits, labels = finite(raw, truth)
        columns = zip(expit(logits).T, labels.T > 0.5, strict=True)
        return average([expected_error(each, right, weight, bins=self.bins) for each, right in columns])
