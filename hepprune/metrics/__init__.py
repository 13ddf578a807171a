"""Metrics: what physics asks of outputs, each with its statistical error and, on the same jets, that of a difference.

A recipe names them, `rejection(0.5)`; `find` reads such a name. `curves` holds what has many points.
"""

from hepprune.metrics.arguments import Conditions, Sides
from hepprune.metrics.classes import CalibrationError, accuracy, cross_entropy, label_accuracy, label_cross_entropy
from hepprune.metrics.curves import Curve, clopper_pearson, rate, response, turn_on
from hepprune.metrics.discriminants import Auc, auc, label_auc, mse, mu2
from hepprune.metrics.names import PARAMETRISED, Parametrised, find, is_lower_better, lost
from hepprune.metrics.own import own, own_content
from hepprune.metrics.registry import METRICS, SUITS, Metric, lower_is_better, metric, name_of, of_values
from hepprune.metrics.regression import (
    correlation,
    mean_absolute_error,
    mean_squared_error,
    mean_squared_relative_error,
)
from hepprune.metrics.residuals import AbsoluteBias, Bias, Resolution, Response, Tails, deviation, interval, tails
from hepprune.metrics.score import Floats, Score, difference, differences, mean, stated
from hepprune.metrics.thresholds import roc, threshold
from hepprune.metrics.working_points import Rejection, efficiency_at_background, efficiency_at_rate, rejection

__all__ = ["METRICS", "PARAMETRISED", "SUITS", "AbsoluteBias", "Auc", "Bias", "CalibrationError"]
__all__ += ["Conditions", "Curve", "Floats", "Metric", "Parametrised"]
__all__ += ["Rejection", "Resolution", "Response", "Score", "Sides", "Tails", "accuracy", "auc", "clopper_pearson"]
__all__ += ["correlation", "cross_entropy", "deviation", "difference", "differences", "efficiency_at_background"]
__all__ += ["efficiency_at_rate", "find", "interval", "is_lower_better", "label_accuracy"]
__all__ += ["label_auc", "label_cross_entropy", "lost", "lower_is_better", "mean", "mean_absolute_error"]
__all__ += ["mean_squared_error", "mean_squared_relative_error", "metric", "mse", "mu2", "name_of", "of_values"]
__all__ += ["own", "own_content", "rate", "rejection", "response", "roc", "stated", "tails", "threshold", "turn_on"]
