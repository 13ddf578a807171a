"""The errors a user may meet, each one sentence that names the culprit, the place and the choices."""

import re
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from difflib import get_close_matches

_BEGINNING, _END = 1500, 400  # characters that are kept of a sentence that quotes too much
_STEERING = r"\x00-\x1f\x7f-\x9f\u2028\u2029"
_GAPS = re.compile(rf"[\s{_STEERING}]+")  # whole runs: a pattern that begins in each blank of one takes quadratic time
_UNPRINTABLE = re.compile(f"[{_STEERING}]")


class HeppruneError(Exception):
    """Anything wrong with what the user gave or with the machine; the command line exits with `exit_code`.

    Sentences quote files of strangers: line breaks and what steers a terminal become blanks, and a quotation without
    end is cut.
    """

    exit_code = 1

    def __init__(self, sentence: str) -> None:
        plain = _GAPS.sub(lambda gap: " " if _UNPRINTABLE.search(gap[0]) else gap[0], sentence)
        cut = len(plain) > _BEGINNING + _END
        super().__init__(f"{plain[:_BEGINNING]} ... {plain[-_END:]}" if cut else plain)


class DataError(HeppruneError):
    """Jets that cannot be read, or cannot be used as they are."""


class RecipeError(HeppruneError):
    """A recipe that cannot be followed."""


class NetworkError(HeppruneError):
    """A network that is malformed or cannot be changed as asked."""


class ReportError(HeppruneError):
    """A synthesis report that is damaged or of an unknown kind."""


class EquivalenceError(HeppruneError):
    """Two forms of the same network that disagree where they must not."""


class ExecutorError(HeppruneError):
    """Work that cannot be handed out as asked, or a worker that was lost."""


class BudgetMissedError(HeppruneError):
    """A budget that could not be reached; the message names the figure that binds and the closest point."""

    exit_code = 2


class PrerequisiteError(HeppruneError):
    """A program that every run needs (g++, make, Verilator) and that this machine lacks."""


class ToolMissingError(HeppruneError):
    """A program that was asked for, a synthesis tool or a generator of jets, and that this machine lacks."""

    exit_code = 3


class MeasurementAwaitedError(HeppruneError):
    """A design that has to be synthesised on another machine before the run can go on; nothing is wrong."""

    exit_code = 4


def unknown(kind: str, name: str, choices: Iterable[str]) -> str:
    """Return one sentence that refuses `name` and lists the known choices, nearest first."""
    known = sorted(choices)
    near = get_close_matches(name, known, n=3, cutoff=0.4)
    ordered = near + [choice for choice in known if choice not in near]
    return f"unknown {kind} '{name}'; choose one of: {', '.join(ordered)}"


def refused(layer: str, reason: str) -> NetworkError:
    """Return the error that says of a layer why it cannot be taken; the caller raises it."""
    return NetworkError(f"layer '{layer}' {reason}")


@contextmanager
def explained(error: Callable[[str], HeppruneError], sentence: str, *kinds: type[Exception]) -> Iterator[None]:
    """Raise what goes wrong inside, where it is of these kinds, as one error with one sentence.

    A sentence that ends in a colon goes on with what the problem says.
    """
    try:
        yield
    except kinds as problem:
        raise error(f"{sentence} {said(problem)}" if sentence.endswith(":") else sentence) from problem


def said(problem: Exception) -> str:
    """Return what a problem says in one line, of the file system the reason alone."""
    if isinstance(problem, HeppruneError):
        return str(problem)
    text = getattr(problem, "strerror", None) or str(problem).strip() or type(problem).__name__
    return str(text).splitlines()[0][:200]


def check_known(kind: str, name: str, choices: Collection[str], error: type[Exception]) -> None:
    """Refuse a name that is none of the choices, with an error of this type."""
    if name not in choices:
        raise error(unknown(kind, name, choices))
