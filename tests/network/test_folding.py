import pytest
import torch

from hepprune.network import BatchNorm, Conv, Dense, Input, Layer, Merge, Network, Recurrent, ReLU, Shared
from hepprune.network.folding import fold_batch_norm, unfold_batch_norm


def normed(module: torch.nn.BatchNorm1d, *, seed: int) -> tuple[Network, torch.nn.Sequential]:
    torch.manual_seed(seed)
    first, last = torch.nn.Linear(4, 6), torch.nn.Linear(6, 3)
    reference = torch.nn.Sequential(first, module, torch.nn.ReLU(), last)
    reference(torch.randn(200, 4) * 2 + 1)
    if module.affine:
        torch.nn.init.normal_(module.weight)
        torch.nn.init.normal_(module.bias)
    mean, variance = module.running_mean, module.running_var
    assert mean is not None
    assert variance is not None
    scale = (module.weight if module.affine else 1.0) / torch.sqrt(variance + module.eps)
    norm = BatchNorm("n", scale, (module.bias if module.affine else 0.0) - mean * scale)
    chain = [Input("x", 4), Dense("a", first.weight, first.bias), norm, ReLU("r")]
    return Network([*chain, Dense("b", last.weight, last.bias)]), reference.eval()


@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("seed", [0, 1])
def test_a_folded_batch_norm_equals_torch_in_eval(*, affine: bool, seed: int) -> None:
    network, reference = normed(torch.nn.BatchNorm1d(6, affine=affine), seed=seed)
    folded = fold_batch_norm(network)
    jets = torch.randn(100, 4)
    assert [layer.name for layer in folded] == ["x", "a", "r", "b"]
    assert torch.allclose(folded(jets), reference(jets), atol=1e-5)
    assert torch.allclose(network(jets), reference(jets), atol=1e-5)


def test_folding_keeps_pruned_weights_pruned() -> None:
    network, _ = normed(torch.nn.BatchNorm1d(6), seed=0)
    network["a"].digit_limit[1] = 0
    folded, jets = fold_batch_norm(network), torch.randn(100, 4)
    assert torch.equal(folded["a"].digit_limit, network["a"].digit_limit)
    assert torch.allclose(folded(jets), network(jets), atol=1e-5)


def test_a_batch_norm_that_no_layer_can_take_in_stays_beside_those_that_are_folded() -> None:
    norm, more = (BatchNorm(name, torch.rand(2) + 0.5, torch.randn(2)) for name in ("n", "m"))
    dense, last = (Dense(name, torch.randn(2, 2), torch.randn(2)) for name in "ab")
    edges = {"a": "x", "n": "a", "r": "a", "m": "r", "b": "m", "sum": ("n", "b")}
    layers = [Input("x", 2), dense, norm, ReLU("r"), more, last, Merge("sum", "add")]
    network, jets = Network(layers, edges), torch.randn(50, 2)
    folded = fold_batch_norm(network)
    unfolded = unfold_batch_norm(folded, network)
    assert [layer.name for layer in folded] == ["x", "a", "n", "r", "b", "sum"]
    assert torch.allclose(folded(jets), network(jets), atol=1e-5)
    assert unfolded.sources == network.sources
    assert torch.equal(unfolded(jets), folded(jets))


def test_norms_behind_one_another_are_folded_from_the_last() -> None:
    norms = [BatchNorm(name, torch.rand(2) + 0.5, torch.randn(2)) for name in ("n", "m")]
    network = Network([Input("x", 2), *norms, Dense("a", torch.randn(2, 2), torch.randn(2))])
    folded, jets = fold_batch_norm(network), torch.randn(50, 2)
    unfolded = unfold_batch_norm(folded, network)
    assert [layer.name for layer in folded] == ["x", "a"]
    assert torch.allclose(folded(jets), network(jets), atol=1e-5)
    assert unfolded.sources == network.sources
    assert torch.equal(unfolded(jets), folded(jets))


def test_an_unfolded_network_has_its_batch_norms_again_and_computes_the_same() -> None:
    network, _ = normed(torch.nn.BatchNorm1d(6), seed=0)
    folded, jets = fold_batch_norm(network), torch.randn(100, 4)
    unfolded = unfold_batch_norm(folded, network)
    assert [layer.name for layer in unfolded] == [layer.name for layer in network]
    assert unfolded.sources == network.sources
    assert torch.equal(unfolded(jets), folded(jets))


def around(place: str) -> Network:
    """A tagger with a batch norm on its features, or between a ReLU and the two layers that read it."""
    torch.manual_seed(3)
    norm = BatchNorm("n", torch.rand(4) + 0.5, torch.randn(4))
    a, b, c = (Dense(name, torch.randn(4, 4), torch.randn(4)) for name in "abc")
    if place == "features":
        return Network([Input("x", 4), norm, a, ReLU("r"), b])
    edges = {"a": "x", "r": "a", "n": "r", "b": "n", "c": "n"}
    return Network([Input("x", 4), a, ReLU("r"), norm, b, c], edges, ["b", "c"])


@pytest.mark.parametrize("place", ["features", "after a ReLU"])
def test_a_batch_norm_is_folded_into_the_dense_layers_after_it_and_comes_back(place: str) -> None:
    network, jets = around(place), torch.randn(100, 4)
    folded = fold_batch_norm(network)
    unfolded = unfold_batch_norm(folded, network)
    assert "n" not in [layer.name for layer in folded]
    first, second, third = (n.activations(jets) for n in (network, folded, unfolded))
    for name in network.outputs:
        assert torch.allclose(first[name], second[name], atol=1e-5)
        assert torch.equal(second[name], third[name])
    assert unfolded.sources == network.sources


def test_a_layer_that_runs_twice_takes_no_batch_norm_in() -> None:
    dense = Dense("a", torch.ones(2, 2), torch.ones(2))
    norm = BatchNorm("n", torch.ones(2), torch.zeros(2))
    network = Network([Input("x", 2), norm, dense, Shared("again", "a")], {"n": "x", "a": "n", "again": "a"})
    assert "n" in [layer.name for layer in fold_batch_norm(network)]


def cell(name: str) -> Recurrent:
    arrays = {"weight": torch.randn(9, 4), "recurrent_weight": torch.randn(9, 3)}
    return Recurrent(name, "gru", **arrays, bias=torch.randn(9), recurrent_bias=torch.randn(9))


@pytest.mark.parametrize(
    ("reader", "folds"),
    [
        (Conv("c", torch.randn(6, 2, 2), torch.randn(6), groups=2), True),
        (Conv("c", torch.randn(4, 3, 1), torch.randn(4), groups=4, strides=(2,)), True),
        (Conv("c", torch.randn(3, 2, 4), torch.randn(3), padding=((1, 0),)), False),
        (cell("c"), True),
    ],
)
@pytest.mark.parametrize("n_scales", [4, 1])
def test_kernels_that_read_no_padding_take_in_the_norm_before_them(
    reader: Layer, n_scales: int, *, folds: bool
) -> None:
    norm = BatchNorm("n", torch.rand(n_scales) + 0.5, torch.randn(n_scales))
    network, jets = Network([Input("x", (6, 4)), norm, reader]), torch.randn(50, 6, 4)
    folded = fold_batch_norm(network)
    assert ("n" not in [layer.name for layer in folded]) == folds
    assert torch.allclose(folded(jets), network(jets), atol=1e-5)
