"""Plans that nothing beats: the Pareto front of metric against budget, and what whole networks of plans need."""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np

from hepprune.errors import BudgetMissedError
from hepprune.hardware.resources import share_of
from hepprune.search.plans.choices import Option, PlanProblem
from hepprune.search.plans.knapsack import Knapsack, missed

T = TypeVar("T")
Picks = tuple[int, ...]  # one option per choice of a problem, or of its knapsack
Figures = Mapping[str, float]


@dataclass(frozen=True)
class Pick:
    """The option a plan takes for one layer of one model."""

    model: str
    layer: str
    option: Option


@dataclass(frozen=True)
class Plan:
    """One option per layer, what they cost together on the separable approximation, and the share of each limit used.

    `error` adds the layers' errors in quadrature, as if they were independent.
    """

    picks: tuple[Pick, ...]
    loss: float
    error: float
    used: dict[str, float]

    @property
    def worst(self) -> float:
        """The largest share of any limit that is used, 1 is all of it."""
        return max(self.used.values(), default=0.0)

    @property
    def slowest(self) -> int:
        """The longest interval of any option."""
        return max((pick.option.interval_cycles for pick in self.picks), default=1)

    @property
    def key(self) -> tuple[object, ...]:
        """What is done to each layer, without what it does and costs."""
        return tuple((pick.model, pick.layer, pick.option.key) for pick in self.picks)

    def key_of(self, model: str) -> tuple[object, ...]:
        """What is done to each layer of one model."""
        return tuple((model, pick.layer, pick.option.key) for pick in self.picks if pick.model == model)

    def of(self, model: str) -> dict[str, Option]:
        """Return the options of one model by layer."""
        return {pick.layer: pick.option for pick in self.picks if pick.model == model}


@dataclass(frozen=True, kw_only=True)
class PlanStep:
    """One step of a greedy search: which layer was changed from what to what, what that costs the metric and frees.

    `freed` is in shares of the limits. A step whose loss is within its statistical error is noise, and says so.
    """

    model: str
    layer: str
    before: Option
    after: Option
    loss: float
    error: float
    freed: dict[str, float]
    reason: str

    @classmethod
    def of(
        cls, place: tuple[str, str], before: Option, after: Option, *, freed: dict[str, float], reason: str
    ) -> "PlanStep":
        """Return the step of the layer at a place (model, layer) from one option to another."""
        # Both losses are measured against the same network on the same jets; the larger error stands for the step's.
        loss, error = after.loss - before.loss, max(before.error, after.error)
        model, layer = place
        return cls(
            model=model, layer=layer, before=before, after=after, loss=loss, error=error, freed=freed, reason=reason
        )

    @property
    def significant(self) -> bool:
        """Whether the change of the metric exceeds its statistical error."""
        return abs(self.loss) > self.error


@dataclass(frozen=True, kw_only=True)
class PlanSolution:
    """What a solver found: the front from the cheapest plan to the best, the plan chosen from it, and the way there.

    `optimal` says that no plan of the problem is better; `steps` are a greedy solver's.
    """

    solver: str
    front: tuple[Plan, ...]
    chosen: Plan
    optimal: bool
    steps: tuple[PlanStep, ...] = ()


def plan(problem: PlanProblem, knapsack: Knapsack, picks: Sequence[int]) -> Plan:
    """Return the plan of one allowed option per choice."""
    options = [own[pick] for own, pick in zip(knapsack.options, picks, strict=True)]
    named = tuple(Pick(*place, option) for place, option in zip(problem.places, options, strict=True))
    uses = zip(knapsack.names, knapsack.use(picks), knapsack.limits, strict=True)
    used = {name: share_of(float(value), float(limit)) for name, value, limit in uses}
    error = math.sqrt(sum(option.error**2 for option in options))
    return Plan(named, knapsack.loss(picks), error, used)


def front(plans: Iterable[Plan]) -> tuple[Plan, ...]:
    """Return the plans that no other beats in both loss and worst share, cheapest first."""
    kept: list[Plan] = []
    for each in sorted(plans, key=lambda plan: (plan.worst, plan.loss)):
        if not kept or each.loss < kept[-1].loss:
            kept.append(each)
    return tuple(kept)


def thinned(front: Sequence[T], n_points: int) -> tuple[T, ...]:
    """Return at most `n_points` of a front, its ends among them."""
    if len(front) <= n_points:
        return tuple(front)
    places = np.unique(np.linspace(0, len(front) - 1, n_points).round().astype(int))
    return tuple(front[place] for place in places)


def nondominated(losses: np.ndarray, uses: np.ndarray) -> np.ndarray:
    """Return the places of the rows that no other row beats in loss (n,) and every use (n, n_limits), by loss.

    Of equal rows the first stays.
    """
    order = np.lexsort((*uses.T[::-1], losses))
    kept: list[int] = []
    for place in order:
        if not kept or not (uses[kept] <= uses[place]).all(axis=1).any():
            kept.append(int(place))
    return np.array(kept, dtype=np.int64)


def unreachable(knapsack: Knapsack, closest: Sequence[int]) -> BudgetMissedError:
    """Return the error of a budget that no plan meets, naming the limit that binds and the closest point."""
    use = knapsack.use(closest)
    with np.errstate(divide="ignore", invalid="ignore"):
        place = int(np.argmax(np.where(use > 0, use / knapsack.limits, 0.0)))
    return missed(knapsack.names[place], float(knapsack.limits[place]), float(use[place]))


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
        places = nondominated(np.array([priced.plan.loss for priced in plans]), figures)
        return [plans[place] for place in places]
