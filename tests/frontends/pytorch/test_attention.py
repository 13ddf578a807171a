"""Shrunk attention of torch, written back as its own modules and as programs."""

from collections.abc import Callable
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from hepprune import frontends
from hepprune.errors import NetworkError
from hepprune.frontends.pytorch import read, to_module
from hepprune.network import Network
from hepprune.pruning.structure import surgery
from tests.networks import weighted

WIDE = {"embed_dim": 8, "num_heads": 2, "batch_first": True}


class Alone(nn.Module):
    """Self-attention behind a dense layer, its queries, keys and values packed; as many channels as asked."""

    input_shape = (5, 6)

    def __init__(self, *, channels: int = 8, **options: object) -> None:
        super().__init__()
        self.before = nn.Linear(6, channels)
        self.attention = nn.MultiheadAttention(channels, channels // 4, **options)  # type: ignore[arg-type]
        self.after = nn.Linear(channels, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.before(x).transpose(0, 1)
        y, _ = self.attention(x, x, x, need_weights=False)
        return self.after(y.mean(0))


class Watched(Alone):
    """Attention that puts out the weights of its heads, none of which can leave, too."""

    def forward(self, x: Tensor) -> Any:
        x = self.before(x).transpose(0, 1)
        y, weights = self.attention(x, x, x, average_attn_weights=False)
        return self.after(y.mean(0)), weights.mean(1).mean(1)


class Across(nn.Module):
    """Attention to other values: of the same width, or with kernels of their own where `options` give widths."""

    def __init__(self, *, width: int = 8, **options: int) -> None:
        super().__init__()
        self.input_shape = ((5, 8), (4, width))
        self.attention = nn.MultiheadAttention(**WIDE, **options)  # type: ignore[arg-type]
        self.after = nn.Linear(8, 3)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        found, _ = self.attention(x, y, y, need_weights=False)
        return self.after(found.mean(1))


class Sized(nn.Module):
    """Attention of any number of heads and positions: of itself, or of `keys` values where there are any."""

    def __init__(self, heads: int, positions: int, keys: int = 0, *, weights: bool = False) -> None:
        super().__init__()
        self.input_shape = ((positions, 8), (keys, 8)) if keys else (positions, 8)
        self.weights = weights
        self.attention = nn.MultiheadAttention(8, heads, batch_first=True)
        self.after = nn.Linear(8, 3)

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        y = x if y is None else y
        return self.after(self.attention(x, y, y, need_weights=self.weights)[0].mean(1))


class Encoder(nn.Module):
    input_shape = (5, 8)

    def __init__(self, *, before: bool = False) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, norm_first=before)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.after = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.after(self.encoder(x).mean(1))


class Decoder(nn.Module):
    input_shape = ((5, 8), (4, 8))

    def __init__(self) -> None:
        super().__init__()
        self.decoder = nn.TransformerDecoderLayer(8, 2, 16, batch_first=True, activation="gelu")
        self.after = nn.Linear(8, 3)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return self.after(self.decoder(x, y).mean(1))


MODULES: dict[str, Callable[[], nn.Module]] = {
    "alone": Alone,
    "across": Across,
    "widths of their own": lambda: Across(width=6, kdim=6, vdim=6),
    "encoder": Encoder,
    "norm first": lambda: Encoder(before=True),
    "decoder": Decoder,
}


SIZED: dict[str, Callable[[], nn.Module]] = {
    "one head": lambda: Sized(1, 5),
    "one head that gives its weights": lambda: Sized(1, 5, weights=True),
    "one head and one position": lambda: Sized(1, 1),
    "one position": lambda: Sized(2, 1),
    "one position and weights": lambda: Sized(4, 1, weights=True),
    "one key": lambda: Sized(2, 4, 1),
    "one query": lambda: Sized(2, 1, 4),
    "a position a head": lambda: Sized(2, 2),
    "heads of one value": lambda: Sized(8, 5),
    "heads of one value and weights": lambda: Sized(8, 5, weights=True),
}


def made(name: str) -> nn.Module:
    torch.manual_seed(0)
    module = (MODULES | SIZED)[name]().eval()
    with torch.no_grad():  # torch starts the biases of attention at zero
        for parameter in module.parameters():
            parameter.add_(torch.rand_like(parameter) / 8)
    return module


@cache
def known(name: str) -> tuple[nn.Module, Network]:
    """Return a module and what is read of it once: torch takes long to export it, and both must stay as they are."""
    module = made(name)
    return module, read(module)


def given(module: nn.Module, n_jets: int = 7) -> list[Tensor]:
    generator = torch.Generator().manual_seed(1)
    shapes = module.input_shape if isinstance(module.input_shape[0], tuple) else [module.input_shape]  # type: ignore[index,union-attr]
    return [torch.randn(n_jets, *shape, generator=generator) for shape in shapes]  # type: ignore[misc]


@torch.no_grad()
def without_a_head(network: Network) -> Network:
    for layer in weighted(network):
        if layer.name.endswith("out_proj"):
            layer.weight[:, :4] = 0
    return surgery.shrink(network)


@torch.no_grad()
def without_neurons(network: Network) -> Network:
    for layer in weighted(network):
        if layer.name.endswith("linear1"):
            layer.weight[2:9], layer.bias[2:9] = 0, 0
        if layer.name.endswith("linear2"):
            layer.weight[:, 2:9] = 0
    return surgery.shrink(network)


def same(found: Tensor, wanted: Tensor) -> None:
    torch.testing.assert_close(found, wanted, rtol=0, atol=2e-6 * float(wanted.abs().max()))


@torch.no_grad()
@pytest.mark.parametrize("name", MODULES)
def test_a_module_keeps_zeros_where_a_head_was(name: str, caplog: pytest.LogCaptureFixture) -> None:
    module, network = known(name)
    smaller = without_a_head(network.clone())
    assert all(len(layer.weight) == 4 for layer in weighted(smaller) if "in_proj" in layer.name)
    written, features = to_module(smaller, module), given(module)
    assert "which keeps zeros for what was removed" in caplog.text
    same(written(*features), smaller(features if len(features) > 1 else features[0]))
    assert {key: tensor.shape for key, tensor in written.state_dict().items()} == {
        key: tensor.shape for key, tensor in module.state_dict().items()
    }


@pytest.mark.slow
@torch.no_grad()
@pytest.mark.parametrize("name", MODULES)
def test_a_program_loses_the_head(name: str, tmp_path: Path) -> None:
    module, network = known(name)
    features, smaller = given(module), without_a_head(network.clone())
    path = frontends.write(smaller, tmp_path / "smaller.pt2", like=module)
    program = torch.export.load(path)
    sizes = [tensor.shape for key, tensor in program.state_dict.items() if "in_proj_weight" in key or "q_proj" in key]
    assert {size[0] for size in sizes} <= {4, 12}
    same(program.module()(*features), smaller(features if len(features) > 1 else features[0]))
    again = frontends.read(path)
    assert [layer.weight.shape for layer in weighted(again)] == [layer.weight.shape for layer in weighted(smaller)]


@pytest.mark.slow
@torch.no_grad()
@pytest.mark.parametrize("ending", ["pt", "pt2"])
@pytest.mark.parametrize("name", ["encoder", "norm first", "decoder"])
def test_the_neurons_of_a_feed_forward_leave(name: str, ending: str, tmp_path: Path) -> None:
    module, network = known(name)
    features, smaller = given(module), without_neurons(network.clone())
    path = frontends.write(smaller, tmp_path / f"smaller.{ending}", like=module)
    wanted = smaller(features if len(features) > 1 else features[0])
    if ending == "pt2":
        same(torch.export.load(path).module()(*features), wanted)
        return
    tensors = torch.load(path, weights_only=True)
    assert {len(tensor) for key, tensor in tensors.items() if key.endswith("linear1.weight")} == {9}
    same(to_module(smaller, module)(*features), wanted)


@torch.no_grad()
def test_channels_that_hold_whole_heads_leave_with_them() -> None:
    torch.manual_seed(0)
    module = Alone(bias=False).eval()
    network = read(module)
    for layer in weighted(network):
        if layer.name == "before":
            layer.weight[[1, 2, 5, 6]], layer.bias[[1, 2, 5, 6]] = 0, 0
    smaller = without_a_head(network)
    written, (features,) = to_module(smaller, module), given(module)
    assert (written.attention.embed_dim, written.attention.num_heads) == (4, 1)
    assert written.attention.in_proj_weight.shape == (12, 4)
    same(written(features), smaller(features))


@torch.no_grad()
def test_channels_that_hold_no_whole_heads_are_refused_by_name_and_a_program_takes_them(tmp_path: Path) -> None:
    torch.manual_seed(0)
    module = Alone().eval()
    network = read(module)
    for layer in weighted(network):
        if layer.name == "before":
            layer.weight[:2], layer.bias[:2] = 0, 0
    smaller = surgery.shrink(network)
    sentence = (
        r"layer 'attention' is a MultiheadAttention with heads of 4 values, which needs a multiple of 4 channels with "
        r"room for all 2 of its heads, and now has 6; keep its channels, or give a path that ends in \.pt2 or \.npz"
    )
    with pytest.raises(NetworkError, match=sentence):
        frontends.write(smaller, tmp_path / "smaller.pt", like=module)
    assert not list(tmp_path.iterdir())
    (features,) = given(module)
    program = torch.export.load(frontends.write(smaller, tmp_path / "smaller.pt2", like=module)).module()
    same(program(features), smaller(features))


@torch.no_grad()
def test_values_of_fewer_channels_than_queries_are_packed_with_zeros(tmp_path: Path) -> None:
    torch.manual_seed(0)
    module = Watched(bias=False).eval()
    network = read(module)
    for layer in weighted(network):
        if layer.name.endswith("out_proj"):
            layer.weight[:, 1::4] = 0
    smaller, (features,) = surgery.shrink(network), given(module)
    assert [len(layer.weight) for layer in weighted(smaller) if "in_proj" in layer.name] == [8, 8, 6]
    values = smaller.activations(features)
    wanted = [values[name] for name in smaller.outputs]
    program = torch.export.load(frontends.write(smaller, tmp_path / "smaller.pt2", like=module)).module()
    for found in (to_module(smaller, module)(features), program(features)):
        for one, other in zip(found, wanted, strict=True):
            same(one, other)


@torch.no_grad()
def without_some(network: Network, what: str) -> Network:
    """Without the first of the heads' values, the second of each four, or all but one; with another bias after them."""
    for layer in weighted(network):
        if layer.name.endswith("out_proj"):
            layer.weight[:, {"first": slice(4), "values": slice(1, None, 4), "all": slice(None)}.get(what, [])] = 0
        if layer.name == "after":
            layer.bias += 1
    return surgery.shrink(network)


@torch.no_grad()
@pytest.mark.parametrize("what", ["nothing", "first", "values"])
@pytest.mark.parametrize("name", SIZED)
def test_one_head_position_or_value_is_none_of_the_others(name: str, what: str) -> None:
    module, network = known(name)
    features, smaller = given(module), without_some(network.clone(), what)
    written = to_module(smaller, module)
    same(written(*features), smaller(features if len(features) > 1 else features[0]))
    if what == "nothing":
        for key in ("attention.in_proj_weight", "attention.out_proj.weight"):
            assert torch.equal(written.state_dict()[key], module.state_dict()[key])


@torch.no_grad()
@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "what"),
    [
        *product(["one head"], ["nothing", "first", "values", "all"]),
        *(("one position", "all"), ("one key", "first"), ("heads of one value", "values")),
    ],
)
def test_one_head_position_or_value_is_written_in_a_program(name: str, what: str, tmp_path: Path) -> None:
    module, network = known(name)
    features, smaller = given(module), without_some(network.clone(), what)
    program = torch.export.load(frontends.write(smaller, tmp_path / "smaller.pt2", like=module)).module()
    same(program(*features), smaller(features if len(features) > 1 else features[0]))


def test_wider_heads_than_the_modules_are_refused_in_one_sentence() -> None:
    sentence = "layer 'attention' has 2 heads of 4 values, too many for 4 of 2"
    with pytest.raises(NetworkError, match=sentence):
        to_module(read(made("a position a head")), Sized(4, 2))


def test_trained_biases_of_attention_with_kernels_of_its_own_are_written() -> None:
    module = made("widths of their own")
    network = read(module)
    with torch.no_grad():
        for layer in weighted(network):
            layer.bias += 0.25
    assert torch.equal(to_module(network, module).attention.in_proj_bias, module.attention.in_proj_bias + 0.25)  # type: ignore[operator,union-attr]


def test_attention_among_jets_is_refused_with_what_may_be_missing() -> None:
    class Among(nn.Module):
        input_shape = (5, 8)

        def __init__(self) -> None:
            super().__init__()
            self.attention = nn.MultiheadAttention(8, 2)

        def forward(self, x: Tensor) -> Any:
            return self.attention(x, x, x, need_weights=False)[0]

    with pytest.raises(NetworkError, match="combines the values of different jets; is its batch_first=True missing"):
        read(Among())
