"""The metrics by their names, which refuse what they would make no sense of."""

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hepprune.errors import DataError
from hepprune.metrics.score import Floats, Score

Metric = Callable[..., Score]  # of raw outputs (n_jets, n_out), what they should be and, if there are some, weights
METRICS: dict[str, Metric] = {}
SUITS: dict[str, frozenset[str]] = {}  # the kinds of outputs, "classes", "labels" or "values", that each may judge


def metric(function: Metric) -> Metric:
    """Register a metric of classes under its own name, and refuse logits and labels that it would make no sense of."""
    return _register(function, "classes", check)


def of_values(function: Metric) -> Metric:
    """Register a metric of values (n_jets, n_out) against targets of the same shape, all of them finite."""
    return _register(function, "values", finite)


def of_labels(function: Metric) -> Metric:
    """Register a metric of the logits of labels (n_jets, n_labels) against labels of the same shape, all finite."""
    return _register(function, "labels", finite)


def _register(function: Metric, kind: str, sound: Callable[[Floats, Any], tuple[Floats, Any]]) -> Metric:
    @functools.wraps(function)
    def checked(raw: Floats, truth: Any, weight: Floats | None = None) -> Score:
        return function(*sound(raw, truth)) if weight is None else function(*sound(raw, truth), weight)

    METRICS[checked.__name__] = checked
    SUITS[checked.__name__] = frozenset({kind})
    return checked


def finite(values: Floats, targets: Any) -> tuple[Floats, Floats]:
    """Return values and targets as (n_jets, n_out), and refuse those of other shapes or not finite."""
    wanted = np.asarray(targets[0] if isinstance(targets, tuple) else targets, np.float64)
    if not np.size(values):
        raise DataError("a metric needs at least one jet")
    flat, whole = values.reshape(len(values), -1), wanted.reshape(len(wanted), -1)
    if flat.shape != whole.shape:
        raise DataError(f"values of shape {values.shape} are not judged by targets of shape {wanted.shape}")
    if not (np.isfinite(flat).all() and np.isfinite(whole).all()):
        raise DataError("values or targets are not finite; look for NaN and extreme values among the features")
    return flat, whole


def lower_is_better(function: Metric) -> Metric:
    """Note that less of a metric is better."""
    function.lower_is_better = True  # type: ignore[attr-defined]
    return function


def check(logits: Floats, labels: NDArray[np.integer[Any]]) -> tuple[Floats, NDArray[np.integer[Any]]]:
    """Return finite logits (n_jets, n_classes) and, for each jet, one of the classes; refuse anything else."""
    if logits.ndim != 2 or not logits.size:
        raise DataError(f"a metric needs at least one jet and class, not logits of shape {logits.shape}")
    if labels.shape != logits.shape[:1] or not np.issubdtype(labels.dtype, np.integer):
        raise DataError(f"{len(logits)} jets need as many whole labels, not {labels.dtype} of shape {labels.shape}")
    if not np.isfinite(logits).all():
        jet = int(np.argmin(np.isfinite(logits).all(axis=1)))
        raise DataError(f"the logits of jet {jet} are not finite; look for NaN and extreme values among the features")
    if not 0 <= labels.min() <= labels.max() < logits.shape[1]:
        wrong = int(labels.min() if labels.min() < 0 else labels.max())
        raise DataError(f"the label {wrong} is none of the {logits.shape[1]} classes, 0 to {logits.shape[1] - 1}")
    return logits, labels


def name_of(metric: Metric) -> str:
    """Return what a metric is called, with its arguments where it has some."""
    return str(getattr(metric, "name", None) or getattr(metric, "__name__", type(metric).__name__))
