"""What a task is: targets, a loss with its curvature, distillation, and metrics."""

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import Any, ClassVar, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hepprune import metrics
from hepprune.errors import DataError, explained
from hepprune.metrics import Conditions, Floats, Metric, Score

Targets = Tensor | tuple[Tensor, ...]
Raw = Tensor | tuple[Tensor, ...]  # every output before its head, (n_jets, *shape); alone where there is one
Arrays = Floats | tuple[Floats, ...]
T = TypeVar("T")


class Task(ABC):
    """What the outputs of a network mean, and how they are trained and judged.

    Weights (n_jets,) have a mean of one; a jet of weight two counts twice.
    """

    @property
    @abstractmethod
    def metrics(self) -> tuple[str, ...]:
        """The names of the metrics that judge the task, the primary one first."""

    @property
    def unit(self) -> str:
        """The unit of the loss, where it has one of its own."""
        return ""

    @abstractmethod
    def agrees(self, want: Arrays, got: Arrays) -> NDArray[np.bool_]:
        """Return for each jet whether firmware says the same as its network, (n_jets,), a value more or less apart."""

    @abstractmethod
    def targets(self, y: Any) -> Targets:
        """Return targets as the loss takes them.

        Raises:
            DataError: they are none of this task.
        """

    @abstractmethod
    def check(self, raw: Raw, y: Targets) -> None:
        """Refuse targets that outputs of the shape of `raw`, of any number of jets, cannot meet.

        Raises:
            DataError: they cannot.
        """

    @abstractmethod
    def each(self, raw: Raw, y: Targets) -> Tensor:
        """Return the loss of each jet, (n_jets,)."""

    @abstractmethod
    def directions(self, raw: Raw, y: Targets) -> tuple[Tensor, ...]:
        """Return values of each jet (n_jets,) whose gradients, squared and added, are the Gauss-Newton diagonal."""

    @abstractmethod
    def taught(self, y: Targets, teacher: Raw) -> Targets:
        """Return targets half of which are what a teacher puts out (distillation, arXiv:1503.02531)."""

    @abstractmethod
    def score(self, name: str, raw: Arrays, y: Any, weight: Floats | None = None) -> Score:
        """Return one metric of raw outputs (n_jets, n_out)."""

    @abstractmethod
    def metric(self, name: str) -> Metric:
        """Return the metric of a name: of the task's own, or any other that suits it, such as `rejection(0.5)`.

        Raises:
            DataError: there is none, or it is of another task.
        """

    def scores(
        self, raw: Arrays, y: Any, weight: Floats | None = None, names: Iterable[str] | None = None
    ) -> dict[str, Score]:
        """Return metrics, all of the task's own or those named, the primary one first and the task's own before others.

        Raises:
            DataError: a name is of no metric that suits the task.
        """
        wanted = dict.fromkeys(self.metrics if names is None else names)
        for name in wanted:
            self.metric(name)  # before anything is computed
        ordered = {name: None for name in self.metrics if name in wanted} | wanted
        return {name: self.score(name, raw, y, weight) for name in ordered}

    def loss(self, raw: Raw, y: Targets, weight: Tensor | None = None, *, reduction: str = "mean") -> Tensor:
        """Return the "mean" or the "sum" of the loss over jets."""
        losses = self.each(raw, y) if weight is None else self.each(raw, y) * weight
        return losses.mean() if reduction == "mean" else losses.sum()


class OneOutput(Task):
    """A task of the only output, raw (n_jets, *shape), whose values are judged as "classes", "labels" or "values".

    `conditions` fill in what names of metrics leave out.
    """

    judged_as: ClassVar[str]
    conditions: Conditions

    def each(self, raw: Raw, y: Targets) -> Tensor:
        """Return the loss of each jet, (n_jets,)."""
        return self._each(only(raw).flatten(1), self.own(y))

    def check(self, raw: Raw, y: Targets) -> None:
        """Refuse targets that an output of the shape of `raw` cannot meet."""
        self._check(only(raw), self.own(y))

    def _check(self, raw: Tensor, y: Tensor) -> None:
        n_out = math.prod(raw.shape[1:])
        if y.ndim != 2 or y.shape[1] != n_out:
            n_targets = y.shape[1] if y.ndim == 2 else y.shape
            raise DataError(f"the network puts out {n_out} values, and the jets have {n_targets} targets")

    def directions(self, raw: Raw, y: Targets) -> tuple[Tensor, ...]:
        """Return values of each jet (n_jets,) whose gradients, squared and added, are the Gauss-Newton diagonal."""
        values = only(raw).flatten(1)
        factors = self.factors(values.detach(), self.own(y))
        return tuple(torch.einsum("no,no->n", values, column) for column in factors.unbind(dim=-1))

    def taught(self, y: Targets, teacher: Raw) -> Targets:
        """Return targets half of which are what a teacher puts out."""
        return self._taught(self.own(y), only(teacher).flatten(1))

    def score(self, name: str, raw: Arrays, y: Any, weight: Floats | None = None) -> Score:
        """Return one metric of raw outputs (n_jets, n_out)."""
        return self.metric(name)(only(raw), self.truth(y), weight)

    def metric(self, name: str) -> Metric:
        """Return the metric of a name that suits the task."""
        return metrics.find(name, self.conditions, judging=self.judged_as)

    def own(self, y: Targets) -> Tensor:
        """Return the targets that the loss is of."""
        return only(y)

    def truth(self, y: Any) -> Any:
        """Return the truth that metrics judge by."""
        return only(y)

    def agrees(self, want: Arrays, got: Arrays) -> NDArray[np.bool_]:
        """Return for each jet whether firmware says the same as its network, (n_jets,)."""
        first = only(want)
        return np.asarray(self._same(first, only(got)).reshape(len(first), -1).all(axis=1))

    def _same(self, want: Floats, got: Floats) -> NDArray[np.bool_]:
        """Return which values say the same: those that are equal, where nothing else is known."""
        return np.equal(want, got)

    @abstractmethod
    def _each(self, raw: Tensor, y: Tensor) -> Tensor: ...

    @abstractmethod
    def _taught(self, y: Tensor, teacher: Tensor) -> Tensor: ...

    @abstractmethod
    def factors(self, raw: Tensor, y: Tensor) -> Tensor:
        """Return F (n_jets, n_out, k) with F F^T the second derivative of a jet's loss by its raw outputs.

        Where that is not positive, F F^T is the nearest that is: the Gauss-Newton approximation.
        """


def only(values: T | tuple[T, ...]) -> T:
    """Return the values of the only output, and refuse several."""
    if isinstance(values, tuple):
        if len(values) != 1:
            raise DataError(f"one output is judged by this task and {len(values)} are given; name a task for each")
        return values[0]
    return values


def copied(values: Any) -> Tensor:
    """Return numbers of any kind as a tensor of their own.

    Raises:
        DataError: they are not an array of numbers with a row for each jet.
    """
    with explained(DataError, "jets are arrays of numbers:", TypeError, ValueError):
        found = values.detach().clone() if isinstance(values, Tensor) else torch.as_tensor(np.array(values))
    if found.ndim == 0:
        raise DataError(f"jets are arrays with a row for each, not the single number {found.item():g}")
    return found
