"""Curves: rate against threshold, turn-on, and response, each point with its error and its pulls."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from scipy.special import ndtr

from hepprune.errors import DataError
from hepprune.metrics.regression import quantile
from hepprune.metrics.residuals import deviation, interval
from hepprune.metrics.score import Floats, Score, among, mean, shares, transformed
from hepprune.metrics.thresholds import Booleans, effective
from hepprune.metrics.working_points import ORBIT_KHZ

ONE_SIGMA = 2 * float(ndtr(1)) - 1  # the confidence of one standard deviation, 68.3 %
_NOTHING = Score(float("nan"), np.zeros(0))  # of a bin without jets


@dataclass(frozen=True)
class Curve:
    """Scores at each x (thresholds, or the edges of bins, one more than scores), and the ends of their intervals.

    A bin without jets is NaN. `metrics.difference` compares two curves' scores point by point.
    """

    x: Floats
    scores: tuple[Score, ...]
    low: Floats
    high: Floats

    @property
    def values(self) -> Floats:
        """The value at each point."""
        return np.array([score.value for score in self.scores])


def clopper_pearson(passed: Floats, total: Floats, confidence: float = ONE_SIGMA) -> tuple[Floats, Floats]:
    """Return the ends of the Clopper-Pearson interval of efficiencies (1934), 0 to 1 where there are no jets.

    Numbers of weighted jets need not be whole.
    """
    from scipy.stats import beta  # takes half a second to import

    tail, failed = (1 - confidence) / 2, np.asarray(total) - passed
    low = np.where(passed > 0, beta.ppf(tail, np.maximum(passed, 1e-300), failed + 1), 0.0)
    high = np.where(failed > 0, beta.ppf(1 - tail, np.asarray(passed) + 1, np.maximum(failed, 1e-300)), 1.0)
    return low, high


def rate(
    scores: Floats, thresholds: Floats, *, n_bunches: int, weight: Floats | None = None, fired: Booleans | None = None
) -> Curve:
    """Return the rate in kHz of minimum bias above each threshold, with Clopper-Pearson intervals.

    With `fired` (n_jets,), what a menu takes already, it is the pure rate. Scores are (n_jets,).

    Raises:
        DataError: a score is not a number, there are no bunches, or there are no jets.
    """
    if np.isnan(scores).any() or n_bunches < 1:
        raise DataError("a rate needs a score for each jet, a number, and bunches that collide")
    most = ORBIT_KHZ * n_bunches
    known = np.zeros(len(scores), np.bool_) if fired is None else fired
    points = [_efficiency((scores > each) & ~known, weight) for each in thresholds]
    found = tuple(transformed(score, most * score.value, most) for score, _, _ in points)
    low, high = (most * np.array([point[side] for point in points]) for side in (1, 2))
    return Curve(np.asarray(thresholds, np.float64), found, low, high)


def turn_on(truth: Floats, passed: Booleans, edges: Floats, weight: Floats | None = None) -> Curve:
    """Return the efficiency of a cut in bins of the truth (n_jets,), with Clopper-Pearson intervals.

    Weighted jets count by what they are worth (Kish 1965).

    Raises:
        DataError: edges do not rise, or jets and truths differ in number.
    """
    points = []
    for used, own in _bins(truth, edges, weight, len(passed)):
        score, low, high = _efficiency(passed[used], own) if used.any() else (_NOTHING, 0.0, 1.0)
        points.append((_of_all(score, used), low, high))
    scores, lows, highs = zip(*points, strict=True)
    return Curve(np.asarray(edges, np.float64), scores, np.array(lows), np.array(highs))


def response(
    values: Floats,
    truth: Floats,
    edges: Floats,
    *,
    what: Literal["mean", "median", "std", "68 %"] = "median",
    weight: Floats | None = None,
) -> Curve:
    """Return the middle or the width of the response value / truth in bins of the truth; all are (n_jets,).

    Raises:
        DataError: edges do not rise, a truth is zero, or jets and truths differ in number.
    """
    scores = []
    for used, own in _bins(truth, edges, weight, len(values)):
        if not np.asarray(truth)[used].all():
            raise DataError("a truth is zero, and nothing can be relative to it")
        scores.append(_of_all(_summary(values[used] / truth[used], own, what) if used.any() else _NOTHING, used))
    middle, error = np.array([s.value for s in scores]), np.array([s.error for s in scores])
    return Curve(np.asarray(edges, np.float64), tuple(scores), middle - error, middle + error)


def _summary(ratio: Floats, weight: Floats, what: str) -> Score:
    if what == "median":
        return quantile(ratio, 0.5, shares(weight, len(ratio)))
    return {"mean": mean, "std": deviation, "68 %": interval}[what](ratio, weight)


def _efficiency(passed: Booleans, weight: Floats | None) -> tuple[Score, float, float]:
    score = mean(passed, weight)
    worth = effective(np.ones(len(passed)), shares(weight, len(passed)))
    low, high = clopper_pearson(np.array([score.value * worth]), np.array([worth]))
    return score, float(low[0]), float(high[0])


def _bins(truth: Any, edges: Any, weight: Floats | None, n_jets: int) -> Iterator[tuple[Booleans, Floats]]:
    """Yield which jets lie in each bin, its upper edge excluded, and their weights."""
    if len(edges) < 2 or not (np.diff(edges) > 0).all():
        raise DataError("bins need two edges or more, each above the one before")
    if np.shape(truth) != (n_jets,):
        raise DataError(f"{n_jets} jets need as many truths, not {np.shape(truth)}")
    share = shares(weight, n_jets)
    place = np.searchsorted(edges, truth, side="right") - 1
    for index in range(len(edges) - 1):
        used = (place == index) & (share > 0)
        yield used, share[used]


def _of_all(score: Score, used: Booleans) -> Score:
    return among(score, used) if len(score.influence) else Score(score.value, np.zeros(len(used)))
