"""Small float networks on eight features: residual, shared, convolutional, on sets and sequences, with attention."""

import torch
from torch import Tensor

from hepprune.network import Activation, Conv, Dense, Input, Layer, Merge, Network, Recurrent, ReLU, Reshape, Shared
from hepprune.network.layers import Einsum, GlobalPool, Pool, Softmax

N_FEATURES, N_CLASSES, STEPS, CHANNELS = 8, 5, 4, 2


class _Drawn:
    """Layers with random weights that keep the variance of what they read."""

    def __init__(self) -> None:
        self.generator = torch.Generator().manual_seed(3)

    def array(self, *shape: int) -> Tensor:
        return torch.randn(*shape, generator=self.generator) / torch.tensor(shape[1:]).prod().sqrt()

    def dense(self, name: str, n_in: int, n_out: int) -> Dense:
        return Dense(name, self.array(n_out, n_in), torch.zeros(n_out))

    def conv(self, name: str, n_in: int, n_out: int, *, size: int = 3, groups: int = 1) -> Conv:
        weight = self.array(n_out, size, n_in // groups)
        return Conv(name, weight, torch.zeros(n_out), padding=((1, size - 2),), groups=groups)


def residual() -> Network:
    draw = _Drawn()
    layers: list[Layer] = [
        *(Input("x", N_FEATURES), draw.dense("a", 8, 12), ReLU("relu_a"), draw.dense("b", 12, 10), ReLU("relu_b")),
        *(draw.dense("c", 10, 12), Merge("sum", "add"), ReLU("relu_c"), draw.dense("out", 12, N_CLASSES)),
    ]
    edges = {"a": "x", "relu_a": "a", "b": "relu_a", "relu_b": "b", "c": "relu_b", "sum": ("c", "relu_a")}
    return Network(layers, edges | {"relu_c": "sum", "out": "relu_c"})


def shared() -> Network:
    draw = _Drawn()
    layers: list[Layer] = [
        *(Input("x", N_FEATURES), draw.dense("first", 8, 10), ReLU("relu_1"), draw.dense("turn", 10, 10)),
        *(ReLU("relu_2"), Shared("again", "turn"), ReLU("relu_3"), draw.dense("out", 10, N_CLASSES)),
    ]
    return Network(layers)


def convolution() -> Network:
    draw = _Drawn()
    layers: list[Layer] = [
        *(Input("x", (STEPS, CHANNELS)), draw.conv("conv_1", CHANNELS, 8), ReLU("relu_1"), draw.conv("conv_2", 8, 8)),
        *(ReLU("relu_2"), draw.conv("depthwise", 8, 8, groups=8), ReLU("relu_3"), Pool("pool", "max", (2,))),
        *(Reshape("flat", (16,)), draw.dense("hidden", 16, 8), ReLU("relu_4"), draw.dense("out", 8, N_CLASSES)),
    ]
    return Network(layers)


def deep_sets() -> Network:
    draw = _Drawn()
    layers: list[Layer] = [
        *(Input("x", (STEPS, CHANNELS)), draw.dense("phi_1", CHANNELS, 10), ReLU("relu_1"), draw.dense("phi_2", 10, 8)),
        *(ReLU("relu_2"), GlobalPool("mean", "average"), draw.dense("rho", 8, 10), ReLU("relu_3")),
        draw.dense("out", 10, N_CLASSES),
    ]
    return Network(layers)


def recurrent() -> Network:
    draw, n_out = _Drawn(), 8
    arrays = {"weight": draw.array(3 * n_out, CHANNELS), "recurrent_weight": draw.array(3 * n_out, n_out)}
    arrays |= {"bias": torch.zeros(3 * n_out), "recurrent_bias": torch.zeros(3 * n_out)}
    head = [draw.dense("hidden", n_out, 8), ReLU("relu"), draw.dense("out", 8, N_CLASSES)]
    return Network([Input("x", (STEPS, CHANNELS)), Recurrent("cell", "gru", **arrays), *head])


def attention() -> Network:
    draw, heads, size = _Drawn(), 4, 2
    names, shape = ("query", "key", "value"), (STEPS, heads, size)
    made = {name: draw.dense(name, 6, heads * size) for name in names}
    layers: list[Layer] = [
        *(Input("x", (STEPS, CHANNELS)), draw.dense("embed", CHANNELS, 6), Activation("curved", "tanh")),
        *made.values(),
        *(Reshape(f"{name}_heads", shape) for name in names),
        *(Einsum("scores", "qhd,khd->hqk"), Softmax("softmax"), Einsum("context", "hqk,khd->qhd")),
        *(Reshape("joined", (STEPS, heads * size)), draw.dense("mixed", heads * size, 6), ReLU("relu")),
        *(GlobalPool("mean", "average"), draw.dense("out", 6, N_CLASSES)),
    ]
    edges: dict[str, str | tuple[str, ...]] = {"embed": "x", "curved": "embed", **dict.fromkeys(names, "curved")}
    edges |= {f"{name}_heads": name for name in names}
    edges |= {"scores": ("query_heads", "key_heads"), "softmax": "scores", "context": ("softmax", "value_heads")}
    return Network(
        layers, edges | {"joined": "context", "mixed": "joined", "relu": "mixed", "mean": "relu", "out": "mean"}
    )


ARCHITECTURES = {made.__name__: made for made in (residual, shared, convolution, deep_sets, recurrent, attention)}
