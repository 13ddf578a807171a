"""A metric's value with its statistical error, and the difference of two on the same jets with its own.

A score holds one influence value per jet: how far that jet pulls the metric from its mean. Its spread gives the error
of the metric, and the spread of two influences' difference gives the error of a paired comparison
(the infinitesimal jackknife, Efron 1981; for the AUC it is the variance of DeLong, DeLong and Clarke-Pearson 1988).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hepprune.errors import DataError
from hepprune.metrics.scores import Difference, Stated

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


def _error(influence: Floats) -> float:
    return float(np.std(influence) / np.sqrt(len(influence)))


def mean(per_jet: NDArray[Any], weight: Floats | None = None) -> Score:
    """Score the mean of a value per jet.

    Raises:
        DataError: there are no jets, or weights that cannot be.
    """
    values = per_jet.astype(np.float64)
    if not len(values):
        raise DataError("a metric needs at least one jet")
    share = shares(weight, len(values))
    average = float((share * values).mean())
    return Score(average, share * (values - average))


def shares(weight: Floats | None, n_jets: int) -> Floats:
    """Return weights with a mean of one; without any, all jets weigh one."""
    if weight is None:
        return np.ones(n_jets)
    if weight.shape != (n_jets,) or not np.isfinite(weight).all() or (weight < 0).any() or not weight.any():
        raise DataError(f"{n_jets} jets need as many finite weights, none negative and not all of them zero")
    return np.asarray(weight / weight.mean())


def average(scores: Sequence[Score]) -> Score:
    """Score the mean of scores on the same jets."""
    return Score(float(np.mean([s.value for s in scores])), np.mean([s.influence for s in scores], axis=0))


def among(score: Score, used: NDArray[np.bool_]) -> Score:
    """Return a score of some of the jets as one of all, the others of which, not `used`, do not pull."""
    influence = np.zeros(len(used))
    influence[used] = score.influence * (len(used) / len(score.influence))
    return Score(score.value, influence)


def transformed(score: Score, value: float, slope: float) -> Score:
    """Return a function's value at a score, which pulls with the slope there (the delta method)."""
    return Score(value, slope * score.influence)
