"""How fast sensitivity is measured, beside the naive loop to the same numbers, in one run on one machine.

The naive loop takes each layer and level in turn: keep the weights, mask some, evaluate the whole network on all jets,
restore. Both measure loss and accuracy with their paired errors; the run fails where any of them differ by more than
1e-6. The tagger 16-64-32-32-5 with 6-bit weights, 100,000 jets, 8 levels of weights per layer.

One command: `python benchmarks/sensitivity.py [--jets 100000] [--threads 2]`. With `--scaling` it measures instead how
the cost grows with weights, layers and jets.
"""

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from hepprune import metrics, training
from hepprune.files import write_json
from hepprune.fixed import FixedPoint
from hepprune.network import Network
from hepprune.network.precision import Precision, quantise
from hepprune.pruning import masks
from hepprune.search import sensitivity
from hepprune.search.sensitivity import Point
from hepprune.training import Sample

ROOT = Path(__file__).parent.parent
LEVELS = tuple(float(level) for level in np.linspace(0.2, 0.9, 8))
TOLERANCE = 1e-6


def main() -> None:
    """Time both ways or the scaling, print the figures, and write them to benchmarks/results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jets", type=int, default=100_000)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3, help="each way is timed this often, in turn; the best counts")
    parser.add_argument("--scaling", action="store_true")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    name = "sensitivity_scaling" if arguments.scaling else "sensitivity"
    found = scaling() if arguments.scaling else compared(arguments.jets, arguments.repeats)
    print(json.dumps(found, indent=2))
    write_json(ROOT / f"benchmarks/results/{name}.json", {"threads": arguments.threads, **found})


def tagger(hidden: tuple[int, ...], n_jets: int) -> tuple[Network, Sample]:
    """Return a quantised tagger with random weights, and jets of Gaussian features for it."""
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(n_jets, 16, generator=generator)
    sample = Sample(x, torch.randint(5, (n_jets,), generator=generator))
    network = training.multilayer_perceptron(16, hidden, 5, seed=1)
    return quantise(network, x[:2000].numpy(), Precision(FixedPoint(8, 4, True, "RND", "SAT"))), sample


def ours(network: Network, sample: Sample) -> list[Point]:
    """Return all points in one call."""
    curves = sensitivity.analyse(network, sample, {}, granularities=("weight",), levels=LEVELS, criterion="magnitude")
    return [point for curve in curves for point in curve.points]


@torch.no_grad()
def naive(network: Network, sample: Sample) -> list[Point]:
    """Return the same points, each from one evaluation of the whole network."""
    labels = sample.y.numpy()
    reference = training.evaluate(network, sample)
    loss, hits = metrics.cross_entropy(reference, labels), metrics.accuracy(reference, labels)
    points = []
    for layer in network.dense_layers:
        for level in LEVELS:
            cut, predicted = sensitivity.lowest(layer, "weight", level, {}, "magnitude")
            kept = layer.digit_limit.clone()
            masks.apply_to(layer, cut)
            logits = training.evaluate(network, sample)
            layer.digit_limit.copy_(kept)
            worse = metrics.difference(metrics.cross_entropy(logits, labels), loss)
            fewer = metrics.difference(metrics.accuracy(logits, labels), hits)
            points.append(Point(level, predicted, worse.value, worse.error, fewer.value, fewer.error))
    return points


def compared(n_jets: int, repeats: int) -> dict[str, object]:
    """Return the times of both ways, their ratio, the largest difference, and the share of the machine's peak."""
    network, sample = tagger((64, 32, 32), n_jets)
    times: dict[str, list[float]] = {"ours": [], "naive": []}
    peaks = []
    for _ in range(repeats):
        seconds, fast = timed(lambda: ours(network, sample))
        times["ours"].append(seconds)
        seconds, slow = timed(lambda: naive(network, sample))
        times["naive"].append(seconds)
        peaks.append(peak_gflops())
    largest = max(
        abs(a - b)
        for one, other in zip(fast, slow, strict=True)
        for a, b in zip(vars(one).values(), vars(other).values(), strict=True)
    )
    if largest > TOLERANCE:
        raise SystemExit(f"the two ways differ by {largest}")
    best = {name: min(values) for name, values in times.items()}
    reached = operations(network, len(LEVELS)) * n_jets / best["ours"] / 1e9
    return {
        "jets": n_jets,
        "points": len(fast),
        "seconds": times,
        "ratio": best["naive"] / best["ours"],
        "ratio_of_each_repeat": [b / a for a, b in zip(times["ours"], times["naive"], strict=True)],
        "largest_difference": largest,
        "gflops": reached,
        "peak_gflops": max(peaks),
        "fraction_of_peak": reached / max(peaks),
    }


def operations(network: Network, levels: int) -> float:
    """Return the floating-point operations per jet of all products that are needed: what precedes a layer only once."""
    sizes = [2.0 * layer.weight.numel() for layer in network.dense_layers]
    return sum(sizes) + levels * sum(sum(sizes[place:]) for place in range(len(sizes)))


def peak_gflops(n: int = 2048) -> float:
    """Return what a large square product reaches in float32 on the same threads."""
    a, b = torch.randn(n, n), torch.randn(n, n)
    return max(2 * n**3 / timed(lambda: a @ b)[0] for _ in range(8)) / 1e9


def timed(run: Callable[[], object]) -> tuple[float, object]:
    """Return seconds and result of one call."""
    start = time.perf_counter()
    result = run()
    return time.perf_counter() - start, result


def scaling() -> dict[str, object]:
    """Return seconds against weights at four layers, against jets, and against layers, with the exponents."""
    weights = [(int(width), 2000) for width in (44, 152, 494, 1574)]
    rows = {
        "weights": [_row((width,) * 3, n_jets) for width, n_jets in weights],
        "jets": [_row((64, 32, 32), n_jets) for n_jets in (12_500, 25_000, 50_000, 100_000, 200_000)],
        "layers": [_row((64,) * n, 20_000) for n in (1, 3, 7, 15)],
    }
    exponents = {
        name: float(np.polyfit(np.log([row[name] for row in own]), np.log([row["seconds"] for row in own]), 1)[0])
        for name, own in rows.items()
    }
    per_point = [row["seconds"] / row["layers"] for row in rows["layers"]]
    slope = np.polyfit(np.log([row["layers"] for row in rows["layers"]]), np.log(per_point), 1)[0]
    return {**rows, "exponents": {**exponents, "layers, per layer analysed": float(slope)}}


def _row(hidden: tuple[int, ...], n_jets: int) -> dict[str, float]:
    network, sample = tagger(hidden, n_jets)
    seconds = min(timed(lambda: ours(network, sample))[0] for _ in range(3))
    n_weights = sum(layer.weight.numel() for layer in network.dense_layers)
    row = {"weights": n_weights, "layers": len(hidden) + 1, "jets": n_jets, "seconds": seconds}
    print(json.dumps(row), flush=True)
    return row


if __name__ == "__main__":
    main()
