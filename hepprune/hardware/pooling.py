"""Partial pooling: what groups of observations share, believed as far as their number and their agreement go.

A value is the sum of one normal effect of each group that it belongs to, its design among them, and of noise. The
width of the effects at each level is learned with them, by expectation maximisation under a prior that counts as
`PRIOR_WEIGHT` more groups: empirical Bayes (Efron and Morris, JASA 70 (1975) 311; Gelman and Hill, Data Analysis Using
Regression and Multilevel Models, chapter 12). A group seen once takes little for itself and leaves most to those
above it, one seen often goes its own way, and one never seen has the mean and the width of its level.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
GroupKey = tuple[str, ...]  # its level first

PRIOR_WEIGHT = 1.0  # groups that each level's prior width counts as
_ITERATIONS, _TOLERANCE = 200, 1e-4


@dataclass(frozen=True)
class Observation:
    """A value, the groups it belongs to with the share of each, and the name of its noise."""

    value: float
    shares: Mapping[GroupKey, float]
    noise: str


@dataclass(frozen=True)
class PooledEffects:
    """The effects of all groups, with their covariance, and the width of every level and noise."""

    places: Mapping[GroupKey, int]
    mean: Floats
    covariance: Floats
    widths: Mapping[str, float]

    def predict(self, shares: Mapping[GroupKey, float]) -> tuple[float, float]:
        """Return mean and standard deviation of a sum of effects; a group never seen has its level's width."""
        known = np.zeros(len(self.mean))
        variance = 0.0
        for group, share in shares.items():
            if group in self.places:
                known[self.places[group]] = share
            else:
                variance += (share * self.widths[group[0]]) ** 2
        return float(known @ self.mean), float(np.sqrt(variance + known @ self.covariance @ known))


def learn(observations: Sequence[Observation], widths: Mapping[str, float], *, fixed: frozenset[str]) -> PooledEffects:
    """Return what observations teach; `widths` are the priors' of each level and noise, `fixed` those not learned."""
    groups = list(dict.fromkeys(group for each in observations for group in each.shares))
    places = {group: place for place, group in enumerate(groups)}
    design = np.zeros((len(observations), len(groups)))
    for row, each in enumerate(observations):
        for group, share in each.shares.items():
            design[row, places[group]] = share
    values = np.array([each.value for each in observations])
    levels, noises = np.array([group[0] for group in groups]), np.array([each.noise for each in observations])
    found = dict(widths)
    mean, covariance = _posterior(design, values, _each(found, levels), _each(found, noises))
    for _ in range(_ITERATIONS):
        before = dict(found)
        effects, left = mean**2 + np.diag(covariance), (values - design @ mean) ** 2
        left += np.einsum("ij,jk,ik->i", design, covariance, design)
        for name in set(widths) - fixed:
            squares = np.concatenate([effects[levels == name], left[noises == name]])
            total = PRIOR_WEIGHT * widths[name] ** 2 + squares.sum()
            found[name] = float(np.sqrt(total / (PRIOR_WEIGHT + len(squares))))
        mean, covariance = _posterior(design, values, _each(found, levels), _each(found, noises))
        if all(abs(found[name] / before[name] - 1) < _TOLERANCE for name in widths):
            break
    return PooledEffects(places, mean, covariance, found)


def _each(widths: Mapping[str, float], names: NDArray[np.str_]) -> Floats:
    return np.array([widths[name] for name in names])


def _posterior(design: Floats, values: Floats, effect: Floats, noise: Floats) -> tuple[Floats, Floats]:
    """Return mean and covariance of the effects, given the widths of each effect and of each value's noise."""
    weighted = design.T / noise**2
    covariance: Floats = np.asarray(np.linalg.inv(weighted @ design + np.diag(1 / np.square(effect))), dtype=np.float64)
    return covariance @ weighted @ values, covariance
