"""A descent down a ladder: every rung is met by what is built, smaller ones cost less, an interrupted one goes on."""

from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from hepprune import training
from hepprune.errors import BudgetMissedError, NetworkError
from hepprune.hardware import cost, targets
from hepprune.hardware.resources import Budget, Resources
from hepprune.network import Network, identity
from hepprune.search import front, moves
from hepprune.search.front import Kept, Rung
from hepprune.search.stages import Problem, Settings
from hepprune.task.sample import Sample
from hepprune.training import Fit
from tests.search.architectures import convolution
from tests.search.toy import toy_price

Jets = tuple[Sample, Sample]
PRICE = partial(cost.estimate, target=targets.load("generic_vu13p"), strategy="distributed_arithmetic")
SETTINGS = Settings(bits=True, allocate=Fit(epochs=8, batch_size=1024, learning_rate=5e-3))
SHARES = (0.4, 0.2)
REACHED_FIRST = (800.0, 1.0, 0.0)  # LUT, of which a digit takes 8, and each layer keeps one


def lut(network: Network) -> float:
    return PRICE(network).resources.lut or 0.0


def problem(jets: Jets) -> Problem:
    propose = moves.PerKernel({}, moves.ALLOCATED)
    options = {"budget": Budget(), "price": PRICE, "propose": propose, "settings": SETTINGS}
    return Problem(train=jets[0].first(2048), validation=jets[1], **options)


def rungs(tagger: Network) -> list[float]:
    return [share * lut(tagger) for share in SHARES]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("descent")


@pytest.fixture(scope="module")
def kept(tagger: Network, jets: Jets, place: Path) -> tuple[Kept, ...]:
    return front.descend(tagger, problem(jets), rungs(tagger), state=place)


def test_a_ladder_has_one_rung_where_nothing_is_allowed_or_all_is_too_much() -> None:
    assert front.ladder(Budget(resources=Resources(lut=0.0)), 100.0) == (0.0,)
    assert front.ladder(Budget(resources=Resources(lut=1e6)), 100.0) == (100.0,)
    assert front.ladder(Budget(), 100.0)[:3] == pytest.approx((100.0, 70.7, 50.0), rel=0.01)


@pytest.mark.slow
def test_every_rung_has_a_network_of_its_size(kept: tuple[Kept, ...], tagger: Network) -> None:
    assert [each.rung.lut for each in kept] == rungs(tagger)
    for each in kept:
        assert each.rung.estimate == PRICE(each.network)
        assert lut(each.network) == pytest.approx(each.rung.lut, rel=0.1)  # its weights move while its digits are held
    assert kept[0].rung.scores["accuracy"].value > 0.5  # of five classes, 0.75 for the whole tagger


@pytest.mark.slow
def test_an_interrupted_descent_goes_on_and_ends_the_same(
    kept: tuple[Kept, ...], tagger: Network, jets: Jets, place: Path
) -> None:
    for last in place.glob("rung_2-*"):
        last.unlink()
    epochs: list[int] = []
    reported: list[Rung] = []
    again = front.descend(
        tagger, problem(jets), rungs(tagger), state=place, trained=epochs.append, advance=reported.append
    )
    assert epochs == [4, 1, 1, 1, 1]
    assert reported == [each.rung for each in kept]
    assert [identity(each.network) for each in again] == [identity(each.network) for each in kept]


def test_the_ladder_goes_from_four_budgets_to_an_eighth_of_one_by_half_octaves() -> None:
    found = front.ladder(Budget(resources=Resources(lut=800.0)), most=1e6)
    assert (found[0], found[4], found[6], found[-1]) == (3200.0, 800.0, 400.0, 100.0)
    assert all(above / below == pytest.approx(2**0.5) for above, below in zip(found[:-1], found[1:], strict=True))


@pytest.mark.parametrize(("epochs", "each"), [(0, 2), (4400, 2), (6399, 2), (6400, 3), (10**6, 6)])
def test_more_epochs_than_rungs_can_use_make_the_ladder_finer(epochs: int, each: int) -> None:
    found = front.ladder(Budget(resources=Resources(lut=800.0)), most=1e6, epochs=epochs)
    assert (found[0], found[2 * each], found[-1], len(found)) == (3200.0, 800.0, 100.0, 5 * each + 1)


def test_no_rung_of_the_ladder_is_above_the_whole_network() -> None:
    assert front.ladder(Budget(resources=Resources(lut=800.0)), most=1000.0)[0] == 800.0
    assert front.ladder(Budget(resources=Resources(lut=8000.0)), most=1000.0) == (1000.0,)
    assert front.ladder(Budget(), most=1000.0)[0] == 1000.0
    assert front.ladder(Budget(resources=Resources(lut=0.0)), most=1000.0) == (0.0,)


def test_a_limit_that_no_rung_can_meet_is_named(tagger: Network, jets: Jets) -> None:
    short = replace(problem(jets), budget=Budget(latency_ns=1.0))
    with pytest.raises(BudgetMissedError, match="latency_ns binds, 1 allowed"):
        front.descend(tagger, short, rungs(tagger))


def test_only_chains_of_dense_layers_have_a_front(jets: Jets) -> None:
    with pytest.raises(NetworkError, match="chains of dense layers"):
        front.descend(convolution(), problem(jets), [100.0])


@pytest.fixture(scope="module")
def ended(tagger: Network, jets: Jets) -> tuple[Kept, ...]:
    """The front of an objective on few jets, of whose rungs only the first can be reached."""
    fit = Fit(epochs=3, batch_size=128, learning_rate=5e-3, monitor="auc")
    settings = Settings(bits=True, allocate=fit, fine_tune=fit)
    few = replace(problem(jets), train=jets[0].first(256), validation=jets[1].first(500), settings=settings)
    return front.descend(tagger, replace(few, price=toy_price), REACHED_FIRST)


def test_the_first_rung_that_cannot_be_reached_ends_the_ladder(ended: tuple[Kept, ...]) -> None:
    assert [each.rung.lut for each in ended] == [REACHED_FIRST[0]]


def test_the_objective_is_the_primary_metric_of_a_rung(ended: tuple[Kept, ...], jets: Jets) -> None:
    scores = ended[0].rung.scores
    assert next(iter(scores)) == "auc"
    own = training.scores(ended[0].network, jets[1].first(500), names=["auc", "accuracy"])
    assert {name: scores[name].value for name in own} == {name: score.value for name, score in own.items()}


def test_a_rung_is_trained_for_an_equal_part_of_the_epochs_and_three_at_least() -> None:
    assert [front.share(SETTINGS, n).epochs for n in (1, 2, 11)] == [8, 4, 3]
