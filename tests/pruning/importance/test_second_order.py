import pytest
import torch

from hepprune.errors import NetworkError
from hepprune.pruning import compensation, importance
from hepprune.pruning.statistics import curvature
from hepprune.sample import Sample
from tests.networks import weighted
from tests.pruning import smooth


@pytest.mark.parametrize("name", smooth.NAMES)
def test_obd_is_half_the_measured_curvature_times_the_squared_weight(name: str) -> None:
    network = smooth.network(name)
    found = curvature.hessian(network, Sample(*smooth.jets(network)))
    for layer in weighted(network):
        bends = [smooth.differences(network, layer.name, q, step=1e-4)[1] for q in range(layer.weight.numel())]
        expected = torch.tensor(bends, dtype=torch.float64) * layer.weight.detach().flatten() ** 2 / 2
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
