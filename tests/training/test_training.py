from dataclasses import replace

import numpy as np
import pytest
import torch

from hepprune import metrics, training
from hepprune.errors import DataError, NetworkError
from hepprune.fixed import FixedPoint
from hepprune.network import Dense, Input, Network, exact_logits, identity
from hepprune.pruning import masks
from hepprune.search.greedy import release_digits
from hepprune.task import Regression
from hepprune.task.sample import Sample
from hepprune.training import Fit, Penalty
from tests.networks import weighted

QUICK = Fit(epochs=2, batch_size=256, learning_rate=5e-3)
Jets = tuple[Sample, Sample]


def test_the_same_seed_gives_the_same_network(tagger: Network, jets: Jets) -> None:
    first, second, other = (training.fit(tagger, *jets, settings=QUICK, seed=seed)[0] for seed in (3, 3, 4))
    assert identity(first) == identity(second)
    assert identity(first) != identity(other)


def test_the_argument_is_left_as_it_was(tagger: Network, jets: Jets) -> None:
    before = identity(tagger)
    training.fit(tagger, *jets, settings=QUICK, seed=0)
    assert identity(tagger) == before


@pytest.mark.parametrize("quantised", [True, False])
def test_the_loss_falls_and_the_classes_are_learned(jets: Jets, *, quantised: bool) -> None:
    network = training.multilayer_perceptron(8, (16,), 5, seed=0)
    _, history = training.fit(
        network, *jets, settings=Fit(epochs=6, batch_size=256, learning_rate=1e-2, quantised=quantised), seed=0
    )
    assert [epoch.epoch for epoch in history] == [1, 2, 3, 4, 5, 6]
    assert history[-1].training_loss < history[0].training_loss - 0.2
    assert history[-1].loss < history[0].loss - 0.2
    assert history[-1].score > 0.7
    assert 0 < history[-1].score_error < 0.02


def test_history_holds_the_metrics_of_validation(tagger: Network, jets: Jets) -> None:
    network, history = training.fit(tagger, *jets, settings=replace(QUICK, epochs=1), seed=0)
    logits, labels = training.evaluate(network, jets[1]), jets[1].y.numpy()
    assert history[0].loss == metrics.cross_entropy(logits, labels).value
    assert history[0].score == metrics.accuracy(logits, labels).value
    assert history[0].score_error == metrics.accuracy(logits, labels).error


def test_the_best_epoch_comes_back(tagger: Network, jets: Jets) -> None:
    wild = Fit(epochs=30, batch_size=1024, learning_rate=0.3, patience=2)  # far too fast, so that epochs get worse
    network, history = training.fit(tagger, *jets, settings=wild, seed=0)
    losses = [epoch.loss for epoch in history]
    assert losses[-1] > min(losses)
    found = metrics.cross_entropy(training.evaluate(network, jets[1]), jets[1].y.numpy()).value
    assert found == min(losses)


def test_patience_ends_a_training_that_gets_no_better(tagger: Network, jets: Jets) -> None:
    wild = Fit(epochs=30, batch_size=1024, learning_rate=0.3, patience=2)
    _, history = training.fit(tagger, *jets, settings=wild, seed=0)
    best = min(history, key=lambda epoch: epoch.loss).epoch
    assert len(history) == best + 2 < 30


def test_the_best_epoch_is_that_of_the_metric_watched(tagger: Network, jets: Jets) -> None:
    wild = Fit(epochs=6, batch_size=1024, learning_rate=0.1)
    kept = {}
    for monitor in ("loss", "accuracy", "auc"):
        network, history = training.fit(tagger, *jets, settings=replace(wild, monitor=monitor), seed=0)
        logits, labels = training.evaluate(network, jets[1]), jets[1].y.numpy()
        kept[monitor] = {name: metrics.find(name)(logits, labels).value for name in ("accuracy", "auc")}
    most = max(history, key=lambda epoch: epoch.score)
    assert 0 <= most.score - kept["accuracy"]["accuracy"] < most.score_error
    assert kept["auc"]["auc"] >= kept["loss"]["auc"]
    with pytest.raises(DataError, match="unknown metric 'acuracy'"):
        training.fit(tagger, *jets, settings=replace(wild, monitor="acuracy"), seed=0)


def test_pruned_weights_stay_pruned_and_digit_limits_hold(tagger: Network, jets: Jets) -> None:
    plan = [
        masks.Cut("dense_1", "weight", tuple(range(0, 128, 2))),
        masks.Cut("dense_2", "neuron", (0, 3), (0.5, 0.0)),
        masks.Cut("dense_3", "digit", tuple(range(0, 60, 3))),
    ]
    pruned = release_digits(masks.apply(tagger, plan))
    first, _ = training.fit(pruned, *jets, settings=replace(QUICK, weight_decay=0.1), seed=0)
    again, _ = training.fit(first, *jets, settings=replace(QUICK, weight_decay=0.1), seed=1)
    for before, after in zip(weighted(pruned), weighted(again), strict=True):
        limit = before.digit_limit.long()
        assert torch.equal(after.digit_limit, before.digit_limit)
        assert (after.kernels[0].digit_counts() <= limit).all()
        assert not after.used_weight()[limit == 0].any()
        assert not torch.equal(after.weight, before.weight)


def test_float_training_leaves_pruned_weights_alone_too(tagger: Network, jets: Jets) -> None:
    pruned = masks.apply(tagger, [masks.Cut("dense_1", "weight", tuple(range(64)))])
    fitted, _ = training.fit(pruned, *jets, settings=replace(QUICK, quantised=False, weight_decay=0.1), seed=0)
    assert not fitted["dense_1"].used_weight(quantised=False).flatten()[:64].any()


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_bad_features_are_refused(jets: Jets, bad: float) -> None:
    train = Sample(jets[0].features.clone(), jets[0].y)
    train.features[17, 2] = bad
    network = training.multilayer_perceptron(8, (4,), 5, seed=0)
    with pytest.raises(DataError, match="training loss is not finite"):
        training.fit(network, train, jets[1], settings=QUICK, seed=0)


def test_bad_validation_features_are_refused(jets: Jets) -> None:
    validation = Sample(jets[1].features.clone(), jets[1].y)
    validation.features[3, 2] = np.nan
    network = training.multilayer_perceptron(8, (4,), 5, seed=0)
    with pytest.raises(DataError, match="validation loss is not finite"):
        training.fit(network, jets[0], validation, settings=QUICK, seed=0)


def test_a_teacher_draws_its_pupil_nearer(tagger: Network, jets: Jets) -> None:
    def distance(network: Network) -> float:
        ours, theirs = (torch.log_softmax(n.logits(jets[1].features), dim=1) for n in (network, tagger))
        return torch.nn.functional.kl_div(ours, theirs, reduction="batchmean", log_target=True).item()

    pupil = training.multilayer_perceptron(8, (6,), 5, seed=0)
    schedule = Fit(epochs=8, batch_size=256, learning_rate=1e-2, quantised=False)
    alone, taught = (training.fit(pupil, *jets, settings=schedule, seed=0, teacher=t)[0] for t in (None, tagger))
    assert distance(taught) < distance(alone)


def test_progress_is_told_once_an_epoch(tagger: Network, jets: Jets) -> None:
    reported: list[int] = []
    training.fit(tagger, *jets, settings=QUICK, seed=0, advance=reported.append)
    assert reported == [1, 1]


@pytest.mark.parametrize("n_jets", [1, 255, 257])
def test_any_number_of_jets_makes_whole_batches(tagger: Network, jets: Jets, n_jets: int) -> None:
    _, history = training.fit(tagger, jets[0].first(n_jets), jets[1].first(50), settings=QUICK, seed=0)
    assert len(history) == 2


def test_an_empty_sample_is_refused() -> None:
    with pytest.raises(DataError, match="no jets"):
        Sample.from_arrays(np.zeros((0, 4)), np.zeros(0))


def test_a_sample_copies_its_arrays() -> None:
    x, y = np.zeros((3, 2)), np.array([0, 1, 2])
    sample = Sample.from_arrays(x, y)
    x[:] = 9
    assert not sample.features.any()
    assert (sample.features.dtype, sample.y.dtype, len(sample), len(sample.first(2))) == (
        torch.float32,
        torch.int64,
        3,
        2,
    )


def test_a_new_network_has_the_shape_and_the_spread_asked_for() -> None:
    network = training.multilayer_perceptron(16, (64, 32), 5, seed=0)
    assert [layer.name for layer in network] == ["features", "dense_1", "relu_1", "dense_2", "relu_2", "dense_3"]
    assert [tuple(layer.weight.shape) for layer in weighted(network)] == [
        (64, 16),
        (32, 64),
        (5, 32),
    ]
    assert network["dense_2"].weight.std().item() == pytest.approx((2 / 64) ** 0.5, rel=0.05)
    assert identity(network) == identity(training.multilayer_perceptron(16, (64, 32), 5, seed=0))


def test_evaluate_equals_the_firmware_arithmetic(tagger: Network, jets: Jets) -> None:
    assert tagger.input.result == FixedPoint(8, 3, True, "RND", "SAT")
    assert np.array_equal(training.evaluate(tagger, jets[1]), exact_logits(tagger, jets[1].features.numpy()))


def steep(fraction: int) -> tuple[Network, Sample]:
    """Return a regression whose digit limits bind, and jets at which its loss is finite and its gradient is not."""
    kind = FixedPoint(2 + fraction, 2, True, "RND", "SAT")
    limit = torch.ones(1, 3, dtype=torch.uint8)
    dense = Dense("dense", torch.zeros(1, 3), torch.ones(1), weight_type=kind, bias_type=kind, digit_limit=limit)
    task = Regression(kind="relative")
    jets = Sample((torch.full((64, 3), 1e4),), task.targets(torch.full((64, 1), 5e-19)), task=task)
    return Network([Input("x", 3), dense]), jets


@pytest.mark.parametrize("fraction", [4, 18])  # with a table of digits for all limits, and one for each
@pytest.mark.parametrize("n_batch", [16, 64])  # so that the next step reads what one wrote, and validation does
@pytest.mark.parametrize("penalty", [None, lambda *_: torch.zeros(())])  # as a chain, and by autograd
def test_a_training_that_diverges_ends_in_one_sentence(fraction: int, n_batch: int, penalty: Penalty | None) -> None:
    network, jets = steep(fraction)
    assert torch.isfinite(jets.loss(network.raw(jets.x)))
    for rate in (1e-3, 1e38):
        fit = Fit(epochs=2, batch_size=n_batch, learning_rate=rate)
        with pytest.raises(DataError, match="training loss is not finite"):
            training.fit(network, jets, jets, settings=fit, seed=0, penalty=penalty)


def test_a_network_of_constants_is_not_trained(jets: Jets) -> None:
    network = Network([Input("x", 8), Dense("dense", torch.ones(5, 8), torch.zeros(5), fixed=True)])
    with pytest.raises(NetworkError, match=r"nothing .* is trained: .* constants, which are those of 'dense'"):
        training.fit(network, *jets, settings=QUICK, seed=0)
