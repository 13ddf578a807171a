from dataclasses import replace

import pytest
import torch

from hepprune import training
from hepprune.errors import NetworkError
from hepprune.network import Dense, Network
from hepprune.pruning import dynamic
from hepprune.pruning.dynamic import Branched
from hepprune.task.sample import Sample
from hepprune.training import Fit, multilayer_perceptron
from tests.pruning import smooth


@pytest.fixture(scope="module")
def branched() -> Branched:
    return dynamic.with_exits(multilayer_perceptron(8, (16, 12), 5, seed=1), ["relu_1", "relu_2"], seed=2)


def test_exits_are_side_branches(branched: Branched, jets: tuple[Sample, Sample]) -> None:
    plain = multilayer_perceptron(8, (16, 12), 5, seed=1)
    x = jets[1].features[:50]
    assert torch.equal(branched.network.logits(x), plain.logits(x))
    assert branched.exits == ("exit_1", "exit_2")
    values = branched.network.activations(x)
    part = branched.network.upto(["exit_2"])
    assert [layer.name for layer in part] == ["features", "dense_1", "relu_1", "dense_2", "relu_2", "exit_2"]
    assert torch.equal(part(x), values["exit_2"])


def test_a_jet_leaves_where_it_is_sure(branched: Branched, jets: tuple[Sample, Sample]) -> None:
    x, confidence = jets[1].features[:200], 0.6
    found = dynamic.leave(branched, x, confidence=confidence)
    values = branched.network.activations(x)
    names = ["exit_1", "exit_2", "dense_3"]
    for jet in range(len(x)):  # the definition, jet by jet
        logits = [values[name][jet] for name in names]
        first = next((i for i in (0, 1) if torch.softmax(logits[i].double(), 0).max() >= confidence), 2)
        assert found.taken[jet] == first
        assert torch.equal(found.logits[jet], logits[first])
    assert set(found.taken.tolist()) == {0, 1, 2}


def test_work_is_counted_up_to_the_exit(branched: Branched, jets: tuple[Sample, Sample]) -> None:
    x = jets[1].features[:200]
    found = dynamic.leave(branched, x, confidence=0.6)
    counts = 8 * 16 + 16 * 5, 8 * 16 + 16 * 5 + 16 * 12 + 12 * 5, 8 * 16 + 16 * 5 + 16 * 12 + 12 * 5 + 12 * 5
    assert found.costs == counts
    assert found.work.mean == pytest.approx(sum(counts[exit_] for exit_ in found.taken.tolist()) / len(x))
    assert (found.work.largest, found.work.worst_case) == (counts[-1], counts[-1])
    never = dynamic.leave(branched, x, confidence=1.1)
    assert torch.equal(never.logits, branched.network.logits(x))
    assert never.work.mean == never.work.worst_case  # and more than without exits: their heads are paid for
    at_once = dynamic.leave(branched, x, confidence=0.0)
    assert (at_once.work.largest, at_once.work.worst_case) == (counts[0], counts[-1])


def test_exits_learn(branched: Branched, jets: tuple[Sample, Sample]) -> None:
    fit = Fit(epochs=6, batch_size=256, learning_rate=1e-2, quantised=False)
    network, _ = training.fit(branched.network, *jets, settings=fit, seed=1, penalty=dynamic.losses(branched))
    trained = replace(branched, network=network)
    accuracies = [
        (dynamic.leave(net, jets[1].features, confidence=0.0).logits.argmax(1) == jets[1].y).double().mean().item()
        for net in (branched, trained)
    ]
    assert accuracies[1] > max(0.5, accuracies[0] + 0.2)
    sure = dynamic.leave(trained, jets[1].features, confidence=0.8)
    hits = sure.logits.argmax(1) == jets[1].y
    assert hits[sure.taken == 0].double().mean() > hits[sure.taken == 2].double().mean() + 0.1  # easy jets leave first
    assert sure.work.mean < sure.work.worst_case


def test_what_cannot_have_exits_is_refused(tagger: Network) -> None:
    with pytest.raises(NetworkError, match="before it is quantised"):
        dynamic.with_exits(tagger, ["relu_1"], seed=1)
    with pytest.raises(NetworkError, match="unknown layer 'relu_9'"):
        dynamic.with_exits(multilayer_perceptron(8, (16,), 5, seed=1), ["relu_1", "relu_9"], seed=1)
    with pytest.raises(NetworkError, match="an exit reads one axis"):
        dynamic.with_exits(smooth.network("conv_relu").float(), ["relu"], seed=1)
    with pytest.raises(NetworkError, match="no layer to have an exit after"):
        dynamic.with_exits(multilayer_perceptron(8, (16,), 5, seed=1), [], seed=1)


def test_a_layer_that_is_called_like_an_exit_is_none() -> None:
    plain = multilayer_perceptron(8, (16,), 5, seed=1)
    renamed = [layer if layer.name != "dense_2" else Dense("exit_0", layer.weight, layer.bias) for layer in plain]
    sources = {"exit_0" if name == "dense_2" else name: read for name, read in plain.sources.items()}
    branched = dynamic.with_exits(Network(renamed, sources), ["relu_1"], seed=1)
    assert branched.exits == ("exit_1",)
    assert branched.ends == ("exit_1", "exit_0")


def test_multiplications_are_those_of_weights_that_act() -> None:
    network = smooth.network("conv_relu")  # 3 x 2 places, groups of one channel, kernels of 2 x 2
    assert dynamic.multiplications(network) == {"first": 4 * 2 * 2 * 3 * 2, "last": 3 * 24}
    last = network["last"]
    assert isinstance(last, Dense)
    last.digit_limit[0] = 0
    assert dynamic.multiplications(network)["last"] == 2 * 24
