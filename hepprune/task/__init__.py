"""Tasks: what the outputs of a network mean, what they are trained towards, and by what they are judged."""

from hepprune.errors import DataError, check_known
from hepprune.task.base import Raw, Targets, Task, copied
from hepprune.task.kinds import BinaryLabel, Classes, MultiLabel, Reconstruction, Regression
from hepprune.task.several import Tasks, check_names

__all__ = ["TASKS", "BinaryLabel", "Classes", "MultiLabel", "Raw", "Reconstruction", "Regression", "Targets", "Task"]
__all__ += ["Tasks", "check_names", "copied", "find"]

TASKS: dict[str, type[Task]] = {"classes": Classes, "binary": BinaryLabel, "multilabel": MultiLabel}
TASKS |= {"regression": Regression, "reconstruction": Reconstruction}


def find(name: str) -> type[Task]:
    """Return the task of that name."""
    check_known("task", name, TASKS, DataError)
    return TASKS[name]
