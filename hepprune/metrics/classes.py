"""Metrics of classes and of labels that are means over jets."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_softmax

from hepprune.metrics.registry import lower_is_better, metric, of_labels
from hepprune.metrics.score import Floats, Score, mean


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
