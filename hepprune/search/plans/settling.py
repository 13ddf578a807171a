"""Settling: from sums over layers to a plan that the price of the whole network confirms.

The problem is solved around the last plan, again and again (`search.links`), with the limits rescaled by what whole
networks have turned out to cost; the best plan that fits is then improved by changing one or two layers at a time.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from hepprune.errors import BudgetMissedError
from hepprune.search.plans import pareto
from hepprune.search.plans.choices import Knapsack, Problem
from hepprune.search.plans.links import Links
from hepprune.search.plans.pareto import Picks, Plan, Solution, Step
from hepprune.search.plans.solvers import milp

Floats = NDArray[np.float64]
_ROUNDS, _IMPROVEMENTS = 6, 3
_STARTS = 1.0, 0.5, 0.25  # the share of their neurons that all layers keep where the sums are first taken
_NEAR = 0.1, 10.0  # a plan is no basis for a correction beyond these
_TRIED, _OVER = 40, 1.05  # neighbours of a plan that are priced whole, and how far over the limits they may seem to be

# Returns what a plan's whole networks use, as a share of each limit by name.
Shares = Callable[[Plan], Mapping[str, float]]


@dataclass(frozen=True)
class Settled:
    """A solution whose plan meets the budget as the whole networks are priced: the shares of the limits they use.

    `rounds` counts the plans that were priced whole.
    """

    solution: Solution
    used: dict[str, float]
    rounds: int


@dataclass
class _Ledger:
    """The plans priced so far, and the factors between sums over linked layers and whole networks."""

    links: Links
    shares: Shares
    priced: dict[Picks, dict[str, float]]
    factors: Floats

    def price(self, picks: Picks) -> dict[str, float]:
        """Return what a plan uses of each limit, whole, and learn from it."""
        if picks not in self.priced:
            plan = pareto.plan(self.links.problem, self.links.knapsack, picks)
            self.priced[picks] = dict(self.shares(plan))
        used = self.priced[picks]
        knapsack = self.links.knapsack
        predicted = self.links.use(picks) / np.where(knapsack.limits > 0, knapsack.limits, 1.0)
        real = np.array([used[name] for name in knapsack.names])
        known = (predicted > 0) & (real > 0) & np.isfinite(real)
        ratio = np.divide(predicted, real, out=np.ones_like(predicted), where=known)
        self.factors = np.clip(ratio, *_NEAR)
        return used

    def fits(self, picks: Picks) -> bool:
        """Return whether a priced plan meets the budget."""
        return _worst(self.priced[picks]) <= 1 + 1e-9

    @property
    def closest(self) -> Picks:
        """The plan that is least over the budget, or most below it."""
        return min(self.priced, key=lambda picks: _worst(self.priced[picks]))

    @property
    def best(self) -> Picks | None:
        """The plan of least loss that fits, None where none does yet."""
        fitting = [picks for picks in self.priced if self.fits(picks)]
        return min(fitting, key=self.links.knapsack.loss, default=None)


def settle(problem: Problem, solve: Callable[[Problem], Solution], shares: Shares) -> Settled:
    """Return the plan of least predicted loss that whole networks confirm.

    Raises:
        BudgetMissedError: none does; it names the limit that binds and the closest point, as the whole networks are
            priced.
    """
    links = Links.of(problem)
    ledger = _Ledger(links, shares, {}, np.ones(len(links.knapsack.names)))
    solutions: dict[Picks, Solution] = {}
    for left in _STARTS:
        solutions |= dict(_rounds(ledger, solve, links.thinned(left)))
    for start in (ledger.best, ledger.closest):
        picks = start or ledger.closest
        for _ in range(_IMPROVEMENTS):
            picks = links.improve(picks, links.knapsack.limits * ledger.factors)
            ledger.price(picks)
    if ledger.best is None:
        raise _unreachable(ledger)
    return _settled(ledger, _descended(ledger, ledger.best), solutions)


def _descended(ledger: _Ledger, best: Picks) -> Picks:
    """Return the plan that neighbours of less loss lead to, as long as one fits as a whole network."""
    links = ledger.links
    while True:
        ledger.price(best)  # so that the sums are right here, and nearly so beside it
        near = links.better(best, links.knapsack.limits * ledger.factors * _OVER)[:_TRIED]
        found = next((each for each in near if _worst(ledger.price(each)) <= 1 + 1e-9), None)
        if found is None:
            return best
        best = found


def _rounds(ledger: _Ledger, solve: Callable[[Problem], Solution], picks: Picks) -> Iterator[tuple[Picks, Solution]]:
    """Solve around the last plan until it stays, and yield the plans found with their solutions."""
    links = ledger.links
    for _ in range(_ROUNDS):
        factors = dict(zip(links.knapsack.names, ledger.factors.tolist(), strict=True))
        around = links.around(picks).rescaled(factors)
        solution, plan = _solved(around, solve)
        before, picks = picks, links.picks(plan)
        ledger.price(picks)
        if solution is not None:
            yield picks, solution
        if picks == before:
            return


def _solved(problem: Problem, solve: Callable[[Problem], Solution]) -> tuple[Solution | None, Plan]:
    """Return the solution with its plan, or none and the closest plan to a budget that is out of reach."""
    try:
        solution = solve(problem)
    except BudgetMissedError:
        knapsack = Knapsack.of(problem)
        return None, pareto.plan(problem, knapsack, milp.cheapest(knapsack))
    return solution, solution.chosen


def _settled(ledger: _Ledger, best: Picks, solutions: Mapping[Picks, Solution]) -> Settled:
    """Return the best plan, with the steps and the front of the solution that is it or is nearest to it in loss."""
    links = ledger.links
    used = ledger.priced[best]
    plan = replace(pareto.plan(links.problem, links.knapsack, best), used=used)
    if best in solutions:
        found = replace(solutions[best], chosen=plan)
    elif solutions:
        near = min(solutions.values(), key=lambda solution: abs(solution.chosen.loss - plan.loss))
        found = replace(near, chosen=plan, optimal=False, steps=(*near.steps, *_last_steps(near.chosen, plan)))
    else:
        found = Solution("links", (plan,), plan, optimal=False)
    return Settled(found, used, len(ledger.priced))


def _last_steps(before: Plan, after: Plan) -> Iterator[Step]:
    """Yield what lies between a solution's plan and the one that was improved from it."""
    for old, new in zip(before.picks, after.picks, strict=True):
        if old.option.key != new.option.key:
            loss, error = new.option.loss - old.option.loss, max(old.option.error, new.option.error)
            yield Step(new.model, new.layer, old.option, new.option, loss, error, {}, "found on whole networks")


def _unreachable(ledger: _Ledger) -> BudgetMissedError:
    closest = ledger.priced[ledger.closest]
    knapsack = ledger.links.knapsack
    name = max(closest, key=closest.__getitem__)
    limit = float(knapsack.limits[knapsack.names.index(name)])
    return pareto.missed(name, limit, closest[name] * limit)


def _worst(used: Mapping[str, float]) -> float:
    return max(used.values(), default=0.0)
