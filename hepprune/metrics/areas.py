"""Areas under ROC curves."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_softmax

from hepprune.errors import DataError
from hepprune.metrics import arguments
from hepprune.metrics.arguments import Of, argument
from hepprune.metrics.discriminants import discriminate
from hepprune.metrics.names import Parametrised, parametrised
from hepprune.metrics.registry import metric, of_labels
from hepprune.metrics.score import Floats, Score, average, shares


@metric
def auc(logits: Floats, labels: NDArray[np.integer[Any]], weight: Floats | None = None) -> Score:
    """Score the one-vs-rest area under the ROC curve, averaged over the classes present, on softmax probabilities."""
    probabilities = np.round(log_softmax(logits, axis=1), 10)  # ties of fixed-point logits survive the order of sums
    present = [c for c in range(logits.shape[1]) if _differs(labels == c, weight)]
    if not present:
        raise DataError("an AUC needs jets of at least two classes")
    return average([binary_auc(probabilities[:, c], labels == c, weight) for c in present])


@of_labels
def label_auc(values: Floats, targets: Floats, weight: Floats | None = None) -> Score:
    """Score the area under the ROC curve of each label's logit, averaged over those that differ between jets."""
    yes = targets > 0.5
    present = [c for c in range(yes.shape[1]) if _differs(yes[:, c], weight)]
    if not present:
        raise DataError("an AUC needs jets with a label and jets without it")
    return average([binary_auc(values[:, c], yes[:, c], weight) for c in present])


def _differs(positive: NDArray[np.bool_], weight: Floats | None) -> bool:
    counted = positive if weight is None else positive[weight > 0]
    return 0 < int(np.count_nonzero(counted)) < len(counted)


@parametrised("auc(4/0)", "classes", "labels", "values")
@dataclass(frozen=True)
class Auc(Parametrised):
    """The area under the ROC curve of some classes against all others, or against a background alone."""

    of: Of | None = argument(arguments.of, None)

    def __call__(self, raw: Floats, truth: Any, weight: Floats | None = None) -> Score:
        """Return the area."""
        return discriminate(raw, truth, self.of, weight).score(binary_auc)


def binary_auc(scores: Floats, positive: NDArray[np.bool_], weight: Floats | None = None) -> Score:
    """Score the probability that a jet of the class scores above one of the others; ties count half."""
    if weight is not None:
        return _weighted_auc(scores, positive, shares(weight, len(scores)))
    from scipy.stats import rankdata  # takes half a second to import

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
