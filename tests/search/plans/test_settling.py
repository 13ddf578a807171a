from collections.abc import Mapping

import pytest

from hepprune.errors import BudgetMissedError
from hepprune.hardware.resources import Budget, Resources
from hepprune.search.plans import solvers
from hepprune.search.plans.choices import Choice, Problem, Table
from hepprune.search.plans.pareto import Plan
from hepprune.search.plans.settling import settle
from tests.search.plans.solvers.drawing import option

OPTIONS = tuple(option(0.1 * n, 100 - 10 * n, 0, 5) for n in range(8))
ONE = Table("tagger", (Choice("dense", OPTIONS),), fixed=Resources(lut=0.0, dsp=0.0))


def problem(lut: float) -> Problem:
    return Problem.of([ONE], Budget(resources=Resources(lut=lut)))


def costing(factor: float, lut: float) -> object:
    """The whole network costs so many times what its layers say."""

    def shares(plan: Plan) -> Mapping[str, float]:
        (pick,) = plan.picks
        return {"lut": factor * (pick.option.resources.lut or 0.0) / lut}

    return shares


@pytest.mark.parametrize(("factor", "expected"), [(1.0, 50.0), (0.5, 100.0), (2.0, 0.0), (1.2, 40.0), (0.9, 50.0)])
def test_the_best_plan_is_taken_that_the_whole_network_allows(factor: float, expected: float) -> None:
    if not expected:
        with pytest.raises(BudgetMissedError, match="lut binds, 50 allowed, 60 at the closest point"):
            settle(problem(50), solvers.find("exact"), costing(factor, 50))  # type: ignore[arg-type]
        return
    found = settle(problem(50), solvers.find("exact"), costing(factor, 50))  # type: ignore[arg-type]
    assert found.solution.chosen.picks[0].option.resources.lut == expected
    assert found.used["lut"] == pytest.approx(factor * expected / 50)


def test_what_the_layers_alone_cannot_meet_the_whole_network_may() -> None:
    found = settle(problem(20), solvers.find("greedy"), costing(0.5, 20))  # type: ignore[arg-type]
    assert found.solution.chosen.picks[0].option.resources.lut == 40.0
    assert found.rounds > 1
