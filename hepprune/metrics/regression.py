"""Metrics of numbers that are to be met."""

import numpy as np

from hepprune.errors import DataError
from hepprune.metrics.registry import lower_is_better, of_values
from hepprune.metrics.score import Floats, Score, mean


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
    if not targets.all():
        raise DataError("a target is zero, and nothing can be relative to it")
    return mean((((values - targets) / targets) ** 2).mean(axis=1), weight)
