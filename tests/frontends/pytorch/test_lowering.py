"""Reading agrees with torch: random architectures, and every operator by itself."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812 -- torch's own name
from hypothesis import assume, given, settings
from torch import Tensor, nn
from torch.nn.utils import prune

from hepprune.errors import NetworkError
from hepprune.frontends.pytorch import read, read_module, to_module
from hepprune.frontends.pytorch.lowering import lower
from hepprune.frontends.pytorch.program import from_exported
from hepprune.network import Dense, Einsum, Permute, Recurrent, Reshape, Shared
from tests.frontends.pytorch.drawing import Drawn, disagreement, features, modules
from tests.networks import weighted


class Function(nn.Module):
    """A function as a module, with modules of its own."""

    def __init__(self, function: Callable[..., Any], *shapes: tuple[int, ...], **parts: nn.Module) -> None:
        super().__init__()
        self.function, self.input_shape = function, shapes if len(shapes) > 1 else shapes[0]
        for name, part in parts.items():
            self.add_module(name, part)

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        return self.function(self, x) if y is None else self.function(self, x, y)


def check(module: nn.Module) -> None:
    torch.manual_seed(1)
    shapes = module.input_shape if isinstance(module.input_shape[0], tuple) else (module.input_shape,)
    inputs = [torch.randn(5, *shape) for shape in shapes]
    assert disagreement(read(module.eval()), module, inputs) < 1e-5


@pytest.mark.slow
@settings(max_examples=40)
@given(modules())
def test_reading_agrees_with_torch(module: Drawn) -> None:
    assert disagreement(read(module), module, [features(module)]) < 1e-5


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # torch's own, from its decompositions
@settings(max_examples=12)
@given(modules(max_steps=3))
def test_a_program_of_core_operators_is_the_same_network(module: Drawn) -> None:
    exported = torch.export.export(module, (torch.zeros(2, *module.input_shape),))
    assume("prelu" not in module.flat)  # the core operators take it apart
    decomposed = exported.run_decompositions()
    network = lower(from_exported(decomposed)).network
    assert disagreement(network, module, [features(module)]) < 1e-5


ONE = {
    "leaky_relu": lambda _, x: F.leaky_relu(x, 0.3),
    "relu6": lambda _, x: F.relu6(3 * x),
    "clamp": lambda _, x: x.clamp(-0.5, 0.2),
    "clamp_max": lambda _, x: x.clamp(max=0.1),
    "clamp_min": lambda _, x: torch.clamp_min(x, 0.3),
    "hardsigmoid": lambda _, x: F.hardsigmoid(4 * x),
    "hardswish": lambda _, x: F.hardswish(4 * x),
    "hardtanh": lambda _, x: F.hardtanh(x),
    "selu": lambda _, x: F.selu(x),
    "softplus": lambda _, x: F.softplus(x),
    "threshold": lambda _, x: F.threshold(x, 0.1, 0.0),
    "gelu_tanh": lambda _, x: F.gelu(x, approximate="tanh"),
    "absolute": lambda _, x: x.abs() * (-x),
    "square": lambda _, x: x**2 + torch.square(x),
    "exponential": lambda _, x: torch.exp(x),
    "numbers": lambda _, x: 1 - (2 * x - 0.5) / 4,
    "constant_of_last_axis": lambda _, x: x * torch.tensor([1.0, 2.0, 3.0, 4.0, 5.0]),
    "constant_of_first_axis": lambda _, x: x + torch.tensor([[1.0], [2.0], [3.0]]),
    "constant_of_all_axes": lambda _, x: x.mT + torch.arange(15.0).view(5, 3),
    "softmax_last": lambda _, x: F.softmax(x, dim=-1),
    "softmax_first": lambda _, x: torch.softmax(x, dim=1),
    "softmax_flat": lambda _, x: x.mT.flatten(1).softmax(1),
    "select": lambda _, x: x[:, 1] * 2,
    "negative_select": lambda _, x: x[..., -1],
    "slice": lambda _, x: x[:, 1:, ::2],
    "split": lambda _, x: torch.split(x, [1, 3, 1], dim=-1)[1],
    "chunk": lambda _, x: x.chunk(2, dim=-1)[1],
    "unbind": lambda _, x: x.unbind(1)[2] - x.unbind(1)[0],
    "index": lambda _, x: x[:, :, [4, 0, 1]],
    "repeat": lambda _, x: x.repeat(1, 2, 1),
    "expand": lambda _, x: x[:, :1].expand(-1, 4, -1),
    "stack": lambda _, x: torch.stack([x, -x], dim=2),
    "concatenate_middle": lambda _, x: torch.cat([x, x.relu()], dim=1),
    "unsqueeze": lambda _, x: (x.unsqueeze(1) + x.unsqueeze(2)).sum(dim=(1, 2)),
    "mean_first": lambda _, x: x.mean(1),
    "mean_last": lambda _, x: x.mean(-1),
    "mean_all": lambda _, x: x.mean(dim=(1, 2), keepdim=True),
    "sum_kept": lambda _, x: x.sum(1, keepdim=True) + x,
    "maximum": lambda _, x: x.max(1).values,
    "maximum_of_two": lambda _, x: torch.maximum(x, -x) + torch.minimum(x, 2 * x),
    "view": lambda _, x: x.view(x.size(0), 5, 3).transpose(1, 2).reshape(-1, 15),
    "permute": lambda _, x: x.permute(0, 2, 1) * 2,
    "product": lambda _, x: torch.matmul(x, x.transpose(1, 2)),
    "einsum": lambda _, x: torch.einsum("bnf,bmf->bnm", x, x),
    "einsum_of_constant": lambda _, x: torch.einsum("bnf,en->bef", x, torch.arange(12.0).view(4, 3)),
    "product_with_constant": lambda _, x: x @ torch.arange(10.0).view(5, 2),
    "pad": lambda _, x: F.pad(x, (1, 2)),
    "pad_both": lambda _, x: F.pad(x, (1, 0, 0, 2)),
    "flat_parts": lambda _, x: torch.cat([x.mT.flatten(1)[:, 2:9], x.flatten(1)], 1),
    "attention": lambda _, x: F.scaled_dot_product_attention(x, 2 * x, x),
    "argmax": lambda _, x: x.mean(1).argmax(-1),
    "argmax_kept": lambda _, x: x.mean(1).argmax(-1, keepdim=True),
}


@pytest.mark.parametrize("name", ONE)
def test_an_operator_agrees_with_torch(name: str) -> None:
    check(Function(ONE[name], (3, 5)))


CHANNELS = {
    "conv": nn.Conv1d(3, 5, 3, padding=2, dilation=2, stride=2),
    "pointwise": nn.Conv1d(3, 4, 1, bias=False),
    "even_same": nn.Conv1d(3, 4, 4, padding="same"),
    "max_pool": nn.MaxPool1d(3, 2, padding=1, ceil_mode=True),
    "mean_pool": nn.AvgPool1d(3, 2, padding=1),
    "mean_pool_real": nn.AvgPool1d(3, 2, padding=1, count_include_pad=False),
    "mean_pool_ceil": nn.AvgPool1d(3, 2, ceil_mode=True),
    "adaptive": nn.AdaptiveAvgPool1d(4),
    "adaptive_max": nn.AdaptiveMaxPool1d(1),
    "upsample": nn.Upsample(scale_factor=2),
    "prelu": nn.PReLU(3, init=0.4),
    "zero_pad": nn.Sequential(nn.ConstantPad1d((1, 2), 0.0), nn.Conv1d(3, 2, 2)),
    "batch_norm_plain": nn.BatchNorm1d(3, affine=False),
}


@pytest.mark.parametrize("name", CHANNELS)
def test_a_module_on_channels_agrees_with_torch(name: str) -> None:
    check(Function(lambda self, x: self.part(x), (3, 8), part=CHANNELS[name]))


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU, nn.RNN])
@pytest.mark.parametrize("what", ["last", "all", "state"])
def test_a_recurrent_layer_agrees_with_torch(kind: type[nn.RNNBase], what: str) -> None:
    def function(self: Function, x: Tensor) -> Tensor:
        states, state = self.cell(x)
        final = (state[0] if isinstance(state, tuple) else state)[0]
        return {"last": states[:, -1], "all": states, "state": final}[what]

    module = Function(function, (6, 3), cell=kind(3, 4, batch_first=True))
    check(module)
    (layer,) = (layer for layer in read(module) if isinstance(layer, Recurrent))
    assert layer.name == "cell"
    assert layer.return_sequences == (what == "all")


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU])
@pytest.mark.parametrize("bidirectional", [False, True])
def test_stacked_layers_and_both_directions_agree_with_torch(kind: type[nn.RNNBase], *, bidirectional: bool) -> None:
    def function(self: Function, x: Tensor) -> Tensor:
        states, state = self.cell(x)
        final = (state[0] if isinstance(state, tuple) else state).transpose(0, 1).flatten(1)
        return torch.cat([states[:, 0], states.mean(1), final], dim=1)

    cell = kind(3, 4, num_layers=2, bidirectional=bidirectional, batch_first=True)
    check(Function(function, (6, 3), cell=cell))
    network = read(
        Function(
            lambda self, x: torch.cat([*self.cell(x)[1]], 1),
            (6, 3),
            cell=nn.GRU(3, 4, bidirectional=True, batch_first=True),
        )
    )
    assert not any(layer.return_sequences for layer in network if isinstance(layer, Recurrent))


@pytest.mark.parametrize("need_weights", [False, True])
def test_attention_of_a_module_agrees_with_torch(*, need_weights: bool) -> None:
    attention = nn.MultiheadAttention(8, 2, batch_first=True)
    module = Function(
        lambda self, x: self.attention(x, x, x, need_weights=need_weights)[0], (5, 8), attention=attention
    )
    check(module)
    network = read(module)
    assert not any(isinstance(layer, Permute) for layer in network)
    assert sum(isinstance(layer, Einsum) for layer in network) == 2
    assert [layer.name for layer in weighted(network)][-1] == "attention_out_proj"
    assert [layer.n_out for layer in weighted(network)] == [8, 8, 8, 8]


def test_a_transformer_block_agrees_with_torch() -> None:
    block = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.1, batch_first=True)
    check(Function(lambda self, x: self.block(x), (5, 8), block=block))


def test_several_inputs_and_outputs_agree_with_torch() -> None:
    def function(self: Function, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        joined = torch.cat([self.image(x).flatten(1), self.track(y)], dim=1)
        return self.first(joined), torch.sigmoid(self.second(joined))

    module = Function(
        function,
        (1, 5, 6),
        (7,),
        image=nn.Conv2d(1, 2, 3),
        track=nn.Linear(7, 3),
        first=nn.Linear(27, 2),
        second=nn.Linear(27, 1),
    )
    check(module)
    network = read(module)
    assert [layer.name for layer in network.inputs] == ["x", "y"]
    assert [layer.features_shape for layer in network.inputs] == [(5, 6, 1), (7,)]


def test_an_interaction_network_agrees_with_torch() -> None:
    """Pairs of particles by constant matrices (Moreno et al., arXiv:1908.05318)."""
    pairs = [(i, j) for i in range(4) for j in range(4) if i != j]
    receive = torch.tensor([[float(i == particle) for i, _ in pairs] for particle in range(4)])
    send = torch.tensor([[float(j == particle) for _, j in pairs] for particle in range(4)])

    def function(self: Function, x: Tensor) -> Tensor:
        edges = torch.cat([torch.matmul(x, receive), torch.matmul(x, send)], dim=1)
        effects = torch.relu(self.edge(edges))
        gathered = torch.matmul(effects, receive.t())
        nodes = torch.relu(self.node(torch.cat([x, gathered], dim=1)))
        return self.out(nodes.sum(dim=-1))

    parts = {"edge": nn.Conv1d(6, 5, 1), "node": nn.Conv1d(8, 6, 1), "out": nn.Linear(6, 2)}
    check(Function(function, (3, 4), **parts))


def test_flatten_after_a_convolution_permutes_the_dense_weight_and_nothing_else() -> None:
    module = nn.Sequential(nn.Conv1d(2, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(12, 4)).eval()
    network = read_module(module, (2, 6))
    assert [type(layer).__name__ for layer in network] == ["Input", "Conv", "ReLU", "Reshape", "Dense"]
    expected = module[3].weight.view(4, 3, 4).movedim(1, 2).reshape(4, 12)
    assert torch.equal(network["layer_3"].weight, expected)
    assert disagreement(network, module, [torch.randn(3, 2, 6)]) < 1e-5


def test_a_transpose_before_a_convolution_costs_no_layer() -> None:
    """Particles come as (particles, features), which is how a Network keeps them."""
    module = Function(lambda self, x: self.conv(x.transpose(1, 2)).mean(-1), (6, 3), conv=nn.Conv1d(3, 4, 1))
    check(module)
    assert not any(isinstance(layer, Permute | Reshape) for layer in read(module))


def test_layers_keep_the_modules_names_and_reused_ones_are_shared() -> None:
    module = Function(lambda self, x: self.act(self.fc(self.act(self.fc(x)))), (4,), fc=nn.Linear(4, 4), act=nn.ReLU())
    network = read(module)
    assert [layer.name for layer in network] == ["x", "fc", "act", "fc_2", "act_2"]
    assert isinstance(network["fc"], Dense)
    assert isinstance(network["fc_2"], Shared)
    check(module)


def test_an_operator_in_place_changes_every_name_of_its_value() -> None:
    def function(_: Function, x: Tensor) -> Tensor:
        doubled = x * 2
        kept = doubled
        doubled.relu_()
        return kept + 1

    check(Function(function, (4,)))


def test_what_no_network_has_is_named() -> None:
    cases = {
        "log_softmax": lambda _, x: F.log_softmax(x, -1),
        "cumsum": lambda _, x: x.cumsum(1),
        "axis of jets|over the jets|mix jets": lambda _, x: x - x.mean(0, keepdim=True),
        "some of the jets": lambda _, x: x[:1] * 2,
        "of two values": lambda _, x: x / (x + 10),
        "on its first axis|axis of jets|mix jets": lambda _, x: x.transpose(0, 1) * 1,
    }
    for words, function in cases.items():
        with pytest.raises(NetworkError, match=words):
            read(Function(function, (4,)))


def test_layers_that_no_network_has_are_named() -> None:
    parts = {
        "up.*conv_transpose1d": (nn.ConvTranspose1d(3, 2, 3), (3, 8)),
        "small.*projection": (nn.LSTM(3, 3, proj_size=2, batch_first=True), (5, 3)),
        "words.*Embedding": (nn.Embedding(5, 3), (4,)),
    }
    for words, (part, shape) in parts.items():
        name = words.split(".")[0]
        with pytest.raises(NetworkError, match=words):
            read(Function(lambda self, x, name=name: _first(getattr(self, name)(x)), shape, **{name: part}))


def _first(found: Tensor | tuple[Tensor, ...]) -> Tensor:
    return found[0] if isinstance(found, tuple) else found


@pytest.mark.parametrize(
    "parts",
    [
        lambda w: (w.split([2, 6])[0], w.split([3, 5])[0]),
        lambda w: (w.split([3, 5])[0], w.split([3, 5])[0]),
        lambda w: (w, w.t()),
    ],
    ids=["rows of another number", "the same rows", "transposed"],
)
def test_parts_of_one_tensor_are_shared_only_where_they_are_the_same(parts: Any) -> None:
    class Parts(nn.Module):
        input_shape = (8,)

        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.randn(8, 8))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.cat([nn.functional.linear(x, part) for part in parts(self.weight)], 1)

    module, x = Parts().eval(), torch.randn(4, 8)
    network = read(module)
    torch.testing.assert_close(network(x), module(x))
    torch.testing.assert_close(to_module(network, module)(x), module(x))


def test_a_weight_with_its_mask_is_not_the_one_without() -> None:
    class Both(nn.Module):
        input_shape = (8,)

        def __init__(self) -> None:
            super().__init__()
            self.dense = nn.Linear(8, 8, bias=False)
            prune.l1_unstructured(self.dense, "weight", amount=0.5)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.cat([self.dense(x), nn.functional.linear(x, self.dense.weight_orig)], 1)

    module, x = Both().eval(), torch.randn(4, 8)
    torch.testing.assert_close(read(module)(x), module(x))
