"""Metrics of numbers that are to be met."""

import numpy as np

from hepprune.errors import DataError
from hepprune.metrics.registry import lower_is_better, of_values
from hepprune.metrics.score import Floats, Score, average, mean, shares

_CONSTANT = 1e-12  # of the largest value: below it a spread is rounding


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
    return mean((ratio(values - targets, targets) ** 2).mean(axis=1), weight)


def ratio(values: Floats, targets: Floats) -> Floats:
    """Return values by their targets, none of which is zero."""
    if not targets.all():
        raise DataError("a target is zero, and nothing can be relative to it")
    return values / targets


@of_values
def correlation(values: Floats, targets: Floats, weight: Floats | None = None) -> Score:
    """Score Pearson's correlation of values and targets, averaged over outputs; 0 where values are all the same.

    Raises:
        DataError: targets of an output are all the same.
    """
    return average([_correlation(*pair, weight) for pair in zip(values.T, targets.T, strict=True)])


def _correlation(values: Floats, targets: Floats, weight: Floats | None) -> Score:
    share = shares(weight, len(values))
    x, y = _standardised(values, share), _standardised(targets, share)
    if y is None:
        raise DataError("the targets of an output are all the same, and nothing correlates with them")
    if x is None:
        return Score(0.0, np.zeros(len(values)))  # whatever the jets are
    found = mean(x * y, weight).value
    return Score(found, share * (x * y - found * (x**2 + y**2) / 2))  # the influence of Devlin et al. 1975


def _standardised(values: Floats, share: Floats) -> Floats | None:
    """Return values with mean zero and width one, None where they are all the same."""
    centred = values - np.average(values, weights=share)
    width = float(np.average(centred**2, weights=share)) ** 0.5
    if width <= _CONSTANT * float(np.abs(values).max()):
        return None
    return np.asarray(centred / width)


def quantile(values: Floats, at: float, share: Floats) -> Score:
    """Score the value below which a fraction of jets lies, interpolated as `numpy.quantile` does.

    A jet pulls by which side it is on, over the density there.

    Raises:
        DataError: there are no jets.
    """
    if not len(values):
        raise DataError("a metric needs at least one jet")
    position, ordered = _positions(values, share)
    value = float(np.interp(at, position, ordered))
    below = np.average(values <= value, weights=share)
    pull: Floats = share * (below - (values <= value)) / density(position, ordered, at, share)
    return Score(value, pull)


def fraction_above(values: Floats, limit: Score, share: Floats) -> Score:
    """Score the fraction of jets above a limit that itself depends on them."""
    above = float(np.average(values > limit.value, weights=share))
    position, ordered = _positions(values, share)
    dense = density(position, ordered, 1 - above, share)
    moved = dense * limit.influence if np.isfinite(dense) else 0.0
    return Score(above, share * ((values > limit.value) - above) - moved)


def density(position: Floats, ordered: Floats, at: float, share: Floats) -> float:
    """Return the density at a quantile, over twice the range within which it fluctuates; infinite if all are equal.

    Where that range holds equal values alone, it is widened until it does not.
    """
    n_jets = float(share.sum()) ** 2 / float((share**2).sum())
    reach = 2 * np.sqrt(max(at * (1 - at), 1 / n_jets) / n_jets)
    while True:
        low, high = max(at - reach, 0.0), min(at + reach, 1.0)
        width = float(np.interp(high, position, ordered) - np.interp(low, position, ordered))
        if width > 0:
            return float((high - low) / width)
        if reach >= 1:
            return np.inf
        reach *= 2


def _positions(values: Floats, share: Floats) -> tuple[Floats, Floats]:
    """Return the fraction of jets below each value, from 0 to 1, and the values in their order."""
    order = np.argsort(values, kind="stable")
    weights = share[order]
    middle = np.cumsum(weights) - weights / 2
    span = middle[-1] - middle[0]
    return ((middle - middle[0]) / span if span > 0 else np.zeros(len(values))), values[order]
