"""Paths from the best plan to the cheapest, each step the cheapest in loss per share of the limits that it frees.

A path weighs the limits against one another by fixed weights. Its steps lie on the convex hull of each layer's options,
so that steps sorted by their price are what a greedy search takes, and its plans are optimal for some prices of the
limits (Lagrangian relaxation; Sinha and Zoltners 1979 for one limit). The weights come from what the best plan uses,
not from the budget, so that a larger budget has the same plans to choose from, and more of them.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from hepprune.search.plans.knapsack import Floats, Knapsack
from hepprune.search.plans.pareto import Picks

_SHARES = (0.25, 0.5, 0.75)


@dataclass(frozen=True)
class Path:
    """Steps in order: the choice changed and its new option, with loss (n + 1,) and use (n + 1, n_limits) after each.

    The first entry of loss and use is that of `start`.
    """

    start: Picks
    steps: tuple[tuple[int, int], ...]
    losses: Floats
    uses: Floats

    def picks(self, n_steps: int) -> Picks:
        """Return the plan after that many steps."""
        picks = list(self.start)
        for choice, option in self.steps[:n_steps]:
            picks[choice] = option
        return tuple(picks)


@dataclass(frozen=True)
class PathPlan:
    """A plan on a path: after `n_steps` of it, and perhaps one more change of a single choice."""

    path: Path
    n_steps: int
    extra: tuple[int, int] | None
    loss: float

    @property
    def picks(self) -> Picks:
        """The plan."""
        picks = list(self.path.picks(self.n_steps))
        if self.extra is not None:
            picks[self.extra[0]] = self.extra[1]
        return tuple(picks)


def best(knapsack: Knapsack, share: float = 1.0) -> Picks | None:
    """Return the plan of least loss among all paths and single changes of them, None where none fits."""
    found = search(list(paths(knapsack)), knapsack, share)
    return None if found is None else found.picks


def search(candidates: list[Path], knapsack: Knapsack, share: float = 1.0) -> PathPlan | None:
    """Return the best plan that fits a share of the limits: on a path, or one change away from it."""
    winner: PathPlan | None = None
    for path in candidates:
        fitting = np.flatnonzero(knapsack.fits(path.uses, share))
        if len(fitting) and (winner is None or path.losses[fitting[0]] < winner.loss):
            winner = PathPlan(path, int(fitting[0]), None, float(path.losses[fitting[0]]))
    for path in candidates:
        winner = _one_change(path, knapsack, share, winner)
    return winner


def _one_change(path: Path, knapsack: Knapsack, share: float, winner: PathPlan | None) -> PathPlan | None:
    """Return a better plan than the winner that is one change away from the path, or the winner."""
    current = np.array([path.picks(n) for n in range(len(path.losses))])
    for choice, (losses, uses) in enumerate(zip(knapsack.losses, knapsack.uses, strict=True)):
        loss = path.losses[:, None] - losses[current[:, choice], None] + losses
        better = loss < (np.inf if winner is None else winner.loss) - 1e-15
        if not better.any():
            continue
        rows, columns = np.nonzero(better)
        use = path.uses[rows] - uses[current[rows, choice]] + uses[columns]
        fits = knapsack.fits(use, share)
        if fits.any():
            rows, columns = rows[fits], columns[fits]
            place = int(np.argmin(loss[rows, columns]))
            n_steps, option = int(rows[place]), int(columns[place])
            winner = PathPlan(path, n_steps, (choice, option), float(loss[n_steps, option]))
    return winner


def paths(knapsack: Knapsack) -> Iterator[Path]:
    """Yield a path for each weighing of the limits: each alone, each two in three ways, and all together."""
    start, n = knapsack.start, len(knapsack.names)
    size = np.maximum(knapsack.use(start), 1e-300)
    weighings = list(np.eye(n))
    weighings += [share * a + (1 - share) * b for a, b in combinations(weighings[:], 2) for share in _SHARES]
    weighings += [np.full(n, 1 / max(n, 1))] if n != 1 else []
    for weights in weighings:
        yield _path(knapsack, start, weights / size)


def _path(knapsack: Knapsack, start: Picks, weights: Floats) -> Path:
    steps = []
    for choice, (losses, uses) in enumerate(zip(knapsack.losses, knapsack.uses, strict=True)):
        steps += [(price, choice, option) for price, option in _hull(losses, uses @ weights, start[choice])]
    steps.sort(key=lambda step: step[:2])
    loss, use, picks = knapsack.loss(start), knapsack.use(start), list(start)
    losses_after, uses_after = [loss], [use]
    for _, choice, option in steps:
        loss = loss + knapsack.losses[choice][option] - knapsack.losses[choice][picks[choice]]
        use = use + knapsack.uses[choice][option] - knapsack.uses[choice][picks[choice]]
        picks[choice] = option
        losses_after.append(loss)
        uses_after.append(use)
    found = tuple((choice, option) for _, choice, option in steps)
    return Path(start, found, np.array(losses_after), np.array(uses_after))


def _hull(losses: Floats, use: Floats, start: int) -> list[tuple[float, int]]:
    """Return the steps down the lower convex hull of loss against use: the price of each, and its option."""
    steps: list[tuple[float, int]] = []
    current = start
    while True:
        freed = use[current] - use
        cheaper = np.flatnonzero(freed > 0)
        if not len(cheaper):
            return steps
        prices = (losses[cheaper] - losses[current]) / freed[cheaper]
        lowest = cheaper[prices <= prices.min()]
        nxt = int(lowest[np.argmax(freed[lowest])])
        steps.append((float(prices.min()), nxt))
        current = nxt
