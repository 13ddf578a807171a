import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hepprune.errors import NetworkError
from hepprune.network import Dense, Weighted
from hepprune.pruning import importance, masks
from tests.networks import dense_layers, weighted
from tests.pruning import smooth

LAYERS = st.builds(tuple, st.tuples(st.integers(1, 8), st.integers(1, 8))).flatmap(
    lambda shape: dense_layers("d", n_in=shape[0], n_out=shape[1], fraction=3)
)


@given(LAYERS)
def test_magnitude_is_the_size_of_what_is_lost(layer: Dense) -> None:
    used = layer.used_weight().detach()
    assert torch.equal(importance.magnitude(layer.kernels[0], "weight"), used.abs().flatten())
    assert torch.allclose(importance.magnitude(layer.kernels[0], "neuron"), used.norm(dim=1))
    assert torch.equal(
        importance.magnitude(layer.kernels[0], "digit"),
        importance.weight_change(layer.kernels[0], "digit").abs().flatten(),
    )


@given(LAYERS)
def test_a_digit_is_never_more_than_its_weight(layer: Dense) -> None:
    digit, weight = (
        importance.weight_change(layer.kernels[0], granularity).abs() for granularity in ("digit", "weight")
    )
    assert (digit <= weight).all()
    assert ((digit > 0) == (weight > 0)).all()


@given(LAYERS)
def test_a_digit_change_is_what_a_digit_cut_does(layer: Dense) -> None:
    before, change = layer.used_weight().detach(), importance.weight_change(layer.kernels[0], "digit")
    masks.apply_to(layer, masks.Cut("d", "digit", tuple(range(before.numel()))))
    assert torch.equal(before - layer.used_weight(), change)


def test_a_filter_is_as_large_as_its_kernel() -> None:
    for layer in weighted(smooth.network("conv_relu")):
        flat = layer.weight.detach().flatten(1)
        assert torch.allclose(importance.magnitude(layer.kernels[0], "neuron"), torch.linalg.vector_norm(flat, dim=1))
        assert torch.allclose(importance.magnitude_l1(layer.kernels[0], "neuron"), flat.abs().sum(dim=1))
        assert torch.equal(importance.magnitude_l1(layer.kernels[0], "weight"), flat.abs().flatten())


def test_random_scores_follow_the_seed_and_the_layer() -> None:
    first, last = weighted(smooth.network("dense_relu"))
    assert isinstance(first, Weighted)
    assert torch.equal(
        importance.random(first.kernels[0], "weight", seed=1), importance.random(first.kernels[0], "weight", seed=1)
    )
    assert not torch.equal(
        importance.random(first.kernels[0], "weight", seed=1), importance.random(first.kernels[0], "weight", seed=2)
    )
    assert not torch.equal(
        importance.random(first.kernels[0], "weight")[:15], importance.random(last.kernels[0], "weight")
    )


def test_the_neuron_in_the_middle_goes_first() -> None:
    layer = Dense("d", torch.tensor([[0.0, 0.0], [4.0, 0.0], [0.0, 4.0], [1.0, 1.0]]), torch.zeros(4))
    assert importance.geometric_median(layer.kernels[0], "neuron").argmin() == 3


def test_the_geometric_median_is_the_sum_of_distances() -> None:
    layer = smooth.network("conv_relu")["first"]
    rows = layer.weight.detach().flatten(1)
    expected = [sum(float((row - other).norm()) for other in rows) for row in rows]
    assert importance.geometric_median(layer.kernels[0], "neuron").tolist() == pytest.approx(expected)
    with pytest.raises(NetworkError, match="unknown granularity 'weight'; choose one of: neuron"):
        importance.geometric_median(layer.kernels[0], "weight")
