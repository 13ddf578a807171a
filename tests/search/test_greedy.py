import itertools
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hepprune import metrics, training
from hepprune.errors import BudgetMissedError
from hepprune.fixed import digits
from hepprune.hardware import cost, targets
from hepprune.hardware.resources import Budget, Resources
from hepprune.network import Network, exact_logits, identity, precision
from hepprune.network.precision import Precision
from hepprune.pruning import masks, statistics
from hepprune.search import cutting, greedy, moves, sensitivity
from hepprune.search.stages import Outcome, Problem, Settings, Stage
from hepprune.search.uniform import GlobalMagnitude
from hepprune.task.sample import Sample
from hepprune.training import Fit
from tests.conftest import INPUTS
from tests.networks import weighted
from tests.search.architectures import residual
from tests.search.toy import toy_price

Jets = tuple[Sample, Sample]
TARGET = targets.load("generic_vu13p")
QUICK = Settings(
    stages=3,
    step=0.3,
    statistics_jets=1000,
    fine_tune=Fit(epochs=1, batch_size=512, learning_rate=3e-3),
    settle=Fit(epochs=3, batch_size=512, learning_rate=3e-3),
    trim=Fit(epochs=1, batch_size=512, learning_rate=1e-3),
)
MOVES = moves.PerKernel({}, masks.GRANULARITIES)


def problem(jets: Jets, budget: Budget) -> Problem:
    train, validation = jets
    return Problem(train=train, validation=validation, budget=budget, price=toy_price, propose=MOVES, settings=QUICK)


def luts(network: Network, share: float) -> Budget:
    """Return the budget of a share of what a network takes."""
    return Budget(resources=Resources(lut=share * (toy_price(network).resources.lut or 0)))


@pytest.fixture(scope="module")
def third(tagger: Network, jets: Jets) -> Outcome:
    return greedy.search(tagger, problem(jets, luts(tagger, 1 / 3)))


def watching(objective: str) -> Settings:
    fits = {name: replace(getattr(QUICK, name), monitor=objective) for name in ("fine_tune", "settle", "trim")}
    return replace(QUICK, **fits)  # type: ignore[arg-type]


def test_a_metric_as_the_objective_decides_which_moves_are_taken(tagger: Network, jets: Jets) -> None:
    name, goals = "auc(3)", {"lut": 1.0}
    by_loss = problem(jets, luts(tagger, 0.4))
    by_metric = replace(by_loss, settings=watching(name))
    found = {given.settings.objective: cutting.cut_until(tagger, given, goals) for given in (by_loss, by_metric)}
    assert found["loss"][1] != found[name][1]
    left = {objective: training.scores(cut, jets[1], names=[name])[name] for objective, (cut, _) in found.items()}
    gained = metrics.difference(left[name], left["loss"])
    assert gained.value > gained.error


def test_a_trim_takes_small_moves_where_a_large_one_leads_far_below_the_limit(tagger: Network, jets: Jets) -> None:
    def large_and_small(network: Network, *_: object) -> Iterator[moves.Move]:
        """Propose half of a layer, said to be worth nothing, and single weights, said to be worth something."""
        first = network.kernels[0]
        alive = tuple(torch.nonzero(first.rows().flatten()).flatten().tolist())
        yield moves.Move((masks.Cut(first.name, "weight", alive[: len(alive) // 2]),), 0.0, "large")
        yield moves.Move((masks.Cut(first.name, "weight", alive[:1]),), 1.0, "small")

    given = replace(problem(jets, luts(tagger, 0.97)), propose=large_and_small)
    far, steps = cutting.cut_until(tagger, given, {"lut": 1.0})
    assert {step.kind for step in steps} == {"large"}
    near, steps = cutting.cut_until(tagger, replace(given, trims=True), {"lut": 1.0})
    assert {step.kind for step in steps} == {"small"}
    used = [given.budget.usage(toy_price(network))["lut"] for network in (far, near)]
    assert used[0] < 0.9
    assert 0.98 < used[1] <= 1


def test_a_search_for_a_metric_leads_with_it_and_goes_on_from_no_other(
    tagger: Network, jets: Jets, tmp_path: Path
) -> None:
    loss = problem(jets, luts(tagger, 0.7))
    metric = replace(loss, settings=watching("auc(3)"))
    stages = [greedy.search(tagger, given, state=tmp_path).stages for given in (loss, metric)]
    assert [next(iter(found[0].scores)) for found in stages] == ["accuracy", "auc(3)"]
    assert list(stages[1][0].changes) == ["auc(3)", "accuracy", "auc", "cross_entropy"]


def test_the_budget_is_met_and_the_shapes_shrink(tagger: Network, third: Outcome) -> None:
    budget, last = luts(tagger, 1 / 3), third.stages[-1]
    assert budget.met_by(toy_price(third.network))
    assert last.estimate == toy_price(third.network)
    assert last.usage["lut"] <= 1
    sizes = [layer.n_out for layer in weighted(third.network)]
    assert last.layer_sizes == tuple(sizes)
    assert all(after <= before for after, before in zip(sizes, (16, 12, 5), strict=True))
    assert sum(sizes) < 16 + 12 + 5
    assert sizes[-1] == 5


def test_one_call_measures_sensitivities_and_searches(tagger: Network, jets: Jets, tmp_path: Path) -> None:
    train, validation = jets
    budget = luts(tagger, 1 / 3)
    options = {"budget": budget, "price": toy_price, "settings": QUICK}
    found = greedy.within(tagger, train, validation, **options, state=tmp_path)
    gathered = statistics.gather(tagger, train.first(1000))
    curves = sensitivity.analyse(tagger, validation, gathered, granularities=masks.GRANULARITIES)
    own = replace(problem(jets, budget), propose=moves.PerKernel.of(curves, masks.GRANULARITIES), teacher=tagger)
    assert identity(found.network) == identity(greedy.search(tagger, own).network)
    assert budget.met_by(toy_price(found.network))


def test_every_stage_reaches_its_goal(tagger: Network, third: Outcome) -> None:
    assert [stage.index for stage in third.stages] == list(range(1, len(third.stages) + 1))
    nonzero = [masks.nonzero_weights(tagger), *(stage.nonzero_weights for stage in third.stages)]
    assert nonzero[-1] < 0.8 * nonzero[0]
    cut, settled = third.stages
    assert (
        cut.usage["lut"] < 1.1 * QUICK.phases({"lut": 3.0})[0].goal["lut"]
    )  # training may make weights a little dearer
    assert settled.usage["lut"] <= 1.0
    assert cut.steps
    assert not settled.steps  # its digits are chosen while it trains


@given(start=st.floats(0.01, 1000), stages=st.integers(2, 30))
def test_goals_tighten_evenly_until_the_network_settles(start: float, stages: int) -> None:
    settings = Settings(stages=stages)
    goals = [max(start, 1.0), *(phase.goal["lut"] for phase in settings.phases({"lut": start}))]
    assert goals[-1] == settings.trimming({"lut": start}).goal["lut"] == 1.0
    ratios = [after / before for before, after in itertools.pairwise(goals)]
    assert ratios == pytest.approx([ratios[0]] * len(ratios))


@pytest.mark.parametrize(
    ("stages", "digits", "kinds"),
    [
        (4, True, ["cut", "cut", "settle"]),
        (4, False, ["cut", "cut", "cut", "trim"]),
        (2, True, ["settle"]),
        (2, False, ["cut", "trim"]),
        (1, True, ["trim"]),
        (1, False, ["trim"]),
    ],
)
def test_the_long_training_comes_before_what_is_trimmed(*, stages: int, digits: bool, kinds: list[str]) -> None:
    settings = replace(QUICK, stages=stages, digits=digits)
    phases = settings.phases({"lut": 3.0})
    fits = {"settle": settings.settle, "trim": settings.trim, "cut": settings.fine_tune}
    expected = [fits[kind] for kind in kinds]
    if stages > 1:
        expected[stages - 2] = settings.settle
    assert [phase.kind for phase in phases] == kinds
    assert [phase.fit for phase in phases] == expected
    assert settings.epochs == sum(fit.epochs for fit in expected)


def test_a_third_of_the_digits_keeps_most_of_the_accuracy(tagger: Network, jets: Jets, third: Outcome) -> None:
    before = (exact_logits(tagger, jets[1].features.numpy()).argmax(1) == jets[1].y.numpy()).mean()
    assert third.stages[-1].scores["accuracy"].value > before - 0.05
    hits = training.evaluate(third.network, jets[1]).argmax(1) == jets[1].y.numpy()
    assert third.stages[-1].scores["accuracy"].value == hits.mean()


def test_changes_are_paired_and_add_up(tagger: Network, jets: Jets, third: Outcome) -> None:
    before = (training.evaluate(tagger, jets[1]).argmax(1) == jets[1].y.numpy()).mean()
    accuracies = [before, *(stage.scores["accuracy"].value for stage in third.stages)]
    changes = [stage.changes["accuracy"] for stage in third.stages]
    assert np.allclose(np.diff(accuracies), [change.value for change in changes])
    for stage, change in zip(third.stages, changes, strict=True):
        assert change.error < np.sqrt(2) * (stage.scores["accuracy"].error or 0)
        assert stage.significant == (abs(change.value) > change.error)


def test_the_argument_is_left_as_it_was_and_a_second_search_is_equal(
    tagger: Network, jets: Jets, third: Outcome
) -> None:
    before = identity(tagger)
    again = greedy.search(tagger, problem(jets, luts(tagger, 1 / 3)))
    assert identity(tagger) == before
    assert identity(again.network) == identity(third.network)
    assert [replace(stage, seconds=0.0) for stage in again.stages] == [
        replace(stage, seconds=0.0) for stage in third.stages
    ]


def test_a_larger_budget_keeps_more_and_is_met_too(tagger: Network, jets: Jets, third: Outcome) -> None:
    larger = greedy.search(tagger, problem(jets, luts(tagger, 2 / 3)))
    assert luts(tagger, 2 / 3).met_by(larger.stages[-1].estimate)
    assert larger.stages[-1].nonzero_weights > third.stages[-1].nonzero_weights
    more, less = (outcome.stages[-1].scores["accuracy"] for outcome in (larger, third))
    assert more.value >= less.value - (less.error or 0)


def test_an_interrupted_search_ends_as_if_it_had_not_been(
    tagger: Network, jets: Jets, third: Outcome, tmp_path: Path
) -> None:
    def interrupt(stage: Stage) -> None:
        if stage.index == 2:
            raise KeyboardInterrupt

    search = problem(jets, luts(tagger, 1 / 3))
    with pytest.raises(KeyboardInterrupt):
        greedy.search(tagger, search, state=tmp_path, advance=interrupt)
    reported: list[Stage] = []
    resumed = greedy.search(tagger, search, state=tmp_path, advance=reported.append)
    assert identity(resumed.network) == identity(third.network)
    assert [stage.index for stage in reported] == [stage.index for stage in third.stages]
    finished = greedy.search(tagger, search, state=tmp_path)
    assert identity(finished.network) == identity(third.network)
    assert finished.stages == resumed.stages
    assert not list(tmp_path.rglob(".*"))


def test_another_search_takes_nothing_from_the_state_of_this_one(tagger: Network, jets: Jets, tmp_path: Path) -> None:
    base = problem(jets, luts(tagger, 0.9))
    base = replace(base, settings=replace(QUICK, stages=1))
    others = [
        base,
        replace(base, seed=1),
        replace(base, budget=luts(tagger, 0.8)),
        replace(base, propose=GlobalMagnitude()),
        replace(base, propose=moves.PerKernel({}, ("weight",))),
        replace(base, propose=moves.PerKernel({("dense_1", "weight"): 2.0}, masks.GRANULARITIES)),
        replace(base, settings=replace(base.settings, step=0.2)),
        replace(base, train=jets[0].first(3000)),
        replace(base, train=replace(jets[0], y=jets[0].y.flip(0))),  # the same labels of other jets
        replace(base, validation=replace(jets[1], x=tuple(each.flip(0) for each in jets[1].x))),
    ]
    for number, other in enumerate(others, start=1):
        greedy.search(tagger, other, state=tmp_path)
        assert len(list(tmp_path.glob("stage_1-*.json"))) == number


def test_a_latency_budget_lowers_the_depth(tagger: Network, jets: Jets) -> None:
    start = toy_price(tagger)
    budget = Budget(latency_ns=start.latency_ns - 20)
    found = greedy.search(tagger, problem(jets, budget))
    assert toy_price(found.network).latency_ns <= budget.latency_ns
    assert sum(layer.depth for layer in toy_price(found.network).layers) <= start.latency_cycles - 4
    assert any(step.kind == "depth" for stage in found.stages for step in stage.steps)


def test_a_budget_already_met_costs_nothing(tagger: Network, jets: Jets) -> None:
    found = greedy.search(tagger, problem(jets, luts(tagger, 2.0)))
    assert not any(stage.steps for stage in found.stages)
    assert found.stages[-1].layer_sizes == (16, 12, 5)


def test_an_unreachable_budget_names_the_limit_and_the_closest_point(
    tagger: Network, jets: Jets, tmp_path: Path
) -> None:
    search = problem(jets, Budget(resources=Resources(lut=20)))  # each of three layers keeps a digit, which takes 8
    message = r"^the budget cannot be reached: lut binds, 20 allowed, [0-9]+ at the closest point$"
    with pytest.raises(BudgetMissedError, match=message) as caught:
        greedy.search(tagger, search, state=tmp_path)
    assert caught.value.exit_code == 2
    assert len(list(tmp_path.glob("stage_1-*.npz"))) == len(list(tmp_path.glob("stage_1-*.json"))) == 1


def test_a_layer_that_training_silences_is_no_way_to_meet_a_budget(tagger: Network, jets: Jets) -> None:
    silent = tagger.clone()
    silent.kernels[1].layer.digit_limit.zero_()
    with pytest.raises(BudgetMissedError, match=r"layer 'dense_2' is left without weights"):
        greedy.search(silent, problem(jets, luts(tagger, 0.9)))


def test_a_branch_may_be_left_without_a_weight_while_inputs_reach_the_outputs(jets: Jets) -> None:
    network = precision.quantise(residual(), jets[0].features.numpy(), Precision(inputs=INPUTS))
    for name, silences in (("c", False), ("out", True)):
        silent = network.clone()
        silent.kernel(name).digit_limit.zero_()
        budget = Budget(resources=Resources(lut=1e9))
        price = partial(cost.estimate, target=TARGET)
        search = replace(problem(jets, budget), price=price, settings=replace(QUICK, stages=1))
        if not silences:
            greedy.search(silent, search)
            continue
        with pytest.raises(BudgetMissedError, match="layer 'out' is left without weights"):
            greedy.search(silent, search)


def test_the_limit_furthest_beyond_is_the_one_that_binds(tagger: Network) -> None:
    figures = toy_price(tagger)
    budget = Budget(latency_ns=figures.latency_ns * 0.9, resources=Resources(lut=(figures.resources.lut or 0) / 10))
    assert "lut binds" in str(moves.missed(budget, figures, tagger))
    assert f"{figures.resources.lut:g} at the closest point" in str(moves.missed(budget, figures, tagger))


def test_released_digits_leave_only_what_is_pruned(third: Outcome) -> None:
    for before, after in zip(
        weighted(third.network),
        weighted(greedy.release_digits(third.network)),
        strict=True,
    ):
        assert ((after.digit_limit == 0) == (before.digit_limit == 0)).all()
        assert set(after.digit_limit.unique().tolist()) <= {0, digits.UNLIMITED}


def test_held_digits_are_those_there_are(tagger: Network) -> None:
    held = greedy.hold_digits(tagger)
    for before, after in zip(weighted(tagger), weighted(held), strict=True):
        assert after.digit_limit.tolist() == before.kernels[0].digit_counts().tolist()
        assert after.used_weight().tolist() == before.used_weight().tolist()


def test_digits_are_held_at_the_end(third: Outcome) -> None:
    assert all(int(layer.digit_limit.max()) < digits.UNLIMITED for layer in weighted(third.network))


def test_what_is_over_the_budget_is_trimmed(jets: Jets, third: Outcome) -> None:
    trims = replace(QUICK, stages=1)
    budget = luts(third.network, 0.9)
    trimmed = greedy.search(third.network, replace(problem(jets, budget), settings=trims))
    assert budget.met_by(trimmed.stages[-1].estimate)
    assert trimmed.stages[0].steps
    before = {layer.name: int(layer.kernels[0].digit_counts().sum()) for layer in weighted(third.network)}
    assert all(int(layer.kernels[0].digit_counts().sum()) <= before[layer.name] for layer in weighted(trimmed.network))


def test_without_digits_the_last_stage_cuts_and_trains(tagger: Network, jets: Jets) -> None:
    weights = replace(QUICK, digits=False)
    found = greedy.search(tagger, replace(problem(jets, luts(tagger, 1 / 3)), settings=weights))
    assert len(found.stages) >= QUICK.stages
    assert luts(tagger, 1 / 3).met_by(found.stages[-1].estimate)
