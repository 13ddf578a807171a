"""Small taggers that read the constituents of jets, and the jets they are trained on: what structured.py prunes."""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from hepprune import data
from hepprune.data import Jets
from hepprune.network import BatchNorm, Conv, Dense, GlobalPool, Input, Layer, Network, Pool, ReLU, Reshape
from hepprune.network.layers import Einsum, Merge, Recurrent, Softmax
from hepprune.task.sample import Sample

ROOT = Path(__file__).parent.parent
CLASSES = ("g", "q", "W", "Z", "t")
FEATURES = ("constituent_pt", "constituent_deta", "constituent_dphi", "constituent_charge")
PIXELS, REACH = 16, 0.8


def samples(n_constituents: int = 16) -> tuple[Sample, Sample, Sample]:
    """Return jets to train on, to validate and to test: log pT, angles, charge, and whether there is one at all."""
    return tuple(Sample.from_arrays(_scaled(part), part.y) for part in _split(n_constituents))  # type: ignore[return-value]


def images() -> tuple[Sample, Sample, Sample]:
    """Return the same jets as images of their pT shares, (n_jets, 16, 16, 1)."""
    return tuple(Sample.from_arrays(_image(part), part.y) for part in _split(32))  # type: ignore[return-value]


def _split(n_constituents: int) -> tuple[Jets, ...]:
    spec = f"{ROOT / 'datasets/jets_constituents.root'}:Jets"
    jets = data.read(spec, features=FEATURES, classes=CLASSES, n_constituents=n_constituents)
    return data.split(jets, (0.6, 0.15, 0.25), seed=1)


def _scaled(jets: Jets) -> np.ndarray:
    x = jets.x.copy()
    filled = x[..., -1] > 0
    x[..., 0] = np.where(filled, np.log(np.maximum(x[..., 0], 1e-3)) - 4, 0)
    x[..., 1:3] *= 5
    return x


def _image(jets: Jets) -> np.ndarray:
    pt, eta, phi = np.moveaxis(jets.x[..., :3], -1, 0)
    cells = [np.clip((PIXELS * (angle + REACH) / (2 * REACH)).astype(int), 0, PIXELS - 1) for angle in (eta, phi)]
    images = np.zeros((len(pt), PIXELS, PIXELS), np.float32)
    np.add.at(images, (np.arange(len(pt))[:, None], *cells), pt / pt.sum(axis=1, keepdims=True))
    return np.sqrt(images)[..., None]


class Builder:
    """A float network under construction, He-initialised from one seed."""

    def __init__(self, shape: Sequence[int], *, seed: int) -> None:
        self.generator = torch.Generator().manual_seed(seed)
        self.layers: list[Layer] = [Input("x", tuple(shape))]
        self.sources: dict[str, tuple[str, ...]] = {}
        self.last = "x"

    def add(self, layer: Layer, *sources: str) -> str:
        """Add a layer that reads the last one, or others by name."""
        self.layers.append(layer)
        self.sources[layer.name] = sources or (self.last,)
        self.last = layer.name
        return layer.name

    def weight(self, *shape: int, gain: float = 2.0) -> torch.Tensor:
        """Return a kernel (n_out, ..., n_in)."""
        return torch.randn(shape, generator=self.generator) * math.sqrt(gain / math.prod(shape[1:]))

    def dense(self, name: str, n_in: int, n_out: int, *sources: str, gain: float = 2.0) -> str:
        """Add a dense layer."""
        return self.add(Dense(name, self.weight(n_out, n_in, gain=gain), torch.zeros(n_out)), *sources)

    def relu(self, name: str) -> str:
        """Add a ReLU."""
        return self.add(ReLU(name))

    def network(self) -> Network:
        """Return the network."""
        return Network(self.layers, self.sources)


def conv_image(*, seed: int) -> Network:
    """Return a convolutional tagger of jet images: 8 and 16 filters of 3 x 3, pooled, and a dense layer of 32."""
    b = Builder((PIXELS, PIXELS, 1), seed=seed)
    for index, (n_in, n_out) in enumerate(((1, 8), (8, 16)), start=1):
        weight = b.weight(n_out, 3, 3, n_in)
        b.add(Conv(f"conv_{index}", weight, torch.zeros(n_out), padding=((1, 1), (1, 1))))
        b.add(BatchNorm(f"norm_{index}", torch.ones(n_out), torch.zeros(n_out)))
        b.relu(f"relu_{index}")
        b.add(Pool(f"pool_{index}", "max", (2, 2)))
    b.add(Reshape("flat", (16 * 16,)))
    b.dense("dense", 256, 32)
    b.relu("relu_3")
    b.dense("classes", 32, 5)
    return b.network()


def deep_sets(*, seed: int) -> Network:
    """Return phi of 32 and 32 channels for each constituent, their mean, and rho of 32 (arXiv:1810.05165)."""
    b = Builder((16, 5), seed=seed)
    for name, n_in in (("phi_1", 5), ("phi_2", 32)):
        b.dense(name, n_in, 32)
        b.relu(f"{name}_relu")
    b.add(GlobalPool("mean", "average"))
    b.dense("rho", 32, 32)
    b.relu("rho_relu")
    b.dense("classes", 32, 5)
    return b.network()


def gru(*, seed: int) -> Network:
    """Return a GRU of 32 states over the constituents, hardest last, and a dense layer."""
    b, n_out = Builder((16, 5), seed=seed), 32
    kernels = {"weight": b.weight(3 * n_out, 5, gain=1), "recurrent_weight": b.weight(3 * n_out, n_out, gain=1)}
    zeros = torch.zeros(3 * n_out)
    b.add(Recurrent("gru", "gru", **kernels, bias=zeros, recurrent_bias=zeros, backwards=True))
    b.dense("dense", n_out, 32)
    b.relu("relu")
    b.dense("classes", 32, 5)
    return b.network()


def transformer(*, seed: int, n_blocks: int = 3, n_heads: int = 4, width: int = 32) -> Network:
    """Return three blocks of attention (4 heads of 8) and feed-forward (64), each a residual branch, and a mean.

    There is no layer norm, which a trigger can hardly afford and which would hold the 32 channels fast.
    """
    b = Builder((16, 5), seed=seed)
    stream = b.dense("embedding", 5, width)
    for index in range(1, n_blocks + 1):
        stream = _attention(b, f"attention_{index}", stream, n_heads=n_heads, width=width)
        b.dense(f"up_{index}", width, 2 * width, stream)
        b.relu(f"up_{index}_relu")
        down = b.dense(f"down_{index}", 2 * width, width, gain=0.3)
        stream = b.add(Merge(f"feed_forward_{index}", "add"), stream, down)
    b.add(GlobalPool("mean", "average"))
    b.dense("dense", width, width)
    b.relu("relu")
    b.dense("classes", width, 5)
    return b.network()


def _attention(b: Builder, name: str, stream: str, *, n_heads: int, width: int) -> str:
    heads = {}
    for role in ("query", "key", "value"):
        b.dense(f"{name}_{role}", width, width, stream, gain=1)
        heads[role] = b.add(Reshape(f"{name}_{role}_heads", (16, n_heads, width // n_heads)))
    b.add(Einsum(f"{name}_scores", "qhd,khd->hqk"), heads["query"], heads["key"])
    b.add(BatchNorm(f"{name}_scale", torch.full((1,), (width // n_heads) ** -0.5), torch.zeros(1)))
    weights = b.add(Softmax(f"{name}_softmax"))
    b.add(Einsum(f"{name}_context", "hqk,khd->qhd"), weights, heads["value"])
    b.add(Reshape(f"{name}_joined", (16, width)))
    out = b.dense(f"{name}_out", width, width, gain=0.3)
    return b.add(Merge(name, "add"), stream, out)
