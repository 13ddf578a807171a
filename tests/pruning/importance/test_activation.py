import pytest
import torch

from hepprune.fixed import FixedPoint
from hepprune.network import Dense, Input, Network, ReLU
from hepprune.pruning import importance, masks, plan
from hepprune.pruning.importance import activation
from hepprune.pruning.structure import coupling, surgery
from hepprune.task.sample import Sample
from tests.networks import weighted
from tests.pruning import cells, graphs, smooth
from tests.pruning.statistics.test_unit_gradients import jets as graph_jets


@pytest.mark.parametrize("name", ["dense_relu", "conv_relu", "conv_tanh"])
def test_activity_is_what_neurons_hand_on(name: str) -> None:
    network = smooth.network(name)
    x, y = smooth.jets(network)
    values = network.activations(x)
    for layer in weighted(network):
        after = network.readers(layer)
        activations = (
            values[after[0].name if after and isinstance(after[0], ReLU) else layer.name].detach().flatten(0, -2)
        )
        found = activation.gather(network, Sample(x, y), batch_size=9)[layer.name]
        assert torch.allclose(
            importance.mean_activation(layer.kernels[0], "neuron", found), activations.abs().mean(dim=0)
        )
        assert torch.allclose(
            importance.nonzero_activation(layer.kernels[0], "neuron", found), (activations != 0).double().mean(dim=0)
        )
        assert torch.equal(
            importance.dead(layer.kernels[0], "neuron", found), activations.amax(dim=0) - activations.amin(dim=0)
        )


def test_wanda_weighs_weights_by_what_they_multiply() -> None:
    network = smooth.network("dense_relu")
    x, y = smooth.jets(network)
    layer = network["first"]
    expected = layer.weight.abs() * x.square().mean(dim=0).sqrt()
    assert torch.allclose(
        importance.wanda(layer.kernels[0], "weight", activation.gather(network, Sample(x, y))["first"]),
        expected.flatten(),
    )


def test_dead_neurons_go_without_a_single_bit(tagger: Network, jets: tuple[Sample, Sample]) -> None:
    wounded, sample = tagger.clone(), jets[0].first(500)
    wounded["dense_1"].weight.data[2] *= 1e-3  # quantises to zero
    wounded["dense_2"].bias.data[5] = -3.9  # never reaches the ReLU's threshold
    wounded["dense_2"].weight.data[5] *= 0.05
    masked = plan.prune(wounded, sample, method="dead", sparsity=None, granularity="neuron")
    gone = {la.name: torch.nonzero((la.digit_limit == 0).all(dim=1)).flatten().tolist() for la in weighted(masked)}
    assert 2 in gone["dense_1"]
    assert 5 in gone["dense_2"]
    assert torch.equal(masked.logits(sample.features), wounded.logits(sample.features))
    smaller = surgery.shrink(masked)
    assert smaller["dense_2"].n_out < wounded["dense_2"].n_out
    assert torch.equal(smaller.logits(sample.features), wounded.logits(sample.features))


def check_loss_free(network: Network, data: tuple[torch.Tensor, torch.Tensor], granularity: str) -> dict[str, object]:
    """Cut what is dead, compare the smaller network's logits, and return the units cut by layer."""
    cuts = plan.make(network, data, method="dead", sparsity=None, granularity=granularity)
    smaller = surgery.shrink(masks.apply(network, cuts))
    assert torch.allclose(smaller.logits(data[0]), network.logits(data[0]), atol=1e-12)
    return {cut.layer: cut.units for cut in cuts if cut.granularity == "neuron"}


def test_a_head_that_hands_nothing_on_goes_without_loss() -> None:
    network = graphs.build(["attention"], seed=4, fixed=False, flat=False).double()
    group = next(group for group in coupling.groups(network) if group.heads)
    values = group.of("made")[-1]
    own = values.indices[1]
    network[values.layer].weight.data[list(own)], network[values.layer].bias.data[list(own)] = 0, 0
    assert check_loss_free(network, graph_jets(network), "head")[values.layer] == own


def test_a_state_that_is_always_zero_goes_without_loss_and_one_that_feeds_a_constant_back_stays() -> None:
    network = cells.network("simple")
    cell = network["cell"].rebuilt(activation="relu")
    for state, bias in ((1, -9.0), (2, 9.0)):
        cell.weight.data[state], cell.recurrent_weight.data[state], cell.bias.data[state] = 0, 0, bias
    relu = Network([network["x"], cell, *list(network)[2:]]).double()
    assert check_loss_free(relu, cells.jets(), "neuron")["cell"] == (1,)


def test_a_dead_neurons_constant_is_exact() -> None:
    kind = FixedPoint(6, 2, True, "RND", "SAT")
    dense = Dense("d", torch.zeros(2, 3), torch.tensor([0.375, 0.7]), weight_type=kind, bias_type=kind)
    dense.weight.data[1] = 1.0
    result = FixedPoint(6, 1, False)
    network = Network([Input("x", 3, kind), dense, ReLU("r", result), Dense("e", torch.ones(2, 2), torch.zeros(2))])
    x = torch.randn(999, 3)
    cuts = plan.make(network, (x, torch.zeros(999)), method="dead", sparsity=None, granularity="neuron")
    assert cuts == (masks.Cut("d", "neuron", (0,)), masks.Cut("e", "input", (0,), (0.375,)))
