"""The diagonal of the Hessian against brute-force finite differences, for every way that a kernel is applied."""

import pytest
import torch
from torch import nn

from hepprune.errors import DataError
from hepprune.pruning.statistics import curvature
from hepprune.task.sample import Sample
from tests.networks import weighted
from tests.pruning import smooth

BENT = ("dense_tanh", "conv_tanh", "shared")
STRAIGHT = ("dense_relu", "conv_relu")


@pytest.mark.parametrize("name", smooth.NAMES)
def test_the_hessian_is_what_finite_differences_measure(name: str) -> None:
    network = smooth.network(name)
    found = curvature.hessian(network, Sample(*smooth.jets(network)))
    for layer in weighted(network):
        measured = [smooth.differences(network, layer.name, q, step=1e-4)[1] for q in range(layer.weight.numel())]
        expected = torch.tensor(measured, dtype=torch.float64).view_as(layer.weight)
        assert torch.allclose(found[layer.name].weight, expected, rtol=1e-4, atol=2e-6)
        assert expected.abs().max() > 1e-3


@pytest.mark.parametrize("name", [name for name in smooth.NAMES if name != "shared"])
def test_the_curvature_by_a_neuron_is_what_finite_differences_measure(name: str) -> None:
    network, step = smooth.network(name), 1e-3
    found = curvature.hessian(network, Sample(*smooth.jets(network)))
    for layer in weighted(network)[:-1]:
        for neuron in range(layer.n_out):
            low, here, high = (smooth.loss_with_factor(network, layer.name, neuron, 1 + s) for s in (-step, 0, step))
            assert found[layer.name].neuron[neuron].item() == pytest.approx(
                (high - 2 * here + low) / step**2, rel=1e-3, abs=1e-6
            )


def test_row_sums_of_the_hessian_are_not_its_diagonal() -> None:
    # What other packages call OBD: the derivative of the *sum* of all gradients, H 1 instead of diag H.
    network = smooth.network("dense_tanh")
    x, y = smooth.jets(network)
    layer = network["first"]
    (gradient,) = torch.autograd.grad(
        nn.functional.cross_entropy(network.logits(x), y), layer.weight, create_graph=True
    )
    (row_sums,) = torch.autograd.grad(gradient.sum(), layer.weight)
    true = torch.tensor([smooth.differences(network, "first", q, step=1e-4)[1] for q in range(layer.weight.numel())])
    ours = curvature.hessian(network, Sample(x, y))["first"].weight.flatten()
    assert torch.allclose(ours, true.double(), atol=2e-6)
    assert (row_sums.flatten() - true).abs().max() > 0.1 * true.abs().max()


@pytest.mark.parametrize("name", ["dense_relu", "conv_tanh"])
def test_every_jet_counts_not_only_the_last_batch(name: str) -> None:
    # Other packages overwrite the Hessian batch after batch, and prune by the last one (or by the last jet).
    network = smooth.network(name)
    x, y = smooth.jets(network)
    whole = curvature.hessian(network, Sample(x, y))["first"].weight
    assert torch.allclose(curvature.hessian(network, Sample(x, y), batch_size=7)["first"].weight, whole)
    # y stays while means over jets do not enter the weights' curvature, so jets can be taken one by one
    alone = torch.stack(
        [curvature.hessian(network, Sample(x[i : i + 1], y[i : i + 1]))["first"].weight for i in range(len(x))]
    )
    assert torch.allclose(alone.mean(dim=0), whole)
    assert not torch.allclose(alone[-1], whole, rtol=0.1)


@pytest.mark.parametrize("name", STRAIGHT)
def test_both_ways_agree_where_all_is_piecewise_linear(name: str) -> None:
    network = smooth.network(name)
    x, y = smooth.jets(network)
    products = curvature._gather(network, Sample(x, y), batch_size=10, curved=weighted(network))
    for layer, found in curvature.gauss_newton(network, Sample(x, y)).items():
        assert torch.allclose(found.weight, products[layer].weight)
        assert torch.allclose(found.neuron, products[layer].neuron)


@pytest.mark.parametrize("name", BENT)
def test_gauss_newton_is_another_matrix_where_the_network_is_curved(name: str) -> None:
    network = smooth.network(name)
    x, y = smooth.jets(network)
    ours, linear = (
        curvature.hessian(network, Sample(x, y))["first"].weight,
        curvature.gauss_newton(network, Sample(x, y))["first"].weight,
    )
    assert (linear >= 0).all()
    assert not torch.allclose(ours, linear, rtol=1e-2)


def test_what_is_not_finite_is_refused() -> None:
    network = smooth.network("dense_tanh")
    x, y = smooth.jets(network)
    with pytest.raises(DataError, match="not finite"):
        curvature.hessian(network, Sample(x * torch.nan, y))
    with pytest.raises(DataError, match="at least one jet"):
        curvature.hessian(network, Sample(x[:0], y[:0]))
