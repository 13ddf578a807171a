from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from hepprune.errors import BudgetMissedError, RecipeError
from hepprune.hardware.resources import Budget, Resources
from hepprune.search.plans import solvers
from hepprune.search.plans.choices import Choice, ChoiceTable, PlanProblem
from hepprune.search.plans.knapsack import Knapsack
from hepprune.search.plans.pareto import Plan, PlanSolution
from tests.search.plans.solvers.drawing import best, option, problems, table

EXACT = ("exact", "dynamic_programming")


def solve(name: str, problem: PlanProblem) -> PlanSolution:
    if name == "evolve":
        return solvers.evolve(problem, n_trials=16, population=8)
    return solvers.find(name)(problem, n_points=3)


def feasible(problem: PlanProblem) -> Knapsack | None:
    """The numbers of a problem, None where a choice alone makes it infeasible."""
    try:
        return Knapsack.of(problem)
    except BudgetMissedError:
        return None


@given(problems())
def test_both_exact_solvers_equal_brute_force(problem: PlanProblem) -> None:
    knapsack = feasible(problem)
    expected = None if knapsack is None else best(knapsack)
    for name in EXACT:
        if expected is None:
            with pytest.raises(BudgetMissedError, match="the budget cannot be reached: .* binds"):
                solve(name, problem)
            continue
        found = solve(name, problem)
        assert found.optimal
        assert found.chosen.loss == pytest.approx(expected[0], abs=1e-9)
        assert found.chosen.worst <= 1 + 1e-9


@given(problems())
def test_greedy_and_evolve_find_a_plan_wherever_there_is_one_and_never_beat_the_optimum(problem: PlanProblem) -> None:
    knapsack = feasible(problem)
    expected = None if knapsack is None else best(knapsack)
    for name in ("greedy", "evolve"):
        if expected is None:
            with pytest.raises(BudgetMissedError):
                solve(name, problem)
            continue
        found = solve(name, problem)
        gap = found.chosen.loss - solve("exact", problem).chosen.loss
        print(f"{name}: {gap:.4f} above the optimum of {expected[0]:.4f}")  # noqa: T201 -- shown by pytest -s
        assert gap >= -1e-9
        assert found.chosen.worst <= 1 + 1e-9


@given(problems(), st.floats(1.0, 2.0), st.floats(1.0, 2.0), st.floats(1.0, 2.0))
def test_a_larger_budget_never_gives_a_worse_metric(problem: PlanProblem, lut: float, dsp: float, ns: float) -> None:
    knapsack = feasible(problem)
    if knapsack is None or best(knapsack) is None:
        return
    cells = problem.resources.scaled({"lut": lut, "dsp": dsp})
    latency = problem.tables[0].latency_ns
    larger = PlanProblem.of(problem.tables, Budget(None if latency is None else ns * latency, 1, cells))
    for name in (*EXACT, "greedy"):
        assert solve(name, larger).chosen.loss <= solve(name, problem).chosen.loss + 1e-9


@given(problems(share=0.8))
def test_every_front_is_one_and_survives_json(problem: PlanProblem) -> None:
    knapsack = feasible(problem)
    if knapsack is None or best(knapsack) is None:
        return
    kept = TypeAdapter(PlanSolution)
    for name in solvers.SOLVERS:
        found = solve(name, problem)
        assert [plan.worst for plan in found.front] == sorted(plan.worst for plan in found.front)
        assert all(a.loss > b.loss for a, b in zip(found.front, found.front[1:], strict=False))
        assert not any(plan.loss < found.chosen.loss - 1e-9 and plan.worst <= 1 for plan in found.front)
        assert kept.validate_json(kept.dump_json(found)) == found


@given(problems(share=0.6))
def test_the_exact_front_holds_the_optimum_of_each_of_its_shares(problem: PlanProblem) -> None:
    knapsack = feasible(problem)
    if knapsack is None or best(knapsack) is None:
        return
    for plan in solve("exact", problem).front:
        expected = best(knapsack, plan.worst) if knapsack.names else best(knapsack)
        assert expected is not None
        assert plan.loss == pytest.approx(expected[0], abs=1e-9)


@given(problems(share=0.5))
def test_greedy_explains_each_step_and_the_steps_add_up(problem: PlanProblem) -> None:
    knapsack = feasible(problem)
    if knapsack is None or best(knapsack) is None:
        return
    found = solve("greedy", problem)
    start = sum(losses.min() for losses in knapsack.losses)
    assert start + sum(step.loss for step in found.steps) == pytest.approx(found.chosen.loss)
    current = {}
    for step in found.steps:
        assert current.get((step.model, step.layer), step.before) == step.before
        current[step.model, step.layer] = step.after
        assert step.reason
    for pick in found.chosen.picks:
        assert current.get((pick.model, pick.layer), pick.option) == pick.option


def two_steps() -> PlanProblem:
    options = (
        option(0.0, 100, 0, 5, error=0.0),
        option(0.001, 50, 0, 5, error=0.002),
        option(0.1, 10, 0, 5, error=0.002),
    )
    one = ChoiceTable(model="tagger", choices=(Choice("dense", options),), fixed=Resources(lut=0.0, dsp=0.0))
    return PlanProblem.of([one], Budget(resources=Resources(lut=10.0)))


def test_steps_within_their_statistical_error_are_flagged() -> None:
    found = solve("greedy", two_steps())
    assert [step.significant for step in found.steps] == [False, True]
    assert [round(step.freed["lut"]) for step in found.steps] == [5, 4]


def test_models_that_share_a_device_share_its_cells_and_keep_their_own_latency() -> None:
    rng = np.random.default_rng(0)
    one, other = (table(name, rng, n_layers=2, n_options=5) for name in ("tagger", "trigger"))
    budget = Budget(9.0, 1, Resources(lut=300.0))
    both = solve("exact", PlanProblem.of([one, other], budget)).chosen
    assert set(both.used) == {"lut", "latency_ns of tagger", "latency_ns of trigger"}
    alone = [solve("exact", PlanProblem.of([each], budget)).chosen for each in (one, other)]
    assert both.loss >= sum(plan.loss for plan in alone) - 1e-9
    assert len(both.of("tagger")) == len(both.of("trigger")) == 2


def test_what_no_option_can_meet_is_named_with_the_closest_point() -> None:
    one = ChoiceTable(
        model="tagger", choices=(Choice("dense", (option(0, 100, 4, 5, interval=8), option(1, 60, 4, 5, interval=4))),)
    )
    for budget, message in (
        (Budget(resources=Resources(lut=50.0)), "lut binds, 50 allowed, 60 at the closest point"),
        (Budget(interval_cycles=2), "interval_cycles binds, 2 allowed, 4 at the closest point"),
        (Budget(resources=Resources(dsp=0.0)), "dsp binds, 0 allowed, 4 at the closest point"),
        (Budget(latency_ns=4.0), "latency_ns binds, 4 allowed, 5 at the closest point"),
    ):
        for name in solvers.SOLVERS:
            with pytest.raises(BudgetMissedError, match=message) as caught:
                solve(name, PlanProblem.of([one], budget))
            assert caught.value.exit_code == 2


def test_evolve_finds_what_is_not_separable() -> None:
    """Two layers that are cheap together and dear alone: only a solver that sees whole plans takes both."""
    options = (option(0.0, 10, 0, 1), option(0.1, 10, 0, 1))
    one = ChoiceTable(model="tagger", choices=tuple(Choice(f"dense_{n}", options) for n in range(4)))
    problem = PlanProblem.of([one], Budget(resources=Resources(lut=100.0)))

    def together(plan: Plan) -> Plan:
        n_cut = sum(pick.option.loss > 0 for pick in plan.picks)
        return replace(plan, loss=-1.0 if n_cut == 4 else plan.loss)

    assert solve("exact", problem).chosen.loss == 0.0
    assert solvers.evolve(problem, evaluate=together, n_trials=80, population=16).chosen.loss == -1.0


def test_the_same_seed_evolves_the_same_plans() -> None:
    problem = PlanProblem.of(
        [table("tagger", np.random.default_rng(1), n_layers=3, n_options=6)], Budget(resources=Resources(lut=200.0))
    )
    runs: list[list[Plan]] = [[], []]
    for seen in runs:
        solvers.evolve(problem, evaluate=lambda plan, seen=seen: seen.append(plan) or plan, n_trials=60, population=12)  # type: ignore[misc, func-returns-value]
    assert runs[0] == runs[1]


def test_unknown_solvers_and_empty_problems_are_refused() -> None:
    with pytest.raises(RecipeError, match="unknown solver 'milp'; choose one of"):
        solvers.find("milp")
    with pytest.raises(RecipeError, match="at least one model"):
        PlanProblem.of([], Budget())
    with pytest.raises(RecipeError, match="5 trials are fewer"):
        solvers.evolve(two_steps(), n_trials=5)
