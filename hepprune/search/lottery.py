"""Lottery tickets: sparse networks that train to the full accuracy from their own first weights.

Frankle and Carbin, arXiv:1803.03635. A ticket is found by training, cutting the smallest surviving weights and
rewinding the others to where they started, round by round. It is worth something only against its controls: the dense
network, the same mask on newly drawn weights, and a random mask as sparse.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np
import torch

from hepprune import metrics, training
from hepprune.network import Network
from hepprune.pruning import plan, schedules
from hepprune.training import Fit, Sample

KINDS = ("ticket", "new weights", "random mask")

# Returns a network whose weights are drawn from a seed.
Draw = Callable[[int], Network]


@dataclass(frozen=True)
class Trial:
    """One training of one seed: `kind` is "dense" or one of KINDS; accuracy on the test sample, with its error."""

    seed: int
    kind: str
    sparsity: float
    accuracy: float
    accuracy_error: float


@dataclass(frozen=True)
class Point:
    """The mean accuracy over seeds at a sparsity; `error` is that of the mean, NaN where there is one seed."""

    kind: str
    sparsity: float
    accuracy: float
    error: float


@dataclass(frozen=True)
class Game:
    """What tickets are drawn for: the jets, how each training goes, how far and in how many rounds weights are cut.

    Weights are ranked in each layer alone; `rewind_epochs` > 0 rewinds to an early epoch in place of the first weights
    (Frankle et al., arXiv:1903.01611).
    """

    train: Sample
    validation: Sample
    test: Sample
    fit: Fit
    sparsity: float = 0.98
    rounds: int = 10
    rewind_epochs: int = 0


def play(
    draw: Draw, game: Game, *, seeds: Sequence[int], advance: Callable[[int], None] = lambda _: None
) -> list[Trial]:
    """Return every trial of every seed; `advance(1)` is called after each training.

    Raises:
        NetworkError: the sparsity is outside [0, 1], or a layer would be left empty.
    """
    trials: list[Trial] = []
    for seed in seeds:
        for trial in _rounds(draw, game, seed):
            trials.append(trial)
            advance(1)
    return trials


def n_trainings(game: Game, n_seeds: int) -> int:
    """Return how many trainings `play` makes."""
    return n_seeds * (1 + len(KINDS) * game.rounds)


def points(trials: Sequence[Trial]) -> list[Point]:
    """Return the means over seeds, by kind and sparsity."""

    def place(trial: Trial) -> tuple[str, float]:
        return trial.kind, round(trial.sparsity, 4)

    return [_mean(kind, sparsity, list(group)) for (kind, sparsity), group in groupby(sorted(trials, key=place), place)]


def _mean(kind: str, sparsity: float, trials: list[Trial]) -> Point:
    values = np.array([trial.accuracy for trial in trials])
    error = float(values.std(ddof=1) / np.sqrt(len(values))) if len(values) > 1 else float("nan")
    return Point(kind, sparsity, float(values.mean()), error)


def _rounds(draw: Draw, game: Game, seed: int) -> Iterator[Trial]:
    first = _early(draw(seed), game, seed)
    trained, dense = _trained(first, game, seed, "dense")
    yield dense
    for target in schedules.sparsities("geometric", game.sparsity, rounds=game.rounds):
        masked = plan.prune(trained, method="magnitude", sparsity=target, scope="local")
        ticket = masked_as(first, masked)
        trained, trial = _trained(ticket, game, seed, "ticket")
        yield trial
        yield _trained(masked_as(_early(draw(_other(seed)), game, seed), masked), game, seed, "new weights")[1]
        yield _trained(shuffled(ticket, first, seed=seed), game, seed, "random mask")[1]


def _other(seed: int) -> int:
    """Return a seed whose weights no ticket has started from."""
    return seed + 2**20


def _early(network: Network, game: Game, seed: int) -> Network:
    """Return the network at the epoch that tickets are rewound to."""
    if not game.rewind_epochs:
        return network
    short = Fit(game.rewind_epochs, game.fit.batch_size, game.fit.learning_rate, quantised=game.fit.quantised)
    return training.fit(network, game.train, game.validation, settings=short, seed=seed)[0]


def _trained(network: Network, game: Game, seed: int, kind: str) -> tuple[Network, Trial]:
    trained, _ = training.fit(network, game.train, game.validation, settings=game.fit, seed=seed)
    logits = training.evaluate(trained, game.test, quantised=game.fit.quantised)
    score = metrics.accuracy(logits, game.test.y.numpy())
    return trained, Trial(seed, kind, plan.sparsity(network), score.value, score.error)


@torch.no_grad()
def masked_as(network: Network, masked: Network) -> Network:
    """Return a copy of a network with another's mask."""
    copy = network.clone()
    for layer, other in zip(copy.weighted_layers, masked.weighted_layers, strict=True):
        layer.digit_limit.copy_(other.digit_limit)
    return copy


@torch.no_grad()
def shuffled(masked: Network, whole: Network, *, seed: int) -> Network:
    """Return `whole` with the mask of `masked`, its places drawn anew within each layer."""
    copy, generator = whole.clone(), torch.Generator().manual_seed(seed)
    for layer, other in zip(copy.weighted_layers, masked.weighted_layers, strict=True):
        limit = other.digit_limit.flatten()
        layer.digit_limit.copy_(limit[torch.randperm(len(limit), generator=generator)].view_as(other.digit_limit))
    return copy
