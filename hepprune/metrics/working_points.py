"""Metrics at a working point: rejection at an efficiency, efficiency at a background or at a rate of the trigger."""

import math
from typing import Any

import numpy as np

from hepprune.errors import DataError
from hepprune.metrics import arguments
from hepprune.metrics.arguments import Of, argument
from hepprune.metrics.discriminants import discriminate
from hepprune.metrics.names import Parametrised, parametrised
from hepprune.metrics.score import Floats, Score, shares, transformed
from hepprune.metrics.thresholds import Booleans, check, effective, others_where

ORBIT_KHZ = 11.246  # how often a bunch passes a point of the LHC
LEAST = 10  # background jets that have to pass a cut, for an error of a third


def rejection(efficiency: float, scores: Floats, signal: Booleans, weight: Floats | None = None) -> Score:
    """Score the background rejection, 1 / the fraction that passes, where a fraction of the signal passes.

    Raises:
        DataError: fewer than ten background jets pass.
    """
    check(scores, signal)
    passing, passed = others_where(efficiency, scores, signal, weight)
    _enough(passed, ~signal, weight, f"an efficiency of {efficiency:g}")
    return transformed(passing, 1 / passing.value, -1 / passing.value**2)


def efficiency_at_background(fraction: float, scores: Floats, signal: Booleans, weight: Floats | None = None) -> Score:
    """Score the fraction of signal that passes where a fraction of the background passes.

    Raises:
        DataError: fewer than ten background jets pass.
    """
    check(scores, signal)
    found, passed = others_where(fraction, scores, ~signal, weight)
    _enough(passed, ~signal, weight, f"a background efficiency of {fraction:g}")
    return found


def efficiency_at_rate(
    rate_khz: float,
    scores: Floats,
    signal: Booleans,
    weight: Floats | None = None,
    *,
    n_bunches: int,
    fired: Booleans | None = None,
) -> Score:
    """Score the fraction of signal that passes where minimum bias, the background, passes at a rate.

    With `fired` (n_jets,), the events that a menu takes already, it is the pure rate: of the others alone.

    Raises:
        DataError: fewer than ten background events pass, or the rate is more than there are.
    """
    check(scores, signal)
    fraction = rate_khz / (ORBIT_KHZ * n_bunches)
    known = np.zeros(len(scores), np.bool_) if fired is None else fired & ~signal
    background = shares(weight, len(scores))
    left = float(np.average(~known[~signal], weights=background[~signal]))
    if fraction >= left:
        most = ORBIT_KHZ * n_bunches * left
        raise DataError(f"a rate of {rate_khz:g} kHz is all there is: {n_bunches} bunches give {most:g} kHz in all")
    found, passed = others_where(fraction, np.where(known, -np.inf, scores), ~signal, weight)
    _enough(passed, ~signal, weight, f"a rate of {rate_khz:g} kHz")
    return found


def _enough(passed: Floats, background: Booleans, weight: Floats | None, point: str) -> None:
    """Refuse a cut that too few background jets pass, weighted ones by what they are worth."""
    n_jets = int(np.count_nonzero(background))
    share = shares(weight, len(passed))
    n_passing = effective(passed * background, share)
    if n_passing < LEAST - 1e-9:
        wanted = math.ceil(LEAST * n_jets / max(n_passing, 1) - 1e-6)
        more = f"about {wanted:,}" if n_passing >= 1 else f"over {LEAST * n_jets:,}"
        raise DataError(
            f"at {point} only {n_passing:.3g} of {n_jets:,} background jets pass, of which an error needs {LEAST}; "
            f"{more} background jets are needed"
        )


@parametrised("rejection(0.5)", "classes", "labels", "values")
class Rejection(Parametrised):
    """Background rejection where a fraction of the signal passes."""

    efficiency: float = argument(arguments.fraction)
    of: Of | None = argument(arguments.of, default=None)

    def __call__(self, raw: Floats, truth: Any, weight: Floats | None = None) -> Score:
        """Return 1 / the fraction of background that passes."""
        return discriminate(raw, truth, self.of, weight).score(lambda *jets: rejection(self.efficiency, *jets))


@parametrised("efficiency_at_background(1 %)", "classes", "labels", "values")
class EfficiencyAtBackground(Parametrised):
    """Signal efficiency where a fraction of the background passes."""

    background: float = argument(arguments.fraction)
    of: Of | None = argument(arguments.of, default=None)

    def __call__(self, raw: Floats, truth: Any, weight: Floats | None = None) -> Score:
        """Return the fraction of signal that passes."""
        return discriminate(raw, truth, self.of, weight).score(
            lambda *jets: efficiency_at_background(self.background, *jets)
        )


@parametrised("efficiency_at_rate(5 kHz, n_bunches=2760)", "classes", "labels", "values")
class EfficiencyAtRate(Parametrised):
    """Signal efficiency where minimum bias, the background, passes at a rate."""

    rate_khz: float = argument(arguments.rate)
    of: Of | None = argument(arguments.of, default=None)
    n_bunches: int = argument(arguments.whole, kw_only=True)

    def __call__(self, raw: Floats, truth: Any, weight: Floats | None = None) -> Score:
        """Return the fraction of signal that passes."""
        discriminant = discriminate(raw, truth, self.of, weight)
        return discriminant.score(lambda *jets: efficiency_at_rate(self.rate_khz, *jets, n_bunches=self.n_bunches))
