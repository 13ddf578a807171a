"""How fast a network is priced: one changed layer against all of them, and the adder graph of 5,000 weights.

One command: `python benchmarks/cost_speed.py [--solve]`; with `--solve`, da4ml solves the graphs of 5,000 weights
beside their price (minutes).
"""

import argparse
import time
from collections.abc import Callable
from itertools import pairwise
from statistics import median

import torch

from hepprune.firmware import rtl
from hepprune.fixed import FixedPoint
from hepprune.hardware import cost
from hepprune.hardware.cost import circuits, hls
from hepprune.hardware.cost.constants import shipped
from hepprune.hardware.cost.describing import Options, described
from hepprune.hardware.cost.hls import Priced
from hepprune.hardware.targets import TARGETS
from hepprune.network import Dense, Input, Layer, Network, ReLU
from hepprune.network.precision import Precision, quantise, weight_type
from hepprune.recipe.architectures import GRU, DeepSets, draw

TARGET = TARGETS["generic_vu13p"]
JET_TAGGER, FIVE_THOUSAND = (16, 64, 32, 32, 5), (16, 64, 48, 16, 5)
REPEATS = 200


def dense_network(sizes: tuple[int, ...], *, sparsity: float = 0.5) -> Network:
    """Return a quantised network of random weights."""
    generator = torch.Generator().manual_seed(1)
    layers: list[Layer] = [Input("x", sizes[0], FixedPoint(8, 3, True, "RND", "SAT"))]
    for i, (n_in, n_out) in enumerate(pairwise(sizes)):
        weight = torch.randn(n_out, n_in, generator=generator)
        weight[torch.rand(weight.shape, generator=generator) < sparsity] = 0
        kind, bias = weight_type(weight, 6), FixedPoint(16, 4, True, "RND", "SAT")
        layers.append(Dense(f"fc{i}", weight, torch.zeros(n_out), weight_type=kind, bias_type=bias))
        if i < len(sizes) - 2:
            layers.append(ReLU(f"relu{i}", FixedPoint(8, 3, False, "RND", "SAT")))
    return Network(layers)


def seconds(work: Callable[[int], object]) -> float:
    """Return the median time of one call; the count of the call is handed in, so that nothing is found ready."""
    taken = []
    for n in range(REPEATS):
        started = time.perf_counter()
        work(n)
        taken.append(time.perf_counter() - started)
    return median(taken)


def with_one_weight_less(network: Network, name: str, n: int) -> Network:
    """Return a network with another weight of one kernel at zero."""
    other = network.clone()
    limit = other.kernel(name).digit_limit.view(-1)
    limit[n % limit.numel()] = 0
    return other


def constituents(architecture: DeepSets | GRU) -> Network:
    """Return a quantised network of random weights on sixteen constituents of nine features, with five outputs."""
    network = draw(architecture, {"x": (16, 9)}, {"y": 5}, seed=1)
    features = torch.randn(200, 16, 9, generator=torch.Generator().manual_seed(1)).numpy()
    return quantise(network, features, Precision(inputs=FixedPoint(8, 4, True, "RND", "SAT")))


def circuits_after_moves(network: Network, *, n: int = 8) -> tuple[float, float]:
    """Return the time of a price after a change of each kernel, n times over: nothing known, and what was before."""
    others = [with_one_weight_less(network, kernel.name, k) for k in range(n) for kernel in network.kernels]
    afresh, moved, prices = 0.0, 0.0, []
    for other in others:
        circuits.forget()
        started = time.process_time()
        prices.append(cost.estimate(other, TARGET))
        afresh += time.process_time() - started
    circuits.forget()
    cost.estimate(network, TARGET)
    for other, price in zip(others, prices, strict=True):
        started = time.process_time()
        found = cost.estimate(other, TARGET)
        moved += time.process_time() - started
        assert found == price
    return afresh / len(others), moved / len(others)


def main() -> None:
    """Print the times of pricing whole and by one layer, and of the adder-graph price."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--solve", action="store_true", help="let da4ml solve the larger graphs, too")
    solve = parser.parse_args().solve
    network = dense_network(JET_TAGGER)
    priced = hls.priced(network, TARGET, strategy="latency")
    # Kernels are kept by content: each loop has its own, so that none finds one counted.
    first, second, third, fourth = (
        [with_one_weight_less(network, "fc1", 4 * n + k) for n in range(REPEATS)] for k in range(4)
    )
    counted = [hls.reprice(priced, each, "fc1").operations["fc1"] for each in third]
    options, own = Options("latency", "io_parallel", None), shipped()  # prices by constants that are given are not kept
    whole = seconds(lambda n: Priced.of(described(first[n], options), TARGET, options, constants=own).estimate())
    again = seconds(lambda n: hls.estimate(fourth[n], TARGET, strategy="latency"))
    layer = seconds(lambda n: hls.reprice(priced, second[n], "fc1").estimate())
    known = seconds(lambda n: priced.changed(counted[n]).estimate())
    print(f"jet tagger 16-64-32-32-5, latency: whole network {1e6 * whole:,.0f} us")
    print(f"  whole network, of which one layer is new: {1e6 * again:,.0f} us ({whole / again:.1f}x)")
    print(f"  one changed layer, its zeros counted and the total summed: {1e6 * layer:,.0f} us ({whole / layer:.1f}x)")
    print(
        f"  one changed layer already counted (a reuse factor, a width): {1e6 * known:,.0f} us ({whole / known:.0f}x)"
    )
    for sparsity in (0.0, 0.5, 0.8):
        wide = dense_network(FIVE_THOUSAND, sparsity=sparsity)
        n_weights = sum(layer.weight.numel() for layer in [kernel.layer for kernel in wide.kernels])
        others = [wide] * REPEATS
        for layer in [kernel.layer for kernel in wide.kernels]:  # a weight of each matrix, so that none is found priced
            others = [with_one_weight_less(other, layer.name, n) for n, other in enumerate(others)]
        taken = seconds(lambda n, others=others: cost.estimate(others[n], TARGET))
        print(f"distributed_arithmetic, {n_weights:,} weights, {sparsity:.0%} zeros: {1e3 * taken:.1f} ms")
        if solve and sparsity:
            started = time.perf_counter()
            solved, price = rtl.solve(wide).cost, cost.estimate(wide, TARGET).resources.lut or 0.0
            spent = time.perf_counter() - started
            print(f"  {price:,.0f} LUT for da4ml's {solved:,.0f} ({price / solved - 1:+.1%}), which took {spent:.0f} s")
    for architecture in (DeepSets(kind="deepsets", phi=(16, 16), rho=(16,)), GRU(kind="gru", units=8, rho=(16,))):
        afresh, moved = circuits_after_moves(constituents(architecture))
        print(f"{architecture.kind} on 16 constituents, distributed_arithmetic: {1e3 * afresh:.1f} ms from scratch")
        print(f"  after one weight less than before: {1e3 * moved:.1f} ms ({afresh / moved:.1f}x)")


if __name__ == "__main__":
    main()
