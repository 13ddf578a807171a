import pytest
import torch

from hepprune.pruning import statistics
from hepprune.pruning.statistics import gradients
from hepprune.task.sample import Sample
from tests.networks import weighted
from tests.pruning import smooth


@pytest.mark.parametrize("name", smooth.NAMES)
def test_gradients_are_what_finite_differences_measure(name: str) -> None:
    network = smooth.network(name)
    found = gradients.gather(network, Sample(*smooth.jets(network)), batch_size=10)
    for layer in weighted(network):
        measured = [smooth.differences(network, layer.name, q, step=1e-5)[0] for q in range(layer.weight.numel())]
        expected = torch.tensor(measured, dtype=torch.float64).view_as(layer.weight)
        assert torch.allclose(found[layer.name].weight_signed, expected, atol=1e-8)


@pytest.mark.parametrize("name", smooth.NAMES)
def test_sizes_and_squares_are_those_of_single_jets(name: str) -> None:
    network = smooth.network(name)
    x, y = smooth.jets(network)
    sizes, squares = gradients.gather(network, Sample(x, y)), statistics.gather(network, Sample(x, y), batch_size=10)
    alone = [gradients.gather(network, Sample(x[i : i + 1], y[i : i + 1])) for i in range(len(x))]
    for layer in weighted(network):
        single = torch.stack([each[layer.name].weight_signed for each in alone])
        assert torch.allclose(sizes[layer.name].weight_absolute, single.abs().mean(dim=0))
        assert torch.allclose(squares[layer.name].weight_fisher, single.square().mean(dim=0))


@pytest.mark.parametrize("name", [name for name in smooth.NAMES if name != "shared"])
def test_the_gradient_by_a_neuron_is_what_finite_differences_measure(name: str) -> None:
    network, step = smooth.network(name), 1e-5
    found = gradients.gather(network, Sample(*smooth.jets(network)))
    for layer in weighted(network)[:-1]:
        for neuron in range(layer.n_out):
            low, high = (smooth.loss_with_factor(network, layer.name, neuron, 1 + s) for s in (-step, step))
            assert found[layer.name].neuron_signed[neuron].item() == pytest.approx((high - low) / (2 * step), abs=1e-8)
