import pytest
import torch

from hepprune.errors import NetworkError
from hepprune.network import Dense
from hepprune.pruning import importance
from tests.pruning import smooth


def test_the_neuron_in_the_middle_goes_first() -> None:
    layer = Dense("d", torch.tensor([[0.0, 0.0], [4.0, 0.0], [0.0, 4.0], [1.0, 1.0]]), torch.zeros(4))
    assert importance.geometric_median(layer.kernels[0], "neuron").argmin() == 3


def test_it_is_the_sum_of_distances() -> None:
    layer = smooth.network("conv_relu")["first"]
    rows = layer.weight.detach().flatten(1)
    expected = [sum(float((row - other).norm()) for other in rows) for row in rows]
    assert importance.geometric_median(layer.kernels[0], "neuron").tolist() == pytest.approx(expected)
    with pytest.raises(NetworkError, match="unknown granularity 'weight'; choose one of: neuron"):
        importance.geometric_median(layer.kernels[0], "weight")
