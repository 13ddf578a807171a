from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from hepprune import executors, training
from hepprune.errors import NetworkError
from hepprune.metrics.scores import Stated
from hepprune.network import Network
from hepprune.pruning import plan
from hepprune.studies import lottery
from hepprune.studies.lottery import Game
from hepprune.task.sample import Sample
from hepprune.training import Fit
from tests.networks import weighted

FLOAT = Fit(epochs=3, batch_size=256, learning_rate=5e-3, quantised=False)


def draw(seed: int) -> Network:
    return training.multilayer_perceptron(8, (16, 12), 5, seed=seed)


@pytest.fixture(scope="module")
def game(jets: tuple[Sample, Sample]) -> Game:
    train, validation = jets
    return Game(train=train, validation=validation, test=validation, fit=FLOAT, sparsity=0.75, rounds=2)


@pytest.fixture(scope="module")
def trials(game: Game) -> list[lottery.Trial]:
    return lottery.play(draw, game, seeds=(1, 2))


def test_each_round_takes_the_same_share_of_what_is_left(game: Game, trials: list[lottery.Trial]) -> None:
    assert len(trials) == lottery.n_trainings(game, 2)
    hidden, last = 8 * 16 + 16 * 12, 12 * 5  # the last layer goes at half the rate
    expected = [
        (0.5 * hidden + 0.25 * last) / (hidden + last),
        (0.75 * hidden + (1 - 0.75**2) * last) / (hidden + last),
    ]
    for kind in lottery.KINDS:
        reached = [trial.sparsity for trial in trials if trial.kind == kind and trial.seed == 1]
        assert reached == pytest.approx(expected, abs=0.005)
    assert [trial.sparsity for trial in trials if trial.kind == "dense"] == [0, 0]


def test_a_game_goes_on_from_where_it_was_interrupted(
    game: Game, trials: list[lottery.Trial], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fit, done = training.fit, []

    def counted(*given: Any, **options: Any) -> Any:
        if len(done) == 9:
            raise KeyboardInterrupt
        done.append(1)
        return fit(*given, **options)

    monkeypatch.setattr(training, "fit", counted)
    with pytest.raises(KeyboardInterrupt):
        lottery.play(draw, game, seeds=(1, 2), state=tmp_path)
    done.clear()
    calls: list[int] = []
    assert lottery.play(draw, game, seeds=(1, 2), state=tmp_path, advance=calls.append) == trials
    assert len(done) == lottery.n_trainings(game, 2) - 9
    assert len(calls) == lottery.n_trainings(game, 2)


def test_patience_brings_no_early_epoch_forward(game: Game, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fit, asked = training.fit, list[tuple[int, int | None]]()

    def noted(*given: Any, settings: Fit, **options: Any) -> Any:
        asked.append((settings.epochs, settings.patience))
        return fit(*given, settings=settings, **options)

    monkeypatch.setattr(training, "fit", noted)
    late = replace(game, fit=replace(FLOAT, patience=1), rounds=1, rewind_epochs=2)
    lottery.play(draw, late, seeds=(1,), state=tmp_path)
    assert asked == [(2, None)] * 2 + [(3, 1)] * 4
    assert len(list(tmp_path.glob("early-*.npz"))) == 2  # as what was begun before has them


@pytest.mark.slow
def test_workers_draw_the_same(game: Game, trials: list[lottery.Trial], tmp_path: Path) -> None:
    reported: list[int] = []
    with executors.open("processes:2") as pool:
        shared = lottery.play(draw, game, seeds=(1, 2), state=tmp_path, executor=pool, advance=reported.append)
    assert shared == trials
    assert sum(reported) == lottery.n_trainings(game, 2)
    assert list(tmp_path.iterdir())


def test_how_far_a_kind_holds_ends_at_its_first_loss() -> None:
    lost = {0.5: 0.0, 0.75: 0.009, 0.9: 0.02, 0.95: 0.0}
    found = [
        lottery.LotteryMeans("ticket", sparsity, {"accuracy": Stated(0.9 - loss, None)}, Stated(loss, None))
        for sparsity, loss in lost.items()
    ]
    assert lottery.sparsest(found, "ticket") == 0.75
    assert lottery.sparsest(found, "random mask") == 0


def test_a_ticket_starts_from_its_own_first_weights() -> None:
    whole = draw(3)
    masked = plan.prune(draw(4), sparsity=0.6, scope="local")
    ticket, random = lottery.masked_as(whole, masked), lottery.shuffled(masked, whole, seed=5)
    for first, cut, kept, other in zip(
        weighted(whole),
        weighted(masked),
        weighted(ticket),
        weighted(random),
        strict=True,
    ):
        assert torch.equal(kept.weight, first.weight)
        assert torch.equal(kept.digit_limit, cut.digit_limit)
        assert int((other.digit_limit == 0).sum()) == int((cut.digit_limit == 0).sum())
        assert not torch.equal(other.digit_limit, cut.digit_limit)


def test_means_over_seeds(trials: list[lottery.Trial]) -> None:
    dense = next(point for point in lottery.points(trials) if point.kind == "dense")
    values = [trial.scores["accuracy"].value for trial in trials if trial.kind == "dense"]
    assert dense.scores["accuracy"].value == pytest.approx(np.mean(values))
    assert dense.scores["accuracy"].error == pytest.approx(abs(values[0] - values[1]) / 2)
    assert dense.lost == Stated(0, 0)
    alone = lottery.points([trial for trial in trials if trial.seed == 1])
    assert {point.scores["accuracy"].error for point in alone} == {None}  # one seed says nothing of the spread


def test_a_sparsity_outside_the_unit_interval_is_refused(game: Game) -> None:
    with pytest.raises(NetworkError, match=r"1\.2"):
        lottery.play(
            draw,
            Game(train=game.train, validation=game.validation, test=game.test, fit=FLOAT, sparsity=1.2),
            seeds=(1,),
        )


@pytest.mark.slow
def test_lenet_on_digits_has_the_published_shape() -> None:
    """LeNet-300-100: tickets stay near the dense accuracy where random masks and new weights have fallen."""
    x, y = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(y))
    parts = [Sample.from_arrays(x[rows] / 16, y[rows]) for rows in np.split(order, [1000, 1250])]
    jets = dict(zip(("train", "validation", "test"), parts, strict=True))
    fit = Fit(epochs=20, batch_size=64, learning_rate=1.2e-3, quantised=False)
    digits = Game(**jets, fit=fit, sparsity=0.92, rounds=4)
    found = lottery.play(lambda seed: training.multilayer_perceptron(64, (300, 100), 10, seed=seed), digits, seeds=(1,))
    means = {(point.kind, point.sparsity): point for point in lottery.points(found)}
    sparsest = max(point.sparsity for point in lottery.points(found))
    ticket, new, random = (means[kind, sparsest].scores["accuracy"].value for kind in lottery.KINDS)
    assert ticket > means["dense", 0.0].scores["accuracy"].value - 0.05
    assert ticket > new + 0.01
    assert ticket > random + 0.03
