"""Random torch modules for hypothesis to draw, and how their values compare with a Network's."""

import functools
from collections.abc import Callable, Sequence

import torch
from hypothesis import strategies as st
from torch import Tensor, nn

from hepprune.network import Network

FLAT = (
    "linear",
    "relu",
    "leaky",
    "elu",
    "tanh",
    "sigmoid",
    "gelu",
    "silu",
    "batch_norm",
    "layer_norm",
    "prelu",
    "hard_tanh",
)
FLAT_GRAPH = ("residual", "branches", "parts", "scaled", "dropout", "again")
PLACES = (
    "conv",
    "same",
    "depthwise",
    "grouped",
    "strided",
    "norm",
    "max",
    "mean",
    "relu",
    "last",
    "residual",
    "pad",
    "twice",
)


class Drawn(nn.Module):
    """Steps on channels-first values of 0, 1 or 2 axes of positions, then on flat ones."""

    def __init__(self, shape: Sequence[int], steps: Sequence[str], flat: Sequence[str], ending: str) -> None:
        super().__init__()
        self.input_shape = tuple(shape)
        self.steps, self.flat, self.ending = list(steps), list(flat), ending
        self.layers = nn.ModuleDict()
        value = torch.zeros(2, *shape)
        with torch.no_grad():
            self.eval()
            self.run(value)

    def layer(self, key: str, make: Callable[[], nn.Module]) -> nn.Module:
        if key not in self.layers:
            self.layers[key] = make()
        return self.layers[key]

    def forward(self, value: Tensor) -> Tensor:
        return self.run(value)

    def run(self, value: Tensor) -> Tensor:
        for number, step in enumerate(self.steps):
            value = self.place(step, f"{step}_{number}", value)
        if value.ndim > 2:
            value = self.ended(value)
        for number, step in enumerate(self.flat):
            value = self.on_flat(step, f"flat_{step}_{number}", value)
        return value

    def ended(self, value: Tensor) -> Tensor:
        if self.ending == "flatten":
            return torch.flatten(value, 1)
        if self.ending == "mean":
            return value.mean(dim=tuple(range(2, value.ndim)))
        if self.ending == "largest":
            return value.amax(dim=-1).flatten(1)
        if self.ending == "pooled":
            kind = nn.AdaptiveAvgPool1d if value.ndim == 3 else nn.AdaptiveAvgPool2d
            return self.layer("pooled", lambda: kind(1))(value).flatten(1)
        moved = value.movedim(1, -1)
        return moved.reshape(moved.shape[0], -1)

    def place(self, step: str, key: str, value: Tensor) -> Tensor:
        rank, n, last = value.ndim - 2, value.shape[1], value.shape[-1]
        conv, norm = ((nn.Conv1d, nn.BatchNorm1d), (nn.Conv2d, nn.BatchNorm2d))[rank - 1]
        largest, mean = ((nn.MaxPool1d, nn.AvgPool1d), (nn.MaxPool2d, nn.AvgPool2d))[rank - 1]
        long = min(value.shape[2:]) > 3
        layers: dict[str, Callable[[], nn.Module]] = {
            "conv": lambda: conv(n, 3, 2 if long else 1),
            "same": lambda: conv(n, 4, 3, padding="same", dilation=2, bias=False),
            "depthwise": lambda: conv(n, 2 * n, 3, padding=1, groups=n),
            "grouped": lambda: conv(n, 2 * n, 1, groups=n),
            "strided": lambda: conv(n, 4, 3, stride=2, padding=1),
            "norm": lambda: _trained(norm(n)),
            "max": lambda: largest(2, ceil_mode=True) if long else largest(3, 1, padding=1),
            "mean": lambda: mean(3, 1, padding=1, count_include_pad=long),
            "last": lambda: nn.Linear(last, 5),  # over the last axis, as particles' features
        }
        functions: dict[str, Callable[[Tensor], Tensor]] = {
            "relu": torch.relu,
            "residual": lambda v: v + torch.relu(self.layer(key, lambda: conv(n, n, 1))(v)),
            "pad": lambda v: nn.functional.pad(v, (1, 0) * rank),
            "twice": lambda v: torch.cat([v, torch.tanh(v)], dim=1),
        }
        return functions[step](value) if step in functions else self.layer(key, layers[step])(value)

    def on_flat(self, step: str, key: str, value: Tensor) -> Tensor:
        n = value.shape[1]
        layers: dict[str, Callable[[], nn.Module]] = {
            "linear": lambda: nn.Linear(n, 6),
            "batch_norm": lambda: _trained(nn.BatchNorm1d(n)),
            "layer_norm": lambda: nn.LayerNorm(n),
            "prelu": lambda: _slopes(nn.PReLU(n)),
            "dropout": nn.Dropout,
        }
        shared = functools.partial(nn.Linear, n, n)
        functions: dict[str, Callable[[Tensor], Tensor]] = {
            "relu": nn.functional.relu6,
            "leaky": lambda v: nn.functional.leaky_relu(v, 0.2),
            "elu": nn.functional.elu,
            "tanh": torch.tanh,
            "sigmoid": torch.sigmoid,
            "gelu": nn.functional.gelu,
            "silu": nn.functional.silu,
            "hard_tanh": lambda v: nn.functional.hardtanh(v, -0.5, 0.75),
            "scaled": lambda v: 1 - v / 3 + torch.arange(1, n + 1) * 0.1,
            "residual": lambda v: v + torch.relu(self.layer(key, shared)(v)),
            "branches": lambda v: torch.cat([self.layer(key, lambda: nn.Linear(n, 3))(v), v], dim=-1),
            "again": lambda v: self.layer(key, shared)(torch.relu(self.layer(key, shared)(v))),
            "parts": lambda v: _difference(*torch.chunk(torch.cat([v, -v], 1), 2, dim=1)),
        }
        return functions[step](value) if step in functions else self.layer(key, layers[step])(value)


def _difference(first: Tensor, second: Tensor) -> Tensor:
    return first - 2 * second


def _trained(layer: nn.Module) -> nn.Module:
    """Give a batch norm statistics and parameters other than those it starts with."""
    with torch.no_grad():
        layer.running_mean.normal_()
        layer.running_var.uniform_(0.5, 2)
        layer.weight.uniform_(0.5, 2)
        layer.bias.normal_()
    return layer


def _slopes(layer: nn.PReLU) -> nn.PReLU:
    with torch.no_grad():
        layer.weight.uniform_(-0.5, 0.5)
    return layer


@st.composite
def modules(draw: st.DrawFn, *, max_steps: int = 4) -> Drawn:
    """Convolutional or dense networks with residuals, branches, splits, shared layers and constants."""
    rank = draw(st.integers(0, 2))
    shape = (draw(st.integers(1, 3)), *draw(st.sampled_from([(), (7, 8), (8, 7)]))) if rank == 2 else ()
    shape = shape or ((2, draw(st.integers(5, 9))) if rank else (draw(st.integers(1, 7)),))
    steps = draw(st.lists(st.sampled_from(PLACES), min_size=1, max_size=max_steps)) if len(shape) > 1 else []
    flat = draw(st.lists(st.sampled_from(FLAT + FLAT_GRAPH), max_size=max_steps))
    ending = draw(st.sampled_from(["flatten", "mean", "largest", "pooled", "moved"]))
    torch.manual_seed(draw(st.integers(0, 2**31)))
    return Drawn(shape, steps, [*flat, "linear"], ending).eval()


def arranged(network: Network, inputs: Sequence[Tensor]) -> list[Tensor]:
    """Return torch's inputs as the network takes them: channels last where its shapes say so."""
    taken = zip(network.inputs, inputs, strict=True)
    return [x if layer.features_shape == tuple(x.shape[1:]) else x.movedim(1, -1) for layer, x in taken]


@torch.no_grad()
def disagreement(network: Network, module: nn.Module, inputs: Sequence[Tensor]) -> float:
    """Return the largest difference between the module's outputs and the network's, relative to the largest value."""
    expected = module(*inputs)
    values = network.activations(arranged(network, inputs), quantised=False)
    worst = 0.0
    for name, want in zip(network.outputs, expected if isinstance(expected, tuple) else (expected,), strict=True):
        found, seen = values[name], want.reshape(values[name].shape) if want.ndim == 1 else want
        if found.shape != seen.shape:
            seen = seen.movedim(1, -1)
        assert found.shape == seen.shape
        worst = max(worst, float((found - seen).abs().max() / seen.abs().max().clamp(min=1e-3)))
    return worst


def features(module: Drawn, n_jets: int = 3) -> Tensor:
    """Return random jets for a drawn module; another number than it is traced with."""
    return torch.randn(n_jets, *module.input_shape)
