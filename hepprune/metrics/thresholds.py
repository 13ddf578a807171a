"""ROC curves, and cuts on a score that let a given fraction pass."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hepprune.errors import DataError
from hepprune.metrics.score import Floats, Score, shares

Booleans = NDArray[np.bool_]


def roc(scores: Floats, positive: Booleans) -> tuple[Floats, Floats]:
    """Return efficiency and mistag rate at every distinct threshold, from the tightest to the loosest.

    Scores and `positive` are (n_jets,); jets of equal score pass together.

    Raises:
        DataError: one of the two kinds of jets is missing, or a score is not a number.
    """
    check(scores, positive)
    order = np.argsort(-scores, kind="stable")
    last = np.append(np.flatnonzero(np.diff(scores[order])), len(scores) - 1)  # the last jet of each threshold
    passed = np.cumsum(positive[order])[last]
    return passed / passed[-1], (last + 1 - passed) / (len(scores) - passed[-1])


def check(scores: Floats, positive: Booleans) -> None:
    """Refuse scores that are not numbers, and jets of one kind only."""
    if scores.shape != positive.shape or np.isnan(scores).any():
        raise DataError("a ROC curve needs one score for each jet, a number")
    if not 0 < np.count_nonzero(positive) < len(positive):
        raise DataError("a ROC curve needs jets of the class and jets of other classes")


@dataclass(frozen=True)
class Passing:
    """The fractions of fixed and of other jets that pass ever looser cuts, from none to all, (n_cuts + 1,).

    `first` (n_jets,) is the first cut that a jet passes. Between two cuts, jets pass in part: linear interpolation.
    """

    fixed: Floats
    other: Floats
    first: NDArray[np.int64]

    @classmethod
    def of(cls, scores: Floats, fixed: Booleans, share: Floats) -> "Passing":
        """Return those of scores (n_jets,), a jet counting by its share; both kinds have some."""
        order = np.argsort(-scores, kind="stable")
        starts = np.append(True, scores[order][1:] != scores[order][:-1])
        last = np.append(np.flatnonzero(starts)[1:] - 1, len(scores) - 1)
        first = np.empty(len(scores), np.int64)
        first[order] = np.cumsum(starts)
        sums = [np.append(0.0, np.cumsum(np.where(kind, share, 0.0)[order])[last]) for kind in (fixed, ~fixed)]
        return cls(sums[0] / sums[0][-1], sums[1] / sums[1][-1], first)

    def _place(self, fraction: float) -> tuple[int, float]:
        """Return the loosest cut that no more than a fraction of the fixed passes, and how far the next is opened."""
        if fraction >= 1:
            return len(self.fixed) - 2, 1.0
        cut = min(int(np.searchsorted(self.fixed, fraction, side="right")) - 1, len(self.fixed) - 2)
        return cut, float((fraction - self.fixed[cut]) / (self.fixed[cut + 1] - self.fixed[cut]))

    def passed(self, fraction: float) -> Floats:
        """Return how much of each jet passes where that fraction of the fixed does, (n_jets,) between 0 and 1."""
        cut, part = self._place(fraction)
        return np.where(self.first <= cut, 1.0, np.where(self.first == cut + 1, part, 0.0))

    def others(self, fraction: float) -> float:
        """Return the fraction of the others that passes where that fraction of the fixed does."""
        cut, part = self._place(fraction)
        return float(self.other[cut] + part * (self.other[cut + 1] - self.other[cut]))

    def slope(self, fraction: float, n_passing: float) -> float:
        """Return the derivative of `others`, over three times the range within which the fraction fluctuates.

        In the logarithm of the fraction that range is sqrt((1 - fraction) / n_passing), binomial. Errors of repeated
        experiments come out right with three; less is noisy, more is blurred.
        """
        reach = float(np.exp(3 * np.sqrt((1 - fraction) / n_passing)))
        low, high = np.log(fraction / reach), np.log(min(fraction * reach, 1.0))
        if high <= low:
            return 0.0
        rise = self.others(float(np.exp(high))) - self.others(float(np.exp(low)))
        return float(rise / (high - low) / fraction)


def others_where(fraction: float, scores: Floats, fixed: Booleans, weight: Floats | None) -> tuple[Score, Floats]:
    """Score the fraction of the other jets that pass where a fraction of the fixed does, and return who passes.

    The cut moves with the fixed jets: each pulls by the slope of one fraction against the other.
    """
    share = shares(weight, len(scores))
    passing = Passing.of(scores, fixed, share)
    passed, value = passing.passed(fraction), passing.others(fraction)
    slope = passing.slope(fraction, max(effective(passed * fixed, share), 1.0))
    of_fixed = -slope * (passed - fraction) / np.mean(share * fixed)
    pull = np.where(fixed, of_fixed, (passed - value) / np.mean(share * ~fixed))
    return Score(value, share * pull), passed


def effective(passed: Floats, share: Floats) -> float:
    """Return how many jets of equal weight those that pass are worth (Kish 1965): as many, if all weigh alike."""
    squares = float((share**2 * passed).sum())
    return float((share * passed).sum()) ** 2 / squares if squares else 0.0


def threshold(fraction: float, scores: Floats, weight: Floats | None = None) -> float:
    """Return the score that a fraction of jets exceeds, interpolated between neighbouring scores.

    Raises:
        DataError: there are no jets, a score is no number, or the fraction does not lie between 0 and 1.
    """
    if not len(scores) or np.isnan(scores).any() or not 0 < fraction < 1:
        raise DataError("a threshold needs jets with a score each, and a fraction between 0 and 1")
    share = shares(weight, len(scores))
    distinct, place = np.unique(scores, return_inverse=True)
    above = 1 - np.cumsum(np.bincount(place, share)) / share.sum()  # of those above each distinct score
    return float(np.interp(fraction, above[::-1], distinct[::-1]))
