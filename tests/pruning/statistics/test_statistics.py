import pytest
import torch
from torch import nn

from hepprune.errors import DataError
from hepprune.network import Network, identity
from hepprune.pruning import statistics
from hepprune.task.sample import Sample


@pytest.fixture
def double(tagger: Network) -> Network:
    """The tagger in float64, one of its neurons and a few weights pruned."""
    network = tagger.clone().double()
    network["dense_1"].digit_limit[3] = 0
    network["dense_2"].digit_limit[0, :4] = 0
    return network


@pytest.fixture
def sample(jets: tuple[Sample, Sample]) -> Sample:
    first = jets[0].first(60)
    return Sample(first.features.double(), first.y)


def one_jet(network: Network, x: torch.Tensor, y: torch.Tensor) -> dict[str, tuple[torch.Tensor, ...]]:
    """Return for one jet: the gradient of each layer's weights, its activation and the gradient there, by autograd."""
    network.zero_grad()
    values = network.activations(x[None], until=network.raw_outputs)
    for value in values.values():
        if value.requires_grad:
            value.retain_grad()
    nn.functional.cross_entropy(values[network.raw_output], y[None]).backward()
    activations = {"dense_1": "relu_1", "dense_2": "relu_2", "dense_3": "dense_3"}
    return {
        name: (network[name].weight.grad.clone(), values[last].detach()[0], values[last].grad[0])
        for name, last in activations.items()
    }


def test_statistics_equal_a_loop_over_jets(double: Network, sample: Sample) -> None:
    gathered = statistics.gather(double, sample)
    jets = [one_jet(double, x, y) for x, y in zip(sample.features, sample.y, strict=True)]
    for name, found in gathered.items():
        weight, activation, sensitivity = (torch.stack(parts) for parts in zip(*[j[name] for j in jets], strict=True))
        alive = double[name].digit_limit > 0
        assert torch.allclose(found.weight_fisher[alive], (weight**2).mean(0)[alive])
        assert torch.allclose(found.mean, activation.mean(0))
        assert torch.allclose(found.neuron_fisher, (((activation - activation.mean(0)) * sensitivity) ** 2).mean(0))
        assert found.weight_fisher.any()


def test_a_pruned_weight_still_has_its_curvature(double: Network, sample: Sample) -> None:
    found = statistics.gather(double, sample)["dense_2"].weight_fisher
    assert found.shape == double["dense_2"].weight.shape
    assert found[0, :4].any()


@pytest.mark.parametrize("batch_size", [1, 7, 59, 60])
def test_batches_do_not_matter(double: Network, sample: Sample, batch_size: int) -> None:
    whole = statistics.gather(double, sample)
    parts = statistics.gather(double, sample, batch_size=batch_size)
    for name, expected in whole.items():
        assert torch.allclose(parts[name].weight_fisher, expected.weight_fisher)
        assert torch.allclose(parts[name].neuron_fisher, expected.neuron_fisher)
        assert torch.allclose(parts[name].mean, expected.mean)


def test_the_network_is_unchanged(tagger: Network, jets: tuple[Sample, Sample]) -> None:
    before, gradients = identity(tagger), [parameter.grad for parameter in tagger.parameters()]
    statistics.gather(tagger, jets[0].first(100))
    assert identity(tagger) == before
    assert [parameter.grad for parameter in tagger.parameters()] == gradients


def test_no_jets_are_refused(tagger: Network) -> None:
    with pytest.raises(DataError, match="at least one jet"):
        statistics.gather(tagger, Sample(torch.zeros(0, 8), torch.zeros(0, dtype=torch.int64)))


def test_nan_is_refused(tagger: Network) -> None:
    with pytest.raises(DataError, match="not finite"):
        statistics.gather(tagger, Sample(torch.full((3, 8), torch.nan), torch.zeros(3, dtype=torch.int64)))
