import pytest
import torch

from hepprune.errors import NetworkError
from hepprune.network import Weighted
from hepprune.pruning import importance
from tests.pruning import graphs, smooth
from tests.pruning.test_gates import jets


@pytest.mark.parametrize("name", list(importance.CRITERIA))
@pytest.mark.parametrize("network", ["dense_relu", "conv_relu"])
def test_every_criterion_scores_every_unit_of_every_layer(name: str, network: str) -> None:
    net, method = smooth.network(network), importance.find(name)
    for granularity in set(method.granularities) - {"digit", "layer"}:
        found = importance.scores(net, method, granularity, data=smooth.jets(net))
        for layer in net.weighted_layers:
            assert found[layer.name].shape == (layer.n_out if granularity == "neuron" else layer.weight.numel(),)
            assert name in {"obd", "dead"} or found[layer.name].max() > 0
            assert method.name == name


@pytest.mark.parametrize(
    "stage", ["depthwise", "grouped", "shared", "attention", "recurrent", "residual", "joined", "split"]
)
def test_every_criterion_reads_layers_wherever_they_stand(stage: str) -> None:
    net = graphs.build([stage], seed=4, fixed=False, flat=False).double()
    for method in importance.CRITERIA.values():
        for granularity in {"weight", "neuron"} & set(method.granularities):
            for name, found in importance.scores(net, method, granularity, data=jets(net)).items():
                kernel = next(kernel for kernel in net.kernels if kernel.name == name)
                assert found.shape == (kernel.n_out if granularity == "neuron" else kernel.weight.numel(),)
                assert torch.isfinite(found).all()


@pytest.mark.parametrize("name", [name for name, method in importance.CRITERIA.items() if method.gathers])
def test_a_criterion_that_needs_jets_says_so(name: str) -> None:
    network, method = smooth.network("dense_relu"), importance.find(name)
    with pytest.raises(NetworkError, match=f"'{name}' needs jets"):
        importance.scores(network, method, method.granularities[0])


def test_a_new_criterion_is_one_decorated_function() -> None:
    @importance.criterion(granularities=("neuron",))
    def bias(layer: Weighted, granularity: str, _: None) -> torch.Tensor:
        """Return the size of the bias."""
        del granularity
        return layer.bias.abs()

    layer = smooth.network("dense_relu")["first"]
    try:
        assert torch.equal(importance.find("bias")(layer, "neuron"), layer.bias.abs())
        assert bias.__doc__ == "Return the size of the bias."
    finally:
        del importance.CRITERIA["bias"]


def test_every_criterion_names_its_formula() -> None:
    assert all(len(method.__doc__ or "") > 60 for method in importance.CRITERIA.values())


def test_scores_that_are_not_finite_are_refused() -> None:
    layer = smooth.network("dense_relu")["first"]
    layer.weight.data[0, 0] = torch.nan
    with pytest.raises(NetworkError, match="'magnitude' is not finite in layer 'first'"):
        importance.magnitude(layer, "weight")


def test_an_unknown_criterion_lists_the_known_ones() -> None:
    with pytest.raises(NetworkError, match="unknown criterion 'fischer'; choose one of: fisher, "):
        importance.find("fischer")
    assert importance.find("fisher") is importance.fisher
