"""How good an epoch is on the validation jets, and whether it is better than another."""

from dataclasses import dataclass

import numpy as np
import torch

from hepprune import metrics
from hepprune.errors import DataError
from hepprune.metrics import Score
from hepprune.network import Network
from hepprune.sample import Sample


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
def validate(network: Network, validation: Sample, *, quantised: bool, monitor: str) -> Validated:
    """Judge a network by what is monitored, "loss" or the name of a metric.

    Raises:
        DataError: the loss is not finite, or the metric has too few jets.
    """
    raw = tuple(each.double() for each in network.raw(validation.x, quantised=quantised))
    loss, primary = float(validation.loss(raw)), validation.task.metrics[0]
    if not np.isfinite(loss):
        raise DataError("the validation loss is not finite; look for extreme features among the validation jets")
    watched = primary if monitor == "loss" else monitor
    found = validation.scores(raw, {watched, primary})
    monitored = None if monitor == "loss" else (monitor, found[monitor])
    return Validated(loss=loss, regret=loss, primary=found[primary], monitored=monitored)
