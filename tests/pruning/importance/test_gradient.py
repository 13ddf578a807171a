import pytest
import torch

from hepprune.errors import NetworkError
from hepprune.network import Network
from hepprune.pruning import compensation, importance, masks, statistics
from hepprune.pruning.statistics import curvature, gradients
from hepprune.task.sample import Sample
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


@pytest.mark.parametrize("name", smooth.NAMES)
def test_obd_is_half_the_measured_curvature_times_the_squared_weight(name: str) -> None:
    network = smooth.network(name)
    found = curvature.hessian(network, Sample(*smooth.jets(network)))
    for layer in weighted(network):
        curvatures = [smooth.differences(network, layer.name, q, step=1e-4)[1] for q in range(layer.weight.numel())]
        expected = torch.tensor(curvatures, dtype=torch.float64) * layer.weight.detach().flatten() ** 2 / 2
        assert torch.allclose(
            importance.obd(layer.kernels[0], "weight", found[layer.name]), expected, rtol=1e-4, atol=2e-6
        )
        assert torch.equal(importance.obd(layer.kernels[0], "neuron", found[layer.name]), found[layer.name].neuron / 2)


def test_gauss_newton_is_named_as_such() -> None:
    network = smooth.network("dense_tanh")
    data, layer = Sample(*smooth.jets(network)), network["first"]
    scores = {
        n: importance.scores(network, importance.find(n), "weight", data=data) for n in ("obd", "obd_gauss_newton")
    }
    linear = curvature.gauss_newton(network, data)["first"].weight
    assert torch.allclose(scores["obd_gauss_newton"]["first"], (linear * layer.weight**2 / 2).flatten())
    assert not torch.allclose(scores["obd"]["first"], scores["obd_gauss_newton"]["first"], rtol=0.01)


def test_obs_scores_weights_only() -> None:
    network = smooth.network("conv_relu")
    layer, data = network["first"], Sample(*smooth.jets(network))
    found = importance.scores(network, importance.obs, "weight", data=data)["first"]
    assert torch.equal(found, compensation.scores(layer, compensation.moments(network, data)["first"]).flatten())
    with pytest.raises(NetworkError, match="criterion 'obs': unknown granularity 'neuron'"):
        importance.obs(layer.kernels[0], "neuron", found)
