"""Tasks: what the outputs of a network mean, what they are trained towards, and by what they are judged."""

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from hepprune import metrics
from hepprune.errors import DataError, unknown
from hepprune.metrics import Score

Floats = NDArray[np.float64]


Targets = Tensor | tuple[Tensor, ...]
Raw = Tensor | tuple[Tensor, ...]  # every output before its head, (n_jets, *shape); alone where there is one
Arrays = Floats | tuple[Floats, ...]


class Task(ABC):
    """What the outputs of a network mean, and how they are trained and judged.

    Weights (n_jets,) have a mean of one; a jet of weight two counts twice.
    """

    @property
    @abstractmethod
    def metrics(self) -> tuple[str, ...]:
        """The names of the metrics that judge the task, the primary one first."""

    @abstractmethod
    def targets(self, y: Any) -> Targets:
        """Return targets as the loss takes them.

        Raises:
            DataError: they are none of this task.
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

    def scores(
        self, raw: Arrays, y: Any, weight: Floats | None = None, names: Iterable[str] | None = None
    ) -> dict[str, Score]:
        """Return metrics, all or those named, the primary one first.

        Raises:
            DataError: a name is none of the task's.
        """
        wanted = set(self.metrics if names is None else names)
        for name in wanted - set(self.metrics):
            raise DataError(unknown("metric", name, self.metrics))
        return {name: self.score(name, raw, y, weight) for name in self.metrics if name in wanted}

    def loss(self, raw: Raw, y: Targets, weight: Tensor | None = None, *, reduction: str = "mean") -> Tensor:
        """Return the "mean" or the "sum" of the loss over jets."""
        losses = self.each(raw, y) if weight is None else self.each(raw, y) * weight
        return losses.mean() if reduction == "mean" else losses.sum()


class OneOutput(Task):
    """A task of the only output, raw (n_jets, n_out)."""

    def each(self, raw: Raw, y: Targets) -> Tensor:
        """Return the loss of each jet, (n_jets,)."""
        return self._each(_only(raw), _only(y))

    def directions(self, raw: Raw, y: Targets) -> tuple[Tensor, ...]:
        """Return values of each jet (n_jets,) whose gradients, squared and added, are the Gauss-Newton diagonal."""
        values = _only(raw)
        factors = self.factors(values.detach(), _only(y))
        return tuple(torch.einsum("no,no->n", values, column) for column in factors.unbind(dim=-1))

    def taught(self, y: Targets, teacher: Raw) -> Tensor:
        """Return targets half of which are what a teacher puts out."""
        return self._taught(_only(y), _only(teacher))

    def score(self, name: str, raw: Arrays, y: Any, weight: Floats | None = None) -> Score:
        """Return one metric of raw outputs (n_jets, n_out)."""
        (values,) = raw if isinstance(raw, tuple) else (raw,)
        (truth,) = y if isinstance(y, tuple) else (y,)
        return metrics.find(name)(values, truth, weight)

    @abstractmethod
    def _each(self, raw: Tensor, y: Tensor) -> Tensor: ...

    @abstractmethod
    def _taught(self, y: Tensor, teacher: Tensor) -> Tensor: ...

    @abstractmethod
    def factors(self, raw: Tensor, y: Tensor) -> Tensor:
        """Return F (n_jets, n_out, k) with F F^T the second derivative of a jet's loss by its raw outputs.

        Where that is not positive, F F^T is the nearest that is: the Gauss-Newton approximation.
        """


def _only(values: Raw) -> Tensor:
    if isinstance(values, tuple):
        if len(values) != 1:
            raise DataError(f"one output is judged by this task and {len(values)} are given; name a task for each")
        return values[0]
    return values


TASKS: dict[str, type[Task]] = {}


def find(name: str) -> type[Task]:
    """Return the task of that name."""
    if name not in TASKS:
        raise DataError(unknown("task", name, TASKS))
    return TASKS[name]


@dataclass(frozen=True)
class Classes(OneOutput):
    """One of several classes a jet: raw outputs are logits, targets whole numbers or probabilities of each class."""

    @property
    def metrics(self) -> tuple[str, ...]:
        """Accuracy above all."""
        return ("accuracy", "auc", "cross_entropy")

    def targets(self, y: Any) -> Tensor:
        """Return classes (n_jets,) int64, or probabilities (n_jets, n_classes) as they are."""
        given = copied(y)
        if given.ndim == 1:
            return _whole(given, "a class")
        if (
            given.ndim != 2
            or (given < 0).any()
            or not torch.allclose(given.double().sum(dim=1), torch.ones(()).double())
        ):
            raise DataError("targets of classes are one whole number a jet, or probabilities that add up to one")
        return given.float()

    def loss(self, raw: Raw, y: Targets, weight: Tensor | None = None, *, reduction: str = "mean") -> Tensor:
        """Return the "mean" or the "sum" of the cross-entropy over jets, in nats."""
        if weight is None:  # in one operation, faster than jet by jet
            return nn.functional.cross_entropy(_only(raw), _only(y), reduction=reduction)
        return super().loss(raw, y, weight, reduction=reduction)

    def _each(self, raw: Tensor, y: Tensor) -> Tensor:
        return nn.functional.cross_entropy(raw, y, reduction="none")

    def factors(self, raw: Tensor, y: Tensor) -> Tensor:
        """Return diag(sqrt p) - p sqrt(p)^T, whose square is diag(p) - p p^T."""
        p = torch.softmax(raw, dim=-1)
        return torch.diag_embed(p.sqrt()) - p[:, :, None] * p.sqrt()[:, None, :]

    def _taught(self, y: Tensor, teacher: Tensor) -> Tensor:
        known = torch.softmax(teacher, dim=-1)
        return (known + (y if y.ndim == 2 else nn.functional.one_hot(y, known.shape[1]))) / 2


@dataclass(frozen=True)
class MultiLabel(OneOutput):
    """Several yes-or-no questions a jet: raw outputs are their logits, targets probabilities between 0 and 1."""

    @property
    def metrics(self) -> tuple[str, ...]:
        """The AUC above all, averaged over labels."""
        return ("label_auc", "label_accuracy", "label_cross_entropy")

    def targets(self, y: Any) -> Tensor:
        """Return float32 targets (n_jets, n_labels)."""
        given = copied(y).float()
        given = given[:, None] if given.ndim == 1 else given
        if given.ndim != 2 or not bool(((given >= 0) & (given <= 1)).all()):
            raise DataError("targets of labels lie between 0 (no) and 1 (yes)")
        return given

    def _each(self, raw: Tensor, y: Tensor) -> Tensor:
        """Return the binary cross-entropy in nats, its mean over labels."""
        return nn.functional.binary_cross_entropy_with_logits(raw, y.to(raw.dtype), reduction="none").mean(dim=-1)

    def factors(self, raw: Tensor, y: Tensor) -> Tensor:
        """Return the standard deviation of each label."""
        p = torch.sigmoid(raw)
        return torch.diag_embed((p * (1 - p) / raw.shape[-1]).sqrt())

    def _taught(self, y: Tensor, teacher: Tensor) -> Tensor:
        return (torch.sigmoid(teacher) + y) / 2


@dataclass(frozen=True)
class Binary(MultiLabel):
    """One yes-or-no question a jet, by one logit; targets are 0 and 1."""

    def targets(self, y: Any) -> Tensor:
        """Return float32 targets (n_jets, 1)."""
        found = super().targets(y)
        if found.shape[1] != 1:
            raise DataError(f"a yes-or-no question has one target a jet, not {found.shape[1]}")
        return found


@dataclass(frozen=True)
class Regression(OneOutput):
    """Numbers to be met: `kind` "mse", "huber" (linear beyond `delta`) or "relative", of (raw - y) / y as for a pT."""

    kind: str = "mse"
    delta: float = 1.0

    def __post_init__(self) -> None:
        """Refuse a loss that does not exist."""
        if self.kind not in {"mse", "huber", "relative"}:
            raise DataError(unknown("loss of a regression", self.kind, ("mse", "huber", "relative")))
        if not (math.isfinite(self.delta) and self.delta > 0):
            raise DataError(f"a huber loss turns linear at {self.delta:g}; it must be above zero")

    @property
    def metrics(self) -> tuple[str, ...]:
        """What is nearest to the loss above all."""
        first = {"relative": ("mean_squared_relative_error",), "huber": ("mean_absolute_error",)}.get(self.kind, ())
        return (*first, *(name for name in ("mean_squared_error", "mean_absolute_error") if name not in first))

    def targets(self, y: Any) -> Tensor:
        """Return float32 targets (n_jets, n_out)."""
        given = copied(y).float()
        given = given[:, None] if given.ndim == 1 else given.flatten(1)
        if not bool(torch.isfinite(given).all()):
            raise DataError("a target of a regression is not finite")
        if self.kind == "relative" and bool((given == 0).any()):
            raise DataError("a target of a relative regression is zero, and nothing can be relative to it")
        return given

    def _each(self, raw: Tensor, y: Tensor) -> Tensor:
        """Return the loss in units of y squared (of a relative one: none), its mean over outputs."""
        wanted = y.to(raw.dtype)
        if self.kind == "huber":
            each = nn.functional.huber_loss(raw.flatten(1), wanted, reduction="none", delta=self.delta)
        else:
            each = ((raw.flatten(1) - wanted) / (wanted if self.kind == "relative" else 1)) ** 2
        return each.mean(dim=-1)

    def factors(self, raw: Tensor, y: Tensor) -> Tensor:
        """Return the root of the second derivative by each output, which a huber loss has none of beyond `delta`."""
        wanted = y.to(raw.dtype)
        bend = torch.full_like(raw, 2.0)
        if self.kind == "relative":
            bend = 2 / wanted**2
        elif self.kind == "huber":
            bend = ((raw - wanted).abs() <= self.delta).to(raw.dtype)
        return torch.diag_embed((bend / raw.shape[-1]).sqrt())

    def _taught(self, y: Tensor, teacher: Tensor) -> Tensor:
        return (teacher.flatten(1) + y) / 2


@dataclass(frozen=True)
class Reconstruction(Regression):
    """What goes in shall come out, as in an autoencoder: the targets are the features themselves."""


TASKS |= {
    "classes": Classes,
    "binary": Binary,
    "multilabel": MultiLabel,
    "regression": Regression,
    "reconstruction": Reconstruction,
}


@dataclass(frozen=True)
class Tasks(Task):
    """What each output means, by its name and in the network's order, and its share in the loss (1 by default)."""

    outputs: Mapping[str, Task]
    shares: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse shares of outputs that do not exist, and ones that are no positive numbers."""
        for name, share in self.shares.items():
            if name not in self.outputs:
                raise DataError(unknown("output", name, self.outputs))
            if not (math.isfinite(share) and share > 0):
                raise DataError(f"the share of output '{name}' in the loss is {share:g}; it must be above zero")

    @property
    def metrics(self) -> tuple[str, ...]:
        """The metrics of every output, each by `<output>.<metric>`."""
        return tuple(f"{name}.{metric}" for name, task in self.outputs.items() for metric in task.metrics)

    def targets(self, y: Any) -> tuple[Tensor, ...]:
        """Return the targets of every output, given by name or in order."""
        parts = [y[name] for name in self.outputs] if isinstance(y, Mapping) else list(y)
        self._check(parts)
        return tuple(_only(task.targets(part)) for task, part in zip(self.outputs.values(), parts, strict=True))

    def each(self, raw: Raw, y: Targets) -> Tensor:
        """Return the loss of each jet, (n_jets,), all outputs by their shares."""
        return torch.stack([share * task.each(*pair) for share, task, pair in self._parts(raw, y)]).sum(dim=0)

    def directions(self, raw: Raw, y: Targets) -> tuple[Tensor, ...]:
        """Return those of every output, weighted by the root of its share."""
        parts = self._parts(raw, y)
        return tuple(math.sqrt(share) * each for share, task, pair in parts for each in task.directions(*pair))

    def taught(self, y: Targets, teacher: Raw) -> tuple[Tensor, ...]:
        """Return targets half of which are what a teacher puts out."""
        return tuple(_only(task.taught(own, said)) for _, task, (said, own) in self._parts(teacher, y))

    def score(self, name: str, raw: Arrays, y: Any, weight: Floats | None = None) -> Score:
        """Return one metric of one output, named `<output>.<metric>`."""
        self._check(raw)
        output, _, metric = name.partition(".")
        index = list(self.outputs).index(output)
        return self.outputs[output].score(metric, raw[index], y[index], weight)

    def _parts(self, raw: Raw, y: Targets) -> list[tuple[float, Task, tuple[Tensor, Tensor]]]:
        self._check(raw)
        pairs = zip(self.outputs.items(), raw, y, strict=True)
        return [(self.shares.get(name, 1.0), task, (own, truth)) for (name, task), own, truth in pairs]

    def _check(self, parts: Any) -> None:
        if not isinstance(parts, tuple | list) or len(parts) != len(self.outputs):
            given = len(parts) if isinstance(parts, tuple | list) else 1
            raise DataError(f"tasks of {len(self.outputs)} outputs ({', '.join(self.outputs)}) are given {given}")


def copied(values: Any) -> Tensor:
    """Return numbers of any kind as a tensor of their own."""
    return values.detach().clone() if isinstance(values, Tensor) else torch.as_tensor(np.array(values))


def _whole(given: Tensor, what: str) -> Tensor:
    whole = given.long()
    if given.is_complex() or not torch.equal(whole.to(given.dtype), given):
        wrong = given[whole.to(given.dtype) != given][0].item()
        raise DataError(f"{what} is a whole number, {wrong:g} is not")
    return whole
