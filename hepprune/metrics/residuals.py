"""Metrics of residuals, value less target: bias, resolution, tails, and the response value / target."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from hepprune.errors import DataError
from hepprune.metrics import arguments
from hepprune.metrics.arguments import argument
from hepprune.metrics.names import Parametrised, parametrised
from hepprune.metrics.registry import finite
from hepprune.metrics.regression import fraction_above, quantile, ratio
from hepprune.metrics.score import Floats, Score, among, average, mean, shares, transformed

CENTRAL = 0.68  # the interval that a Gaussian has within one standard deviation


def deviation(residuals: Floats, weight: Floats | None = None) -> Score:
    """Score the standard deviation of residuals (n_jets,), by weight where there are some."""
    centre = mean(residuals, weight).value
    variance = mean((residuals - centre) ** 2, weight)
    width = variance.value**0.5
    return transformed(variance, width, 0.5 / width if width else 0.0)


def interval(residuals: Floats, weight: Floats | None = None, *, fraction: float = CENTRAL) -> Score:
    """Score half the width of the central interval that holds a fraction of the residuals (n_jets,)."""
    share = shares(weight, len(residuals))
    low, high = (quantile(residuals, (1 + side * fraction) / 2, share) for side in (-1, 1))
    return Score((high.value - low.value) / 2, (high.influence - low.influence) / 2)


def tails(residuals: Floats, weight: Floats | None = None, *, widths: float) -> Score:
    """Score the fraction of residuals (n_jets,) further from their median than so many half-widths of 68 %."""
    share = shares(weight, len(residuals))
    middle, width = quantile(residuals, 0.5, share), interval(residuals, weight)
    sides = []
    for side in (1, -1):
        limit = Score(side * middle.value + widths * width.value, side * middle.influence + widths * width.influence)
        sides.append(fraction_above(side * residuals, limit, share))
    return Score(sum(each.value for each in sides), sides[0].influence + sides[1].influence)


def _residuals(raw: Floats, truth: Any, *, relative: bool) -> Floats:
    values, targets = finite(raw, truth)
    return ratio(values - targets, targets) if relative else values - targets


def _over_outputs(of_one: Callable[..., Score], columns: Floats, weight: Floats | None, **arguments: float) -> Score:
    return average([of_one(column, weight, **arguments) for column in columns.T])


@dataclass(frozen=True)
class _Sideless(Parametrised):
    """A metric whose best value lies in between."""

    @property
    def lower_is_better(self) -> bool:  # type: ignore[override]
        """Refuse to take a side."""
        raise DataError(f"neither more nor less of {self!r} is better; absolute_bias and resolution have a better side")


@parametrised("bias(relative)", "values")
class Bias(_Sideless):
    """The mean residual over outputs, in units of the target or relative to it."""

    relative: bool = argument(arguments.yes, default=False)

    def __call__(self, raw: Floats, truth: Any, weight: Floats | None = None) -> Score:
        """Return it, with its sign."""
        return mean(_residuals(raw, truth, relative=self.relative).mean(axis=1), weight)


@parametrised("absolute_bias(relative)", "values")
class AbsoluteBias(Parametrised):
    """The size of the mean residual of each output, averaged over outputs."""

    relative: bool = argument(arguments.yes, default=False)
    lower_is_better = True

    def __call__(self, raw: Floats, truth: Any, weight: Floats | None = None) -> Score:
        """Return it, in units of the target or relative to it."""
        means = [mean(column, weight) for column in _residuals(raw, truth, relative=self.relative).T]
        return average([transformed(each, abs(each.value), float(np.sign(each.value))) for each in means])


@parametrised("resolution(68 %, relative)", "values")
class Resolution(Parametrised):
    """The standard deviation of residuals, or half the width of their central interval, averaged over outputs."""

    central: float | None = argument(arguments.fraction, default=None)
    relative: bool = argument(arguments.yes, default=False)
    lower_is_better = True

    def __call__(self, raw: Floats, truth: Any, weight: Floats | None = None) -> Score:
        """Return it, in units of the target or relative to it."""
        columns = _residuals(raw, truth, relative=self.relative)
        if self.central is None:
            return _over_outputs(deviation, columns, weight)
        return _over_outputs(interval, columns, weight, fraction=self.central)


@parametrised("tails(3)", "values")
class Tails(Parametrised):
    """The fraction of residuals beyond so many half-widths of 68 % from their median, averaged over outputs."""

    widths: float = argument(arguments.positive)
    relative: bool = argument(arguments.yes, default=False)
    lower_is_better = True

    def __call__(self, raw: Floats, truth: Any, weight: Floats | None = None) -> Score:
        """Return it."""
        return _over_outputs(tails, _residuals(raw, truth, relative=self.relative), weight, widths=self.widths)


@parametrised("response(20, 40)", "values")
class Response(_Sideless):
    """The mean of value / target of the only output, where the target lies from `low` to below `high`."""

    low: float = argument(arguments.number, default=-np.inf)
    high: float = argument(arguments.number, default=np.inf)

    def __call__(self, raw: Floats, truth: Any, weight: Floats | None = None) -> Score:
        """Return it.

        Raises:
            DataError: there are several outputs, or no targets in the range.
        """
        values, targets = finite(raw, truth)
        if values.shape[1] != 1:
            raise DataError(f"a response is of one output, not of {values.shape[1]}")
        used = (targets[:, 0] >= self.low) & (targets[:, 0] < self.high)
        if not used.any():
            raise DataError(f"no jet has a target from {self.low:g} to {self.high:g}")
        own = shares(weight, len(used))[used]
        return among(mean(ratio(values[used, 0], targets[used, 0]), own), used)
