"""Random graphs of every kind of layer, in fixed point or in float, for hypothesis to draw."""

from collections.abc import Callable

import numpy as np
import torch
from hypothesis import strategies as st

from hepprune.fixed import FixedPoint
from hepprune.network import Conv, Dense, Input, Layer, Network, Shared
from hepprune.network.layers import (
    Activation,
    BatchNorm,
    Concatenate,
    Crop,
    Einsum,
    GlobalPool,
    LayerNorm,
    Merge,
    Pad,
    Permute,
    Pool,
    PReLU,
    Recurrent,
    ReLU,
    Reshape,
    Slice,
    Softmax,
    TopK,
    UpSample,
)
from hepprune.network.layers.recurrent import GATES
from hepprune.pruning.masks import Cut
from hepprune.pruning.structure import coupling
from tests.networks import SEEDS

WEIGHTS, BIASES = FixedPoint(6, 2, True, "RND", "SAT"), FixedPoint(12, 5, True, "RND", "SAT")
RESULTS = FixedPoint(8, 4, True, "RND", "SAT")


class Builder:
    """A network under construction: layers, edges, and the layer that the next one reads."""

    def __init__(self, rng: np.random.Generator, *, fixed: bool, small: bool = False) -> None:
        self.rng, self.fixed, self.most = rng, fixed, 2 if small else 5
        self.layers: list[Layer] = []
        self.sources: dict[str, tuple[str, ...]] = {}
        self.shapes: dict[str, tuple[int, ...]] = {}
        shape = (2, 2) if small else (int(rng.integers(4, 7)), int(rng.integers(2, 5)))
        self.last = self.add(Input("x", shape))

    def add(self, layer: Layer, *sources: str, exact: bool = True) -> str:
        """Add a layer; with a result type in fixed point, unless what it puts out is on its arguments' grid."""
        if self.fixed and not (exact and isinstance(layer, Reshape | Permute | Slice | Concatenate)):
            layer.result = RESULTS
        self.layers.append(layer)
        if not isinstance(layer, Input):
            self.sources[layer.name] = sources or (self.last,)
        runs = next(other for other in self.layers if other.name == getattr(layer, "of", layer.name))
        self.shapes[layer.name] = runs.shape(*(self.shapes[name] for name in self.sources.get(layer.name, ())))
        self.last = layer.name
        return layer.name

    def name(self, kind: str) -> str:
        return f"{kind}_{len(self.layers)}"

    def arrays(self, *shape: int) -> tuple[torch.Tensor, torch.Tensor, dict[str, FixedPoint]]:
        """Return a kernel, a bias and their types."""
        weight, bias = self.rng.normal(size=shape) * 0.7, self.rng.normal(size=shape[0]) * 0.5
        weight[self.rng.random(weight.shape) < 0.2] = 0
        weight[self.rng.random(len(weight)) < 0.1] = 0
        types = {"weight_type": WEIGHTS, "bias_type": BIASES} if self.fixed else {}
        return torch.tensor(weight, dtype=torch.float32), torch.tensor(bias, dtype=torch.float32), types

    @property
    def channels(self) -> int:
        return self.shapes[self.last][-1]

    @property
    def steps(self) -> int:
        return self.shapes[self.last][0]

    def dense(self, n_out: int, *sources: str) -> str:
        read = sources[0] if sources else self.last
        weight, bias, types = self.arrays(n_out, self.shapes[read][-1])
        return self.add(Dense(self.name("dense"), weight, bias, **types), *sources)

    def conv(self, n_out: int, *, size: int = 2, groups: int = 1) -> str:
        weight, bias, types = self.arrays(n_out, size, self.channels // groups)
        padding = ((int(self.rng.integers(0, 2)), size - 1),)
        return self.add(Conv(self.name("conv"), weight, bias, padding=padding, groups=groups, **types))

    def some(self) -> int:
        return int(self.rng.integers(2, self.most + 1))


def dense(b: Builder) -> None:
    b.dense(b.some())


def convolution(b: Builder) -> None:
    b.conv(b.some())


def depthwise(b: Builder) -> None:
    b.conv(b.channels * int(b.rng.integers(1, 3)), groups=b.channels)


def grouped(b: Builder) -> None:
    b.dense(4)
    b.conv(int(b.rng.choice([2, 4, 6])), groups=2)


def relu(b: Builder) -> None:
    b.add(ReLU(b.name("relu")))


def activation(b: Builder) -> None:
    b.add(Activation(b.name("act"), str(b.rng.choice(["tanh", "sigmoid", "leaky_relu", "softplus"]))))


def prelu(b: Builder) -> None:
    slopes = b.rng.integers(1, 8, b.channels if b.rng.random() < 0.5 else (b.steps, b.channels)) / 8
    b.add(PReLU(b.name("prelu"), torch.tensor(slopes, dtype=torch.float32)))


def batch_norm(b: Builder) -> None:
    scale, shift = torch.tensor(b.rng.normal(size=(2, b.channels)), dtype=torch.float32)
    types = {"scale_type": WEIGHTS, "shift_type": BIASES} if b.fixed else {}
    b.add(BatchNorm(b.name("norm"), scale, shift, **types))


def layer_norm(b: Builder) -> None:
    b.add(LayerNorm(b.name("layernorm"), torch.ones(b.channels), torch.zeros(b.channels)))


def pool(b: Builder) -> None:
    if b.steps >= min(4, b.shapes["x"][0]):
        b.add(Pool(b.name("pool"), str(b.rng.choice(["max", "average"])), (2,)))


def residual(b: Builder) -> None:
    start, width = b.dense(b.some()), b.channels
    relu(b)
    b.dense(b.some())
    relu(b)
    end = b.dense(width)
    b.add(Merge(b.name("merge"), str(b.rng.choice(["add", "subtract", "multiply", "maximum", "average"]))), start, end)


def joined(b: Builder) -> None:
    start = b.last
    one, other = b.dense(b.some(), start), b.dense(b.some(), start)
    b.add(Concatenate(b.name("join")), one, other, start)


def split(b: Builder) -> None:
    start = b.dense(5)
    one = b.add(Slice(b.name("slice"), 0, 2), start)
    other = b.add(Slice(b.name("slice"), 2, 5), start)
    b.add(Concatenate(b.name("join")), b.dense(b.some(), one), other)


def shared(b: Builder) -> None:
    first, second = b.dense(4), b.dense(4)
    once = b.dense(b.some(), first)
    again = b.add(Shared(b.name("again"), once), second)
    b.add(Merge(b.name("merge"), "add"), once, again)


def attention(b: Builder) -> None:
    start, heads = b.last, b.some()
    q, k, v = (_heads(b, b.dense(2 * heads, start), heads) for _ in range(3))
    scores = b.add(Einsum(b.name("scores"), "qhd,khd->hqk"), q, k)
    weights = b.add(Softmax(b.name("softmax")), scores)
    b.add(Einsum(b.name("context"), "hqk,khd->qhd"), weights, v)
    b.add(Reshape(b.name("merged"), (b.steps, 2 * heads)))
    b.dense(b.some())


def _heads(b: Builder, name: str, heads: int) -> str:
    return b.add(Reshape(b.name("heads"), (b.shapes[name][0], heads, 2)), name)


def one_head(b: Builder) -> None:
    start, width = b.last, b.some()
    scores = b.add(Einsum(b.name("scores"), "qd,kd->qk"), b.dense(width, start), b.dense(width, start))
    weights = b.add(Softmax(b.name("softmax")), scores)
    b.add(Einsum(b.name("context"), "qk,kd->qd"), weights, b.dense(b.some(), start))


def turned(b: Builder) -> None:
    """Dense layers over the positions, as interaction networks have them."""
    b.dense(b.some())
    b.add(Permute(b.name("turn"), (1, 0)))
    b.dense(4)
    b.add(Permute(b.name("turn"), (1, 0)))


def borders(b: Builder) -> None:
    b.add(Pad(b.name("pad"), ((1, 0),)))
    b.add(UpSample(b.name("up"), (2,)))
    b.add(Crop(b.name("crop"), ((1, 2),)))


def image(b: Builder) -> None:
    """A convolution and a pooling over positions and channels, as an image of one colour."""
    steps, width = b.shapes[b.last]
    b.add(Reshape(b.name("image"), (steps, width, 1)))
    weight, bias, types = b.arrays(b.some(), 2, 2, 1)
    b.add(Conv(b.name("conv"), weight, bias, padding=((1, 1), (1, 1)), **types))
    b.add(Pool(b.name("pool"), str(b.rng.choice(["max", "average"])), (2, 2), strides=(1, 2)))
    rows, columns, maps = b.shapes[b.last]
    b.add(Reshape(b.name("rows"), (rows, columns * maps)))


def largest(b: Builder) -> None:
    b.add(TopK(b.name("top"), max(1, b.channels - 1)))


def bidirectional(b: Builder) -> None:
    start = b.last
    both = [_cell(b, start, backwards=backwards) for backwards in (False, True)]
    b.add(Concatenate(b.name("join")), *both)


def recurrent(b: Builder) -> None:
    _cell(b, b.last)


def _cell(b: Builder, read: str, *, backwards: bool | None = None) -> str:
    cell, n_out = str(b.rng.choice(list(GATES))), b.some()
    rows = GATES[cell] * n_out
    weight, bias, types = b.arrays(rows, b.shapes[read][-1])
    recurrent_weight, recurrent_bias, _ = b.arrays(rows, n_out)
    if b.fixed:
        types |= {"recurrent_weight_type": WEIGHTS, "state_type": RESULTS}
    arrays = {"weight": weight, "recurrent_weight": recurrent_weight, "bias": bias, "recurrent_bias": recurrent_bias}
    turned_round, after = (bool(b.rng.random() < 0.5) for _ in range(2))
    options = {"return_sequences": True, "backwards": turned_round if backwards is None else backwards}
    return b.add(Recurrent(b.name("cell"), cell, reset_after=after, **arrays, **types, **options), read)


STAGES: dict[str, Callable[[Builder], None]] = {
    stage.__name__: stage
    for stage in (
        *(dense, convolution, depthwise, grouped, relu, activation, prelu, batch_norm, layer_norm, pool, residual),
        *(joined, split, shared, attention, one_head, turned, borders, recurrent, image, largest, bidirectional),
    )
}


def build(stages: list[str], *, seed: int, fixed: bool, flat: bool, small: bool = False) -> Network:
    """Return a network of these stages, a flatten or a pooling over positions, and a dense layer to three classes."""
    builder = Builder(np.random.default_rng(seed), fixed=fixed, small=small)
    for stage in stages:
        STAGES[stage](builder)
    steps, channels = builder.shapes[builder.last]
    builder.add(Reshape("flat", (steps * channels,)) if flat else GlobalPool("flat", "average"))
    builder.dense(4)
    builder.add(ReLU("last_relu"))
    builder.dense(3)
    return Network(builder.layers, builder.sources)


@st.composite
def graphs(draw: st.DrawFn, *, fixed: bool) -> Network:
    """Draw a network of up to four stages."""
    stages = draw(st.lists(st.sampled_from(sorted(STAGES)), min_size=1, max_size=4))
    return build(stages, seed=draw(SEEDS), fixed=fixed, flat=draw(st.booleans()))


def drawn_plan(network: Network, *, seed: int) -> tuple[Cut, ...]:
    """Return cuts of some units of every group that may leave, their readers' biases moved, and of some weights."""
    rng, plan = np.random.default_rng(seed), []
    for group in coupling.groups(network):
        if not group.kept and len(group) > 1 and rng.random() < 0.7:
            chosen = rng.choice(len(group), rng.integers(1, len(group)), replace=False)
            means = {m.layer: torch.tensor(rng.normal(size=_n_in(network, m.layer))) for m in group.of("read")}
            plan += coupling.cuts(group, chosen.tolist(), means if rng.random() < 0.5 else None)
    for kernel in network.kernels:
        n_weights = kernel.weight.numel()
        units = rng.choice(n_weights, n_weights // 4, replace=False).tolist()
        plan.append(Cut(kernel.name, "weight", tuple(units)))
    return tuple(plan)


def _n_in(network: Network, name: str) -> int:
    return int(network[name].weight.shape[-1])
