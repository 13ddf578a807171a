"""The laws of whole networks, held to every plan there is of small trained ones."""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial

import pytest

from hepprune.errors import BudgetMissedError
from hepprune.hardware import targets
from hepprune.hardware.resources import Budget, Resources
from hepprune.jobs.planning.whole_networks import PlanSettings, SearchedModel, WholeNetworks
from hepprune.network import Network
from hepprune.search.plans import solvers, tables
from hepprune.search.plans.choices import ChoiceTable, PlanProblem
from hepprune.search.plans.confirming import confirm
from hepprune.search.plans.exploring import explore
from hepprune.search.plans.pareto import Plan, PricedPlans
from hepprune.search.plans.pricing import Pricing
from hepprune.search.plans.variants import ChoiceGrid, Variants
from hepprune.store import Journal
from hepprune.task.sample import Sample

TARGET = targets.load("generic_vu13p")
GREEDY = partial(solvers.greedy, n_points=1)


@dataclass(frozen=True)
class Case:
    """A tagger with every plan there is of it, priced and measured as a whole network, and a part of them explored."""

    table: ChoiceTable
    networks: WholeNetworks
    every: PricedPlans
    some: PricedPlans

    def problem(self, **limits: float) -> PlanProblem:
        latency, interval = limits.pop("latency_ns", None), limits.pop("interval_cycles", None)
        return PlanProblem.of(
            [self.table], Budget(latency, None if interval is None else int(interval), Resources(**limits))
        )

    def best(self, problem: PlanProblem) -> float | None:
        """The least loss of any plan that fits, by trying all."""
        fitting = (priced.plan for priced in self.every if priced.fits(problem.limits))
        return min((self.networks.evaluate(plan).loss for plan in fitting), default=None)

    def chosen(self, plans: PricedPlans, problem: PlanProblem) -> Plan | None:
        """The plan that is confirmed, None where the budget is called out of reach."""
        fresh = replace(plans, solutions=list(plans.solutions), _known=dict(plans._known))
        try:
            return confirm(problem, fresh, self.networks.evaluate).solution.chosen
        except BudgetMissedError:
            return None


@pytest.fixture(scope="module", params=["latency", "distributed_arithmetic", "resource"])
def case(request: pytest.FixtureRequest, tagger: Network, jets: tuple[Sample, Sample]) -> Case:
    few, strategy = jets[0].first(300), request.param
    factors = (1, 2) if strategy == "resource" else ()
    grid = ChoiceGrid(
        sparsities=(0.6, 0.9), granularities=("neuron",) if factors else ("weight", "neuron"), reuse_factors=factors
    )
    variants = Variants.of(tagger, few)
    table = tables.build(variants, few, Pricing.of(tagger, TARGET, strategy=strategy), model="tagger", grid=grid)
    model, problem = (
        SearchedModel(name="tagger", given=tagger, variants=variants, sample=few, test=few),
        PlanProblem.of([table], Budget()),
    )
    networks = WholeNetworks(
        models=(model,), target=TARGET, settings=PlanSettings(strategy=strategy), problem=problem, journal=Journal()
    )
    every = explore(problem, GREEDY, networks.figures)
    assert every.complete
    some = explore(problem, GREEDY, networks.figures, every=0, most=every.n_plans // 2)
    assert len(some) < every.n_plans
    return Case(table, networks, every, some)


def budgets(case: Case) -> Iterator[PlanProblem]:
    """Budgets from one that nothing meets to one that everything does: of one limit, and of several."""
    names = ("lut", "latency_ns", "interval_cycles")
    found = {name: sorted({priced.figures[name] for priced in case.every}) for name in names}
    rungs = [found["lut"][round(part * (len(found["lut"]) - 1))] for part in (0, 0.02, 0.05, 0.1, 0.2, 0.4, 0.7, 1)]
    yield case.problem(lut=rungs[0] - 1)
    for lut in rungs:
        yield case.problem(lut=lut)
    for latency, interval in itertools.product(found["latency_ns"][:2], found["interval_cycles"][:2]):
        yield case.problem(lut=rungs[4], latency_ns=latency, interval_cycles=interval)


def test_where_all_plans_are_priced_the_best_of_all_is_found_and_no_feasible_budget_is_missed(case: Case) -> None:
    for problem in budgets(case):
        best, chosen = case.best(problem), case.chosen(case.every, problem)
        assert (best is None) == (chosen is None)
        assert best is None or chosen is None or chosen.loss == best


def test_where_some_are_priced_no_feasible_budget_is_missed(case: Case) -> None:
    for problem in budgets(case):
        best, chosen = case.best(problem), case.chosen(case.some, problem)
        assert (best is None) == (chosen is None)
        assert best is None or chosen is None or (chosen.loss >= best and chosen.worst <= 1 + 1e-9)


def test_a_larger_budget_never_gives_a_worse_metric(case: Case) -> None:
    """Of plans chosen from the same priced plans, which know no budget; a limit more makes a budget smaller.

    A smaller budget that no explored plan meets has others priced for it alone, which may be better.
    """
    for plans in (case.every, case.some):
        found = [(problem.limits, case.chosen(plans, problem)) for problem in budgets(case)]
        met = [limits for limits, _ in found if any(priced.fits(limits) for priced in plans)]
        assert len(met) >= 8
        for (small, one), (large, other) in itertools.permutations(found, 2):
            larger = all(name in small and small[name] <= limit for name, limit in large.items())
            if larger and one is not None:
                assert other is not None
                assert other.loss <= one.loss or small not in met


def test_what_is_explored_knows_no_budget_but_the_interval(case: Case) -> None:
    again = explore(case.problem(lut=1.0), GREEDY, case.networks.figures, every=0, most=case.every.n_plans // 2)
    assert [priced.plan.key for priced in again] == [priced.plan.key for priced in case.some]
