"""The loop between search and measurement, on real jets and real adder graphs."""

from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from hepprune import recipe
from hepprune.errors import BudgetMissedError, ReportError
from hepprune.firmware.routes import Built
from hepprune.hardware import targets
from hepprune.hardware.resources import Budget, Measurement, Resources
from hepprune.network import Network
from hepprune.pipeline import feedback, firmware, outcome, taggers
from hepprune.pipeline.context import Context
from hepprune.search.stages import Outcome, Problem
from hepprune.synthesis.ledger import Ledger, design_key

ROOT = Path(__file__).parents[2]
pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("feedback")]


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> Context:
    default = recipe.load(ROOT / "hls_projects/jet_tagger/recipe.yaml")
    sections = {
        "name": "feedback",
        "data": default.data.model_copy(update={"max_jets": 6000, "features": default.data.features[-6:]}),
        "model": default.model.model_copy(
            update={"hidden": (4, 4), "training": recipe.Training(float_epochs=3, epochs=3)}
        ),
        "search": recipe.Search(stages=3, fine_tune_epochs=1, settle_epochs=2, trim_epochs=1),
    }
    build = tmp_path_factory.mktemp("feedback")
    return Context(recipe=default.model_copy(update=sections), target=targets.load(default.target), build=build)


@pytest.fixture(scope="module")
def start(context: Context) -> feedback.Start:
    jets = taggers.read_jets(context)
    baseline = taggers.baseline(context, jets, None)
    curves = taggers.sensitivities(context, baseline, jets)
    budget = Budget(resources=Resources(lut=float(int(firmware.solve(context, baseline).lut * 0.5))))
    return feedback.Start(tagger=baseline, jets=jets, curves=curves, budget=budget)


def _loop(context: Context, start: feedback.Start, book: Ledger) -> list[feedback.Turn]:
    """Run the loop with Yosys as the judge, under a budget taken from what it measured before."""
    measure = partial(firmware.measure, context, jets=start.jets, book=book)
    pairs = partial(book.pairs, "yosys", strategy=context.recipe.strategy)
    return feedback.until_measured(context, start, stage="yosys", measure=measure, pairs=pairs)


def test_a_budget_believed_met_and_measured_missed_is_searched_again(context: Context, start: feedback.Start) -> None:
    # What Yosys says of the baseline teaches a calibration; halving that figure makes one that believes in too little.
    with Ledger(context.build / "honest.sqlite") as book:
        honest = firmware.measure(context, start.tagger, jets=start.jets, book=book).measurement
    assert honest is not None
    predicted = feedback.price_at(context, "yosys")(start.tagger)
    too_good = replace(honest, resources=honest.resources.scaled({"lut": 0.5}))
    budget = Budget(resources=Resources(lut=float(int(0.6 * (honest.resources.lut or 0)))))
    with Ledger(context.build / "misled.sqlite") as book:
        key = design_key("another", strategy="x", part="x", clock_ns=5.0, tool="x", pipelining=5)
        book.record(key, predicted, too_good, description="an earlier campaign that was too good")
        turns = _loop(context, replace(start, budget=budget), book)
    assert len(turns) >= 2
    assert budget.met_by(turns[0].estimate)  # believed
    assert not turns[0].met  # measured
    assert turns[-1].met
    assert turns[-1].measurement is not None
    assert (turns[-1].measurement.resources.lut or 0) <= (budget.resources.lut or 0)
    # The second turn starts from the first one's network and is predicted better.
    pairs = [(turn.estimate, turn.measurement) for turn in turns if turn.measurement is not None]
    errors = [abs((said.resources.lut or 0) / (seen.resources.lut or 1) - 1) for said, seen in pairs]
    assert errors[-1] < errors[0]


@pytest.mark.parametrize(
    ("turns", "said"), [(1, "lut binds, .* at the closest"), (5, "the evidence says .* through 2 measured designs")]
)
def test_turns_end_with_the_figure_that_binds(context: Context, start: feedback.Start, turns: int, said: str) -> None:
    measured = []

    def hopeless(network: Network) -> Built:
        """A tool that reports four times what fits whatever is cut, as firmware around the network would need."""
        measured.append(network)
        solved = firmware.solved_as_measured(context, network)
        assert solved.measurement is not None
        figures = Resources(lut=4 * (start.budget.resources.lut or 0))
        return replace(solved, measurement=replace(solved.measurement, resources=figures))

    limits = context.recipe.budget.model_copy(update={"max_accuracy_loss": 1.0})
    wanted = {"synthesis": recipe.Synthesis(max_iterations=turns), "budget": limits}
    context = replace(context, recipe=context.recipe.model_copy(update=wanted))
    with pytest.raises(BudgetMissedError, match=said) as caught:
        feedback.until_measured(context, start, stage="da4ml", measure=hopeless, pairs=list)
    assert caught.value.exit_code == 2
    assert len(measured) == min(turns, 2)
    assert list((context.build / "state" / "search").glob("stage_*.json"))  # the state is kept


@pytest.mark.parametrize(("seen", "steps"), [(4.0, "none")])
def test_what_a_trim_would_lose_is_trained_long_again(
    context: Context, start: feedback.Start, seen: float, steps: str
) -> None:
    def reported(network: Network) -> Built:
        """A tool that reports more than the adder graph has."""
        solved = firmware.solved_as_measured(context, network)
        assert solved.measurement is not None
        first.append(solved.measurement.resources.lut or 0.0)
        more = solved.measurement.resources.scaled({"lut": seen * (start.budget.resources.lut or 0.0) / first[0]})
        return replace(solved, measurement=replace(solved.measurement, resources=more))

    limits = context.recipe.budget.model_copy(update={"max_accuracy_loss": 1.0})
    long = context.recipe.search.model_copy(update={"settle_epochs": 15})
    free = replace(context, recipe=context.recipe.model_copy(update={"budget": limits, "search": long}))
    first = list[float]()
    turns = feedback.until_measured(free, start, stage="da4ml", measure=reported, pairs=list)
    assert [turn.met for turn in turns] == [False, True]
    again = turns[1].stages
    # A trim takes moves; what settles chooses its digits while it trains, and may be trimmed at its end.
    assert ("taken" if again[0].steps else "none") == steps


@pytest.mark.parametrize(("least", "within"), [(0.0, 0.97), (0.99, 1.0)])
def test_the_first_search_aims_below_the_limit_where_that_can_be_reached(
    context: Context, start: feedback.Start, least: float, within: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit, search = start.budget.resources.lut or 0.0, feedback._search

    def reaching(own: Context, network: Network, problem: Problem) -> Outcome:
        """Search, where no network is below a share of the limit."""
        if (problem.budget.resources.lut or 0.0) < least * limit:
            raise BudgetMissedError("no cut is left")
        return search(own, network, problem)

    monkeypatch.setattr(feedback, "_search", reaching)
    limits = context.recipe.budget.model_copy(update={"max_accuracy_loss": 1.0})
    free = replace(context, recipe=context.recipe.model_copy(update={"budget": limits}))
    measure = partial(firmware.solved_as_measured, free)
    first = feedback.until_measured(free, start, stage="da4ml", measure=measure, pairs=list)[0]
    assert (first.estimate.resources.lut or 0.0) <= within * limit


def test_uniform_pruning_is_held_to_what_the_design_measures(context: Context, start: feedback.Start) -> None:
    def reported(network: Network, more: float = 1.4) -> Built:
        """A tool that reports more than the adder graph has, as Yosys does of a network with many registers."""
        solved = firmware.solved_as_measured(context, network)
        assert solved.measurement is not None
        figures = solved.measurement.resources.scaled({"lut": more})
        return replace(solved, measurement=replace(solved.measurement, resources=figures))

    seen = list[float]()

    def measured(network: Network) -> Built:
        built = reported(network)
        assert built.measurement is not None
        seen.append(built.measurement.resources.lut or 0.0)
        return built

    searched = reported(start.tagger, 0.5)  # a design that takes half of what its adder graph would
    wanted = searched.measurement.resources.lut if searched.measurement else None
    assert wanted
    found = outcome.pruned_uniformly(context, start.tagger, start.jets, searched, measure=measured)
    assert 2 <= len(seen) <= 3
    assert seen[0] > 2.5 * wanted  # at the solved cost of the design
    assert found.measurement is not None
    assert found.measurement.resources.lut == min(seen, key=lambda lut: abs(lut / wanted - 1))
    assert found.measurement.resources.lut == pytest.approx(wanted, rel=0.15)


def test_a_budget_of_nothing_is_refused_by_name(context: Context, start: feedback.Start) -> None:
    measure = partial(firmware.solved_as_measured, context)
    impossible = replace(start, budget=Budget(latency_ns=0.1))
    with pytest.raises(BudgetMissedError, match=r"latency_ns binds, 0\.1 allowed"):
        feedback.until_measured(context, impossible, stage="da4ml", measure=measure, pairs=list)


def test_a_figure_that_no_tool_tells_is_asked_for_by_name(start: feedback.Start) -> None:
    limits = replace(start.budget, resources=Resources(lut=100.0, uram=2.0))
    silent = Measurement(
        stage="vsynth",
        tool="vivado",
        version="2020.1",
        part="xc7z020",
        clock_ns=5.0,
        resources=Resources(lut=90.0),
        latency_cycles=3,
        interval_cycles=1,
    )
    with pytest.raises(ReportError, match=r"vivado at stage vsynth tells no uram, which the budget limits"):
        feedback.complete(limits, silent)
    assert feedback.complete(start.budget, silent) == silent


def test_the_recipes_budget_wins_over_the_targets(context: Context) -> None:
    budget = feedback.resolve(context, 8000.0)
    assert budget.resources.lut == 1000.0  # one eighth
    assert budget.latency_ns == 30
    assert budget.resources.dsp == context.target.budget.resources.dsp
