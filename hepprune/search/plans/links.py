"""Links: a neuron that is cut takes its column of the next layer along, which a sum over layers does not know.

A layer costs its own price times the share of its inputs that are left. Around a given plan that is a sum over layers
again, to first order, so that every solver can work on it (sequential linear approximation).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from hepprune.hardware.resources import RESOURCES, Resources
from hepprune.search.plans import pareto
from hepprune.search.plans.choices import Choice, Option, PlanProblem
from hepprune.search.plans.knapsack import Floats, Knapsack
from hepprune.search.plans.pareto import Picks, Plan

Plans = NDArray[np.int64]  # (n, n_choices), an option of each choice
_MOST_PAIRS = 20_000


@dataclass(frozen=True, kw_only=True)
class Links:
    """A problem with the links between its layers.

    `kept[k]` is what each option leaves of the neurons of choice k, `feeders[k]` are the choices whose neurons choice k
    reads, and `shrinks` says which limits are on cells, which fewer inputs save.
    """

    problem: PlanProblem
    knapsack: Knapsack
    kept: tuple[Floats, ...]
    feeders: tuple[tuple[int, ...], ...]
    shrinks: NDArray[np.bool_]

    @classmethod
    def of(cls, problem: PlanProblem) -> "Links":
        """Take the links from the problem's tables."""
        knapsack = Knapsack.of(problem)
        kept = tuple(np.array([option.kept for option in each]) for each in knapsack.options)
        places = {place: index for index, place in enumerate(problem.places)}
        both = ((table, choice) for table in problem.tables for choice in table.choices)
        named = ([(table.model, name) for name in table.feeders.get(choice.layer, ())] for table, choice in both)
        feeders = tuple(tuple(places[each] for each in own if each in places) for own in named)
        shrinks = np.array([name in RESOURCES for name in knapsack.names], dtype=bool)
        return cls(problem=problem, knapsack=knapsack, kept=kept, feeders=feeders, shrinks=shrinks)

    def plan(self, picks: Sequence[int]) -> Plan:
        """Return a plan of these options."""
        return pareto.plan(self.problem, self.knapsack, picks)

    def picks(self, plan: Plan) -> Picks:
        """Return a plan's places among the options, whatever the plan says they cost."""
        known = [{option.key: place for place, option in enumerate(each)} for each in self.knapsack.options]
        return tuple(each[pick.option.key] for each, pick in zip(known, plan.picks, strict=True))

    def losses(self, plans: Plans) -> Floats:
        """Return what plans (n, n_choices) lose where layers add up, (n,)."""
        return sum((losses[plans[:, k]] for k, losses in enumerate(self.knapsack.losses)), np.zeros(len(plans)))

    def uses(self, plans: Plans) -> Floats:
        """Return what plans (n, n_choices) use of each limit, with their links, (n, n_limits)."""
        total = np.tile(self.knapsack.fixed, (len(plans), 1))
        for choice, uses in enumerate(self.knapsack.uses):
            total += uses[plans[:, choice]] * self._arriving(choice, plans)
        return total

    def _arriving(self, choice: int, plans: Plans) -> Floats:
        """Return the share of what a layer costs alone that is left, for each plan and limit, (n, n_limits)."""
        feeders = self.feeders[choice]
        left = np.mean([self.kept[feeder][plans[:, feeder]] for feeder in feeders], axis=0) if feeders else 1.0
        return np.where(self.shrinks, np.broadcast_to(left, len(plans))[:, None], 1.0)

    def around(self, picks: Picks) -> PlanProblem:
        """Return the problem in which each option costs what it would cost beside the other layers of a plan."""
        linked = (tuple(self._linked(choice, picks)) for choice in range(len(self.knapsack.options)))
        tables = [
            replace(table, choices=tuple(Choice(each.layer, next(linked)) for each in table.choices))
            for table in self.problem.tables
        ]
        return replace(self.problem, tables=tuple(tables))

    def _linked(self, choice: int, picks: Picks) -> Iterator[Option]:
        names, changed = self.knapsack.names, np.tile(picks, (len(self.knapsack.options[choice]), 1))
        changed[:, choice] = np.arange(len(changed))
        use = self.knapsack.uses[choice] * self._arriving(choice, changed)
        for reader in (reader for reader, feeders in enumerate(self.feeders) if choice in feeders):
            more = self._arriving(reader, changed) - self._arriving(reader, np.array([picks]))
            use = use + self.knapsack.uses[reader][picks[reader]] * more
        for option, row in zip(self.knapsack.options[choice], use.tolist(), strict=True):
            cells = {name: value for name, value in zip(names, row, strict=True) if name in RESOURCES}
            yield replace(option, resources=Resources(**cells))

    def near(self, picks: Picks) -> Plans:
        """Return the plans with one other option, and those with two where these are not too many, (n, n_choices)."""
        numbers = zip(self.knapsack.losses, self.knapsack.uses, self.kept, strict=True)
        # the options of each choice that no other beats
        best = [pareto.nondominated(losses, np.column_stack([uses, kept])) for losses, uses, kept in numbers]
        moves = [(k, int(place)) for k, places in enumerate(best) for place in places if picks[k] != place]
        choice, option = np.array(moves).reshape(-1, 2).T
        first, second = np.triu_indices(len(choice), 1) if len(choice) ** 2 < 2 * _MOST_PAIRS else np.zeros((2, 0), int)
        apart = choice[first] != choice[second]
        first, second = np.r_[np.arange(len(choice)), first[apart]], np.r_[np.arange(len(choice)), second[apart]]
        plans = np.tile(picks, (len(first), 1))
        rows = np.arange(len(first))
        plans[rows, choice[first]], plans[rows, choice[second]] = option[first], option[second]
        return plans
