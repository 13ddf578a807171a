import pytest
import torch

from hepprune.errors import NetworkError
from hepprune.network import Network
from hepprune.pruning import importance, masks, statistics
from hepprune.pruning.statistics import gradients
from hepprune.sample import Sample
from tests.networks import weighted
from tests.pruning import smooth


@pytest.fixture
def gathered(tagger: Network, jets: tuple[Sample, Sample]) -> dict[str, statistics.LayerStatistics]:
    return statistics.gather(tagger, jets[0].first(500))


def test_fisher_is_half_the_curvature_times_the_squared_change(
    tagger: Network, gathered: dict[str, statistics.LayerStatistics]
) -> None:
    for layer in weighted(tagger):
        curvature = gathered[layer.name].weight_fisher
        shorter = layer.used_weight() - importance.weight_change(layer.kernels[0], "digit")
        scores = {g: importance.fisher(layer.kernels[0], g, gathered[layer.name]) for g in masks.GRANULARITIES}
        assert torch.allclose(scores["weight"], (curvature * layer.used_weight() ** 2 / 2).flatten())
        assert torch.allclose(scores["digit"], (curvature * (layer.used_weight() - shorter) ** 2 / 2).flatten())
        assert torch.allclose(scores["neuron"], gathered[layer.name].neuron_fisher / 2)


def test_fisher_needs_statistics(tagger: Network) -> None:
    with pytest.raises(NetworkError, match="'fisher' needs jets"):
        importance.fisher(tagger["dense_1"].kernels[0], "weight", None)


def test_fisher_ranks_neurons_as_the_measured_loss_does(
    tagger: Network, jets: tuple[Sample, Sample], gathered: dict[str, statistics.LayerStatistics]
) -> None:
    sample, found = jets[1], gathered["dense_2"]
    scores = importance.fisher(tagger["dense_2"].kernels[0], "neuron", found)

    def loss(network: Network) -> float:
        return torch.nn.functional.cross_entropy(network.logits(sample.features), sample.y).item()

    measured = [
        loss(masks.apply(tagger, [masks.Cut("dense_2", "neuron", (unit,), (found.mean[unit].item(),))]))
        for unit in range(tagger["dense_2"].n_out)
    ]
    ranks = torch.stack([scores.argsort().argsort(), torch.tensor(measured).argsort().argsort()]).double()
    assert torch.corrcoef(ranks)[0, 1] > 0.6


@pytest.mark.parametrize("name", smooth.NAMES)
def test_taylor_is_the_gradient_times_the_weight(name: str) -> None:
    network = smooth.network(name)
    found = gradients.gather(network, Sample(*smooth.jets(network)))
    for layer in weighted(network):
        signed, single = (
            importance.find(n)(layer.kernels[0], "weight", found[layer.name]) for n in ("taylor", "taylor_per_sample")
        )
        slopes = [smooth.differences(network, layer.name, q, step=1e-5)[0] for q in range(layer.weight.numel())]
        expected = (torch.tensor(slopes, dtype=torch.float64) * layer.weight.detach().flatten()).abs()
        assert torch.allclose(signed, expected, atol=1e-8)
        assert (signed <= single + 1e-12).all()  # single jets do not cancel
        assert torch.equal(
            importance.taylor(layer.kernels[0], "neuron", found[layer.name]), found[layer.name].neuron_signed.abs()
        )
