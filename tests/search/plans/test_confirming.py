from collections.abc import Mapping
from dataclasses import replace

import pytest

from hepprune.errors import BudgetMissedError
from hepprune.hardware.resources import Budget, Resources
from hepprune.search.plans import solvers
from hepprune.search.plans.choices import Choice, ChoiceTable, PlanProblem
from hepprune.search.plans.confirming import Confirmed, confirm
from hepprune.search.plans.exploring import SolvePlan, explore
from hepprune.search.plans.pareto import Plan
from tests.search.plans.solvers.drawing import option

OPTIONS = tuple(replace(option(0.1 * n, 100 - 10 * n, 0, 5), sparsity=0.1 * n) for n in range(8))
ONE = ChoiceTable(model="tagger", choices=(Choice("dense", OPTIONS),), fixed=Resources(lut=0.0, dsp=0.0))


def confirmed(factor: float, lut: float, *, solver: str = "greedy", every: int = 0) -> Confirmed:
    """The plan for a whole network that costs so many times what its layers say."""

    def price(plan: Plan) -> Mapping[str, float]:
        (pick,) = plan.picks
        return {"lut": factor * (pick.option.resources.lut or 0.0), "dsp": 0.0, "latency_ns": 5.0}

    problem = PlanProblem.of([ONE], Budget(resources=Resources(lut=lut)))
    solve: SolvePlan = solvers.find(solver)
    return confirm(problem, explore(problem, solve, price, every=every), name=solver)


@pytest.mark.parametrize("every", [0, 100])
@pytest.mark.parametrize(("factor", "expected"), [(1.0, 50.0), (0.5, 100.0), (2.0, 0.0), (1.2, 40.0), (0.9, 50.0)])
def test_the_best_plan_is_taken_that_the_whole_network_allows(factor: float, expected: float, every: int) -> None:
    if not expected:
        with pytest.raises(BudgetMissedError, match="lut binds, 50 allowed, 60 at the closest point"):
            confirmed(factor, 50, solver="exact", every=every)
        return
    found = confirmed(factor, 50, solver="exact", every=every)
    assert found.solution.chosen.picks[0].option.resources.lut == expected
    assert found.used["lut"] == pytest.approx(factor * expected / 50)


def test_an_unreachable_budget_says_how_far_it_was_looked_into() -> None:
    with pytest.raises(BudgetMissedError, match=r"60 at the closest point \(all of 8 plans priced\)"):
        confirmed(2.0, 50, every=100)
    with pytest.raises(BudgetMissedError, match=r"60 at the closest point \(all of 8 plans priced\)"):
        confirmed(2.0, 50)  # few enough to try them all before saying no


def test_steps_lead_from_the_best_plan_to_the_chosen_one() -> None:
    for every in (0, 100):
        found = confirmed(0.5, 20, every=every)
        assert found.solution.optimal == bool(every)
        assert found.solution.steps[0].before.loss == 0
        assert found.solution.steps[-1].after.key == found.solution.chosen.picks[0].option.key
        assert sum(step.freed["lut"] for step in found.solution.steps) != 0
