"""Links: a neuron that is cut takes its column of the next layer along, which a sum over layers does not know.

A layer costs its own price times the share of its inputs that are left. Around a given plan that is a sum over layers
again, to first order, so that every solver can work on it, and the plan it finds is where the next sum is taken
(sequential linear approximation).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from hepprune.hardware.resources import RESOURCES, Resources
from hepprune.search.plans import pareto
from hepprune.search.plans.choices import Choice, Knapsack, Option, Problem
from hepprune.search.plans.pareto import Picks, Plan

Floats = NDArray[np.float64]
_DESCENTS = 40


@dataclass(frozen=True)
class Links:
    """A problem with the links between its layers.

    `kept[k]` is what each option leaves of the neurons of choice k, `feeders[k]` are the choices whose neurons choice k
    reads, and `shrinks` says which limits are on cells, which fewer inputs save.
    """

    problem: Problem
    knapsack: Knapsack
    options: tuple[tuple[Option, ...], ...]
    kept: tuple[Floats, ...]
    feeders: tuple[tuple[int, ...], ...]
    shrinks: NDArray[np.bool_]

    @classmethod
    def of(cls, problem: Problem) -> "Links":
        """Take the links from the problem's tables."""
        knapsack = Knapsack.of(problem)
        choices = [choice for table in problem.tables for choice in table.choices]
        options = tuple(
            tuple(choice.options[place] for place in allowed)
            for choice, allowed in zip(choices, knapsack.allowed, strict=True)
        )
        kept = tuple(np.array([option.kept for option in each]) for each in options)
        places = {place: index for index, place in enumerate(problem.places)}
        feeders = tuple(
            tuple(
                places[table.model, name]
                for name in table.feeders.get(choice.layer, ())
                if (table.model, name) in places
            )
            for table in problem.tables
            for choice in table.choices
        )
        shrinks = np.array([name in RESOURCES for name in knapsack.names], dtype=bool)
        return cls(problem, knapsack, options, kept, feeders, shrinks)

    def thinned(self, left: float) -> Picks:
        """Return the plan of least loss in which every layer keeps about that share of its neurons, where it can."""
        picks = []
        for losses, kept in zip(self.knapsack.losses, self.kept, strict=True):
            far = np.abs(kept - left)
            picks.append(int(np.lexsort((losses, far))[0]))
        return tuple(picks)

    def picks(self, plan: Plan) -> Picks:
        """Return a plan's places among the options, whatever the plan says they cost."""
        known = [{option.key: place for place, option in enumerate(each)} for each in self.options]
        return tuple(each[pick.option.key] for each, pick in zip(known, plan.picks, strict=True))

    def arriving(self, choice: int, picks: Sequence[int]) -> Floats:
        """Return the share of what a layer costs alone that is left, for each limit, (n_limits,)."""
        feeders = self.feeders[choice]
        left = float(np.mean([self.kept[feeder][picks[feeder]] for feeder in feeders])) if feeders else 1.0
        return np.where(self.shrinks, left, 1.0)

    def use(self, picks: Sequence[int]) -> Floats:
        """Return what a plan uses of each limit, with its links, (n_limits,)."""
        total: Floats = self.knapsack.fixed.copy()
        for choice, uses in enumerate(self.knapsack.uses):
            total += uses[picks[choice]] * self.arriving(choice, picks)
        return total

    def around(self, picks: Picks) -> Problem:
        """Return the problem in which each option costs what it would cost beside the other layers of a plan."""
        tables, choice = [], 0
        for table in self.problem.tables:
            choices = []
            for each in table.choices:
                choices.append(Choice(each.layer, tuple(self._linked(choice, picks))))
                choice += 1
            tables.append(replace(table, choices=tuple(choices)))
        return replace(self.problem, tables=tuple(tables))

    def _linked(self, choice: int, picks: Picks) -> list[Option]:
        own = self.arriving(choice, picks)
        readers = [reader for reader, feeders in enumerate(self.feeders) if choice in feeders]
        found = []
        for place, option in enumerate(self.options[choice]):
            use = self.knapsack.uses[choice][place] * own
            changed = [*picks]
            changed[choice] = place
            for reader in readers:
                more = self.arriving(reader, changed) - self.arriving(reader, picks)
                use = use + self.knapsack.uses[reader][picks[reader]] * more
            cells = dict(zip(self.knapsack.names, use.tolist(), strict=True))
            resources = {name: cells[name] for name in RESOURCES if name in cells}
            found.append(replace(option, resources=Resources(**resources)))
        return found

    def improve(self, picks: Picks, limits: Floats) -> Picks:
        """Return a plan with less over the limits, or else less loss, by changing one or two layers at a time."""
        current, best = picks, self._judge(picks, limits)
        for _ in range(_DESCENTS):
            for tried in self._neighbours(current):
                score, found = min(((self._judge(each, limits), each) for each in tried), default=(best, current))
                if score < best:
                    current, best = found, score
                    break
            else:
                return current
        return current

    def better(self, picks: Picks, limits: Floats) -> list[Picks]:
        """Return the plans of less loss that are one or two changes away and within the limits, least loss first."""
        loss = self.knapsack.loss(picks)
        found = [each for tried in self._neighbours(picks) for each in tried if self.knapsack.loss(each) < loss]
        return sorted((each for each in found if self._judge(each, limits)[0] == 0), key=self.knapsack.loss)

    def _neighbours(self, picks: Picks) -> Iterator[list[Picks]]:
        """Yield the plans with one other option, then those with two."""
        options = [pareto.nondominated(losses, np.column_stack([uses, kept])) for losses, uses, kept in self._numbers()]
        singles = [((choice, int(place)),) for choice, places in enumerate(options) for place in places]
        yield [_changed(picks, move) for move in singles]
        yield [_changed(picks, (a, b)) for (a,), (b,) in combinations(singles, 2) if a[0] != b[0]]

    def _numbers(self) -> list[tuple[Floats, Floats, Floats]]:
        return list(zip(self.knapsack.losses, self.knapsack.uses, self.kept, strict=True))

    def _judge(self, picks: Picks, limits: Floats) -> tuple[float, float]:
        use = self.use(picks)
        with np.errstate(divide="ignore", invalid="ignore"):
            over = float(np.where(use > 0, use / limits, 0.0).max(initial=0.0))
        return max(over - 1.0, 0.0), self.knapsack.loss(picks)


def _changed(picks: Picks, moves: Sequence[tuple[int, int]]) -> Picks:
    changed = list(picks)
    for choice, place in moves:
        changed[choice] = place
    return tuple(changed)
