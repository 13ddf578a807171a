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
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch

from hepprune import metrics, training
from hepprune.files import write_json
from hepprune.fixed import FixedPoint
from hepprune.network import Network
from hepprune.network.precision import Precision, quantise
from hepprune.pruning import masks, statistics
from hepprune.search import sensitivity
from hepprune.search.moves.neurons import KernelUnits
from hepprune.search.sensitivity import SensitivityPoint, kernels
from hepprune.task.sample import Sample

T = TypeVar("T")
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
    return quantise(network, x[:2000].numpy(), Precision(inputs=FixedPoint(8, 4, True, "RND", "SAT"))), sample


def ours(network: Network, sample: Sample) -> list[SensitivityPoint]:
    """Return all points in one call."""
    curves = sensitivity.analyse(network, sample, {}, granularities=("weight",), levels=LEVELS, criterion="magnitude")
    return [point for curve in curves for point in curve.points]


@torch.no_grad()
def naive(network: Network, sample: Sample) -> list[SensitivityPoint]:
    """Return the same points, each from one evaluation of the whole network."""
    labels = sample.y.numpy()
    reference = training.evaluate(network, sample)
    loss, hits = metrics.cross_entropy(reference, labels), metrics.accuracy(reference, labels)
    points = []
    for layer in [kernel.layer for kernel in network.kernels]:
        for level in LEVELS:
            (cut,), predicted = sensitivity.lowest(KernelUnits(layer.kernels[0], "weight"), level, {}, "magnitude")
            kept = layer.digit_limit.clone()
            masks.apply_to(layer, cut)
            logits = training.evaluate(network, sample)
            layer.digit_limit.copy_(kept)
            worse = metrics.difference(metrics.cross_entropy(logits, labels), loss)
            fewer = metrics.difference(metrics.accuracy(logits, labels), hits)
            points.append(
                SensitivityPoint(
                    level=level,
                    predicted_loss=predicted,
                    loss_change=worse.value,
                    loss_error=worse.error,
                    score_change=fewer.value,
                    score_error=fewer.error,
                )
            )
    return points


def compared(n_jets: int, repeats: int) -> dict[str, object]:
    """Return the times of both ways, their ratio, the largest difference, and the share of the machine's peak."""
    network, sample = tagger((64, 32, 32), n_jets)
    times: dict[str, list[Time]] = {"ours": [], "naive": []}
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
    wall = {name: min(each.wall for each in values) for name, values in times.items()}
    cpu = {name: min(each.cpu for each in values) for name, values in times.items()}
    reached = operations(network, len(LEVELS)) * n_jets / wall["ours"] / 1e9
    return {
        "jets": n_jets,
        "points": len(fast),
        "wall_seconds": wall,
        "cpu_seconds": cpu,
        "ratio": wall["naive"] / wall["ours"],
        "cpu_ratio": cpu["naive"] / cpu["ours"],
        "ratio_of_each_repeat": [b.wall / a.wall for a, b in zip(times["ours"], times["naive"], strict=True)],
        "largest_difference": largest,
        "gflops": reached,
        "peak_gflops": max(peaks),
        "fraction_of_peak": reached / max(peaks),
    }


def operations(network: Network, levels: int) -> float:
    """Return the floating-point operations per jet of all products that are needed: what precedes a layer only once."""
    sizes = [2.0 * layer.weight.numel() for layer in [kernel.layer for kernel in network.kernels]]
    return sum(sizes) + levels * sum(sum(sizes[place:]) for place in range(len(sizes)))


def peak_gflops(n: int = 2048) -> float:
    """Return what a large square product reaches in float32 on the same threads, with the faster of two libraries."""
    a, b, bias = torch.randn(n, n), torch.randn(n, n), torch.zeros(n)
    products = (lambda: a @ b, lambda: kernels.linear(b, bias, a))
    return max(2 * n**3 / timed(product)[0].wall for _ in range(8) for product in products) / 1e9


@dataclass(frozen=True)
class Time:
    """Seconds that passed, and seconds that all cores have computed, which other work on the machine hardly changes."""

    wall: float
    cpu: float


def timed(run: Callable[[], T]) -> tuple[Time, T]:
    """Return the time and result of one call."""
    wall, cpu = time.perf_counter(), time.process_time()
    result = run()
    return Time(time.perf_counter() - wall, time.process_time() - cpu), result


def predicted(network: Network, sample: Sample) -> list[float]:
    """Return the losses that the Fisher criterion predicts for the same cuts: one backward pass, then sums."""
    gathered = statistics.gather(network, sample)
    kernels = network.kernels
    return [
        sensitivity.lowest(KernelUnits(each, "weight"), level, gathered, "fisher")[1]
        for each in kernels
        for level in LEVELS
    ]


def scaling() -> dict[str, object]:
    """Return CPU seconds against weights, jets and layers, the other two fixed, with the exponents.

    Layers of one width are more weights too, and so are measured as well, and predicted.
    """
    rows = {
        "weights": [_row(ours, (width,) * 3, 2000) for width in (44, 152, 494, 1574)],
        "jets": [_row(ours, (64, 32, 32), n_jets) for n_jets in (12_500, 25_000, 50_000, 100_000)],
        "layers": [_row(ours, (_width(n, 250_000),) * n, 8000) for n in (3, 7, 15, 31)],
        "layers of 64": [_row(ours, (64,) * n, 10_000) for n in (1, 3, 7, 15)],
        "layers of 64, predicted": [_row(predicted, (64,) * n, 10_000) for n in (1, 3, 7, 15)],
    }
    exponents = {name: _exponent([row[name.split()[0]] for row in own], own) for name, own in rows.items()}
    return {**rows, "exponents": exponents}


def _width(n_hidden: int, n_weights: int) -> int:
    """Return the width of hidden layers with which a tagger of 16 features and 5 classes has so many weights."""
    return round(max(np.roots([n_hidden - 1, 16 + 5, -n_weights]).real))


def _exponent(sizes: list[float], rows: list[dict[str, float]]) -> float:
    return float(np.polyfit(np.log(sizes), np.log([row["cpu_seconds"] for row in rows]), 1)[0])


def _row(run: Callable[[Network, Sample], object], hidden: tuple[int, ...], n_jets: int) -> dict[str, float]:
    network, sample = tagger(hidden, n_jets)
    n_weights = sum(layer.weight.numel() for layer in [kernel.layer for kernel in network.kernels])
    repeats = 3 if n_weights < 500_000 else 1
    seconds = min(timed(lambda: run(network, sample))[0].cpu for _ in range(repeats))
    row = {"weights": n_weights, "layers": len(hidden) + 1, "jets": n_jets, "cpu_seconds": seconds}
    print(json.dumps(row), flush=True)
    return row


if __name__ == "__main__":
    main()
