"""Quantiles and densities of numbers, each with the pull of every jet on it."""

import numpy as np

from hepprune.metrics.score import Floats, Score


def quantile(values: Floats, at: float, share: Floats) -> Score:
    """Score the value below which a fraction of jets lies, interpolated as `numpy.quantile` does.

    A jet pulls by which side it is on, over the density there.
    """
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
