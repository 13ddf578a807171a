"""A comparison of pruning methods: each at the same sparsities, with the same fine-tuning, over the same seeds.

A method goes on from one sparsity to the next, cutting and fine-tuning each time. Two methods of one seed start from
the same network and are judged on the same jets, so that their difference is known better than either of them.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor
from dataclasses import asdict, dataclass
from functools import cached_property, partial
from itertools import groupby
from pathlib import Path

import numpy as np

from hepprune import executors, metrics, training
from hepprune.errors import NetworkError, check_known
from hepprune.files import content_hash
from hepprune.metrics.scores import Stated, mean, means, primary
from hepprune.network import Network, identity
from hepprune.pruning import granularity as granularities
from hepprune.pruning import importance, masks, plan, schedules, selection
from hepprune.pruning.structure import surgery
from hepprune.store import Store
from hepprune.task.sample import Split
from hepprune.training import Fit

SPARSITIES = (0.5, 0.7, 0.8, 0.9, 0.95)
STATISTICS_JETS = 16_384
UNPRUNED = "unpruned"

# A network to its predicted LUTs, None where it has no price.
Luts = Callable[[Network], float | None]


@dataclass(frozen=True)
class Method:
    """A criterion, what it cuts, and whether it ranks all layers together; written fisher:neuron@local."""

    criterion: str
    granularity: str = "weight"
    scope: str = "global"

    def __str__(self) -> str:
        """Return the shortest text that `parse` reads as this method."""
        granularity = "" if self.granularity == "weight" else f":{self.granularity}"
        return f"{self.criterion}{granularity}{'' if self.scope == 'global' else '@' + self.scope}"

    @classmethod
    def parse(cls, text: str) -> "Method":
        """Read criterion[:granularity][@scope].

        Raises:
            NetworkError: a name is unknown, or the granularity is a pattern N:M, which has a sparsity of its own.
        """
        rest, _, scope = text.strip().partition("@")
        criterion, _, granularity = rest.partition(":")
        method = cls(criterion, granularity or "weight", scope or "global")
        importance.find(criterion)
        if granularities.parse(method.granularity) is not None:
            raise NetworkError(f"'{text}': a pattern N:M has one sparsity only, so there is no curve to compare")
        check_known("scope", method.scope, selection.SCOPES, NetworkError)
        return method


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One network: its method and seed, the sparsity asked for and reached, its figures on the test jets with errors.

    `sparsity` is the fraction of units that are cut, `zeros` that of the unpruned network's weights that act no more.
    """

    method: str
    seed: int
    sparsity: float
    zeros: float
    scores: dict[str, Stated]
    lut: float | None


@dataclass(frozen=True, kw_only=True)
class ComparisonMeans:
    """The mean over seeds of one method at one sparsity; errors are those of the mean, None where there is one seed.

    `gap` is the primary metric less that of the first method on the same seeds and jets.
    """

    method: str
    sparsity: float
    zeros: float
    scores: dict[str, Stated]
    lut: float | None
    gap: Stated

    @property
    def significant(self) -> bool:
        """Whether the gap to the first method exceeds twice its error; one that does not may be chance."""
        return self.gap.error is not None and abs(self.gap.value) > 2 * self.gap.error


@dataclass(frozen=True, kw_only=True)
class Contest(Split):
    """What methods are compared on: jets, sparsities, the fine-tuning after each cut, and the price in LUTs.

    Raises:
        NetworkError: there are no sparsities, or they fall or leave [0, 1].
    """

    methods: tuple[Method, ...]
    fine_tune: Fit
    luts: Luts
    sparsities: tuple[float, ...] = SPARSITIES

    def __post_init__(self) -> None:
        """Refuse before anything is trained what no method can be asked for."""
        if not self.sparsities:
            raise NetworkError("there are no sparsities to compare at")
        schedules.sparsities(self.sparsities)

    @cached_property
    def key(self) -> str:
        """The content hash of all that one step depends on, but for its network, method, sparsity and seed."""
        return content_hash([part.key for part in self.parts.values()], asdict(self.fine_tune))


def run(
    baseline: Callable[[int], Network],
    contest: Contest,
    *,
    seeds: Sequence[int],
    state: Path | None = None,
    executor: Executor | None = None,
    advance: Callable[[int], None] = lambda _: None,
) -> list[Entry]:
    """Return an entry per seed, method and sparsity, and one per seed of the unpruned network.

    `advance(1)` is called after each step. Each is kept under `state` as soon as it is done. Seeds are shared among the
    workers of an `executor`; `advance` is then told of a seed's steps together.

    Raises:
        NetworkError: a layer would be left empty.
    """
    keep = Store(state and state.resolve())
    if executor is None:
        return [e for seed in seeds for e in _entries(contest, keep, (seed, baseline(seed)), advance=advance)]
    one, per_seed = partial(_entries, contest, keep), len(contest.methods) * len(contest.sparsities)
    starts = [(seed, baseline(seed)) for seed in seeds]
    found = executors.gather(executor, one, starts, advance=lambda n: advance(n * per_seed))
    return [entry for entries in found for entry in entries]


def _entries(
    contest: Contest, keep: Store, start: tuple[int, Network], *, advance: Callable[[int], None] = lambda _: None
) -> list[Entry]:
    lane = _Lane(contest, *start, keep)
    entries = [lane.entry(UNPRUNED, lane.start, 0.0)]
    for method in contest.methods:
        for entry in lane.follow(method):
            entries.append(entry)
            advance(1)
    return entries


@dataclass(frozen=True)
class _Lane:
    """One seed of a contest: the network all methods start from, and where their results are kept."""

    contest: Contest
    seed: int
    start: Network
    keep: Store

    def follow(self, method: Method) -> Iterator[Entry]:
        """Yield the entries of one method, sparsity after sparsity."""
        network = self.start
        for sparsity in self.contest.sparsities:
            key = [identity(network), self.contest.key, str(method), sparsity, self.seed]
            network = self.keep.network("pruned", key, partial(self._step, network, method, sparsity))
            yield self.entry(str(method), network, sparsity)

    def _step(self, network: Network, method: Method, sparsity: float) -> Network:
        contest = self.contest
        cut = plan.prune(
            network,
            contest.train.first(STATISTICS_JETS),
            method=method.criterion,
            sparsity=sparsity,
            granularity=method.granularity,
            scope=method.scope,
            keep=1 if method.scope == "global" else 0,
            seed=self.seed,
        )
        return training.fit(cut, contest.train, contest.validation, settings=contest.fine_tune, seed=self.seed)[0]

    def entry(self, method: str, network: Network, sparsity: float) -> Entry:
        """Return the figures of a network on the test jets."""
        scores, smaller = training.scores(network, self.contest.test), surgery.shrink(network)
        zeros = 1 - masks.nonzero_weights(smaller) / sum(kernel.weight.numel() for kernel in self.start.kernels)
        return Entry(
            method=method,
            seed=self.seed,
            sparsity=sparsity,
            zeros=zeros,
            scores=metrics.stated(scores),
            lut=self.contest.luts(smaller),
        )


def points(entries: Sequence[Entry]) -> list[ComparisonMeans]:
    """Return the means over seeds, by method in the order they ran and by sparsity."""
    order = {method: place for place, method in enumerate(dict.fromkeys(entry.method for entry in entries))}
    first = next((method for method in order if method != UNPRUNED), UNPRUNED)
    reference = {(e.seed, e.sparsity): primary(e.scores).value for e in entries if e.method == first}

    def place(entry: Entry) -> tuple[int, float]:
        return order[entry.method], entry.sparsity

    return [_mean(list(group), reference) for _, group in groupby(sorted(entries, key=place), place)]


def _mean(entries: list[Entry], reference: dict[tuple[int, float], float]) -> ComparisonMeans:
    own = [primary(entry.scores).value for entry in entries]
    gaps = [value - reference.get((e.seed, e.sparsity), value) for e, value in zip(entries, own, strict=True)]
    luts = [e.lut for e in entries if e.lut is not None]
    lut = float(np.mean(luts)) if len(luts) == len(entries) else None
    scores, zeros = means([e.scores for e in entries]), float(np.mean([e.zeros for e in entries]))
    return ComparisonMeans(
        method=entries[0].method, sparsity=entries[0].sparsity, zeros=zeros, scores=scores, lut=lut, gap=mean(gaps)
    )
