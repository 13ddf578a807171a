"""A front from one training: down a ladder of budgets, on each of which the network settles for a while and is kept.

The network of a rung begins as that of the rung above, with its weights and its choice of digits and bits, and each of
them may still come back. On a rung they are chosen anew while less and less is allowed, and held for the rest of it
(`narrowing`), under a learning rate of its own: where the whole descent was one training under one rate, the networks
on its way had weights that were still in motion.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from hepprune import metrics
from hepprune.errors import BudgetMissedError
from hepprune.hardware.resources import Budget, Estimate
from hepprune.metrics.scores import Stated
from hepprune.network import Network
from hepprune.pruning.structure import surgery
from hepprune.search.allocation import bits
from hepprune.search.allocation.competition import Narrowing
from hepprune.search.greedy import fitted, key_of, release_digits, scored
from hepprune.search.moves import knobs
from hepprune.search.stages import Problem, Settings
from hepprune.store import Store
from hepprune.training import Fit

_OCTAVES = (2, -3)  # of the budget's LUT, the largest first
_PER_OCTAVE = (2, 6)  # rungs, at least and at most
_AMPLE = 400  # epochs of a rung; more are better spent on rungs between those there are
_LEAST = 3  # epochs of a rung


@dataclass(frozen=True, kw_only=True)
class Rung:
    """What a network was allowed, what it is estimated to take, and its scores on validation jets."""

    lut: float
    estimate: Estimate
    scores: dict[str, Stated]


@dataclass(frozen=True)
class Kept:
    """A network of a front, as it is built, and what is known of it."""

    network: Network
    rung: Rung


def ladder(budget: Budget, most: float, *, epochs: int = 0) -> tuple[float, ...]:
    """Return the LUT of each rung, falling, from four times those of a budget to an eighth, half an octave apart.

    They are closer, down to a sixth of an octave, where each still has `_AMPLE` of the epochs. What is more than
    `most`, that of the whole network, is left out.
    """
    lut = budget.limits().get("lut", most)
    first, last = _OCTAVES
    each = int(np.clip((epochs // _AMPLE - 1) // (first - last), *_PER_OCTAVE))
    steps = range(first * each, last * each - 1, -1)
    limits = dict.fromkeys(lut * 2.0 ** (step / each) for step in steps)  # all the same where the budget is none
    return tuple(limit for limit in limits if limit <= most) or (most,)


def training(settings: Settings) -> Fit:
    """Return the training of a whole descent, that of an allocation."""
    return settings.allocate or settings.settle


def share(settings: Settings, n_rungs: int) -> Fit:
    """Return the training of one rung: an equal part of the epochs of all, and no fewer than `_LEAST`."""
    whole = training(settings)
    return replace(whole, epochs=max(whole.epochs // n_rungs, _LEAST))


def descend(
    network: Network,
    problem: Problem,
    rungs: Sequence[float],
    *,
    state: Path | None = None,
    advance: Callable[[Rung], None] = lambda _: None,
    trained: Callable[[int], None] = lambda _: None,
) -> tuple[Kept, ...]:
    """Return the network kept on each rung; the epochs of the allocation are those of all, in equal parts.

    What else the budget limits is limited on every rung. Every rung is saved under `state`, from where an interrupted
    descent goes on and ends as if it had not been. The first rung that cannot be reached ends the ladder.

    Raises:
        BudgetMissedError: even one digit a layer is too much for the first rung.
        NetworkError: the network is not a chain of dense layers that read features or ReLUs in fixed point.
    """
    opened, finest = bits.opened(release_digits(network), problem.train)
    keep, key = Store(state), [*key_of(network, problem), *rungs] if state else None
    kept: list[Kept] = []
    own = share(problem.settings, len(rungs))
    for index, lut in enumerate(rungs):
        named = f"rung_{index + 1}"
        if keep.has(named, key):
            trained(own.epochs)
        allowed = replace(problem.budget, resources=replace(problem.budget.resources, lut=lut))
        step = Narrowing(train=problem.train, price=problem.price, budget=allowed, finest=finest)
        settle = partial(_settle, opened, problem, step=step, fit=own, index=index, trained=trained)
        try:
            opened, rung = keep.step(Rung, named, key, settle)
        except BudgetMissedError:
            if not kept:
                raise
            break  # those below allow even less
        kept.append(Kept(built(opened, problem), rung))
        advance(rung)
    return tuple(kept)


def _settle(
    opened: Network, problem: Problem, *, step: Narrowing, fit: Fit, index: int, trained: Callable[[int], None]
) -> tuple[Network, Rung]:
    """Return the network at the end of a rung, still open, and what is known of it as built."""
    begun = opened.clone()
    bits.calibrate(begun, problem.train)
    found = fitted(begun, problem, fit, index=index, prepare=step, trained=trained)
    network = built(found, problem)
    scores = metrics.stated(scored(network, problem))
    return found, Rung(lut=step.budget.limits()["lut"], estimate=problem.price(network), scores=scores)


def built(opened: Network, problem: Problem) -> Network:
    """Return a copy of an open network as it is built."""
    return knobs.settled(surgery.shrink(bits.finished(opened.clone(), problem.train, problem.validation)))
