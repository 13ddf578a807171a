"""Architectures put out what they are said to: laws of their symmetry, and torch's own layers as oracles."""

from pathlib import Path

import pytest
import torch
import yaml
from torch.nn import functional

from hepprune import recipe
from hepprune.errors import HeppruneError, NetworkError
from hepprune.fixed import FixedPoint
from hepprune.network import Network, Recurrent, Weighted
from hepprune.network.precision import Precision, quantise
from hepprune.recipe.architectures import GRU, Architecture, Attention, Convolutional, DeepSets, Interaction, draw

OUTPUTS = {"flavour": 5, "momentum": 2}
SETS = (16, 6)
DRAWN: list[tuple[Architecture, tuple[int, ...]]] = [
    (DeepSets(phi=(8, 4), rho=(6,)), SETS),
    (DeepSets(pool="max", rho=()), SETS),
    (Interaction(nodes=(8, 4), rho=(6,)), SETS),
    (GRU(units=5, rho=(4,)), SETS),
    (Attention(heads=2, channels=3, rho=(4,)), SETS),
    (Convolutional(filters=(2, 3), rho=(4,)), (16, 16, 1)),
    (Convolutional(filters=(2,), kernel=2, stride=2, pool="none", rho=(4,)), (9, 6, 1)),
]


def drawn(architecture: Architecture, shape: tuple[int, ...], seed: int = 1) -> Network:
    return draw(architecture, {"jets": shape}, OUTPUTS, seed=seed)


@pytest.mark.parametrize(("architecture", "shape"), DRAWN)
def test_every_output_has_its_name_and_size_and_the_seed_decides(
    architecture: Architecture, shape: tuple[int, ...]
) -> None:
    network, x = drawn(architecture, shape), torch.randn(7, *shape)
    assert [layer.name for layer in network.inputs] == ["jets"]
    assert list(network.outputs) == list(OUTPUTS)
    assert [tuple(each.shape) for each in network.raw(x)] == [(7, 5), (7, 2)]
    assert all(torch.equal(a, b) for a, b in zip(network.raw(x), drawn(architecture, shape).raw(x), strict=True))
    assert not torch.equal(network.raw(x)[0], drawn(architecture, shape, seed=2).raw(x)[0])


@pytest.mark.parametrize(("architecture", "shape"), DRAWN)
def test_every_one_can_be_typed(architecture: Architecture, shape: tuple[int, ...]) -> None:
    x = torch.randn(200, *shape).clamp(-4, 4)
    bits = Precision(inputs=FixedPoint(12, 4, True, "RND", "SAT"), weight_bits=12, activation_bits=12)
    network = drawn(architecture, shape)
    typed = quantise(network, (x.numpy(),), bits)
    for exact, rounded in zip(network.raw(x), typed.raw(x), strict=True):
        assert (exact - rounded).abs().mean() < 0.05 * exact.std()


@pytest.mark.parametrize("architecture", [each for each, shape in DRAWN if not isinstance(each, GRU) and shape == SETS])
def test_sets_do_not_know_the_order_of_constituents(architecture: Architecture) -> None:
    x = torch.randn(9, *SETS)
    network, other = drawn(architecture, SETS), x[:, torch.randperm(SETS[0])]
    for before, after in zip(network.raw(x), network.raw(other), strict=True):
        torch.testing.assert_close(before, after, atol=1e-5, rtol=1e-5)


def test_constituents_of_an_interaction_meet() -> None:
    x, y = torch.randn(2, 9, *SETS)
    network = drawn(Interaction(nodes=(8,), rho=()), SETS)
    other = torch.cat([x[:, :1], y[:, 1:]], dim=1)
    before, after = (network.activations(each, quantised=False)["node_1"][:, 0] for each in (x, other))
    assert (before - after).abs().max() > 0.01


def test_the_gru_is_torchs() -> None:
    network, x = drawn(GRU(units=5, rho=()), SETS), torch.randn(9, *SETS)
    cell, own = network["gru"], torch.nn.GRU(SETS[1], 5, batch_first=True)
    assert isinstance(cell, Recurrent)
    order = torch.cat([torch.arange(5, 10), torch.arange(5), torch.arange(10, 15)])  # torch has reset before update
    with torch.no_grad():
        own.weight_ih_l0.copy_(cell.weight[order])
        own.weight_hh_l0.copy_(cell.recurrent_weight[order])
        own.bias_ih_l0.zero_()
        own.bias_hh_l0.zero_()
    torch.testing.assert_close(network.activations(x, quantised=False)["gru"], own(x)[1][0], atol=1e-5, rtol=1e-4)


def test_the_attention_is_torchs() -> None:
    heads, channels = 2, 4
    network, x = drawn(Attention(heads=heads, channels=channels), SETS), torch.randn(9, *SETS)
    values = network.activations(x, quantised=False)
    query, key, value = (values[f"{role}_heads"].movedim(2, 1) for role in ("query", "key", "value"))
    wanted = functional.scaled_dot_product_attention(query, key, value, scale=1.0)  # the scale is among the weights
    torch.testing.assert_close(values["context"], wanted.movedim(1, 2), atol=1e-5, rtol=1e-4)
    query_layer, key_layer = network["query"], network["key"]
    assert isinstance(query_layer, Weighted)
    assert isinstance(key_layer, Weighted)
    assert query_layer.weight.std() < 0.8 * key_layer.weight.std()


@pytest.mark.parametrize(
    ("architecture", "inputs", "said"),
    [
        (DeepSets(), {"jets": (16,)}, r"DeepSets takes values \(constituents, features\), and .* 'jets' .* \(16,\)"),
        (GRU(), {"a": SETS, "b": SETS}, "GRU takes one input, and here are a, b"),
        (Convolutional(filters=(2, 2, 2, 2)), {"jets": (16, 16, 1)}, "too small for convolution 3; take fewer filters"),
    ],
)
def test_what_an_architecture_cannot_take_is_said(
    architecture: Architecture, inputs: dict[str, tuple[int, ...]], said: str
) -> None:
    with pytest.raises(NetworkError, match=said):
        draw(architecture, inputs, OUTPUTS, seed=1)


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ({"architecture": {"kind": "deepset"}}, "deepset"),
        ({"architecture": {"kind": "deepsets", "phy": [8]}}, "phy"),
        ({"architecture": {"kind": "gru", "units": 0}}, "units"),
        ({"architecture": {"kind": "gru"}, "hidden": [8]}, "give one of architecture and hidden, not both"),
    ],
)
def test_a_recipe_names_an_architecture_rightly(tmp_path: Path, model: dict[str, object], said: str) -> None:
    data = {"file": "jets.root:Jets", "features": ["a", "b"], "n_constituents": 16, "classes": ["q", "g"]}
    content = {"name": "small", "data": data, "model": model, "budget": {"lut": 1000}}
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(content))
    with pytest.raises(HeppruneError, match=said):
        recipe.load(tmp_path / "recipe.yaml")
