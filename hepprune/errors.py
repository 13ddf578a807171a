"""The errors a user may meet, each one sentence that names the culprit, the place and the choices."""

from collections.abc import Iterable
from difflib import get_close_matches


class HeppruneError(Exception):
    """Anything wrong with what the user gave or with the machine; the command line exits with `exit_code`."""

    exit_code = 1


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
    """A synthesis tool that was asked for by name and that this machine lacks."""

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
