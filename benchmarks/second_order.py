"""How fast exact second-order scores are, beside the naive way to the same numbers, in one run on one machine.

The tagger 16-64-32-32-5 on 20,000 jets: the Hessian's diagonal against one Hessian-vector product per weight (each on
all jets), and layer-wise Optimal Brain Surgeon against one least-squares solution per weight (each on all jets). The
naive ways are timed on a sample of the weights, checked against ours there, and scaled up. An LSTM of 20 states over 16
constituents of 6 features comes next, on a tenth of the jets.
One command: `python benchmarks/second_order.py [--jets 20000] [--sample 40]`.
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np
import torch
from torch import nn

from hepprune.files import write_json
from hepprune.network import Dense, Input, Network, Recurrent
from hepprune.pruning import compensation
from hepprune.pruning.statistics import curvature, recorded
from hepprune.task.sample import Sample
from hepprune.training import multilayer_perceptron
from tests.networks import unlabelled

ROOT = Path(__file__).parent.parent
N_FEATURES, HIDDEN, N_CLASSES = 16, (64, 32, 32), 5
CONSTITUENTS, N_STATES = (16, 6), 20


def main() -> None:
    """Time both, print the ratios, and write benchmarks/results/second_order.json."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jets", type=int, default=20_000)
    parser.add_argument("--sample", type=int, default=40, help="weights that the naive product is timed on")
    arguments = parser.parse_args()
    network = multilayer_perceptron(N_FEATURES, HIDDEN, N_CLASSES, seed=1)
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(arguments.jets, N_FEATURES, generator=generator)
    y = torch.randint(N_CLASSES, (arguments.jets,), generator=generator)
    rows = {"obd": obd(network, x, y, arguments.sample), "obs": obs(network, x)}
    constituents = torch.randn(arguments.jets // 10, *CONSTITUENTS, generator=generator)
    rows["obd_lstm"] = obd_lstm(constituents, y[: len(constituents)], arguments.sample)
    for name, row in rows.items():
        print(f"{name}: {json.dumps(row)}", flush=True)
    write_json(
        ROOT / "benchmarks/results/second_order.json", {"jets": arguments.jets, "weights": n_weights(network), **rows}
    )


def n_weights(network: Network) -> int:
    """Return how many weights are scored."""
    return sum(layer.weight.numel() for layer in [kernel.layer for kernel in network.kernels])


def obd(network: Network, x: torch.Tensor, y: torch.Tensor, sample: int) -> dict[str, float]:
    """Time the Hessian's diagonal, and one Hessian-vector product per weight."""
    start = time.perf_counter()
    found = curvature.hessian(network, Sample(x, y))
    ours = time.perf_counter() - start
    layer = network.kernels[1].layer
    chosen = torch.linspace(0, layer.weight.numel() - 1, sample).long().tolist()
    start, entries = time.perf_counter(), []
    for index in chosen:
        loss = nn.functional.cross_entropy(network.logits(x), y)
        (slope,) = torch.autograd.grad(loss, layer.weight, create_graph=True)
        (product,) = torch.autograd.grad(slope.flatten()[index], layer.weight)
        entries.append(product.flatten()[index])
    naive = (time.perf_counter() - start) / sample * n_weights(network)
    difference = (found[layer.name].weight.flatten()[chosen] - torch.stack(entries)).abs().max()
    return _row(ours, naive, float(difference / found[layer.name].weight.max()))


def obd_lstm(x: torch.Tensor, y: torch.Tensor, sample: int) -> dict[str, float]:
    """Time the Hessian's diagonal by both kernels of an LSTM, and one Hessian-vector product per weight."""
    generator = torch.Generator().manual_seed(2)
    sizes = {"weight": CONSTITUENTS[1:], "recurrent_weight": (N_STATES,), "bias": (), "recurrent_bias": ()}
    arrays = {name: 0.3 * torch.randn(4 * N_STATES, *size, generator=generator) for name, size in sizes.items()}
    out = Dense("out", torch.randn(N_CLASSES, N_STATES, generator=generator) / 4, torch.zeros(N_CLASSES))
    network = Network([Input("x", CONSTITUENTS), Recurrent("cell", "lstm", **arrays), out])
    start = time.perf_counter()
    found = curvature.hessian(network, Sample(x, y))["cell.recurrent_weight"].weight.flatten()
    ours, kernel = time.perf_counter() - start, network["cell"].recurrent_weight
    chosen = torch.linspace(0, kernel.numel() - 1, sample).long().tolist()
    start = time.perf_counter()
    loss = nn.functional.cross_entropy(network.logits(x), y)
    (slope,) = torch.autograd.grad(loss, kernel, create_graph=True)
    each = [torch.autograd.grad(slope.flatten()[index], kernel, retain_graph=True)[0].flatten() for index in chosen]
    naive = (time.perf_counter() - start) / sample * sum(kernel.weight.numel() for kernel in network.kernels)
    entries = torch.stack([row[index] for row, index in zip(each, chosen, strict=True)])
    return _row(ours, naive, float((found[chosen] - entries).abs().max() / found.abs().max()))


def obs(network: Network, x: torch.Tensor) -> dict[str, float]:
    """Time the scores of all layers with their moments, and one least-squares solution per weight."""
    start = time.perf_counter()
    moments = compensation.moments(network, unlabelled(x))
    layers = [kernel.layer for kernel in network.kernels]
    scores = {layer.name: compensation.scores(layer, moments[layer.name]) for layer in layers}
    ours = time.perf_counter() - start
    layer = network.kernels[0].layer
    arriving = recorded.run(network, x).arriving(layer)[:, 0, 0].double().numpy()
    design = np.hstack([arriving, np.ones((len(arriving), 1))])
    row = torch.cat([layer.weight[0], layer.bias[:1]]).detach().double().numpy()
    start, costs = time.perf_counter(), []
    for index in range(layer.n_in):
        kept = np.delete(design, index, axis=1)
        solved = np.linalg.lstsq(kept, design @ row, rcond=None)[0]
        costs.append(float(np.mean((kept @ solved - design @ row) ** 2) / 2))
    naive = (time.perf_counter() - start) / layer.n_in * n_weights(network)
    first = int(np.argmin(costs))  # the first to go is the one whose score both ways share
    return _row(ours, naive, abs(float(scores[layer.name][0, first]) / costs[first] - 1))


def _row(ours: float, naive: float, difference: float) -> dict[str, float]:
    return {"seconds": ours, "naive_seconds": naive, "ratio": naive / ours, "largest_relative_difference": difference}


if __name__ == "__main__":
    main()
