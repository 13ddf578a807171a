"""Iterative pruning: cut a little, fine-tune, cut again, until the schedule ends (Han et al., arXiv:1506.02626)."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch

from hepprune import metrics, training
from hepprune.metrics.scores import Stated
from hepprune.network import Network
from hepprune.pruning import plan, schedules
from hepprune.task.sample import Sample
from hepprune.training import Fit


@dataclass(frozen=True, kw_only=True)
class Round:
    """Where the network stands after one round, on the validation jets; round 0 is where it started.

    `target` is the schedule's fraction of units, `sparsity` the fraction of weights that do not act, as measured after
    the cut and the fine-tuning. `seconds` is the time since the start.
    """

    target: float
    sparsity: float
    scores: dict[str, Stated]
    loss: float
    seconds: float = 0.0


def prune(
    network: Network,
    train: Sample,
    validation: Sample,
    *,
    schedule: str | Sequence[float] = "polynomial",
    sparsity: float | None = None,
    rounds: int = 5,
    granularity: str = "weight",
    fine_tune: Fit,
    statistics_jets: int = 16384,
    seed: int = 0,
    advance: Callable[[int], None] = lambda _: None,
    **ranking: Any,
) -> tuple[Network, tuple[Round, ...]]:
    """Return the network pruned round by round along a schedule, fine-tuned after each cut, and the history.

    `schedule` is a name in `schedules.SCHEDULES` with its target `sparsity` and number of rounds, or the sparsities
    themselves. Importance is measured anew each round, on the first `statistics_jets` training jets. Masks hold and
    quantisers stay on through the fine-tuning, which restores its best epoch. `advance(1)` is called after each epoch.
    The other options, such as `method`, are those of `plan.prune`.

    Raises:
        NetworkError: as `plan.prune` and `schedules.sparsities` do.
        DataError: a loss or a gradient is not finite.
    """
    started = time.perf_counter()
    measured = partial(_measured, validation=validation, quantised=fine_tune.quantised)
    history = [measured(network, target=0.0)]
    reached = 0.0
    for index, target in enumerate(schedules.sparsities(schedule, sparsity, rounds=rounds)):
        # whole layers leave at once, so that a round takes its share of those that are left
        left = 1 - reached if granularity == "layer" and reached < 1 else 1.0
        ranking |= {"sparsity": target if left == 1 else (target - reached) / left, "seed": seed}
        network = plan.prune(network, train.first(statistics_jets), granularity=granularity, **ranking)
        network, _ = training.fit(network, train, validation, settings=fine_tune, seed=seed + index, advance=advance)
        reached, seconds = target, time.perf_counter() - started
        history.append(replace(measured(network, target=target), seconds=seconds))
    return network, tuple(history)


@torch.no_grad()
def _measured(network: Network, validation: Sample, *, target: float, quantised: bool) -> Round:
    raw = [each.double() for each in network.raw(validation.x, quantised=quantised)]
    scores = metrics.stated(validation.scores(raw))
    return Round(target=target, sparsity=plan.sparsity(network), scores=scores, loss=float(validation.loss(raw)))
