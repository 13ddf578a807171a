"""Fit the adder-graph price to the graphs that da4ml solves, and say how near it is to graphs it has not seen.

Random networks, most of about 5,000 weights and a third of them small, of 4 to 8 bits and 0 to 95 % zeros, random, of
the smallest weights or with whole rows and columns gone, some with one to three signed digits a weight, dead structure
removed, are solved as they become Verilog. Half of them fit the constants in
`hepprune.hardware.cost.distributed_arithmetic`, which are what the default command printed; the rest judges them, and
with `--also` so does every network that a run of hepprune has saved under a folder, most of them trained and pruned.

One command, half an hour on two cores: `python benchmarks/fit_adder_graph.py [--networks 1200] [--also FOLDER]`.
It prints and writes nothing else than benchmarks/results/adder_graph.json.
"""

import argparse
import json
import multiprocessing
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.progress import track
from scipy.optimize import least_squares

from hepprune.errors import NetworkError
from hepprune.files import write_json
from hepprune.firmware import rtl
from hepprune.fixed import FixedPoint
from hepprune.fixed.digits import UNLIMITED
from hepprune.hardware.cost import distributed_arithmetic as price
from hepprune.hardware.cost import kernels, matrices
from hepprune.hardware.cost.matrices import ConstantMatrices
from hepprune.network import Dense, Input, Layer, Network, ReLU, storage
from hepprune.network.precision import weight_type
from hepprune.pruning.structure import surgery

ROOT = Path(__file__).parent.parent
LARGE = ((16, 64, 48, 16, 5), (16, 64, 32, 32, 5), (20, 60, 48, 16, 4), (16, 96, 32, 5), (16, 32, 64, 32, 5))
LARGE += ((10, 48, 48, 40, 5), (24, 48, 40, 32, 10), (16, 64, 64, 5), (40, 64, 32, 5), (16, 128, 20, 5))
SMALL = ((16, 32, 5), (8, 24, 16, 3), (24, 32, 24, 5), (12, 16, 10), (32, 16, 8, 1), (16, 24, 24, 5))
SPARSITIES = (0.0, 0.2, 0.4, 0.5, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.9, 0.95, 0.95)
CONSTANTS = ("EXTRA_BITS", "SPREAD", "FEW_TERMS", "REPEATS", "REPEATS_POWER", "SHARING_POWER", "LATE", "NEGATED")
COUNTED = ("COUNTED_INPUT", "COUNTED_GROWTH", "COUNTED_EXTRA", "COUNTED_SHARING", "COUNTED_POWER")
DIGITS = (UNLIMITED, UNLIMITED, UNLIMITED, 1, 2, 3)  # of a weight; with 3, up to so many
GONE = ("smallest", "smallest", "random", "rows and columns")
FIRST_SEED = 10_000
LEAST_LUT = 300  # of a network that judges: below, a handful of adders
BIAS_TYPE = FixedPoint(16, 4, True, "RND", "SAT")
Total = Callable[[ConstantMatrices], float]


@dataclass(frozen=True)
class Case:
    """A network's weights and share of zeros before dead structure left, its matrices, and da4ml's graph of it."""

    n_weights: int
    sparsity: float
    design: ConstantMatrices
    solved: float
    depth: float


def main() -> None:
    """Solve, fit on one half, and print the errors on the other with the constants shipped and those fitted."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", type=int, default=1200)
    parser.add_argument("--also", type=Path)
    arguments = parser.parse_args()
    halves = (solved([drawn(FIRST_SEED + n) for n in range(half, arguments.networks, 2)]) for half in (0, 1))
    seen, kinds = next(halves), {"unseen": next(halves)}
    if arguments.also:
        kinds["saved"] = solved(list(read(arguments.also)))
    found: dict[str, Any] = {"fitted on": len(seen), "levels": levels(seen)}
    for names, total in ((CONSTANTS, exact), (COUNTED, counted)):
        here = {"shipped": {name: getattr(price, name) for name in names}}
        here |= {f"errors of the shipped, {kind}": errors(cases, total) for kind, cases in kinds.items()}
        here["fitted"] = fitted(seen, names, total)
        here |= {f"errors of the fitted, {kind}": errors(cases, total) for kind, cases in kinds.items()}
        found[total.__name__] = here
    print(json.dumps(found, indent=2))
    write_json(ROOT / "benchmarks/results/adder_graph.json", found)


def drawn(seed: int) -> tuple[int, float, Network]:
    """Return weights and share of zeros of a network as drawn, and the network without its dead structure."""
    generator, rng = torch.Generator().manual_seed(seed), np.random.default_rng(seed)
    shapes = LARGE if seed % 3 else SMALL
    shape, limit = shapes[int(rng.integers(len(shapes)))], int(rng.choice(DIGITS))
    bits, sparsity = int(rng.choice([4, 5, 6, 6, 7, 8])), float(rng.choice(SPARSITIES))
    gone, heavy_tails = str(rng.choice(GONE)), rng.random() < 0.4
    layers: list[Layer] = [Input("x", shape[0], FixedPoint(int(rng.choice([6, 8, 8, 10, 12])), 3, True, "RND", "SAT"))]
    overflow, width, whole = (
        str(rng.choice(["SAT", "SAT", "WRAP"])),
        int(rng.choice([4, 6, 6, 8])),
        int(rng.integers(4)),
    )
    result = FixedPoint(width, whole, False, "RND" if rng.random() < 0.5 else "TRN", overflow)
    uneven = rng.random() < 0.3
    for i, (n_in, n_out) in enumerate(pairwise(shape)):
        weight = torch.randn(n_out, n_in, generator=generator)
        if heavy_tails:
            weight *= torch.randn(n_out, n_in, generator=generator).abs()
        sparsity = float(rng.choice(SPARSITIES)) if uneven else sparsity
        _thin_out(weight, sparsity, gone, generator, keep_rows=i == len(shape) - 2)
        bias, digits = 0.3 * torch.randn(n_out, generator=generator), torch.full(weight.shape, limit)
        if limit == 3:
            digits = torch.randint(1, 4, weight.shape, generator=generator)
        types = {"weight_type": weight_type(weight, bits), "bias_type": BIAS_TYPE}
        layers.append(Dense(f"fc{i}", weight, bias, digit_limit=digits.to(torch.uint8), **types))
        if i < len(shape) - 2:
            layers.append(ReLU(f"relu{i}", result))
    return _described(Network(layers))


def _thin_out(weight: torch.Tensor, sparsity: float, gone: str, generator: torch.Generator, *, keep_rows: bool) -> None:
    """Set a share of the weights (n_out, n_in) to zero, in place."""
    n_out, n_in = weight.shape
    if gone == "smallest":
        weight[weight.abs() < torch.quantile(weight.abs(), sparsity)] = 0
    else:
        weight[torch.rand(weight.shape, generator=generator) < sparsity] = 0
    if gone == "rows and columns":
        rows = torch.rand(n_out, 1, generator=generator) < sparsity / 2
        weight *= ~(rows & (not keep_rows)) * ~(torch.rand(1, n_in, generator=generator) < sparsity / 3)


def _described(network: Network) -> tuple[int, float, Network]:
    used = torch.cat([layer.used_weight().flatten() for layer in [kernel.layer for kernel in network.kernels]])
    return len(used), float((used == 0).double().mean()), surgery.shrink(network)


def read(folder: Path) -> Iterator[tuple[int, float, Network]]:
    """Yield weights, share of zeros and network of every file under a folder that is one adder graph, once each."""
    known: set[str] = set()
    for path in sorted(folder.rglob("*.npz")):
        try:
            network = storage.load(path)
        except NetworkError:
            continue
        if matrices.covers(network) and storage.identity(network) not in known:
            known.add(storage.identity(network))
            yield _described(network)


def solved(networks: list[tuple[int, float, Network]]) -> list[Case]:
    """Return networks with the costs of their graphs; da4ml keeps memory, so its processes are short-lived."""
    with multiprocessing.get_context("spawn").Pool(maxtasksperchild=40) as pool:
        costs = list(track(pool.imap(cost, [each[-1] for each in networks]), "solving", total=len(networks)))
    cases = [
        Case(n_weights, sparsity, matrices.extract(network), *found)
        for (n_weights, sparsity, network), found in zip(networks, costs, strict=True)
    ]
    return [case for case in cases if case.solved >= LEAST_LUT]


def cost(network: Network) -> tuple[float, float]:
    """Return the LUT of da4ml's graph, and its depth in adder levels."""
    torch.set_num_threads(1)
    solution = rtl.solve(network)
    return solution.cost, solution.depth


def exact(design: ConstantMatrices) -> float:
    """Return the price in LUT."""
    return sum(each.lut for each in price.price(design))


def counted(design: ConstantMatrices) -> float:
    """Return the price if of each matrix only counts were known, as of those in a convolution."""
    total = exact(design)
    for matrix, own in zip(design.matrices, price.price(design), strict=True):
        width = matrix.arriving.covering().width
        kernel = kernels.count(matrix.weight, matrix.weight_type.width)
        total += price.whole_matrix(kernel, width)[0] - price.additions(matrix, own.terms)
    return total


def fitted(cases: list[Case], names: tuple[str, ...], total: Total) -> dict[str, float]:
    """Return the constants of least relative squares, which stay in place."""
    start = np.array([getattr(price, name) for name in names])

    def residuals(scales: Any) -> Any:
        for name, value in zip(names, start * scales, strict=True):
            setattr(price, name, float(value))
        return [np.log(total(case.design) / case.solved) for case in cases]

    best = least_squares(residuals, np.ones(len(names)), bounds=(0, 20), loss="soft_l1", f_scale=0.03, diff_step=1e-3)
    residuals(best.x)
    return {name: float(f"{value:.3g}") for name, value in zip(names, start * best.x, strict=True)}


def levels(cases: list[Case]) -> dict[str, float]:
    """Return by how many adder levels the depth is off in the mean, for some values of UNBALANCE."""
    shipped, found = price.UNBALANCE, {}
    for value in (1.0, 1.1, 1.2, 1.25, 1.3, 1.4, 1.5):
        price.UNBALANCE = value
        off = [max(each.arrival.max() for each in price.price(case.design)) - case.depth for case in cases]
        found[str(value)] = round(float(np.abs(off).mean()), 2)
    price.UNBALANCE = shipped
    return found


def errors(cases: list[Case], total: Total) -> dict[str, Any]:
    """Return the errors by size and zeros."""
    large = [case for case in cases if case.n_weights >= 2500]
    groups = {"2,500 weights and more": large, "fewer": [case for case in cases if case.n_weights < 2500]}
    groups["1,000 LUT and more"] = [case for case in cases if case.solved >= 1000]
    for low, high in pairwise((0.0, 0.5, 0.7, 0.85, 1.01)):
        groups[f"2,500 and more, {low:.0%} zeros up to {high:.0%}"] = [c for c in large if low <= c.sparsity < high]
    return {name: _summary([total(case.design) / case.solved - 1 for case in group]) for name, group in groups.items()}


def _summary(off: list[float]) -> dict[str, float]:
    if not off:
        return {"networks": 0}
    size = np.abs(off)
    figures = {"mean": size.mean(), "worst": size.max(), "bias": np.mean(off), "within 5 %": (size <= 0.05).mean()}
    figures |= {"spread": np.std(off), "p95": np.quantile(size, 0.95)}
    return {"networks": len(off)} | {name: round(float(value), 3) for name, value in figures.items()}


if __name__ == "__main__":
    main()
