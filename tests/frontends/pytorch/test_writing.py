"""Writing: read o write is the identity, and after surgery torch computes what the network does."""

import importlib
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn.utils import prune

from hepprune import frontends
from hepprune.errors import NetworkError
from hepprune.fixed import FixedPoint
from hepprune.frontends.pytorch import read, to_module, write
from hepprune.network import Layer, Network
from hepprune.network.precision import Precision, quantise
from hepprune.pruning import masks
from hepprune.pruning.structure import surgery
from tests.frontends.pytorch.drawing import Drawn, arranged, disagreement, features, modules
from tests.networks import weighted


class Convolutional(nn.Module):
    """Convolution, batch norms and dense layers with a flatten between them."""

    input_shape = (3, 8)

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv1d(3, 4, 3, padding="same"), nn.BatchNorm1d(4)
        self.hidden, self.hidden_norm, self.out = nn.Linear(32, 5), nn.BatchNorm1d(5), nn.Linear(5, 2)
        self.norm.running_mean.normal_()
        self.norm.running_var.uniform_(0.5, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.norm(self.conv(x)))
        return self.out(torch.relu(self.hidden_norm(self.hidden(x.flatten(1)))))


class Perceptron(nn.Module):
    """A plain tagger, made by name as `...test_writing:Perceptron`."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.layers = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 7), nn.ReLU(), nn.Linear(7, 3))

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)


def same(first: Network, second: Network) -> bool:
    """Return whether two networks are equal in graph and arrays, but for rounding."""
    assert first.structure() == second.structure()
    arrays = second.state_dict()
    return all(torch.allclose(array, arrays[name], rtol=1e-5, atol=1e-6) for name, array in first.state_dict().items())


def shrunk(network: Network) -> Network:
    """Return the convolutional network without filter 1 and neuron 2."""
    filters, neurons = torch.tensor([0, 2, 3]), torch.tensor([0, 1, 3, 4])
    columns = torch.arange(32).view(8, 4)[:, filters].flatten()

    def part(name: str, *, rows: Tensor | None = None, columns: Tensor | None = None) -> Layer:
        layer = network[name]
        rows = torch.arange(layer.n_out) if rows is None else rows
        every = slice(None) if columns is None else columns
        weight, limit = layer.weight[rows][:, every], layer.digit_limit[rows][:, every]
        return layer.rebuilt(weight=weight, bias=layer.bias[rows], digit_limit=limit)

    def norm(name: str, kept: Tensor) -> Layer:
        return network[name].rebuilt(scale=network[name].scale[kept], shift=network[name].shift[kept])

    changed = {
        "conv": part("conv", rows=filters),
        "norm": norm("norm", filters),
        "flatten": network["flatten"].rebuilt(target=(24,)),
        "hidden": part("hidden", rows=neurons, columns=columns),
        "hidden_norm": norm("hidden_norm", neurons),
        "out": part("out", columns=neurons),
    }
    return network.replacing(changed)


@pytest.mark.slow
@settings(max_examples=15)
@given(modules(max_steps=3))
def test_a_written_module_is_the_one_that_was_read(module: Drawn) -> None:
    network = read(module)
    written = to_module(network, module)
    for name, tensor in module.state_dict().items():
        assert torch.equal(tensor, written.state_dict()[name])
    assert same(read(written), network)


@pytest.mark.slow
@settings(max_examples=15)
@given(modules(max_steps=3), st.integers(0, 2**31))
def test_changed_numbers_come_back(module: Drawn, seed: int) -> None:
    network = read(module)
    torch.manual_seed(seed)
    with torch.no_grad():
        for layer in weighted(network):
            layer.weight += 0.1 * torch.randn_like(layer.weight)
    written = to_module(network, module)
    assert same(read(written), network)
    assert disagreement(network, written, [features(module)]) < 1e-5


def test_a_shrunk_convolutional_network_is_a_smaller_module() -> None:
    module = Convolutional().eval()
    network = shrunk(read(module))
    written = to_module(network, module)
    assert (written.conv.out_channels, written.norm.num_features) == (3, 3)
    assert (written.hidden.in_features, written.hidden.out_features, written.out.in_features) == (24, 4, 4)
    assert disagreement(network, written, [torch.randn(5, 3, 8)]) < 1e-5
    assert module.conv.out_channels == 4


def test_surgery_on_a_quantised_tagger_is_a_smaller_module_with_its_weights() -> None:
    module = Perceptron().eval()
    x = np.random.default_rng(0).normal(size=(200, 6)).astype(np.float32)
    kind = FixedPoint(10, 4, True, "RND", "SAT")
    network = quantise(read(module), x, Precision(inputs=kind))
    cut = masks.Cut("layers_0", "neuron", (1, 4)), masks.Cut("layers_2", "neuron", (0,))
    small = surgery.shrink(masks.apply(network, cut))
    written = to_module(small, module)
    sizes = [layer.out_features for layer in written.layers[::2]]
    assert sizes == [layer.n_out for layer in weighted(small)]
    assert sizes[0] <= 6
    assert sizes[1] <= 6  # others may be dead once their values are quantised
    values = torch.tensor(x)
    float_of_quantised = {name: small[name].used_weight() for name in ("layers_0", "layers_2", "layers_4")}
    for name, weight in float_of_quantised.items():
        assert torch.equal(written.get_submodule(name.replace("_", ".")).weight, weight)
    assert torch.allclose(written(values), read(written)(values), atol=1e-5)


def test_a_state_dict_is_written_and_read_by_the_factorys_name(tmp_path: Path) -> None:
    factory = f"{__name__}:Perceptron"
    importlib.import_module(__name__)
    network = read(factory)
    first, second = network["layers_0"], network["layers_2"]
    keep = torch.tensor([0, 1, 2, 5])
    small = network.replacing(
        {
            "layers_0": first.rebuilt(
                weight=first.weight[keep], bias=first.bias[keep], digit_limit=first.digit_limit[keep]
            ),
            "layers_2": second.rebuilt(weight=second.weight[:, keep], digit_limit=second.digit_limit[:, keep]),
        }
    )
    path = write(small, tmp_path / "small.pt", like=factory)
    assert torch.load(path, weights_only=True)["layers.0.weight"].shape == (4, 6)
    again = read(f"{factory}@{path}")
    assert same(again, small)
    x = torch.randn(4, 6)
    assert torch.allclose(again(x), small(x), atol=1e-6)


def test_masks_are_taken_over_and_written_back() -> None:
    module = nn.Sequential(nn.Linear(5, 6), nn.ReLU(), nn.Linear(6, 2))
    prune.l1_unstructured(module[0], "weight", amount=0.5)
    network = read(module)
    pruned = network["layer_0"].digit_limit == 0
    assert torch.equal(pruned, module[0].weight_mask == 0)
    with torch.no_grad():
        network["layer_0"].weight += 1
        network["layer_0"].weight[0] = 0  # zero, not pruned
    written = to_module(network, module)
    assert torch.equal(written[0].weight_mask == 0, pruned)
    x = torch.randn(3, 5)
    assert torch.allclose(written(x), network(x), atol=1e-6)
    assert torch.equal(read(written)["layer_0"].digit_limit, network["layer_0"].digit_limit)


@pytest.mark.parametrize("free", [False, True])
def test_an_exported_program_is_written_as_one(tmp_path: Path, *, free: bool) -> None:
    module = Convolutional().eval()
    sizes = ({0: torch.export.Dim("n_jets")},) if free else None
    exported = torch.export.export(module, (torch.zeros(2, 3, 8),), dynamic_shapes=sizes)
    network = shrunk(read(exported))
    path = write(network, tmp_path / "small.pt2", like=exported)
    assert same(read(path), network)
    x = torch.randn(2, 3, 8)
    assert torch.allclose(torch.export.load(path).module()(x), network(*arranged(network, [x])), atol=1e-6)


def test_sizes_in_a_programs_graph_move(tmp_path: Path) -> None:
    class Viewing(Convolutional):
        def forward(self, x: Tensor) -> Tensor:
            flat = torch.relu(self.norm(self.conv(x))).view(-1, 32)
            return self.out(torch.relu(self.hidden_norm(self.hidden(flat))))

    exported = torch.export.export(Viewing().eval(), (torch.zeros(2, 3, 8),))
    read_one = read(exported)
    layers = [layer.name for layer in read_one]
    network = shrunk(read(torch.export.export(Convolutional().eval(), (torch.zeros(2, 3, 8),))))
    assert "view" in layers
    renamed = Network(
        [read_one["view"].rebuilt(target=(24,)) if layer.name == "flatten" else layer for layer in network],
        {
            name.replace("flatten", "view"): tuple(s.replace("flatten", "view") for s in v)
            for name, v in network.sources.items()
        },
    )
    path = write(renamed, tmp_path / "small.pt2", like=exported)
    x = torch.randn(2, 3, 8)
    assert torch.allclose(torch.export.load(path).module()(x), renamed(*arranged(renamed, [x])), atol=1e-6)


def test_another_graph_and_numbers_without_a_place_are_refused(tmp_path: Path) -> None:
    module = Perceptron()
    network = read(module)
    other = Perceptron()
    other.layers[1] = nn.Tanh()
    with pytest.raises(NetworkError, match="a Activation 'layers_1' where the model has a ReLU"):
        write(read(other), tmp_path / "a.pt", like=module)
    other.layers = other.layers[:1]
    with pytest.raises(NetworkError, match="has 2 layers, where the model has 6"):
        write(read(other), tmp_path / "a.pt", like=module)
    fixed = nn.Sequential(nn.Linear(3, 3), nn.Hardtanh(-1, 2)).eval()
    changed = read(fixed)
    with torch.no_grad():
        changed["layer_1_shift"].shift += 1
    with pytest.raises(NetworkError, match="layer_1_shift.*no tensor of the model"):
        write(changed, tmp_path / "b.pt", like=fixed)
    with pytest.raises(NetworkError, match="pt2"):
        write(network, tmp_path / "c.onnx", like=torch.export.export(module, (torch.zeros(2, 6),)))
    assert not list(tmp_path.iterdir())


def test_attention_keeps_its_packed_weights() -> None:
    class Attending(nn.Module):
        input_shape = (5, 4)

        def __init__(self) -> None:
            super().__init__()
            self.attention = nn.MultiheadAttention(4, 2, batch_first=True)

        def forward(self, x: Tensor) -> Tensor:
            return self.attention(x, x, x)[0].mean(1)

    module = Attending().eval()
    network = read(module)
    with torch.no_grad():
        for layer in weighted(network):
            layer.weight += torch.randn_like(layer.weight)
            layer.bias += 1
    written = to_module(network, module)
    assert disagreement(network, written, [torch.randn(3, 5, 4)]) < 1e-5
    assert same(read(written), network)
    query = network.kernels[0].layer
    smaller = query.rebuilt(weight=query.weight[:2], bias=query.bias[:2], digit_limit=query.digit_limit[:2])
    with pytest.raises(NetworkError):
        to_module(network.replacing({query.name: smaller}), module)


def test_weights_used_at_two_places_must_stay_equal() -> None:
    """After a flatten a shared layer's columns lie in another order, so it is there twice."""

    class Twice(nn.Module):
        input_shape = (2, 3)

        def __init__(self) -> None:
            super().__init__()
            self.conv, self.fc = nn.Conv1d(2, 2, 1), nn.Linear(6, 6)

        def forward(self, x: Tensor) -> Tensor:
            return self.fc(torch.relu(self.fc(self.conv(x).flatten(1))))

    module = Twice().eval()
    network = read(module)
    assert disagreement(network, module, [torch.randn(4, 2, 3)]) < 1e-5
    assert same(read(to_module(network, module)), network)
    with torch.no_grad():
        network["fc_2"].weight += 1
    with pytest.raises(NetworkError, match="fc.weight"):
        to_module(network, module)


class Placed(nn.Module):
    """A table of parameters for each constituent is added to its channels."""

    input_shape = (4, 3)

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.place = nn.Parameter(torch.randn(1, 4, 6))
        self.first, self.last = nn.Linear(3, 6), nn.Linear(6, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(torch.relu(self.first(x) + self.place).mean(1))


def test_a_table_of_parameters_loses_the_channels_of_what_it_is_added_to() -> None:
    module = Placed().eval()
    small = surgery.shrink(read(module), [masks.Cut("first", "neuron", (1, 4))])
    kept = small["first"].n_out
    written = to_module(small, module)
    assert written.place.shape == (1, 4, kept)
    for n_jets in (1, 5):
        assert disagreement(small, written, [torch.randn(n_jets, 4, 3)]) < 1e-5


class Tied(nn.Module):
    """One weight under two names."""

    input_shape = ((5,), (5,))

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.left, self.right, self.last = nn.Linear(5, 7), nn.Linear(5, 7), nn.Linear(7, 2)
        self.right.weight = self.left.weight

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return self.last(self.left(x).relu() + self.right(y).relu())


def test_a_weight_of_two_names_is_cut_under_both(tmp_path: Path) -> None:
    module = Tied().eval()
    small = surgery.shrink(read(module), [masks.Cut(name, "neuron", (0, 5)) for name in ("right", "right_2")])
    written = to_module(small, module)
    assert written.right.weight is written.left.weight
    assert written.left.weight.shape == (5, 5)
    assert disagreement(small, written, [torch.randn(3, 5), torch.randn(3, 5)]) < 1e-5
    path = frontends.write(small, tmp_path / "small.pt", like=module)
    assert {torch.load(path, weights_only=True)[f"{side}.weight"].shape for side in ("left", "right")} == {(5, 5)}


def test_a_weight_of_two_names_cannot_become_two() -> None:
    module = Tied().eval()
    network = read(module)
    with torch.no_grad():
        network["right"].weight[0, 0] += 1
    with pytest.raises(NetworkError, match="'right_2' no longer has the values of 'right.weight'"):
        to_module(network, module)


class Remembering(nn.Module):
    """A recurrent layer, whose first state torch's graph holds with its size, and a norm."""

    input_shape = (6, 3)

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(2)
        self.steps, self.norm, self.last = nn.LSTM(3, 5, batch_first=True), nn.LayerNorm(4), nn.Linear(4, 2)
        self.middle = nn.Linear(5, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.norm(self.middle(self.steps(x)[0][:, -1])))


class Grouped(nn.Module):
    """A depthwise convolution, whose groups are a number in the graph."""

    input_shape = (3, 8)

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.first, self.each, self.last = nn.Conv1d(3, 6, 1), nn.Conv1d(6, 6, 3, groups=6), nn.Linear(6, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(torch.relu(self.each(torch.relu(self.first(x)))).mean(2))


class Attentive(nn.Module):
    """Attention of its own: torch divides scores by the root of a size that surgery changes."""

    input_shape = (4, 3)

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(4)
        self.query, self.key, self.value = nn.Linear(3, 6), nn.Linear(3, 6), nn.Linear(3, 5)
        self.last = nn.Linear(5, 2)

    def forward(self, x: Tensor) -> Tensor:
        found = nn.functional.scaled_dot_product_attention(self.query(x), self.key(x), self.value(x))
        return self.last(found.mean(1))


CUT_AT = {
    Remembering: [masks.Cut("steps", "neuron", (1, 3))],
    Grouped: [masks.Cut("first", "neuron", (0, 2)), masks.Cut("each", "neuron", (0, 2))],
    Attentive: [masks.Cut(name, "neuron", (0, 3)) for name in ("query", "key")],
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", CUT_AT)
def test_counts_sizes_and_factors_of_a_program_move(tmp_path: Path, kind: type[nn.Module]) -> None:
    module = kind().eval()
    small = surgery.shrink(read(module), CUT_AT[kind])
    assert sum(p.numel() for p in small.parameters()) < sum(p.numel() for p in read(module).parameters())
    path = frontends.write(small, tmp_path / "small.pt2", like=module)
    written = torch.export.load(path).module()
    for n_jets in (2, 5):
        assert disagreement(small, written, [torch.randn(n_jets, *module.input_shape)]) < 1e-5


class Chunked(nn.Module):
    """Halves of a layer's values the other way round, where the halves are is in the code."""

    input_shape = (3,)

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.last = nn.Linear(3, 8), nn.Linear(8, 2)

    def forward(self, x: Tensor) -> Tensor:
        one, two = torch.relu(self.first(x)).chunk(2, 1)
        return self.last(torch.cat([two, one], 1))


def test_weights_alone_are_refused_where_the_code_has_the_bounds(tmp_path: Path) -> None:
    module = Chunked().eval()
    small = surgery.shrink(read(module), [masks.Cut("first", "neuron", (0,))])
    with pytest.raises(NetworkError, match=r"layer 'chunk_0' .*stop is 4, not 3; .*\.pt2 .*\.npz"):
        frontends.write(small, tmp_path / "small.pt", like=module)
    assert not list(tmp_path.iterdir())
    program = torch.export.load(frontends.write(small, tmp_path / "small.pt2", like=module)).module()
    assert disagreement(small, program, [torch.randn(4, 3)]) < 1e-5
    x = torch.randn(4, 3)
    assert torch.equal(frontends.read(frontends.write(small, tmp_path / "small.npz", like=module))(x), small(x))
