"""Metrics by what a recipe writes: `accuracy`, `rejection(0.5)`, `efficiency_at_rate(5 kHz, n_bunches=2760)`."""

import re
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import MISSING, dataclass, fields
from typing import Any, ClassVar, TypeVar, dataclass_transform

from hepprune.errors import DataError, unknown
from hepprune.metrics.arguments import Conditions, argument, parse
from hepprune.metrics.own import own, own_is_lower_better
from hepprune.metrics.registry import METRICS, SUITS, Metric
from hepprune.metrics.score import Floats, Score

_NAME = re.compile(r"\s*([A-Za-z_]\w*)\s*(?:\(([^()]*)\)\s*)?")
_LONGEST = 200  # characters of a name


@dataclass(frozen=True)
class Parametrised(ABC):
    """A metric with arguments: a value that computes a score of raw outputs (n_jets, n_out)."""

    suits: ClassVar[frozenset[str]]
    example: ClassVar[str]
    lower_is_better: ClassVar[bool] = False

    @property
    def name(self) -> str:
        """The name with all arguments, as those who keep what they measured under it need."""
        return repr(self)

    @abstractmethod
    def __call__(self, raw: Floats, truth: Any, weight: Floats | None = None) -> Score:
        """Return the score of raw outputs, given what they should be and, if there are some, weights (n_jets,)."""


Made = TypeVar("Made", bound=Parametrised)
PARAMETRISED: dict[str, type[Parametrised]] = {}


@dataclass_transform(frozen_default=True, field_specifiers=(argument,))
def parametrised(example: str, *suits: str) -> Callable[[type[Made]], type[Made]]:
    """Register a metric, and make it a frozen dataclass of its arguments; `suits` are the kinds of outputs it is of."""

    def register(kind: type[Made]) -> type[Made]:
        kind.example, kind.suits = example, frozenset(suits)
        PARAMETRISED[example.partition("(")[0]] = made = dataclass(frozen=True)(kind)
        return made

    return register


def find(name: str, conditions: Conditions = Conditions(), *, judging: str | None = None) -> Metric:
    """Return the metric of a name, with its arguments in brackets, or one of your own by `module:function`.

    `judging` says what outputs are, "classes", "labels" or "values", and refuses metrics of others.

    Raises:
        DataError: there is none, or the arguments are not its own.
    """
    if ":" in name:
        return own(name, conditions.folder)
    found = _NAME.fullmatch(name) if len(name) <= _LONGEST else None
    if not found:
        raise DataError(f"'{name[:_LONGEST]}' is not the name of a metric, such as accuracy or rejection(0.5)")
    word, arguments = found[1], (found[2] or "").strip()
    plain, kind = _suits(SUITS.get(word), judging), PARAMETRISED.get(word)
    if plain and not (arguments and kind):
        if arguments:
            raise DataError(f"the metric '{word}' takes no arguments")
        return METRICS[word]
    if kind is None or not _suits(kind.suits, judging):
        raise DataError(unknown("metric", word, _choices(judging)))
    return _made(name.strip(), kind, arguments, conditions)


def _suits(suits: frozenset[str] | None, judging: str | None) -> bool:
    return suits is not None and (judging is None or judging in suits)


def _choices(judging: str | None) -> list[str]:
    made = {kind.example: kind.suits for kind in PARAMETRISED.values()}
    return [name for name, suits in (SUITS | made).items() if judging is None or judging in suits]


def lost(metric: str | Metric, change: float) -> float:
    """Return how much of a metric, of a task or of one of its outputs, a change of it loses; below zero it gains.

    Raises:
        DataError: as of `is_lower_better`.
    """
    return change if is_lower_better(metric) else -change


def is_lower_better(metric: str | Metric) -> bool:
    """Return whether less of a metric is better; one that is a function says so by `lower_is_better`, else more is.

    Raises:
        DataError: neither more nor less of it is better, nothing is known by that name, or it is one of your own that
            nothing has asked for yet.
    """
    if not isinstance(metric, str):
        return bool(getattr(metric, "lower_is_better", False))
    if ":" in metric:
        return own_is_lower_better(metric)
    word = metric.partition("(")[0].rpartition(".")[2].strip()  # after the name of an output
    if word not in METRICS.keys() | PARAMETRISED.keys():
        raise DataError(unknown("metric", word, _choices(None)))
    lower: object = getattr(METRICS.get(word) or PARAMETRISED[word], "lower_is_better", False)
    if not isinstance(lower, bool):
        raise DataError(f"neither more nor less of '{metric}' is better; absolute_bias and resolution have one")
    return lower


def _made(name: str, kind: type[Parametrised], text: str, conditions: Conditions) -> Parametrised:
    own_fields = fields(kind)
    given = parse(name, text, own_fields, conditions)
    left = {"n_bunches": conditions.n_bunches, "of": conditions.of}
    for each in own_fields:
        if each.name not in given and left.get(each.name) is not None:
            given[each.name] = left[each.name]
        if each.name not in given and each.default is MISSING:
            raise DataError(f"'{name}' lacks {each.name}; write for instance {kind.example}")
    return kind(**given)
