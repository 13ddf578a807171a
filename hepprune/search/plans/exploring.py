"""Exploring: which plans are priced as whole networks, whatever the budget is.

A budget only picks from what is explored, so that a larger one has the same plans to choose from, and more of them: it
cannot give a worse metric. Where there are few plans all are priced, and what is picked is the optimum. Else, for each
resource alone and for all together, a solver goes down a ladder of limits, each problem taken around the last plan
(`search.plans.links`), and neighbours of the plans found are priced that promise to lose least (Pareto local search,
Paquete et al. 2004).
"""

import itertools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from hepprune.errors import BudgetMissedError
from hepprune.search.plans.choices import PlanProblem
from hepprune.search.plans.knapsack import Floats, Knapsack
from hepprune.search.plans.links import Links, Plans
from hepprune.search.plans.pareto import Figures, Picks, PlanSolution, PricedPlans, PricePlan
from hepprune.search.plans.solvers import milp

Flags = NDArray[np.bool_]
SolvePlan = Callable[[PlanProblem], PlanSolution]

EVERY, MOST = 1000, 600  # plans up to which all are priced, and how many are where there are more
_DRAWN = 200  # plans whose predicted use says which limits are alike
_STEP, _LOWEST = 0.87, 1e-3  # from rung to rung of a ladder, and where it ends
_CLOSER = 3  # attempts to get below a rung that is out of reach
_NEAR = 0.1, 10.0  # a plan is not a basis for a correction beyond these
_AT_ONCE = 7  # neighbours that are priced before all are judged again
_ALIKE = 0.98  # the correlation of ranks from which one limit stands for two
_PROMISING = 1e-3  # of the range of losses: what a neighbour must promise to gain
_LEVELS = 6  # intervals that are explored for themselves
_SPARED = ("dsp", "bram18", "uram")  # cells of which a budget may allow none


def explore(
    problem: PlanProblem, solve: SolvePlan, price: PricePlan, *, every: int = EVERY, most: int = MOST
) -> PricedPlans:
    """Return plans of a problem's tables, priced; of its limits only the interval is looked at.

    Up to `every` plans all are priced, else about `most`.
    """
    n_plans = math.prod(len(choice.options) for table in problem.tables for choice in table.choices)
    plans = PricedPlans(price=price, n_plans=n_plans)
    if plans.n_plans <= every:
        exhaust(problem, plans)
        return plans
    corners = list(_corners(problem.limited({})))
    for corner, interval in corners:
        if interval <= problem.slowest:
            _explore(corner, solve, plans, most // len(corners))
    return plans


def exhaust(problem: PlanProblem, plans: PricedPlans) -> None:
    """Price every plan of a problem's tables."""
    links = Links.of(problem.limited({}))
    for picks in itertools.product(*map(range, map(len, links.knapsack.options))):
        plans.add(links.plan(picks))
    plans.complete = True


def _corners(problem: PlanProblem) -> Iterator[tuple[PlanProblem, float]]:
    """Yield the problem, and the problem without options that some budgets rule out, each with the interval it needs.

    A budget of no DSP, or of an interval of 1, leaves so few options that plans made of all of them rarely meet it.
    """
    options = [option for table in problem.tables for choice in table.choices for option in choice.options]
    levels = sorted({option.interval_cycles for option in options})[:-1][:_LEVELS]
    seen: list[PlanProblem] = []
    for slowest, spared in itertools.product((math.inf, *levels), (None, *_SPARED)):
        found = problem.within(slowest, spared=spared)
        if found.open and found not in seen:
            seen.append(found)
            yield found, 0 if math.isinf(slowest) else slowest


def _explore(problem: PlanProblem, solve: SolvePlan, plans: PricedPlans, most: int) -> None:
    chart = Chart.of(problem, plans)
    knapsack, kept = chart.links.knapsack, chart.links.kept
    # what loses least, uses least or keeps least of each choice, where these are few plans: where a layer is cut to
    # almost nothing others die with it, which no sum over layers foresees
    numbers = zip(knapsack.losses, [uses.sum(axis=1) for uses in knapsack.uses], kept, strict=True)
    ends = [sorted({int(each.argmin()) for each in row}) for row in numbers]
    for picks in itertools.product(*ends) if math.prod(map(len, ends)) <= most // 6 else ():
        chart.price(picks)
    weighings = _weighings(chart)
    for weighing in weighings:
        for picks in _ladder(chart, solve, weighing):
            chart.price(picks)
    for place in reversed(range(len(weighings))):  # cells have the most plans: they come last, and get twice as many
        left = most - len(chart.picks)
        refine(chart, weighings[place], n=left // (place + 2 if place else 1))


def _weighings(chart: "Chart") -> list[Flags]:
    """Return which limits are looked at together, each alone of which options differ, and all.

    Only those that rank plans, and not as one before does: registers mostly rise with LUT.
    """
    options, rng = chart.links.knapsack.options, np.random.default_rng(0)  # drawn at random, the same each time
    shares = chart.predicted(np.column_stack([rng.integers(len(each), size=_DRAWN) for each in options]))
    differs = np.any([np.ptp(uses, axis=0) > 0 for uses in chart.links.knapsack.uses], axis=0)
    found: list[Flags] = []
    ranks: list[Floats] = []
    for weighing in (*np.eye(len(differs), dtype=bool)[differs], *([differs] if differs.sum() > 1 else [])):
        own = np.unique(shares[:, weighing].max(axis=1).round(9), return_inverse=True)[1].astype(np.float64)
        if own.any() and not any(np.corrcoef(own, other)[0, 1] > _ALIKE for other in ranks):
            found.append(weighing)
            ranks.append(own)
    return found


@dataclass
class Chart:
    """What has been priced of one problem: the plans as options of its links, and the shares of its limits they use."""

    links: Links
    plans: PricedPlans
    picks: dict[Picks, Floats] = field(default_factory=dict)

    @classmethod
    def of(cls, problem: PlanProblem, plans: PricedPlans) -> "Chart":
        """Start a chart, in which limits are what the largest options add up to."""
        return cls(Links.of(problem.limited(problem.largest)), plans)

    def price(self, picks: Picks) -> Floats:
        """Return what a plan's whole networks use of each limit, in shares (n_limits,)."""
        if picks not in self.picks:
            figures = self.plans.add(self.links.plan(picks)).figures
            knapsack = self.links.knapsack
            self.picks[picks] = np.array([figures.get(name, np.inf) for name in knapsack.names]) / knapsack.limits
        return self.picks[picks]

    def weights(self, limits: Figures) -> Floats:
        """Return what turns shares of the chart's limits into shares of others, (n_limits,); 0 is not a limit."""
        knapsack = self.links.knapsack
        own = np.array([limits.get(name, np.inf) for name in knapsack.names])
        return np.asarray(knapsack.limits / np.maximum(own, 1e-9))

    def predicted(self, plans: Plans) -> Floats:
        """Return the shares that plans (n, n_choices) are predicted to use, (n, n_limits)."""
        return self.links.uses(plans) / self.links.knapsack.limits

    def corrections(self, picks: Picks) -> Floats:
        """Return by what factor a priced plan uses more of each limit than is predicted, (n_limits,)."""
        real, predicted = self.price(picks), self.predicted(np.array([picks]))[0]
        known = (predicted > 0) & (real > 0) & np.isfinite(real)
        return np.asarray(np.divide(real, predicted, out=np.ones_like(real), where=known).clip(*_NEAR))


def _ladder(chart: Chart, solve: SolvePlan, weighing: Flags) -> Iterator[Picks]:
    """Yield the plans that a solver finds for lower and lower shares of the limits, each around the last."""
    picks = chart.links.knapsack.start
    yield picks
    share = float(chart.price(picks)[weighing].max())
    closer = 0
    while share > _LOWEST and closer < _CLOSER:
        share *= _STEP
        found, reached = _solved(chart, solve, picks, np.where(weighing, share, 0.0))
        yield found
        if not reached:
            closer, share = closer + 1, share / _STEP
            if found == picks:
                return
        picks = found


def _solved(chart: Chart, solve: SolvePlan, picks: Picks, shares: Floats) -> tuple[Picks, bool]:
    """Return the plan that a solver finds around another within shares of the limits (0 is not a limit).

    And whether it found one; else it is the plan that is closest to those limits.
    """
    knapsack = chart.links.knapsack
    limits = shares * knapsack.limits / chart.corrections(picks)
    named = {name: limit for name, limit in zip(knapsack.names, limits.tolist(), strict=True) if limit > 0}
    around = chart.links.around(picks).limited(named)
    try:
        solution = solve(around)
    except BudgetMissedError:
        return milp.cheapest(Knapsack.of(around)), False
    chart.plans.solutions.append(solution)
    return chart.links.picks(solution.chosen), True


def refine(chart: Chart, weights: Floats | Flags, *, n: int, until: Callable[[], bool] = lambda: False) -> None:
    """Price up to `n` neighbours of known plans, those first that promise to lose least for what they use.

    That is the largest weighted share of any limit. It ends early once `until` says so.
    """
    pool = _Pool(chart, np.asarray(weights, dtype=np.float64))
    for _ in range(n // (_AT_ONCE + 1)):
        best = pool.best(_AT_ONCE)
        for picks in best:
            chart.price(picks)
            if until():
                return
        if not best:
            return


class _Pool:
    """Neighbours of the plans that nothing beats in loss and largest weighted share, most of them not yet priced."""

    def __init__(self, chart: Chart, weights: Floats) -> None:
        self.chart, self.weights = chart, weights
        self.expanded: set[Picks] = set()
        self.plans: Plans = np.zeros((0, len(chart.links.knapsack.options)), dtype=np.int64)
        self.shares, self.losses = np.zeros(0), np.zeros(0)

    def best(self, n: int) -> list[Picks]:
        """Return up to `n` plans that promise to lose least for what they use, and the one that promises to use least.

        None where none promises anything.
        """
        shares, losses = self._front()
        place = np.searchsorted(shares, self.shares, side="right") - 1
        gains = np.where(place >= 0, losses[np.maximum(place, 0)] - self.losses, -np.inf)
        lower = np.where(np.isfinite(self.losses), shares[0] - self.shares, -np.inf)
        return [*self._first(gains, _PROMISING * float(np.ptp(losses)), n), *self._first(lower, 1e-9, 1)]

    def _first(self, promise: Floats, least: float, n: int) -> list[Picks]:
        """Return the plans that promise most, and more than the least; they are done, whoever priced them."""
        found: list[Picks] = []
        while len(found) < n and promise[place := int(promise.argmax())] > least:
            picks = tuple(self.plans[place].tolist())
            self.losses[place], promise[place] = np.inf, -np.inf
            if picks not in self.chart.picks and picks not in found:
                found.append(picks)
        return found

    def _front(self) -> tuple[Floats, Floats]:
        """Return shares, rising, and losses, falling, of the best plans priced; their neighbours join the pool."""
        plans = np.array(list(self.chart.picks))
        shares = self._worst(np.array(list(self.chart.picks.values())))
        losses = self.chart.links.losses(plans)
        order = np.lexsort((losses, shares))
        best = order[np.minimum.accumulate(losses[order]) < np.r_[np.inf, np.minimum.accumulate(losses[order])[:-1]]]
        for picks in map(tuple, plans[best].tolist()):
            if picks not in self.expanded:
                self.expanded.add(picks)
                near = self.chart.links.near(picks)
                promised = self._worst(self.chart.predicted(near) * self.chart.corrections(picks))
                self.plans, self.shares = np.concatenate([self.plans, near]), np.r_[self.shares, promised]
                self.losses = np.r_[self.losses, self.chart.links.losses(near)]
        return shares[best], losses[best]

    def _worst(self, shares: Floats) -> Floats:
        return np.asarray((shares * self.weights).max(axis=1))
