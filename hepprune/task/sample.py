"""Samples: jets to train, prune and judge on, which know what their targets mean."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hepprune.errors import DataError
from hepprune.files import content_hash
from hepprune.metrics import Score
from hepprune.task import Classes, Targets, Task, copied


@dataclass(frozen=True)
class Sample:
    """Jets as tensors: x, one (n_jets, *shape) for each input of a network, and the targets y of their task.

    Targets are one tensor, or one for each output; weights (n_jets,), where there are some, have a mean of one. A
    single tensor may stand for x.
    """

    x: tuple[Tensor, ...]
    y: Targets
    weight: Tensor | None = None
    task: Task = field(default_factory=Classes)

    def __post_init__(self) -> None:
        """Make one input a tuple, and refuse parts of different lengths."""
        given: object = self.x
        if isinstance(given, Tensor):
            object.__setattr__(self, "x", (given,))
        lengths = {len(part) for part in self._parts()}
        if len(lengths) != 1:
            raise DataError(f"the parts of a sample have {', '.join(map(str, sorted(lengths)))} jets")

    def _parts(self) -> list[Tensor]:
        targets = list(self.y) if isinstance(self.y, tuple) else [self.y]
        return [*self.x, *targets, *([] if self.weight is None else [self.weight])]

    @classmethod
    def from_arrays(cls, x: Any, y: Any, weight: Any = None, *, task: Task | None = None) -> "Sample":
        """Copy arrays into tensors, x of each input (n_jets, *shape), weights divided by their mean.

        Raises:
            DataError: there are no jets or no numbers, targets are none of the task, or weights are negative, infinite
                or all zero.
        """
        task = Classes() if task is None else task
        inputs = x if isinstance(x, tuple | list) else (x,)
        tensors = tuple(copied(each).float() for each in inputs)
        if not tensors or not len(tensors[0]):
            raise DataError("a sample has no jets")
        return cls(tensors, task.targets(y), None if weight is None else _weights(weight), task)

    @classmethod
    def from_batches(cls, batches: Iterable[Any], *, task: Task | None = None) -> "Sample":
        """Gather the batches of a torch `DataLoader`: (x, y) or (x, y, weight) each, x and y one tensor or several.

        Raises:
            DataError: there are no batches, or they hold anything else.
        """
        parts = [batch if isinstance(batch, tuple | list) else (batch,) for batch in batches]
        if {len(part) for part in parts} not in ({2}, {3}):
            raise DataError("batches are (x, y) or (x, y, weight), all alike, and at least one")
        x, y, *weight = (_gathered(column) for column in zip(*parts, strict=True))
        return cls.from_arrays(x, y, *weight, task=task)

    def __len__(self) -> int:
        """Return n_jets."""
        return len(self.x[0])

    @property
    def features(self) -> Tensor:
        """The features (n_jets, *shape) of the only input.

        Raises:
            DataError: there are several inputs.
        """
        if len(self.x) != 1:
            raise DataError(f"the jets have {len(self.x)} inputs where one is expected")
        return self.x[0]

    @property
    def arrays(self) -> tuple[NDArray[Any], ...]:
        """The features as arrays, one for each input."""
        return tuple(each.numpy() for each in self.x)

    @property
    def truth(self) -> Any:
        """The targets as arrays: one, or one for each output."""
        return tuple(each.cpu().numpy() for each in self.y) if isinstance(self.y, tuple) else self.y.cpu().numpy()

    @property
    def weights(self) -> NDArray[np.float64] | None:
        """The weights as an array, where there are some."""
        return None if self.weight is None else self.weight.double().cpu().numpy()

    @property
    def key(self) -> str:
        """The content hash of all jets, targets and weights, and of what the targets mean."""
        parts = [(list(part.shape), part.numpy().tobytes()) for part in self._parts()]
        return content_hash(repr(self.task), *(each for part in parts for each in part))

    def _with(self, change: Callable[[Tensor], Tensor]) -> "Sample":
        y = tuple(map(change, self.y)) if isinstance(self.y, tuple) else change(self.y)
        return replace(
            self, x=tuple(map(change, self.x)), y=y, weight=self.weight if self.weight is None else change(self.weight)
        )

    def taking(self, rows: slice | Tensor) -> "Sample":
        """Return some of the jets."""
        return self._with(lambda each: each[rows])

    def on(self, device: torch.device) -> "Sample":
        """Return the jets on a device; where they are there already, the same tensors."""
        return self._with(lambda each: each.to(device))

    def first(self, n_jets: int) -> "Sample":
        """Return the first jets."""
        return self.taking(slice(n_jets))

    def batches(self, batch_size: int) -> Iterator["Sample"]:
        """Yield the jets in their order, some at a time.

        Raises:
            DataError: there are none.
        """
        if not len(self):
            raise DataError("statistics need at least one jet")
        for start in range(0, len(self), batch_size):
            yield self.taking(slice(start, start + batch_size))

    def check(self, raw: Sequence[Tensor]) -> None:
        """Refuse targets that outputs of the shapes of `raw`, of any number of jets, cannot meet.

        Raises:
            DataError: they cannot.
        """
        self.task.check(tuple(raw), self.y)

    def loss(self, raw: Tensor | Sequence[Tensor], *, reduction: str = "mean") -> Tensor:
        """Return the loss of raw outputs on these jets."""
        return self.task.loss(raw if isinstance(raw, Tensor) else tuple(raw), self.y, self.weight, reduction=reduction)

    def scores(self, raw: Sequence[Tensor], names: Iterable[str] | None = None) -> dict[str, Score]:
        """Return metrics of the task, all or those named, for raw outputs on these jets; the primary one first.

        Raises:
            DataError: the targets are none of such outputs, or a metric is none of the task.
        """
        self.check(raw)
        return self.judged(tuple(each.detach().double().cpu().numpy() for each in raw), names)

    def judged(self, raw: tuple[NDArray[Any], ...], names: Iterable[str] | None = None) -> dict[str, Score]:
        """Return the same for raw outputs that are arrays, one for each output."""
        truth = self.truth if isinstance(self.truth, tuple) else (self.truth,)
        return self.task.scores(raw, truth, self.weights, names)

    def directions(self, raw: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Return values of each jet whose squared derivatives add up to the Gauss-Newton diagonal; see `Task`."""
        found = self.task.directions(raw, self.y)
        return found if self.weight is None else tuple(each * self.weight.sqrt() for each in found)

    def root_weighted(self) -> "Sample":
        """Return the jets with the roots of their weights, for squares of what is linear in them."""
        return self if self.weight is None else replace(self, weight=self.weight.sqrt())


@dataclass(frozen=True, kw_only=True)
class Split:
    """Jets to train, to validate and to test on; `key` names them by content."""

    train: Sample
    validation: Sample
    test: Sample

    @property
    def parts(self) -> dict[str, Any]:
        """The samples by their names here."""
        return {"train": self.train, "validation": self.validation, "test": self.test}

    @cached_property
    def key(self) -> str:
        """The hash of their content."""
        return content_hash([part.key for part in self.parts.values()])


def _weights(weight: Any) -> Tensor:
    values = copied(weight).float()
    if values.ndim != 1:
        raise DataError(f"a weight is one number a jet, and these have the shape {tuple(values.shape)}")
    if not bool(torch.isfinite(values).all()) or bool((values < 0).any()) or not float(values.sum()):
        raise DataError("weights of jets are finite, none is negative, and not all of them are zero")
    return values / values.mean()


def _gathered(parts: Sequence[Any]) -> Any:
    """Return what batches hold of one tensor, or of each of several."""
    if isinstance(parts[0], tuple | list):
        return tuple(_gathered(column) for column in zip(*parts, strict=True))
    return torch.cat([torch.as_tensor(part) for part in parts])
