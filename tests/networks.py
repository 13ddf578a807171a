"""Random quantised networks, inputs and pruning plans for hypothesis to draw."""

import numpy as np
import torch
from hypothesis import strategies as st
from numpy.typing import NDArray

from hepprune.fixed import FixedPoint, digits
from hepprune.fixed.quantisers import FixedPoints
from hepprune.network import Conv, Dense, GlobalPool, Input, Layer, Network, Pool, ReLU, Reshape, Softmax, Weighted
from hepprune.network.layers import Einsum, Merge
from hepprune.pruning.masks import Cut
from hepprune.task.sample import Sample

Floats = NDArray[np.float64]
ROUNDINGS = st.sampled_from(["TRN", "RND", "RND_CONV"])
OVERFLOWS = st.sampled_from(["SAT", "WRAP"])
SEEDS = st.integers(0, 2**32 - 1)


def weighted(network: Network) -> list[Weighted]:
    """Return the layers with one kernel, in the order they run."""
    return [layer for layer in network if isinstance(layer, Weighted)]


def unlabelled(x: torch.Tensor) -> Sample:
    """Return jets for what needs no targets."""
    return Sample(x, torch.zeros(len(x), dtype=torch.int64))


@st.composite
def fixed_points(draw: st.DrawFn, *, signed: bool) -> FixedPoint:
    """Types of 2 to 8 bits around one."""
    width = draw(st.integers(2, 8))
    return FixedPoint(width, draw(st.integers(0, 4)), signed, draw(ROUNDINGS), draw(OVERFLOWS))


@st.composite
def types_of_values(draw: st.DrawFn, n_values: int, *, signed: bool) -> FixedPoints:
    """Types of 0 to 8 bits around one, another for each value."""
    rng = np.random.default_rng(draw(SEEDS))
    return FixedPoints(
        width=rng.integers(0, 9, n_values),
        integer=rng.integers(0, 5, n_values),
        signed=np.asarray(signed),
        rounding=draw(ROUNDINGS),
        overflow=draw(OVERFLOWS),
    )


@st.composite
def by_value(draw: st.DrawFn, network: Network) -> Network:
    """Draw another type for each value of a network that has a type of its own."""
    changed = {}
    for layer in network:
        if isinstance(layer.result, FixedPoint):
            kind = draw(types_of_values(network.widths[layer.name], signed=layer.result.signed))
            changed[layer.name] = layer.rebuilt(result=kind)
    return network.replacing(changed)


@st.composite
def dense_layers(draw: st.DrawFn, name: str, *, n_in: int, n_out: int, fraction: int) -> Dense:
    """Dense layers with zeros, dead rows, unread columns and digit limits, for inputs with `fraction` bits."""
    rng = np.random.default_rng(draw(SEEDS))
    kind = FixedPoint(draw(st.integers(2, 8)), draw(st.integers(-1, 2)), True, draw(ROUNDINGS), "SAT")
    weight = rng.normal(size=(n_out, n_in)) * kind.maximum * 0.7
    weight[rng.random(weight.shape) < draw(st.sampled_from([0.0, 0.5, 0.9]))] = 0
    weight[rng.random(n_out) < draw(st.sampled_from([0.0, 0.4]))] = 0
    weight[:, rng.random(n_in) < draw(st.sampled_from([0.0, 0.4]))] = 0
    bias_fraction = kind.fraction + fraction - draw(st.sampled_from([0, 0, 0, 2]))
    integer = draw(st.integers(1, 4))
    bias_type = FixedPoint(max(bias_fraction + integer, 1), integer, True, "RND", "SAT")
    limit = np.full(weight.shape, digits.UNLIMITED)
    if draw(st.booleans()):
        limit = rng.choice([0, 1, 2, digits.UNLIMITED], size=weight.shape)
    return Dense(
        name,
        torch.tensor(weight, dtype=torch.float32),
        torch.tensor(rng.normal(size=n_out) * draw(st.sampled_from([0.2, 3.0])), dtype=torch.float32),
        weight_type=kind,
        bias_type=bias_type,
        digit_limit=torch.tensor(limit, dtype=torch.uint8),
    )


@st.composite
def networks(draw: st.DrawFn, *, max_layers: int = 3, max_width: int = 12, min_outputs: int = 1) -> Network:
    """Quantised chains of dense layers, with ReLU or a rounded result between them and sometimes a softmax at the end."""
    sizes = draw(st.lists(st.integers(1, max_width), min_size=2, max_size=max_layers + 1))
    sizes[-1] = max(sizes[-1], min_outputs)
    kind = draw(fixed_points(signed=True))
    layers: list[Layer] = [Input("features", sizes[0], kind)]
    for index, (n_in, n_out) in enumerate(zip(sizes, sizes[1:], strict=False), start=1):
        dense = draw(dense_layers(f"dense_{index}", n_in=n_in, n_out=n_out, fraction=kind.fraction))
        layers.append(dense)
        if index == len(sizes) - 1:
            break
        if draw(st.sampled_from([True, True, True, False])):
            kind = draw(fixed_points(signed=False))
            layers.append(ReLU(f"relu_{index}", kind))
        else:
            kind = dense.result = draw(fixed_points(signed=True))
    return Network([*layers, Softmax("softmax")] if draw(st.booleans()) else layers)


def features(network: Network, *, seed: int, n_jets: int = 64) -> Floats:
    """Return features (n_jets, n_features) that reach a little beyond the input's range."""
    kind = network.input.result
    reach = 1.2 * float(np.max(kind.maximum)) if kind else 3.0
    values = np.random.default_rng(seed).uniform(-reach, reach, (n_jets, *network.input.features_shape))
    return values.astype(np.float32).astype(np.float64)


@st.composite
def plans(draw: st.DrawFn, network: Network) -> tuple[Cut, ...]:
    """Draw cuts of all granularities on a network's layers; classes are left."""
    cuts = []
    for layer in weighted(network):
        n_weights = layer.weight.numel()
        if layer.name != network.raw_output and layer.n_out > 1:
            neurons = draw(st.sets(st.integers(0, layer.n_out - 1), max_size=layer.n_out - 1))
            constants = draw(st.lists(st.floats(0, 4), min_size=len(neurons), max_size=len(neurons)))
            cuts.append(Cut(layer.name, "neuron", tuple(neurons), tuple(constants)))
        for granularity in ("weight", "digit"):
            units = draw(st.sets(st.integers(0, n_weights - 1), max_size=n_weights // 2))
            cuts.append(Cut(layer.name, granularity, tuple(sorted(units))))
    return tuple(cuts)


@st.composite
def sequence_networks(draw: st.DrawFn) -> Network:
    """Quantised networks over positions: convolution, ReLU, sometimes a pooling or a sum, a flatten or a mean, dense."""
    n_steps, n_in, n_filters = draw(st.integers(4, 6)), draw(st.integers(1, 3)), draw(st.integers(2, 5))
    inputs, middle = draw(fixed_points(signed=True)), draw(fixed_points(signed=False))
    flat = draw(dense_layers("conv", n_in=2 * n_in, n_out=n_filters, fraction=inputs.fraction))
    arrays = {
        "weight": flat.weight.reshape(n_filters, 2, n_in),
        "digit_limit": flat.digit_limit.reshape(n_filters, 2, n_in),
    }
    types = {"weight_type": flat.weight_type, "bias_type": flat.bias_type}
    padding = draw(st.sampled_from([((0, 0),), ((0, 1),)]))
    layers: list[Layer] = [Input("features", (n_steps, n_in), inputs)]
    layers += [Conv("conv", bias=flat.bias, padding=padding, **arrays, **types), ReLU("relu", middle)]
    steps = n_steps - 1 + padding[0][1]
    if draw(st.booleans()):
        layers.append(Pool("pool", draw(st.sampled_from(["max", "average"])), (2,)))
        steps //= 2
    whole = draw(st.booleans())
    layers.append(Reshape("flat", (steps * n_filters,)) if whole else GlobalPool("flat", "max"))
    n_flat, fraction = (steps * n_filters if whole else n_filters), middle.fraction + 1
    layers.append(draw(dense_layers("dense", n_in=n_flat, n_out=draw(st.integers(1, 4)), fraction=fraction)))
    return Network(layers)


def transformer(*, heads: int, n_steps: int = 4, width: int = 6) -> Network:
    """Return a float block of attention with heads of two channels, and one of feed-forward, each a residual branch."""
    generator = torch.Generator().manual_seed(heads)

    def dense(name: str, n_out: int, n_in: int) -> Dense:
        return Dense(name, torch.randn(n_out, n_in, generator=generator) / n_in**0.5, torch.zeros(n_out))

    roles = ("query", "key", "value")
    layers: list[Layer] = [Input("x", (n_steps, 3)), dense("stem", width, 3)]
    layers += [dense(role, 2 * heads, width) for role in roles]
    layers += [Reshape(f"{role}_heads", (n_steps, heads, 2)) for role in roles]
    layers += [Einsum("scores", "qhd,khd->hqk"), Softmax("softmax"), Einsum("context", "hqk,khd->qhd")]
    layers += [Reshape("joined", (n_steps, 2 * heads)), dense("out", width, 2 * heads), Merge("attention", "add")]
    layers += [dense("up", 8, width), ReLU("relu"), dense("down", width, 8), Merge("feed_forward", "add")]
    layers += [GlobalPool("pool", "average"), dense("classes", 3, width)]
    edges: dict[str, tuple[str, ...]] = {"stem": ("x",), **dict.fromkeys(roles, ("stem",))}
    edges |= {f"{role}_heads": (role,) for role in roles}
    edges |= {"scores": ("query_heads", "key_heads"), "softmax": ("scores",), "context": ("softmax", "value_heads")}
    edges |= {"joined": ("context",), "out": ("joined",), "attention": ("stem", "out"), "up": ("attention",)}
    edges |= {"relu": ("up",), "down": ("relu",), "feed_forward": ("attention", "down"), "pool": ("feed_forward",)}
    return Network(layers, edges | {"classes": ("pool",)})
