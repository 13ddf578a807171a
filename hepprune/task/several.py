"""A task for each of several outputs."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hepprune.errors import DataError, check_known, explained, unknown
from hepprune.metrics import Floats, Metric, Score
from hepprune.task.base import Arrays, Raw, Targets, Task, only
from hepprune.task.kinds import Regression, flags


@dataclass(frozen=True)
class Tasks(Task):
    """What each output means, by its name and in the network's order, and its share in the loss (1 by default).

    After the targets of all outputs there may be whether each jet is signal (n_jets,), for metrics of numbers that tell
    it from background; no output learns from signal if one of them does not.
    """

    outputs: Mapping[str, Task]
    shares: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse outputs without a name of their own, and shares of none or that are not positive numbers."""
        if not self.outputs:
            raise DataError("tasks of several outputs are none; name an output with its task")
        check_names(self.outputs)
        for name, share in self.shares.items():
            check_known("output", name, self.outputs, DataError)
            if not (math.isfinite(share) and share > 0):
                raise DataError(f"the share of output '{name}' in the loss is {share:g}; it must be above zero")

    @property
    def metrics(self) -> tuple[str, ...]:
        """The metrics of every output, each by `<output>.<metric>`."""
        return tuple(f"{name}.{metric}" for name, task in self.outputs.items() for metric in task.metrics)

    def agrees(self, want: Arrays, got: Arrays) -> NDArray[np.bool_]:
        """Return for each jet whether firmware says the same as its network in every output, (n_jets,)."""
        self._check(want)
        found = zip(self.outputs.values(), want, got, strict=True)
        return np.asarray(np.all([task.agrees(*pair) for task, *pair in found], axis=0))

    def targets(self, y: Any) -> tuple[Tensor, ...]:
        """Return the targets of every output, given by name or in order, and signal if it comes after them."""
        parts = self._in_order(y) if isinstance(y, Mapping) else list(y)
        own, signal = self._split(parts)
        found = [only(task.targets(part)) for task, part in zip(self.outputs.values(), own, strict=True)]
        return (*found, *(flags(each) for each in signal))

    def check(self, raw: Raw, y: Targets) -> None:
        """Refuse targets that outputs of the shapes of `raw` cannot meet, by the name of the output."""
        for (name, task), (_, _, pair) in zip(self.outputs.items(), self._parts(raw, y), strict=True):
            with explained(DataError, f"output '{name}':", DataError):
                task.check(*pair)

    def each(self, raw: Raw, y: Targets) -> Tensor:
        """Return the loss of each jet, (n_jets,), all outputs by their shares."""
        losses = torch.stack([share * task.each(*pair) for share, task, pair in self._parts(raw, y)]).sum(dim=0)
        _, signal = self._split(y)
        return losses * (1 - signal[0]) if signal and not self.learns_signal else losses

    @property
    def learns_signal(self) -> bool:
        """Whether something is learned from signal."""
        return all(getattr(task, "learns_signal", True) for task in self.outputs.values())

    def directions(self, raw: Raw, y: Targets) -> tuple[Tensor, ...]:
        """Return those of every output, weighted by the root of its share."""
        parts = self._parts(raw, y)
        return tuple(math.sqrt(share) * each for share, task, pair in parts for each in task.directions(*pair))

    def taught(self, y: Targets, teacher: Raw) -> tuple[Tensor, ...]:
        """Return targets half of which are what a teacher puts out, and signal after them as before."""
        self._check(teacher)
        own, signal = self._split(y)
        each = zip(self.outputs.values(), own, teacher, strict=True)
        return (*(only(task.taught(part, said)) for task, part, said in each), *signal)

    def score(self, name: str, raw: Arrays, y: Any, weight: Floats | None = None) -> Score:
        """Return one metric of one output, named `<output>.<metric>`."""
        self._check(raw)
        output, _, metric = name.partition(".")
        self.metric(name)
        index = list(self.outputs).index(output)
        return self.outputs[output].score(metric, raw[index], self._known(y)[index], weight)

    def metric(self, name: str) -> Metric:
        """Return the metric of a name, `<output>.<metric>`."""
        output, _, metric = name.partition(".")
        if output not in self.outputs:
            raise DataError(unknown("metric", name, self.metrics))
        return self.outputs[output].metric(metric)

    def _in_order(self, y: Mapping[str, Any]) -> list[Any]:
        if set(y) != set(self.outputs):
            wanted, given = (", ".join(map(str, names)) or "none" for names in (self.outputs, y))
            raise DataError(f"targets are those of the outputs {wanted}, and are given of {given}")
        return [y[name] for name in self.outputs]

    def _parts(self, raw: Raw, y: Targets) -> list[tuple[float, Task, tuple[Any, Any]]]:
        self._check(raw)
        pairs = zip(self.outputs.items(), raw, self._known(y), strict=True)
        return [(self.shares.get(name, 1.0), task, (own, truth)) for (name, task), own, truth in pairs]

    def _known(self, y: Any) -> list[Any]:
        """Return what is known of each output: its targets, of numbers in a pair with signal if there is some."""
        own, signal = self._split(y)
        pairs = zip(self.outputs.values(), own, strict=True)
        return [(part, *signal) if signal and isinstance(task, Regression) else part for task, part in pairs]

    def _split(self, y: Any) -> tuple[list[Any], list[Any]]:
        """Return the targets of every output, and signal if there is some."""
        n_outputs = len(self.outputs)
        has_signal = isinstance(y, tuple | list) and len(y) == n_outputs + 1
        own = list(y[:n_outputs]) if has_signal else y
        self._check(own)
        return list(own), [y[-1]] if has_signal else []

    def _check(self, parts: Any) -> None:
        if not isinstance(parts, tuple | list) or len(parts) != len(self.outputs):
            given = len(parts) if isinstance(parts, tuple | list) else 1
            raise DataError(f"tasks of {len(self.outputs)} outputs ({', '.join(self.outputs)}) are given {given}")


def check_names(outputs: Iterable[str]) -> None:
    """Refuse names of outputs that `<output>.<metric>` cannot hold.

    Raises:
        DataError: one is empty or has a dot.
    """
    for name in outputs:
        if not name or "." in name:
            raise DataError(f"each of several outputs has a name without dots, as its metrics need, and not '{name}'")
