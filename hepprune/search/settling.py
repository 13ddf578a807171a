"""Settling: from sums over layers to a plan that the price of the whole network confirms.

The problem is solved around the last plan, again and again (`search.links`), with the limits rescaled by what whole
networks have turned out to cost; the best plan that fits is then improved by changing one or two layers at a time.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from hepprune.errors import BudgetMissedError
from hepprune.search import pareto
from hepprune.search.choices import Knapsack, Problem
from hepprune.search.links import Links
from hepprune.search.pareto import Picks, Plan, Solution
from hepprune.search.solvers import milp

Floats = NDArray[np.float64]
_ROUNDS, _IMPROVEMENTS = 8, 3
_NEAR = 0.1, 10.0  # a plan is no basis for a correction beyond these

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
    solution = None
    for around in _rounds(ledger, solve):
        solution = around or solution
    for start in dict.fromkeys(picks for picks in (ledger.best, *list(ledger.priced)[-1:]) if picks is not None):
        picks = start
        for _ in range(_IMPROVEMENTS):
            picks = links.improve(picks, links.knapsack.limits * ledger.factors)
            ledger.price(picks)
    if ledger.best is None:
        raise _unreachable(ledger)
    return _settled(ledger, ledger.best, solution)


def _rounds(ledger: _Ledger, solve: Callable[[Problem], Solution]) -> Iterator[Solution | None]:
    """Solve around the last plan until it stays, and yield the solutions."""
    links, picks = ledger.links, ledger.links.start()
    for _ in range(_ROUNDS):
        factors = dict(zip(links.knapsack.names, ledger.factors.tolist(), strict=True))
        around = links.around(picks).rescaled(factors)
        solution, plan = _solved(around, solve)
        before, picks = picks, links.picks(plan)
        ledger.price(picks)
        yield solution
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


def _settled(ledger: _Ledger, best: Picks, solution: Solution | None) -> Settled:
    """Return the best plan in the place of the one that the last sum over layers has led to."""
    links = ledger.links
    used = ledger.priced[best]
    plan = replace(pareto.plan(links.problem, links.knapsack, best), used=used)
    if solution is not None and links.picks(solution.chosen) == best:
        found = replace(solution, chosen=plan)
    elif solution is not None:
        found = replace(solution, chosen=plan, optimal=False)
    else:
        found = Solution("links", (plan,), plan, optimal=False)
    return Settled(found, used, len(ledger.priced))


def _unreachable(ledger: _Ledger) -> BudgetMissedError:
    closest = min(ledger.priced.values(), key=_worst)
    knapsack = ledger.links.knapsack
    name = max(closest, key=closest.__getitem__)
    limit = float(knapsack.limits[knapsack.names.index(name)])
    return pareto.missed(name, limit, closest[name] * limit)


def _worst(used: Mapping[str, float]) -> float:
    return max(used.values(), default=0.0)
