"""What a recipe's network is to learn: the task of each output, where its targets come from, what its values are."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from hepprune.data.expressions import grammar
from hepprune.data.inputs import values
from hepprune.metrics import Conditions
from hepprune.recipe.base import Section, placed
from hepprune.recipe.data import Data
from hepprune.task import BinaryLabel, Classes, Reconstruction, Task, check_names, find

TaskKind = Literal["classes", "binary", "multilabel", "regression", "reconstruction"]

_OF_NUMBERS = {"regression", "reconstruction"}


class Head(Section):
    """The task of one output; `loss` and `delta` are those of numbers, `share` is that of one of several outputs."""

    kind: TaskKind = "classes"
    loss: Literal["mse", "huber", "relative"] | None = None
    delta: Annotated[float, Field(gt=0)] | None = None
    share: Annotated[float, Field(gt=0)] = 1.0

    @model_validator(mode="after")
    def _has_the_loss_of_its_kind(self) -> "Head":
        if self.loss is not None and self.kind not in _OF_NUMBERS:
            raise ValueError(f"the task {self.kind} has a loss of its own; a loss is chosen of regression alone")
        if self.delta is not None and self.loss != "huber":
            raise ValueError("a delta is where the loss huber turns linear")
        return self

    def task(self, conditions: Conditions, *, learns_signal: bool = True) -> Task:
        """Return the task, under the conditions of its metrics."""
        given: dict[str, Any] = {"kind": self.loss, "delta": self.delta, "conditions": conditions}
        if not learns_signal and self.kind in _OF_NUMBERS:
            given["learns_signal"] = False
        return find(self.kind)(**{name: value for name, value in given.items() if value is not None})


def heads(given: Any) -> Any:
    """Return tasks by the name of their output, the only one under the name "".

    Raises:
        ValueError: one of several has no name that metrics may bear.
    """
    if isinstance(given, str):
        return {"": {"kind": given}}
    if isinstance(given, Mapping) and isinstance(given.get("kind"), str):
        return {"": given}
    if isinstance(given, Mapping):
        if [*given] != [""]:
            with placed("task: "):
                check_names(map(str, given))
        return {name: {"kind": each} if isinstance(each, str) else each for name, each in given.items()}
    return given


@dataclass(frozen=True)
class Output:
    """One output: its task and share in the loss, the columns of its targets, the names of its values.

    Without columns of their own the targets are the label, of a reconstruction the features, or a teacher's score.
    """

    task: Task
    share: float
    columns: tuple[str, ...]
    values: tuple[str, ...]

    @property
    def reads_label(self) -> bool:
        """Whether the targets are what the label column holds."""
        return isinstance(self.task, Classes | BinaryLabel) and not self.columns


def outputs(tasks: Mapping[str, Head], data: Data, conditions: Conditions) -> dict[str, Output]:
    """Return every output by its name, its metrics under conditions to which classes add their names.

    Raises:
        ValueError: tasks and columns do not go together.
    """
    _check_targets(tasks, data)
    _check_signal(tasks, data)
    found = {name: _output(name, head, data, conditions, alone=len(tasks) == 1) for name, head in tasks.items()}
    labelled = [name for name, output in found.items() if output.reads_label]
    if len(labelled) > 1:
        raise ValueError(f"the outputs {' and '.join(labelled)} cannot share the label; name targets of their own")
    if labelled:
        if known := _read(data) & set(data.labels):
            raise ValueError(
                f"data.label: the label '{min(known)}' is among the features and tells the class of every jet"
            )
        if data.weight in data.labels:
            raise ValueError(
                f"data.weight: '{data.weight}' is the label, and would take the weight of all jets of class 0"
            )
    _check_learns_no_signal(found, data)
    if data.classes is not None and not any(head.kind == "classes" for head in tasks.values()):
        kinds = ", ".join(head.kind for head in tasks.values())
        raise ValueError(f"data.classes are named and the task is {kinds}; take them out, or take the task classes")
    return found


def _read(data: Data) -> set[str]:
    """Return the columns that features are, or are made of."""
    return {name for each in data.columns.values() for text in each.expressions for name in grammar.mentioned(text)}


def _check_signal(tasks: Mapping[str, Head], data: Data) -> None:
    if data.signal is None:
        return
    if not {head.kind for head in tasks.values()} & _OF_NUMBERS:
        raise ValueError("data.signal is what numbers are told apart by, of an output of regression or reconstruction")
    if known := _read(data) & grammar.mentioned(data.signal):
        raise ValueError(f"data.signal: '{min(known)}' is among the features and tells which jets are signal")


def _check_learns_no_signal(found: Mapping[str, Output], data: Data) -> None:
    """Refuse an output that is to tell what makes a jet signal, of which there is none to train on."""
    withheld = set() if data.signal is None or data.learns_signal else set(grammar.mentioned(data.signal))
    for name, output in found.items():
        if known := withheld & set(data.labels if output.reads_label else output.columns):
            raise ValueError(
                f"data.signal: '{min(known)}' tells which jets are signal, of which nothing is learned, and the output "
                f"'{name}' is to learn it; take out the output or the signal"
            )


def _check_targets(tasks: Mapping[str, Head], data: Data) -> None:
    alone = "" in tasks
    if data.targets is not None and alone == isinstance(data.targets, dict):
        raise ValueError(
            "data.targets are the columns of the only output"
            if alone
            else f"data.targets names columns by output, as in {{{[*tasks][-1]}: [column]}}"
        )
    if isinstance(data.targets, dict) and (wrong := set(data.targets) - set(tasks)):
        raise ValueError(f"data.targets names '{min(wrong)}', and the outputs are {', '.join(tasks)}")


def _output(name: str, head: Head, data: Data, conditions: Conditions, *, alone: bool) -> Output:
    columns = (data.targets.get(name, ()) if isinstance(data.targets, dict) else data.targets) or ()
    known = replace(conditions, classes=data.classes or ()) if head.kind == "classes" else conditions
    if data.teacher is not None and data.teacher.task == "latent":
        known = replace(known, of="mu2")
    task = head.task(known, learns_signal=data.learns_signal)
    place, inputs = f"task '{name or head.kind}'", [*data.columns.values()]
    learned = {"classes": "what data.label and data.classes say", "reconstruction": "the features themselves"}
    if head.kind in learned and columns:
        raise ValueError(f"the {place} has no targets: it learns {learned[head.kind]}")
    if data.teacher is not None and not (head.kind == "regression" and alone):
        raise ValueError("data.teacher: its score is a number to be met, by the only output, of the task regression")
    if head.kind in {"multilabel", "regression"} and not columns and data.teacher is None:
        raise ValueError(f"the {place} needs data.targets, the columns that are to be met")
    if head.kind == "classes" and data.classes is None:
        raise ValueError("data.classes: the task classes needs their names, in the order that the label counts them")
    if head.kind == "binary" and not (len(columns) == 1 or (alone and not columns)):
        raise ValueError(f"the {place} has one column of targets, of 0 and 1, not {len(columns)}")
    if isinstance(task, Reconstruction) and len(inputs) != 1:
        raise ValueError(f"the {place} takes one input, and here are {len(inputs)}")
    if head.kind == "binary" and not columns and len(data.labels) > 1:
        raise ValueError(f"the {place} has one label, of 0 and 1; several are those of the task classes")
    if alone and head.share != 1:
        raise ValueError("a share is that of one of several outputs")
    return Output(task, head.share, columns, _values(head.kind, data, columns))


def _values(kind: str, data: Data, columns: tuple[str, ...]) -> tuple[str, ...]:
    if kind == "reconstruction":
        return values(next(iter(data.columns.values())))
    if data.teacher is not None:
        return data.teacher.scores
    return columns or (data.classes if kind == "classes" else None) or data.labels
