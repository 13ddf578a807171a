"""The tasks of one output: classes, labels, and numbers."""

import math
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from hepprune.errors import DataError, check_known
from hepprune.metrics import Conditions, Floats
from hepprune.task.base import OneOutput, Raw, Targets, copied, only


@dataclass(frozen=True)
class Classes(OneOutput):
    """One of several classes a jet: raw outputs are logits, targets whole numbers or probabilities of each class."""

    judged_as = "classes"
    unit = "nat"
    metrics = ("accuracy", "auc", "cross_entropy")
    conditions: Conditions = field(default=Conditions(), repr=False)

    def _same(self, want: Floats, got: Floats) -> NDArray[np.bool_]:
        """Return where the largest output is that of the same class."""
        if want.shape[-1] == 1:
            return super()._same(want, got)
        return np.asarray(want.argmax(axis=-1) == got.argmax(axis=-1))

    def targets(self, y: Any) -> Tensor:
        """Return classes (n_jets,) int64, or probabilities (n_jets, n_classes) as they are."""
        given = copied(y)
        if given.ndim == 1:
            whole = given.long()
            if given.is_complex() or not torch.equal(whole.to(given.dtype), given):
                wrong = given[whole.to(given.dtype) != given][0].item()
                raise DataError(f"a class is a whole number, {wrong:g} is not")
            return whole
        one = torch.ones((), dtype=torch.float64)
        if given.ndim != 2 or (given < 0).any() or not torch.allclose(given.double().sum(dim=1), one):
            raise DataError("targets of classes are one whole number a jet, or probabilities that add up to one")
        return given.float()

    def loss(self, raw: Raw, y: Targets, weight: Tensor | None = None, *, reduction: str = "mean") -> Tensor:
        """Return the "mean" or the "sum" of the cross-entropy over jets, in nats."""
        if weight is None:  # in one operation, faster than jet by jet
            return nn.functional.cross_entropy(only(raw), only(y), reduction=reduction)
        return super().loss(raw, y, weight, reduction=reduction)

    def _check(self, raw: Tensor, y: Tensor) -> None:
        n_classes = raw.shape[-1]
        if raw.ndim != 2 or n_classes < 2:
            shape = "one value, as a sigmoid does" if raw.ndim == 2 else f"values of shape {tuple(raw.shape[1:])}"
            raise DataError(f"the network puts out {shape}; it needs one for each of two or more classes")
        if y.ndim == 2:
            super()._check(raw, y)
        elif len(y) and not 0 <= int(y.min()) <= int(y.max()) < n_classes:
            wrong = int(y.min()) if int(y.min()) < 0 else int(y.max())
            raise DataError(
                f"the network tells {n_classes} classes apart, 0 to {n_classes - 1}, and a jet is of class {wrong}"
            )

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

    judged_as = "labels"
    unit = "nat"
    metrics = ("label_auc", "label_accuracy", "label_cross_entropy")  # the first above all, averaged over labels
    conditions: Conditions = field(default=Conditions(), repr=False)

    def _same(self, want: Floats, got: Floats) -> NDArray[np.bool_]:
        """Return which labels have the same answer, a logit above zero being a yes."""
        return np.asarray((want > 0) == (got > 0))

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
class BinaryLabel(MultiLabel):
    """One yes-or-no question a jet, by one logit; targets are 0 and 1."""

    def targets(self, y: Any) -> Tensor:
        """Return float32 targets (n_jets, 1)."""
        found = super().targets(y)
        if found.shape[1] != 1:
            raise DataError(f"a yes-or-no question has one target a jet, not {found.shape[1]}")
        return found


@dataclass(frozen=True)
class Regression(OneOutput):
    """Numbers to be met: `kind` "mse", "huber" (linear beyond `delta`) or "relative", of (raw - y) / y as for a pT.

    Targets may come in a pair with whether each jet is signal (n_jets,), for metrics that tell it from background; the
    loss of signal is zero unless the task `learns_signal`.
    """

    judged_as = "values"
    kind: str = "mse"
    delta: float = 1.0
    conditions: Conditions = field(default=Conditions(), repr=False)
    learns_signal: bool = True

    def __post_init__(self) -> None:
        """Refuse a loss that does not exist."""
        check_known("loss of a regression", self.kind, ("mse", "huber", "relative"), DataError)
        if not (math.isfinite(self.delta) and self.delta > 0):
            raise DataError(f"a huber loss turns linear at {self.delta:g}; it must be above zero")

    @property
    def metrics(self) -> tuple[str, ...]:
        """What is nearest to the loss above all."""
        first = {"relative": ("mean_squared_relative_error",), "huber": ("mean_absolute_error",)}.get(self.kind, ())
        return (*first, *(name for name in ("mean_squared_error", "mean_absolute_error") if name not in first))

    def targets(self, y: Any) -> Targets:
        """Return float32 targets (n_jets, n_out), in a pair with signal (n_jets,) if `y` is one."""
        if _is_pair(y):
            return self._numbers(y[0]), flags(y[1])
        return self._numbers(y)

    def each(self, raw: Raw, y: Targets) -> Tensor:
        """Return the loss of each jet, (n_jets,)."""
        losses = super().each(raw, y)
        return losses * (1 - y[1]) if _is_pair(y) and not self.learns_signal else losses

    def taught(self, y: Targets, teacher: Raw) -> Targets:
        """Return targets half of which are what a teacher puts out, in a pair with signal as before."""
        found = super().taught(y, teacher)
        return (only(found), y[1]) if _is_pair(y) else found

    def own(self, y: Targets) -> Tensor:
        """Return the numbers to be met."""
        return y[0] if _is_pair(y) else only(y)

    def truth(self, y: Any) -> Any:
        """Return a pair of targets and signal, None where it is not known."""
        return y if _is_pair(y) else (super().truth(y), None)

    def _numbers(self, y: Any) -> Tensor:
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
            each = nn.functional.huber_loss(raw, wanted, reduction="none", delta=self.delta)
        else:
            each = ((raw - wanted) / (wanted if self.kind == "relative" else 1)) ** 2
        return each.mean(dim=-1)

    def factors(self, raw: Tensor, y: Tensor) -> Tensor:
        """Return the root of the second derivative by each output, which a huber loss has none of beyond `delta`."""
        wanted = y.to(raw.dtype)
        curvature = torch.full_like(raw, 2.0)
        if self.kind == "relative":
            curvature = 2 / wanted**2
        elif self.kind == "huber":
            curvature = ((raw - wanted).abs() <= self.delta).to(raw.dtype)
        return torch.diag_embed((curvature / raw.shape[-1]).sqrt())

    def _taught(self, y: Tensor, teacher: Tensor) -> Tensor:
        return (teacher + y) / 2


@dataclass(frozen=True)
class Reconstruction(Regression):
    """What goes in shall come out, as in an autoencoder: the targets are the features themselves.

    The score that tells signal from background is the mean squared residual, where no other is named.
    """

    conditions: Conditions = field(default=Conditions(of="mse"), repr=False)

    def __post_init__(self) -> None:
        """Name the score if conditions do not."""
        super().__post_init__()
        if self.conditions.of is None:
            object.__setattr__(self, "conditions", replace(self.conditions, of="mse"))


def _is_pair(y: Any) -> bool:
    return isinstance(y, tuple) and len(y) == 2


def flags(signal: Any) -> Tensor:
    """Return whether each jet is signal, (n_jets,) of 0 and 1.

    Raises:
        DataError: it is anything else.
    """
    given = copied(signal).float()
    if given.ndim != 1 or not bool(((given == 0) | (given == 1)).all()):
        raise DataError("whether a jet is signal is 0 or 1, one number a jet")
    return given
