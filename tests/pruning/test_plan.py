from typing import Any

import numpy as np
import pytest
import torch

import hepprune
from hepprune.errors import DataError, NetworkError
from hepprune.network import Network, identity
from hepprune.pruning import compensation, masks, plan
from hepprune.task.sample import Sample
from hepprune.training import multilayer_perceptron
from tests.networks import weighted
from tests.pruning import smooth


@torch.no_grad()
def change(network: Network, pruned: Network, x: torch.Tensor) -> float:
    """Return the mean squared change of what the first layer puts out."""
    before, after = (net.activations(x, until=("first",))["first"] for net in (network, pruned))
    return float((before - after).square().mean())


@pytest.mark.parametrize("granularity", ["weight", "2:4", "dsp_row"])
@pytest.mark.parametrize("name", ["dense_tanh", "conv_relu"])
def test_obs_moves_a_layer_less_than_magnitude(name: str, granularity: str) -> None:
    network = smooth.network(name)
    (x, y), sparsity = smooth.jets(network), None if granularity == "2:4" else 0.5
    x = x + 2 * x.mean(dim=-1, keepdim=True)  # features that know of each other can stand in for each other
    x = x + 2 * x.flatten(1).mean(dim=1).view(-1, *(1,) * (x.ndim - 1))
    for layer in weighted(network):
        layer.reuse_factor = 2
    obs, magnitude = (
        hepprune.prune(network, (x, y), method=m, sparsity=sparsity, granularity=granularity, scope="local")
        for m in ("obs", "magnitude")
    )
    assert plan.sparsity(obs) == pytest.approx(plan.sparsity(magnitude), abs=0.03)  # the last row may be shorter
    assert change(network, obs, x) < 0.9 * change(network, magnitude, x)


def test_any_method_can_be_compensated() -> None:
    network = smooth.network("dense_tanh")
    data = smooth.jets(network)
    cuts = plan.make(network, data, method="taylor", sparsity=0.4)
    expected = compensation.compensate(network, cuts, compensation.moments(network, Sample(*data)))
    found = hepprune.prune(network, data, method="taylor", sparsity=0.4, compensate=True)
    assert all(
        torch.equal(a, b) for a, b in zip(found.state_dict().values(), expected.state_dict().values(), strict=True)
    )


@pytest.mark.parametrize("method", ["magnitude", "fisher", "obd"])
def test_a_criterion_beats_the_random_control(tagger: Network, jets: tuple[Sample, Sample], method: str) -> None:
    train, validation = jets
    pruned = hepprune.prune(tagger, train.first(1000), method=method, sparsity=0.5)
    control = hepprune.prune(tagger, method="random", sparsity=0.5, seed=1)
    losses = [
        torch.nn.functional.cross_entropy(net.logits(validation.features), validation.y) for net in (pruned, control)
    ]
    assert losses[0] < losses[1]
    assert plan.sparsity(pruned) >= 0.5


def test_biases_take_over_the_mean_of_neurons_that_go() -> None:
    network = smooth.network("conv_relu")
    x, y = smooth.jets(network)
    cut, unread = plan.make(network, (x, y), sparsity=0.5, granularity="neuron")
    assert (cut.layer, cut.granularity, len(cut.units)) == ("first", "neuron", 2)  # one of each group of filters
    assert (unread.layer, unread.granularity) == ("last", "input")
    means = network.activations(x)["flat"].double().mean(dim=0)
    assert unread.constants == pytest.approx(means[list(unread.units)].tolist())
    assert not plan.make(network, sparsity=0.5, granularity="neuron")[1].constants
    bias = masks.apply(network, [unread])["last"].bias
    moved = network["last"].weight[:, list(unread.units)].double() @ torch.tensor(unread.constants).double()
    assert torch.allclose(bias.double(), network["last"].bias.double() + moved)


def test_arrays_do_as_well_as_samples(tagger: Network, jets: tuple[Sample, Sample]) -> None:
    some = jets[0].first(200)
    arrays = some.features.numpy().astype(np.float64), some.y.numpy()
    assert plan.make(tagger, some, method="fisher", sparsity=0.3) == plan.make(
        tagger, arrays, method="fisher", sparsity=0.3
    )


def test_mistakes_end_in_one_sentence(tagger: Network) -> None:
    with pytest.raises(NetworkError, match="needs jets"):
        hepprune.prune(tagger, method="obd", sparsity=0.5)
    with pytest.raises(NetworkError, match="only make up for others on jets"):
        hepprune.prune(tagger, sparsity=0.5, compensate=True)
    with pytest.raises(NetworkError, match="unknown criterion 'obdd'"):
        hepprune.prune(tagger, method="obdd", sparsity=0.5)
    with pytest.raises(DataError, match="takes jets of"):
        hepprune.prune(tagger, (torch.zeros(3, 5), torch.zeros(3)), method="obd", sparsity=0.5)
    with pytest.raises(DataError, match="not finite"):
        hepprune.prune(tagger, (torch.full((3, 8), torch.nan), torch.zeros(3)), method="taylor", sparsity=0.5)


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        (np.ones((20, 8)), np.full(20, 0.5), "the class of jet 0 is 0.5, not one of 0 to 4"),
        (np.ones((20, 8)), np.full(20, -9), "the class of jet 0 is -9, not one of 0 to 4"),
        (np.ones((20, 8)), np.zeros((20, 1)), r"20 jets need as many classes, and are given .* shape \(20, 1\)"),
        (np.ones((20, 8)), np.zeros(3), r"20 jets need as many classes, and are given .* shape \(3,\)"),
        (np.ones((20, 8)), np.full(20, "top"), "the classes of the jets are not numbers"),
        (np.ones((20, 8)) + 1j, np.zeros(20), "the features of the jets are complex numbers"),
    ],
)
def test_jets_that_cannot_be_meant_are_refused(x: Any, y: Any, message: str, tagger: Network) -> None:
    with pytest.raises(DataError, match=message):
        plan.prune(tagger, (x, y), method="fisher", sparsity=0.5)


def test_one_hot_classes_prune_as_their_indices(tagger: Network, jets: tuple[Sample, Sample]) -> None:
    some = jets[0].first(500)
    one_hot = torch.nn.functional.one_hot(some.y, tagger.shapes[tagger.raw_output][-1])
    expected, found = (plan.prune(tagger, (some.x, y), method="taylor", sparsity=0.5) for y in (some.y, one_hot))
    assert identity(found) == identity(expected)


def test_a_network_of_one_value_has_no_classes() -> None:
    network = multilayer_perceptron(3, (4,), 1, seed=1)
    with pytest.raises(DataError, match="it needs one for each of two or more classes"):
        plan.prune(network, (torch.ones(4, 3), torch.tensor([0, 1, 0, 1])), method="fisher", sparsity=0.5)
