"""Scores as results keep and show them: by metric, a value with its error, the primary one first."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

T = TypeVar("T")

_HITS = ("accuracy", "label_accuracy")  # fractions of jets, whose differences are given in points
_AROUND_ONE = (*_HITS, "auc", "label_auc", "cross_entropy", "label_cross_entropy")


@dataclass(frozen=True)
class Stated:
    """A value with its statistical error (one standard deviation), None where nothing tells it."""

    value: float
    error: float | None

    def __format__(self, form: str) -> str:
        """Return "value ± error", both in the form of a number; the error has no sign."""
        text = "" if self.error is None else f" ± {self.error:{form.lstrip('+')}}"
        return f"{self.value:{form}}{text}"

    def times(self, factor: float) -> "Stated":
        """Return both multiplied, as in other units."""
        return Stated(factor * self.value, None if self.error is None else abs(factor) * self.error)


@dataclass(frozen=True)
class Difference(Stated):
    """How much one network's metric differs from another's on the same jets, with the paired error."""

    error: float

    @property
    def significant(self) -> bool:
        """Whether the difference exceeds its error."""
        return abs(self.value) > self.error


def led(scores: Mapping[str, T], name: str) -> dict[str, T]:
    """Return scores of which that of a name, if it is among them, comes first."""
    return {name: scores[name], **scores} if name in scores else dict(scores)


def primary(scores: Mapping[str, T]) -> T:
    """Return what is said of the primary metric, which comes first."""
    return next(iter(scores.values()))


def mean(values: Sequence[float]) -> Stated:
    """Return the mean with the error that the spread gives it; a single value tells none."""
    error = float(np.std(values, ddof=1) / np.sqrt(len(values))) if len(values) > 1 else None
    return Stated(float(np.mean(values)), error)


def means(scores: Sequence[Mapping[str, Stated]]) -> dict[str, Stated]:
    """Return the mean of every metric over networks, with the errors that their spread gives."""
    return {name: mean([each[name].value for each in scores]) for name in scores[0]}


def label(name: str) -> str:
    """Return a metric's name as tables and plots show it: "AUC", "mean squared error", "label accuracy"."""
    return name.replace("_", " ").replace("auc", "AUC")


def is_fraction(name: str) -> bool:
    """Return whether a metric is an accuracy or AUC, between 0 and 1."""
    return _own(name) in {*_HITS, "auc", "label_auc"}


def scale(name: str) -> float:
    """Return what a difference is multiplied by where it is shown: 100 where it is given in points."""
    return 100.0 if _own(name) in _HITS else 1.0


def form(name: str, *, sign: bool = False) -> str:
    """Return the form of a metric's numbers, with a sign if asked."""
    return ("+" if sign else "") + (".4f" if _own(name) in _AROUND_ONE else ".4g")


def headline(scores: Mapping[str, Stated]) -> str:
    """Return the primary metric as "accuracy 0.6564 ± 0.0030"."""
    name, value = next(iter(scores.items()))
    return f"{label(name)} {value:{form(name)}}"


def change(name: str, difference: Stated) -> str:
    """Return a difference as "+0.47 ± 0.15 points of accuracy" or "AUC +0.0050 ± 0.0005"."""
    if scale(name) == 1:
        return f"{label(name)} {difference:{form(name, sign=True)}}"
    return f"{difference.times(scale(name)):+.2f} points of {label(name)}"


def amount(name: str, value: float) -> str:
    """Return how much of a metric may be lost: "1.00 points" or "0.0050"."""
    return f"{scale(name) * value:.2f} points" if scale(name) != 1 else f"{value:{form(name)}}"


def _own(name: str) -> str:
    """Return the metric's own name, without that of its output and its arguments."""
    return name.partition("(")[0].rpartition(".")[2]
