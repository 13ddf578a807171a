"""What tells signal from background: one score for each jet, out of the raw outputs of any task, and its AUC."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_softmax, logsumexp

from hepprune.errors import DataError
from hepprune.metrics import arguments
from hepprune.metrics.arguments import Of, Sides, argument
from hepprune.metrics.names import Parametrised, parametrised
from hepprune.metrics.registry import check, finite, metric, of_labels
from hepprune.metrics.score import Floats, Score, among, average, shares


@dataclass(frozen=True)
class Discriminant:
    """A score for each of the jets that are `used` (n_jets,): signal above, background below."""

    scores: Floats
    signal: NDArray[np.bool_]
    weight: Floats
    used: NDArray[np.bool_]

    def score(self, metric: Callable[[Floats, NDArray[np.bool_], Floats], Score]) -> Score:
        """Return a metric of scores, signal and weights, as one of all jets."""
        return among(metric(self.scores, self.signal, self.weight), self.used)


def mse(values: Floats, targets: Floats) -> Floats:
    """Return the mean squared residual of each jet, (n_jets,), which is large where an autoencoder is at a loss."""
    return np.asarray(((values - targets) ** 2).mean(axis=1))


def mu2(latent: Floats) -> Floats:
    """Return the sum of mu^2 over a latent layer, (n_jets,), which needs no decoder (AXOL1TL, arXiv:2411.19506)."""
    return np.asarray((latent**2).sum(axis=1))


def discriminate(raw: Floats, truth: Any, of: Of | None, weight: Floats | None = None) -> Discriminant:
    """Return the score of each jet and whether it is signal.

    `truth` holds classes (n_jets,); labels (n_jets, n_labels); or, for values, targets and whether a jet is signal.
    Of classes, all others are the background of `of`, where it names none, and the score is the logarithm of
    p(signal) / p(background); of two classes the second is the signal.

    Raises:
        DataError: the signal is not named or not known, or one of the two kinds is missing.
    """
    used: NDArray[np.bool_] = np.ones(len(raw), np.bool_)
    if isinstance(truth, tuple):
        scores, signal = _of_values(raw, truth, of)
    elif truth.ndim == 1:
        scores, signal, used = _of_classes(raw, truth, of)
    else:
        values, targets = finite(raw, truth)
        if not ((targets >= 0) & (targets <= 1)).all():
            raise DataError("labels lie between 0 and 1; beside numbers to be met, say which jets are signal")
        column = _column(of, values.shape[1], "labels")
        scores, signal = values[:, column], targets[:, column] > 0.5
    own = shares(weight, len(used))[used]
    found = Discriminant(scores[used], signal[used], own, used)
    heavy = found.signal[own > 0]
    if not 0 < np.count_nonzero(heavy) < len(heavy):
        raise DataError(f"what tells signal from background needs jets of both, and has only {len(heavy)} of one")
    return found


def _of_classes(
    logits: Floats, labels: NDArray[np.integer[Any]], of: Of | None
) -> tuple[Floats, NDArray[np.bool_], NDArray[np.bool_]]:
    check(logits, labels)
    sides = _sides(of, logits.shape[1])
    others = sides.background or tuple(c for c in range(logits.shape[1]) if c not in sides.signal)
    if not others:
        raise DataError("every class is signal, and no background is left to tell it from")
    above, below = (logsumexp(logits[:, list(side)], axis=1) for side in (sides.signal, others))
    used = np.isin(labels, [*sides.signal, *others])
    return np.round(above - below, 10), np.isin(labels, sides.signal), used  # ties survive the order of sums


def _sides(of: Of | None, n_classes: int) -> Sides:
    if of is None and n_classes == 2:
        return Sides((1,), (0,))
    if not isinstance(of, Sides):
        raise DataError(f"one of {n_classes} classes has to be named as signal: 4, or 4/0 against one background")
    for each in (*of.signal, *(of.background or ())):
        if each >= n_classes:
            raise DataError(f"the class {each} is none of the {n_classes} classes, 0 to {n_classes - 1}")
    return of


def _of_values(raw: Floats, truth: tuple[Any, ...], of: Of | None) -> tuple[Floats, NDArray[np.bool_]]:
    if len(truth) != 2 or np.shape(truth[1]) != (len(raw),):
        raise DataError("values are judged by their targets and, for each jet, whether it is signal")
    values, targets = finite(raw, truth)
    if of in {"mse", "mu2"}:
        found = mse(values, targets) if of == "mse" else mu2(values)
    else:
        found = values[:, _column(of, values.shape[1], "outputs; mse or mu2 makes one score")]
    return found, np.asarray(truth[1]) > 0.5


def _column(of: Of | None, n_columns: int, what: str) -> int:
    if of is None and n_columns == 1:
        return 0
    if not isinstance(of, Sides) or of.background is not None or len(of.signal) != 1 or of.signal[0] >= n_columns:
        raise DataError(f"one has to be named by its number, 0 to {n_columns - 1}, of {n_columns} {what}")
    return of.signal[0]


@metric
def auc(logits: Floats, labels: NDArray[np.integer[Any]], weight: Floats | None = None) -> Score:
    """Score the one-vs-rest area under the ROC curve, averaged over the classes present, on softmax probabilities."""
    probabilities = np.round(log_softmax(logits, axis=1), 10)  # ties of fixed-point logits survive the order of sums
    of_class = labels[:, None] == np.arange(logits.shape[1])
    return _average_auc(probabilities, of_class, weight, lacking="an AUC needs jets of at least two classes")


@of_labels
def label_auc(values: Floats, targets: Floats, weight: Floats | None = None) -> Score:
    """Score the area under the ROC curve of each label's logit, averaged over those that differ between jets."""
    return _average_auc(values, targets > 0.5, weight, lacking="an AUC needs jets with a label and jets without it")


def _average_auc(scores: Floats, positive: NDArray[np.bool_], weight: Floats | None, *, lacking: str) -> Score:
    """Score the area under the ROC curve of each column (n_jets, n_columns), averaged over those of both kinds."""
    counted = positive if weight is None else positive[weight > 0]
    present = np.flatnonzero(counted.any(axis=0) & ~counted.all(axis=0))
    if not len(present):
        raise DataError(lacking)
    return average([binary_auc(scores[:, c], positive[:, c], weight) for c in present])


@parametrised("auc(4/0)", "classes", "labels", "values")
class Auc(Parametrised):
    """The area under the ROC curve of some classes against all others, or against a background alone."""

    of: Of | None = argument(arguments.of, default=None)

    def __call__(self, raw: Floats, truth: Any, weight: Floats | None = None) -> Score:
        """Return the area."""
        return discriminate(raw, truth, self.of, weight).score(binary_auc)


def binary_auc(scores: Floats, positive: NDArray[np.bool_], weight: Floats | None = None) -> Score:
    """Score the probability that a jet of the class, drawn by weight, scores above one of the others; ties count half.

    A jet pulls by its weight times the weighted fraction of the other class on its right side, less the AUC.
    """
    share = shares(weight, len(scores))
    beaten, order = np.empty(len(scores)), np.argsort(scores, kind="stable")
    for mine in (positive, ~positive):
        ours, others = order[mine[order]], order[~mine[order]]
        below = np.concatenate([[0.0], np.cumsum(share[others])])
        # sought in their order, which takes half the time
        left, right = (np.searchsorted(scores[others], scores[ours], side) for side in ("left", "right"))
        beaten[ours] = (below[left] + below[right]) / (2 * below[-1])
    beaten[~positive] = 1 - beaten[~positive]
    value = float(np.average(beaten[positive], weights=share[positive]))
    mass = np.where(positive, share[positive].sum(), share[~positive].sum()) / len(scores)
    return Score(value, share * (beaten - value) / mass)
