"""Say how near the price of any network's adder graph is to the graph that da4ml solves, by family of networks.

Random networks of every family, small enough to be solved in seconds, with the types that `precision.quantise` chooses
for 4 to 8 bits and 0 to 90 % of their weights cut, are priced and solved. Nothing is fitted on them: the constants are
those of chains of dense layers (`fit_adder_graph.py`), and every other operation costs what da4ml says that it does.

One command, ten minutes on one core: `python benchmarks/circuits.py [--networks 12] [--family gru]`.
It prints the table of docs/cost.md and writes nothing else than benchmarks/results/circuits.json.
"""

import argparse
import multiprocessing
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.progress import track
from torch import Tensor

from hepprune.files import write_json
from hepprune.firmware import rtl
from hepprune.fixed import FixedPoint
from hepprune.hardware import cost
from hepprune.hardware.targets import TARGETS
from hepprune.network import (
    Activation,
    Conv,
    Dense,
    Einsum,
    GlobalPool,
    Input,
    Layer,
    Merge,
    Network,
    Pool,
    Recurrent,
    ReLU,
    Reshape,
    Softmax,
)
from hepprune.network.layers.recurrent import GATES
from hepprune.network.precision import Precision, quantise

ROOT = Path(__file__).parent.parent
SPARSITIES = (0.0, 0.2, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
LEAST_LUT = 100  # of a network that judges: below, a handful of adders
TARGET = TARGETS["generic_vu13p"]
Edges = dict[str, str | tuple[str, ...]]


class Maker:
    """Draws sizes and layers, always the same for a seed."""

    def __init__(self, seed: int) -> None:
        self.rng, self.generator = np.random.default_rng(seed), torch.Generator().manual_seed(seed)
        self.sparsity = float(self.rng.choice(SPARSITIES))

    def size(self, low: int, high: int) -> int:
        """Return a number between two."""
        return int(self.rng.integers(low, high + 1))

    def weights(self, *shape: int) -> dict[str, Tensor]:
        """Return weights that keep the variance of what they read, the smallest of them cut."""
        weight = torch.randn(*shape, generator=self.generator) / np.sqrt(np.prod(shape[1:]))
        kept = weight.abs() >= torch.quantile(weight.abs(), self.sparsity)
        return {"weight": weight, "digit_limit": kept.to(torch.uint8) * 31}

    def biases(self, n: int) -> Tensor:
        """Return biases."""
        return 0.2 * torch.randn(n, generator=self.generator)

    def dense(self, name: str, n_in: int, n_out: int) -> Dense:
        """Return a dense layer."""
        return Dense(name, bias=self.biases(n_out), **self.weights(n_out, n_in))

    def conv(self, name: str, n_out: int, *shape: int, **options: Any) -> Conv:
        """Return a convolution."""
        return Conv(name, bias=self.biases(n_out), **self.weights(n_out, *shape), **options)

    def cell(self, name: str, kind: str, n_in: int, n_out: int, **options: Any) -> Recurrent:
        """Return a recurrent layer."""
        rows = GATES[kind] * n_out
        own, states = self.weights(rows, n_in), self.weights(rows, n_out)
        arrays = own | {f"recurrent_{key}": value for key, value in states.items()}
        return Recurrent(name, kind, bias=self.biases(rows), recurrent_bias=self.biases(rows), **arrays, **options)


def conv1d(draw: Maker) -> Network:
    """Return two convolutions over steps, with pooling."""
    steps, n_in, n, size = draw.size(6, 10), draw.size(2, 4), draw.size(4, 8), draw.size(2, 3)
    convs = draw.conv("conv_1", n, size, n_in), draw.conv("conv_2", n, size, n, padding=((1, 1),), strides=(2,))
    kind = str(draw.rng.choice(["max", "average"]))
    layers: list[Layer] = [Input("x", (steps, n_in)), convs[0], ReLU("r1"), Pool("pool", kind, (2,)), convs[1]]
    values = Network([*layers, ReLU("r2")]).widths["r2"]
    return Network([*layers, ReLU("r2"), Reshape("flat", (values,)), draw.dense("out", values, 4)])


def conv2d(draw: Maker) -> Network:
    """Return a convolution over an image, a depthwise one, and pooling."""
    size, n = draw.size(5, 7), draw.size(3, 6)
    layers: list[Layer] = [
        *(Input("x", (size, size, 1)), draw.conv("conv", n, 3, 3, 1, padding=((1, 1), (1, 1))), ReLU("r1")),
        *(Pool("pool", str(draw.rng.choice(["max", "average"])), (2, 2)), draw.conv("each", n, 2, 2, 1, groups=n)),
        *(ReLU("r2"), GlobalPool("mean", str(draw.rng.choice(["max", "average"])))),
    ]
    return Network([*layers, draw.dense("hidden", n, 8), ReLU("r3"), draw.dense("out", 8, 4)])


def deep_sets(draw: Maker) -> Network:
    """Return a network on sets with two outputs."""
    n_sets, n_in, n, m = draw.size(4, 8), draw.size(3, 5), draw.size(6, 12), draw.size(6, 12)
    layers: list[Layer] = [
        *(Input("x", (n_sets, n_in)), draw.dense("phi_1", n_in, n), ReLU("r1"), draw.dense("phi_2", n, m), ReLU("r2")),
        *(GlobalPool("mean", "average"), draw.dense("rho", m, 10), ReLU("r3")),
        *(draw.dense("classes", 10, 5), draw.dense("momentum", 10, 1)),
    ]
    names = [layer.name for layer in layers]
    edges: Edges = dict(zip(names[1:8], names, strict=False)) | {"classes": "r3", "momentum": "r3"}
    return Network(layers, edges, outputs=("classes", "momentum"))


def _recurrent(kind: str, draw: Maker) -> Network:
    steps, n_in, n = draw.size(3, 5), draw.size(2, 4), draw.size(3, 6)
    backwards = bool(draw.rng.random() < 0.3)
    layers: list[Layer] = [Input("x", (steps, n_in)), draw.cell("cell", kind, n_in, n, backwards=backwards)]
    return Network([*layers, draw.dense("out", n, 3)])


def gru(draw: Maker) -> Network:
    """Return a GRU over steps."""
    return _recurrent("gru", draw)


def lstm(draw: Maker) -> Network:
    """Return an LSTM over steps."""
    return _recurrent("lstm", draw)


def attention(draw: Maker) -> Network:
    """Return one block, its scores through a softmax or a table of each, with a residual sum around it."""
    steps, n_in, heads, size = draw.size(3, 4), draw.size(3, 4), 2, draw.size(2, 3)
    names, n = ("query", "key", "value"), 6
    bent = Softmax("bent") if draw.rng.random() < 0.5 else Activation("bent", "sigmoid")
    layers: list[Layer] = [
        *(Input("x", (steps, n_in)), draw.dense("embed", n_in, n), ReLU("r1")),
        *(draw.dense(name, n, heads * size) for name in names),
        *(Reshape(f"{name}_heads", (steps, heads, size)) for name in names),
        *(Einsum("scores", "qhd,khd->hqk"), bent, Einsum("context", "hqk,khd->qhd")),
        Reshape("joined", (steps, heads * size)),
        *(draw.dense("mixed", heads * size, n), Merge("sum", "add"), ReLU("r2"), GlobalPool("mean", "average")),
        draw.dense("out", n, 3),
    ]
    edges: Edges = {"embed": "x", "r1": "embed", **dict.fromkeys(names, "r1")}
    edges |= {f"{name}_heads": name for name in names}
    edges |= {"scores": ("query_heads", "key_heads"), "bent": "scores", "context": ("bent", "value_heads")}
    edges |= {"joined": "context", "mixed": "joined", "sum": ("mixed", "r1"), "r2": "sum", "mean": "r2", "out": "mean"}
    return Network(layers, edges)


def residual(draw: Maker) -> Network:
    """Return two blocks of dense layers with sums around them, and a maximum of both."""
    n_in, n = draw.size(6, 10), draw.size(8, 14)
    layers: list[Layer] = [
        *(Input("x", n_in), draw.dense("a", n_in, n), ReLU("r_a"), draw.dense("b", n, n), Merge("sum", "add")),
        *(ReLU("r_b"), draw.dense("c", n, n), Activation("bent", "tanh"), Merge("most", "maximum")),
        draw.dense("out", n, 4),
    ]
    edges: Edges = {"a": "x", "r_a": "a", "b": "r_a", "sum": ("b", "r_a"), "r_b": "sum", "c": "r_b", "bent": "c"}
    return Network(layers, edges | {"most": ("bent", "r_b"), "out": "most"})


FAMILIES: dict[str, Callable[[Maker], Network]] = {
    made.__name__: made for made in (conv1d, conv2d, deep_sets, gru, lstm, attention, residual)
}


def drawn(family: str, seed: int) -> Network:
    """Return a network of a family with the types chosen for it."""
    draw = Maker(seed)
    network, bits = FAMILIES[family](draw), draw.size(4, 8)
    jets = draw.rng.normal(size=(200, *network.input.features_shape)).astype(np.float32)
    overflow = str(draw.rng.choice(["SAT", "SAT", "WRAP"]))
    types = Precision(
        inputs=FixedPoint(bits + 3, 3, True, "RND", "SAT"), weight_bits=bits, activation_bits=bits, overflow=overflow
    )
    return quantise(network, jets, types)


def compared(task: tuple[str, int]) -> dict[str, Any] | None:
    """Return what a network costs as priced and as solved, unless that is hardly anything."""
    torch.set_num_threads(1)
    network = drawn(*task)
    started = time.perf_counter()
    found = cost.estimate(network, TARGET, stage="da4ml")
    middle = time.perf_counter()
    solved = rtl.solve(network)
    taken = {"priced_s": middle - started, "solved_s": time.perf_counter() - middle}
    if solved.cost < LEAST_LUT:
        return None
    cycles = rtl.cycles(solved.depth, TARGET.levels_per_cycle)
    lut = {"lut": found.resources.lut, "solved": solved.cost, "off": (found.resources.lut or 0) / solved.cost - 1}
    return {"family": task[0], "seed": task[1], **lut, "cycles": found.latency_cycles, "of": cycles, **taken}


def main() -> None:
    """Print the errors by family."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", type=int, default=12)
    parser.add_argument("--family", choices=FAMILIES)
    parser.add_argument("--first-seed", type=int, default=500)
    arguments = parser.parse_args()
    families = [arguments.family] if arguments.family else list(FAMILIES)
    seeds = range(arguments.first_seed, arguments.first_seed + arguments.networks)
    tasks = [(family, seed) for family in families for seed in seeds]
    with multiprocessing.get_context("spawn").Pool(1, maxtasksperchild=40) as pool:
        found = track(pool.imap(compared, tasks), "solving", total=len(tasks))
        rows = [row for row in found if row is not None]
    print("| family | networks | LUT solved | median error | worst | bias | cycles right | worst off |")
    print("|---|---|---|---|---|---|---|---|")
    for family in families:
        print(_row(family, [row for row in rows if row["family"] == family]))
    write_json(ROOT / "benchmarks/results/circuits.json", rows)


def _row(family: str, rows: list[dict[str, Any]]) -> str:
    off, sizes = np.array([row["off"] for row in rows]), [row["solved"] for row in rows]
    cycles = np.abs([row["cycles"] - row["of"] for row in rows])
    return (
        f"| {family} | {len(rows)} | {min(sizes):,.0f} to {max(sizes):,.0f} | {np.median(np.abs(off)):.1%} "
        f"| {np.abs(off).max():.1%} | {off.mean():+.1%} | {np.mean(cycles == 0):.0%} | {cycles.max()} |"
    )


if __name__ == "__main__":
    main()
