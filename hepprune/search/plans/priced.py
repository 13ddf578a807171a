"""Priced plans: plans with what their whole networks need, from which the best within any budget is read."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np

from hepprune.hardware.resources import share_of
from hepprune.search.plans import pareto
from hepprune.search.plans.pareto import Plan, PlanSolution

Figures = Mapping[str, float]
# Returns what a plan's whole networks need: cells of all together, latency_ns and interval_cycles of each, by name.
PricePlan = Callable[[Plan], Figures]


@dataclass(frozen=True)
class PricedPlan:
    """A plan with what its whole networks need, by name."""

    plan: Plan
    figures: Figures

    def shares(self, limits: Figures) -> dict[str, float]:
        """Return what is used of each limit; a figure that nobody knows counts as infinite."""
        return {name: share_of(self.figures.get(name, np.inf), limit) for name, limit in limits.items()}

    def worst(self, limits: Figures) -> float:
        """Return the largest share of any limit."""
        return max(self.shares(limits).values(), default=0.0)

    def fits(self, limits: Figures) -> bool:
        """Return whether no limit is broken."""
        return self.worst(limits) <= 1 + 1e-9


@dataclass(kw_only=True)
class PricedPlans:
    """Plans priced as whole networks, each once, and the solutions of solvers that led to some of them.

    `n_plans` is how many plans there are; where it is `complete` each of them has been priced.
    """

    price: PricePlan
    n_plans: int
    complete: bool = False
    solutions: list[PlanSolution] = field(default_factory=list)
    _known: dict[tuple[object, ...], PricedPlan] = field(default_factory=dict)

    def __len__(self) -> int:
        """Return how many plans have been priced."""
        return len(self._known)

    def __iter__(self) -> Iterator[PricedPlan]:
        """Yield the plans in the order in which they were priced."""
        return iter(self._known.values())

    def add(self, plan: Plan) -> PricedPlan:
        """Return a plan with its price, which is looked up where it is known."""
        if plan.key not in self._known:
            self._known[plan.key] = PricedPlan(plan, self.price(plan))
        return self._known[plan.key]

    def closest(self, limits: Figures) -> PricedPlan:
        """Return the plan that is least over the limits, or most below them."""
        return min(self, key=lambda priced: (priced.worst(limits), priced.plan.loss))

    def contenders(self) -> list[PricedPlan]:
        """Return the plans that could be the best within some budget: of all of them, or those that no other beats.

        Which they are does not depend on a budget.
        """
        plans = list(self)
        if self.complete:
            return plans
        names = sorted({name for priced in plans for name in priced.figures})
        figures = np.array([[priced.figures.get(name, np.inf) for name in names] for priced in plans])
        places = pareto.nondominated(np.array([priced.plan.loss for priced in plans]), figures)
        return [plans[place] for place in places]
