"""What is over the budget after the long training: moves one by one, or the least worthy digits of all layers."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from hepprune.errors import BudgetMissedError
from hepprune.network import Network
from hepprune.pruning.masks import Cut
from hepprune.search import cutting, moves
from hepprune.search.moves import Move
from hepprune.search.stages import Problem
from hepprune.task.sample import Sample
from hepprune.training import validated
from tests.search.test_greedy import luts, problem
from tests.search.toy import toy_price

Jets = tuple[Sample, Sample]
GOALS = {"lut": 1.0}


def costly(network: Network, *_: object) -> Iterator[Move]:
    """Propose the largest weight of each layer, said to be worth nothing."""
    for kernel in network.kernels:
        if int(kernel.used().count_nonzero()) > 1:
            unit = int(kernel.used().abs().flatten().argmax())
            yield Move((Cut(kernel.name, "weight", (unit,)),), 0.0, "weight")


def nothing(*_: object) -> Iterator[Move]:
    """Propose no move."""
    return iter(())


def loss(network: Network, given: Problem) -> float:
    return validated(network, given.validation, monitor="loss").loss


@pytest.fixture
def over(tagger: Network, jets: Jets) -> Problem:
    return problem(jets, luts(tagger, 0.8))


def test_digits_go_where_moves_would_cost_more(tagger: Network, over: Problem) -> None:
    given = replace(over, propose=costly)
    found, (step,) = cutting.trim(tagger, given, GOALS)
    by_moves, _ = cutting.cut_until(tagger, given, GOALS)
    assert given.budget.met_by(toy_price(found))
    assert loss(found, given) < loss(by_moves, given)
    assert set(step.layers) <= set(tagger.layers)
    fewer = sum(int(kernel.digit_counts().sum()) for kernel in found.kernels)
    assert step.n_units == sum(int(kernel.digit_counts().sum()) for kernel in tagger.kernels) - fewer > 0
    assert step.kind == "digit"
    assert step.predicted_loss > 0
    used = [over.budget.usage(toy_price(each))["lut"] for each in (tagger, found)]
    assert step.gain == pytest.approx(used[0] - used[1])


def test_digits_go_where_no_move_is_left(tagger: Network, over: Problem) -> None:
    found, (step,) = cutting.trim(tagger, replace(over, propose=nothing), GOALS)
    assert step.kind == "digit"
    assert over.budget.met_by(toy_price(found))


def test_the_way_that_loses_less_is_taken(tagger: Network, over: Problem) -> None:
    best, steps = cutting.trim(tagger, over, GOALS)
    digits, moved = (
        cutting.fewer_digits(tagger, over, GOALS),
        cutting.cut_until(tagger, replace(over, trims=True), GOALS),
    )
    ways = [digits[0], moved[0]]
    assert loss(best, over) == min(loss(way, over) for way in ways)
    assert steps


def test_a_budget_below_one_digit_a_layer_is_missed(tagger: Network, jets: Jets) -> None:
    given = replace(problem(jets, luts(tagger, 0.001)), propose=nothing)
    with pytest.raises(BudgetMissedError, match="lut binds"):
        cutting.trim(tagger, given, GOALS)


def test_without_digits_only_moves_are_taken(tagger: Network, over: Problem) -> None:
    weights = replace(over, settings=replace(over.settings, digits=False), propose=moves.PerKernel({}, ("weight",)))
    _, steps = cutting.trim(tagger, weights, GOALS)
    assert {step.kind for step in steps} <= {"weight", "depth"}
