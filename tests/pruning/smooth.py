"""Small networks in float64 whose losses have derivatives, one for each way that a kernel can be applied."""

import torch
from torch import Tensor, nn

from hepprune.network import (
    Activation,
    Conv,
    Dense,
    GlobalPool,
    Input,
    Layer,
    Network,
    Pool,
    ReLU,
    Reshape,
    Shared,
)

N_JETS, N_CLASSES = 24, 3


def kernels(*shapes: tuple[int, ...]) -> list[tuple[Tensor, Tensor]]:
    """Return random (weight, bias) pairs."""
    generator = torch.Generator().manual_seed(3)
    return [
        (0.7 * torch.randn(shape, generator=generator), 0.3 * torch.randn(shape[0], generator=generator))
        for shape in shapes
    ]


def network(name: str) -> Network:
    """Return the network of that name."""
    layers = {"dense_relu": dense_relu, "dense_tanh": dense_tanh, "conv_relu": conv_relu, "conv_tanh": conv_tanh}
    if name == "shared":
        return shared()
    return Network(layers[name]()).double()


NAMES = ("dense_relu", "dense_tanh", "conv_relu", "conv_tanh", "shared")


def dense_relu() -> list[Layer]:
    first, last = kernels((5, 4), (N_CLASSES, 5))
    return [Input("x", 4), Dense("first", *first), ReLU("relu"), Dense("last", *last)]


def dense_tanh() -> list[Layer]:
    first, last = kernels((5, 4), (N_CLASSES, 5))
    return [Input("x", 4), Dense("first", *first), Activation("tanh", "tanh"), Dense("last", *last)]


def conv_relu() -> list[Layer]:
    """Two axes, groups, a stride, a dilation and padding, then a flatten."""
    first, last = kernels((4, 2, 2, 1), (N_CLASSES, 24))
    places = {"strides": (2, 1), "dilation": (1, 2), "padding": ((1, 0), (0, 1))}
    conv = Conv("first", *first, groups=2, **places)
    return [Input("x", (4, 4, 2)), conv, ReLU("relu"), Reshape("flat", (-1,)), Dense("last", *last)]


def conv_tanh() -> list[Layer]:
    """A convolution, a dense layer over positions, a mean over them."""
    first, middle, last = kernels((3, 2, 2), (3, 3), (N_CLASSES, 3))
    curved = [Conv("first", *first), Activation("tanh", "tanh"), Dense("middle", *middle), ReLU("relu")]
    return [Input("x", (5, 2)), *curved, Pool("pool", "max", (2,)), GlobalPool("mean", "average"), Dense("last", *last)]


def shared() -> Network:
    """One dense layer that runs twice, the second time on its own activations."""
    first, last = kernels((4, 4), (N_CLASSES, 4))
    layers = [Input("x", 4), Dense("first", *first), Activation("tanh", "tanh"), Shared("again", "first"), ReLU("relu")]
    return Network([*layers, Dense("last", *last)]).double()


def jets(net: Network) -> tuple[Tensor, Tensor]:
    """Return jets and their classes."""
    generator = torch.Generator().manual_seed(5)
    x = torch.randn(N_JETS, *net.input.features_shape, generator=generator, dtype=torch.float64)
    return x, torch.randint(N_CLASSES, (N_JETS,), generator=generator)


@torch.no_grad()
def loss(net: Network, x: Tensor, y: Tensor) -> float:
    """Return the mean cross-entropy."""
    return float(nn.functional.cross_entropy(net.logits(x), y))


def differences(net: Network, layer: str, index: int, *, step: float) -> tuple[float, float]:
    """Return first and second derivative of the loss by one weight, by finite differences: the brute-force oracle."""
    weight = net[layer].weight.data.view(-1)
    before, (x, y) = float(weight[index]), jets(net)
    found = []
    for shift in (-step, 0.0, step):
        weight[index] = before + shift
        found.append(loss(net, x, y))
    weight[index] = before
    low, here, high = found
    return (high - low) / (2 * step), (high - 2 * here + low) / step**2


@torch.no_grad()
def loss_with_factor(net: Network, layer: str, neuron: int, factor: float) -> float:
    """Return the loss where the output of a neuron is its mean plus `factor` times its deviation from it."""
    x, y = jets(net)
    values = net.activations(x)
    readers = net.readers(net[layer])
    name = readers[0].name if isinstance(readers[0], ReLU) else layer
    activations = values[name].clone()
    mean = activations[..., neuron].mean()
    activations[..., neuron] = mean + factor * (activations[..., neuron] - mean)
    names = [node.name for node in net]
    known = {n: values[n] for n in names[: names.index(name)]} | {name: activations}
    logits = net.activations(x, known=known)[net.raw_output]
    return float(nn.functional.cross_entropy(logits, y))
