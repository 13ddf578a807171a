"""What a recipe's network is to learn: the task of each output, where its targets come from, what its values are."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from hepprune.data.expressions import grammar
from hepprune.data.inputs import values
from hepprune.files.documents import Section
from hepprune.metrics import Conditions
from hepprune.recipe.data import Data
from hepprune.recipe.sections import placed
from hepprune.task import BinaryLabel, Classes, Task, check_names, find

TaskKind = Literal["classes", "binary", "multilabel", "regression", "reconstruction"]

_OF_NUMBERS = {"regression", "reconstruction"}


class Head(Section):
    """The task of one output; `loss` and `delta` are those of numbers, `share` is that of one of several outputs."""

    kind: TaskKind = "classes"
    loss: Literal["mse", "huber", "relative"] | None = None
    delta: Annotated[float, Field(gt=0)] | None = None
    share: Annotated[float, Field(gt=0)] = 1.0

    def _faults(self) -> Iterator[str]:
        if self.loss is not None and self.kind not in _OF_NUMBERS:
            yield f"the task {self.kind} has a loss of its own; a loss is chosen of regression alone"
        if self.delta is not None and self.loss != "huber":
            yield "a delta is where the loss huber turns linear"

    def task(self, conditions: Conditions, *, learns_signal: bool = True) -> Task:
        """Return the task, under the conditions of its metrics."""
        given: dict[str, Any] = {"kind": self.loss, "delta": self.delta, "conditions": conditions}
        if not learns_signal and self.kind in _OF_NUMBERS:
            given["learns_signal"] = False
        return find(self.kind)(**{name: value for name, value in given.items() if value is not None})


def _heads(given: Any) -> Any:
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


HeadByOutput = Annotated[dict[str, Head], BeforeValidator(_heads), Field(min_length=1)]


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
    found = {name: _output(head, name, data, conditions) for name, head in tasks.items()}
    if fault := next(_faults(tasks, found, data), None):
        raise ValueError(fault)
    return found


def _output(head: Head, name: str, data: Data, conditions: Conditions) -> Output:
    columns = (data.targets.get(name, ()) if isinstance(data.targets, dict) else data.targets) or ()
    known = replace(conditions, classes=data.classes or ()) if head.kind == "classes" else conditions
    if data.teacher is not None and data.teacher.task == "latent":
        known = replace(known, of="mu2")
    task = head.task(known, learns_signal=data.learns_signal)
    return Output(task, head.share, columns, _values(head.kind, data, columns))


def _faults(tasks: Mapping[str, Head], found: Mapping[str, Output], data: Data) -> Iterator[str]:
    """Yield what does not go together of tasks and columns, of which the first is told."""
    yield from _faults_of_targets(tasks, data)
    yield from () if data.signal is None else _faults_of_signal(tasks, data, data.signal)
    for name, head in tasks.items():
        yield from _faults_of_output(f"task '{name or head.kind}'", head, found[name], data, alone=len(tasks) == 1)
    labelled = [name for name, output in found.items() if output.reads_label]
    if len(labelled) > 1:
        yield f"the outputs {' and '.join(labelled)} cannot share the label; name targets of their own"
    if labelled and (known := _read(data) & set(data.labels)):
        yield f"data.label: the label '{min(known)}' is among the features and tells the class of every jet"
    if labelled and data.weight in data.labels:
        yield f"data.weight: '{data.weight}' is the label, and would take the weight of all jets of class 0"
    withheld = frozenset[str]() if data.signal is None or data.learns_signal else grammar.mentioned(data.signal)
    for name, output in found.items():
        if telling := withheld & set(data.labels if output.reads_label else output.columns):
            yield (
                f"data.signal: '{min(telling)}' tells which jets are signal, of which nothing is learned, and the "
                f"output '{name}' is to learn it; take out the output or the signal"
            )
    if data.classes is not None and not any(head.kind == "classes" for head in tasks.values()):
        kinds = ", ".join(head.kind for head in tasks.values())
        yield f"data.classes are named and the task is {kinds}; take them out, or take the task classes"


def _read(data: Data) -> set[str]:
    """Return the columns that features are, or are made of."""
    return {name for each in data.columns.values() for text in each.expressions for name in grammar.mentioned(text)}


def _faults_of_signal(tasks: Mapping[str, Head], data: Data, signal: str) -> Iterator[str]:
    if not {head.kind for head in tasks.values()} & _OF_NUMBERS:
        yield "data.signal is what numbers are told apart by, of an output of regression or reconstruction"
    if known := _read(data) & grammar.mentioned(signal):
        yield f"data.signal: '{min(known)}' is among the features and tells which jets are signal"


def _faults_of_targets(tasks: Mapping[str, Head], data: Data) -> Iterator[str]:
    by_output = isinstance(data.targets, dict)
    if "" in tasks and by_output:
        yield "data.targets are the columns of the only output"
    if "" not in tasks and data.targets is not None and not by_output:
        yield f"data.targets names columns by output, as in {{{[*tasks][-1]}: [column]}}"
    if isinstance(data.targets, dict) and (wrong := set(data.targets) - set(tasks)):
        yield f"data.targets names '{min(wrong)}', and the outputs are {', '.join(tasks)}"


def _faults_of_output(place: str, head: Head, output: Output, data: Data, *, alone: bool) -> Iterator[str]:
    columns, inputs = output.columns, data.columns
    learned = {"classes": "what data.label and data.classes say", "reconstruction": "the features themselves"}
    if head.kind in learned and columns:
        yield f"the {place} has no targets: it learns {learned[head.kind]}"
    if data.teacher is not None and not (head.kind == "regression" and alone):
        yield "data.teacher: its score is a number to be met, by the only output, of the task regression"
    if head.kind in {"multilabel", "regression"} and not columns and data.teacher is None:
        yield f"the {place} needs data.targets, the columns that are to be met"
    if head.kind == "classes" and data.classes is None:
        yield "data.classes: the task classes needs their names, in the order that the label counts them"
    if head.kind == "binary" and not (len(columns) == 1 or (alone and not columns)):
        yield f"the {place} has one column of targets, of 0 and 1, not {len(columns)}"
    if head.kind == "reconstruction" and len(inputs) != 1:
        yield f"the {place} takes one input, and here are {len(inputs)}"
    if head.kind == "binary" and not columns and len(data.labels) > 1:
        yield f"the {place} has one label, of 0 and 1; several are those of the task classes"
    if alone and head.share != 1:
        yield "a share is that of one of several outputs"


def _values(kind: str, data: Data, columns: tuple[str, ...]) -> tuple[str, ...]:
    if kind == "reconstruction":
        return values(next(iter(data.columns.values())))
    if data.teacher is not None:
        return data.teacher.scores
    return columns or (data.classes if kind == "classes" else None) or data.labels
