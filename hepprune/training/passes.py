"""One pass over the jets: a step of the optimiser for each batch, in compiled code where that earns its compiling."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hepprune import metrics
from hepprune.errors import DataError
from hepprune.metrics import Score
from hepprune.network import Network
from hepprune.task.sample import Sample
from hepprune.training import epochs
from hepprune.training.chains import Chain
from hepprune.training.optimiser import AdamW, Rate

_GATHERED = 64  # batches
# What is added to the loss, from the value of every layer up to the logits and the targets.
Penalty = Callable[[Mapping[str, Tensor], Any], Tensor]


@dataclass(frozen=True, kw_only=True)
class Pass:
    """What all passes of a training have in common; `is_long` is one that earns the compiling of code back."""

    optimiser: AdamW
    rates: Iterator[Rate]
    batch_size: int
    quantised: bool
    penalty: Penalty | None
    is_long: bool
    trained: epochs.PreparedJets = field(default_factory=epochs.PreparedJets)
    judged: epochs.PreparedJets = field(default_factory=epochs.PreparedJets)

    def __call__(self, network: Network, train: Sample, order: Tensor) -> float:
        """Train a network on jets in an order, in place, and return the mean loss.

        Raises:
            DataError: the loss, or a weight after it, is not finite.
        """
        chain = self._chain(network)
        whole = self._whole(chain, train, self.trained)
        with _finite(self.optimiser.values):
            if whole is not None:
                losses = [whole(order, self.batch_size, self.rates)]
            else:
                losses = list(self._steps(network, chain, train, order))
        found = torch.stack(losses).double()  # looked at only now, as to wait for each would hold up the steps
        if not bool(torch.isfinite(found).all()):
            raise _diverged()
        return float(np.mean(found.cpu().numpy()))

    def raw(self, network: Network, jets: Sample) -> tuple[Tensor, ...]:
        """Return every output of the network that is trained before its head, (n_jets, *shape) each, of other jets."""
        whole = self._whole(self._chain(network), jets, self.judged)
        return network.raw(jets.x, quantised=self.quantised) if whole is None else (whole.raw(),)

    def _chain(self, network: Network) -> Chain | None:
        return None if self.penalty else Chain.of(network, self.optimiser, quantised=self.quantised)

    def _whole(self, chain: Chain | None, jets: Sample, read: epochs.PreparedJets) -> epochs.Epochs | None:
        return epochs.Epochs.of(chain, jets, read) if chain is not None and self.is_long else None

    def _steps(self, network: Network, chain: Chain | None, train: Sample, order: Tensor) -> Iterator[Tensor]:
        # jets are gathered a good many at once, and not all of them
        for rows in torch.split(order, _GATHERED * self.batch_size):
            gathered = train.taking(rows)
            for jets in (gathered if chain is None else chain.enter(gathered)).batches(self.batch_size):
                if chain is None:
                    lost = loss(network, jets, penalty=self.penalty, quantised=self.quantised)
                    yield self.optimiser.differentiate(lost)
                else:
                    yield chain.differentiate(jets)
                self.optimiser.step(next(self.rates))


def loss(network: Network, sample: Sample, *, penalty: Penalty | None, quantised: bool) -> Tensor:
    """Return the loss of a network on jets, with what is added to it."""
    values = network.activations(sample.x, quantised=quantised, until=network.raw_outputs)
    found = sample.loss([values[name] for name in network.raw_outputs])
    return found if penalty is None else found + penalty(values, sample.y)


@contextmanager
def _finite(values: Tensor) -> Iterator[None]:
    """Refuse steps after which weights are not finite, looked for only then: to wait for each would hold them up."""
    try:
        yield
    except IndexError as problem:  # NaN has no place in a table of digits
        if not bool(values.isfinite().all()):
            raise _diverged() from problem
        raise
    if not bool(values.isfinite().all()):
        raise _diverged()


def _diverged() -> DataError:
    return DataError("the training loss is not finite; look for extreme features or lower the learning rate")


@dataclass(frozen=True, kw_only=True)
class Validated:
    """The task's loss, with all that is trained for the `regret`, the primary metric, and that which is monitored."""

    loss: float
    regret: float
    primary: Score
    monitored: tuple[str, Score] | None = None

    def beats(self, other: "Validated") -> bool:
        """Return whether the monitored metric is better by more than the paired error; within it less loss is."""
        if self.monitored is None or other.monitored is None:
            return self.regret < other.regret
        name, score = self.monitored
        change = metrics.difference(score, other.monitored[1])
        return metrics.lost(name, change.value) < 0 if change.significant else self.regret < other.regret


@torch.no_grad()
def validate(outputs: Sequence[Tensor], validation: Sample, *, monitor: str) -> Validated:
    """Judge what a network puts out before its heads by what is monitored, "loss" or the name of a metric.

    Raises:
        DataError: the loss is not finite, or the metric has too few jets.
    """
    raw = tuple(each.double() for each in outputs)
    loss, primary = float(validation.loss(raw)), validation.task.metrics[0]
    if not np.isfinite(loss):
        raise DataError("the validation loss is not finite; look for extreme features among the validation jets")
    watched = primary if monitor == "loss" else monitor
    found = validation.scores(raw, {watched, primary})
    monitored = None if monitor == "loss" else (monitor, found[monitor])
    return Validated(loss=loss, regret=loss, primary=found[primary], monitored=monitored)
