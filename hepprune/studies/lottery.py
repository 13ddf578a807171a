"""Lottery tickets: sparse networks that train as well as the dense one from their own first weights.

Frankle and Carbin, arXiv:1803.03635. A ticket is found by training, cutting the smallest surviving weights and
rewinding the others to where they started, round by round. It is worth something only against its controls: the dense
network, the same mask on newly drawn weights, and a random mask as sparse.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor
from dataclasses import asdict, dataclass
from functools import cached_property, partial
from itertools import groupby
from pathlib import Path

import torch
from torch import Tensor

from hepprune import executors, metrics, training
from hepprune.files import content_hash
from hepprune.metrics.scores import Stated, mean, means, primary
from hepprune.network import Network, identity
from hepprune.pruning import importance, masks, plan, schedules, selection
from hepprune.store import Store
from hepprune.task.sample import Split
from hepprune.training import Fit

KINDS = ("ticket", "new weights", "random mask")

# Returns a network whose weights are drawn from a seed.
Draw = Callable[[int], Network]


@dataclass(frozen=True)
class Trial:
    """One training of one seed: `kind` is "dense" or one of KINDS; scores on the test sample."""

    seed: int
    kind: str
    sparsity: float
    scores: dict[str, Stated]


@dataclass(frozen=True)
class LotteryMeans:
    """The mean over seeds at a sparsity; `lost` is what is lost of the primary metric on the dense network of a seed.

    Errors are those of the mean, None where there is one seed.
    """

    kind: str
    sparsity: float
    scores: dict[str, Stated]
    lost: Stated


@dataclass(frozen=True, kw_only=True)
class Game(Split):
    """What tickets are drawn for: the jets, how each training goes, how far and in how many rounds weights are cut.

    Weights are ranked in each layer alone, and the layer that gives the logits is cut at half the rate, as in the
    paper; `sparsity` is that of the other layers. `rewind_epochs` > 0 rewinds to an early epoch in place of the first
    weights (Frankle et al., arXiv:1903.01611).
    """

    fit: Fit
    sparsity: float = 0.98
    rounds: int = 10
    rewind_epochs: int = 0

    @cached_property
    def key(self) -> str:
        """The content hash of all that one training depends on, but for its network and seed."""
        return content_hash([part.key for part in self.parts.values()], asdict(self.fit))


def play(
    draw: Draw,
    game: Game,
    *,
    seeds: Sequence[int],
    state: Path | None = None,
    executor: Executor | None = None,
    advance: Callable[[int], None] = lambda _: None,
) -> list[Trial]:
    """Return every trial of every seed; `advance(1)` is called after each training.

    Each training is kept under `state` as soon as it is done, so that a game that was interrupted goes on from there.
    Seeds are shared among the workers of an `executor`; `advance` is then told of a seed's trainings together.

    Raises:
        NetworkError: the sparsity is outside [0, 1], or a layer would be left empty.
    """
    keep = Store(state and state.resolve())
    if executor is None:
        return [trial for seed in seeds for trial in _seed(draw, game, keep, seed, advance=advance)]
    one, per_seed = partial(_seed, draw, game, keep), n_trainings(game, 1)
    found = executors.gather(executor, one, seeds, advance=lambda n: advance(n * per_seed))
    return [trial for trials in found for trial in trials]


def _seed(
    draw: Draw, game: Game, keep: Store, seed: int, *, advance: Callable[[int], None] = lambda _: None
) -> list[Trial]:
    trials = []
    for trial in _rounds(draw, game, seed, keep):
        trials.append(trial)
        advance(1)
    return trials


def n_trainings(game: Game, n_seeds: int) -> int:
    """Return how many trainings `play` makes."""
    return n_seeds * (1 + len(KINDS) * game.rounds)


def points(trials: Sequence[Trial]) -> list[LotteryMeans]:
    """Return the means over seeds, by kind and sparsity."""
    dense = {trial.seed: primary(trial.scores).value for trial in trials if trial.kind == "dense"}

    def place(trial: Trial) -> tuple[str, float]:
        return trial.kind, round(trial.sparsity, 4)

    return [_mean(*at, list(group), dense) for at, group in groupby(sorted(trials, key=place), place)]


def _mean(kind: str, sparsity: float, trials: list[Trial], dense: dict[int, float]) -> LotteryMeans:
    metric = next(iter(trials[0].scores))
    lost = [metrics.lost(metric, trial.scores[metric].value - dense[trial.seed]) for trial in trials]
    return LotteryMeans(kind, sparsity, means([trial.scores for trial in trials]), mean(lost))


def sparsest(found: Sequence[LotteryMeans], kind: str, *, within: float = 0.01) -> float:
    """Return the sparsity up to which a kind loses no more than `within` on the dense network, 0 where it never does.

    The first point that loses more ends it, whatever comes after.
    """
    reached = 0.0
    for point in sorted((p for p in found if p.kind == kind), key=lambda p: p.sparsity):
        if point.lost.value > within:
            break
        reached = point.sparsity
    return reached


def _rounds(draw: Draw, game: Game, seed: int, keep: Store) -> Iterator[Trial]:
    targets = schedules.sparsities("geometric", game.sparsity, rounds=game.rounds)
    half = (1 - (1 - game.sparsity) ** (1 / game.rounds)) / 2  # the last layer is cut at half the rate
    # the other seed gives weights that no ticket has started from
    first, fresh = (_early(draw(s), game, seed, keep) for s in (seed, seed + 2**20))
    trained = _trained(first, game, seed, keep)
    yield _tried(first, trained, game, seed, "dense")
    for index, target in enumerate(targets, start=1):
        scores = importance.scores(trained, importance.magnitude, "weight")
        final = {trained.kernels[-1].name}
        others, last = ({n: s for n, s in scores.items() if (n in final) == is_last} for is_last in (False, True))
        parts = ((others, target), (last, 1 - (1 - half) ** index))
        cuts = [selection.select(trained, part, aim, scope="local") for part, aim in parts if part]
        masked = masks.apply(trained, [cut for each in cuts for cut in each])
        ticket = masked_as(first, masked)
        trained = _trained(ticket, game, seed, keep)
        yield _tried(ticket, trained, game, seed, "ticket")
        yield _control(masked_as(fresh, masked), game, seed, "new weights", keep)
        yield _control(shuffled(ticket, first, seed=seed), game, seed, "random mask", keep)


def _early(network: Network, game: Game, seed: int, keep: Store) -> Network:
    if not game.rewind_epochs:
        return network
    short = Fit(
        epochs=game.rewind_epochs,
        batch_size=game.fit.batch_size,
        learning_rate=game.fit.learning_rate,
        quantised=game.fit.quantised,
    )
    train = partial(training.fit, network, game.train, game.validation, settings=short, seed=seed)
    return keep.network("early", [identity(network), game.key, seed, game.rewind_epochs], lambda: train()[0])


def _trained(network: Network, game: Game, seed: int, keep: Store) -> Network:
    train = partial(training.fit, network, game.train, game.validation, settings=game.fit, seed=seed)
    return keep.network("trained", [identity(network), game.key, seed], lambda: train()[0])


def _control(network: Network, game: Game, seed: int, kind: str, keep: Store) -> Trial:
    """Return the trial of a network that nothing starts from, so that only its figures are kept."""
    key = [identity(network), game.key, seed, kind]
    return keep.value(
        Trial, "control", key, lambda: _tried(network, _trained(network, game, seed, Store()), game, seed, kind)
    )


def _tried(start: Network, trained: Network, game: Game, seed: int, kind: str) -> Trial:
    scores = training.scores(trained, game.test, quantised=game.fit.quantised)
    return Trial(seed, kind, plan.sparsity(start), metrics.stated(scores))


@torch.no_grad()
def masked_as(network: Network, masked: Network) -> Network:
    """Return a copy of a network with another's mask."""
    copy = network.clone()
    for limit, other in _masks(copy, masked):
        limit.copy_(other)
    return copy


@torch.no_grad()
def shuffled(masked: Network, whole: Network, *, seed: int) -> Network:
    """Return `whole` with the mask of `masked`, its places drawn anew within each layer."""
    copy, generator = whole.clone(), torch.Generator().manual_seed(seed)
    for limit, other in _masks(copy, masked):
        limit.copy_(other.flatten()[torch.randperm(other.numel(), generator=generator)].view_as(other))
    return copy


def _masks(network: Network, masked: Network) -> Iterator[tuple[Tensor, Tensor]]:
    return ((own.digit_limit, other.digit_limit) for own, other in zip(network.kernels, masked.kernels, strict=True))
