"""What cannot be pruned ends in one clear sentence, whatever the method."""

import pytest
import torch

import hepprune
from hepprune.errors import DataError, HeppruneError, NetworkError
from hepprune.pruning import importance
from tests.pruning import smooth

METHODS = [name for name, method in importance.CRITERIA.items() if {"weight", "neuron"} & set(method.granularities)]


def granularity(name: str) -> str:
    return "weight" if "weight" in importance.find(name).granularities else "neuron"


@pytest.mark.parametrize("name", [name for name in METHODS if importance.find(name).gathers])
@pytest.mark.parametrize("network", ["dense_relu", "conv_tanh"])
def test_jets_that_are_not_finite_are_refused(name: str, network: str) -> None:
    net = smooth.network(network)
    x, y = smooth.jets(net)
    x[3, 0] = torch.nan
    with pytest.raises(HeppruneError, match="finite"):
        hepprune.prune(net, (x, y), method=name, sparsity=0.5, granularity=granularity(name))


@pytest.mark.parametrize("name", [name for name in METHODS if name != "random"])  # which looks at nothing
def test_weights_that_are_not_finite_are_refused(name: str) -> None:
    net = smooth.network("dense_relu")
    net["first"].weight.data[0, 0] = torch.nan
    with pytest.raises(HeppruneError, match="finite"):
        hepprune.prune(net, smooth.jets(net), method=name, sparsity=0.5, granularity=granularity(name))


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize(
    ("sparsity", "said"), [(1.5, "between 0 and 1"), (-0.1, "between 0 and 1"), (1.0, "left empty")]
)
def test_a_sparsity_that_cannot_be_is_refused(name: str, sparsity: float, said: str) -> None:
    net = smooth.network("dense_relu")
    with pytest.raises(NetworkError, match=said):
        hepprune.prune(net, smooth.jets(net), method=name, sparsity=sparsity, granularity=granularity(name))


def test_a_sparsity_is_refused_before_anything_is_scored() -> None:
    net = smooth.network("dense_relu")
    with pytest.raises(NetworkError, match=r"between 0 and 1, 1\.2 does not"):
        hepprune.prune(net, method="obd", sparsity=1.2)


@pytest.mark.parametrize("name", [name for name in METHODS if importance.find(name).gathers])
def test_a_method_that_reads_jets_needs_some(name: str) -> None:
    net = smooth.network("dense_relu")
    with pytest.raises(NetworkError, match=f"'{name}' needs jets"):
        hepprune.prune(net, method=name, sparsity=0.5, granularity=granularity(name))
    x, y = smooth.jets(net)
    with pytest.raises(DataError):
        hepprune.prune(net, (x[:0], y[:0]), method=name, sparsity=0.5, granularity=granularity(name))
