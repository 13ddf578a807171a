"""How near the adder-graph price is to the graphs that da4ml solves, and whether other constants were nearer.

Networks of about 5,000 weights (16-64-48-16-5 and two like it) and small ones, with 4 to 8 bits and 0 to 95 % zeros,
random or of the smallest weights, some with one or two signed digits a weight, dead structure removed, are solved as
they become Verilog. The constants shipped in
`hepprune.hardware.cost.distributed_arithmetic` have seen none of them; half of them fit others, which the rest judges.

One command, minutes: `python benchmarks/fit_adder_graph.py [--networks 100]`. It prints and writes nothing else than
benchmarks/results/adder_graph.json.
"""

import argparse
import json
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.optimize import least_squares

from hepprune.digits import UNLIMITED
from hepprune.files import write_json
from hepprune.firmware import rtl
from hepprune.fixed import FixedPoint
from hepprune.hardware import cost
from hepprune.hardware.cost import distributed_arithmetic as price
from hepprune.hardware.targets import TARGETS
from hepprune.network import Dense, Input, Layer, Network, ReLU
from hepprune.network.precision import weight_type
from hepprune.pruning import surgery

ROOT = Path(__file__).parent.parent
TARGET = TARGETS["generic_vu13p"]
SHAPES = ((16, 64, 48, 16, 5), (16, 64, 32, 32, 5), (20, 60, 48, 16, 4))
SMALL = ((16, 32, 5), (8, 24, 16, 3), (24, 32, 24, 5), (12, 16, 10), (32, 16, 8, 1))
SPARSITIES = (0.0, 0.3, 0.5, 0.65, 0.8, 0.8, 0.9, 0.95)
CONSTANTS = ("INPUT_SHARE", "OUTPUT_SHARE", "EXTRA_BITS", "SHARING", "SHARING_POWER")
LEAST_LUT = 100  # of a network: below, a handful of adders
BIAS_TYPE = FixedPoint(16, 4, True, "RND", "SAT")


@dataclass(frozen=True)
class Case:
    """A network, its zeros, and what da4ml's solved graph costs."""

    seed: int
    sparsity: float
    network: Network
    solved: float


def main() -> None:
    """Solve, fit on one half, and print the errors on the other with the constants shipped and those fitted."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", type=int, default=100)
    cases = [case for seed in range(parser.parse_args().networks) if (case := solved(seed)).solved >= LEAST_LUT]
    seen, unseen = ([case for case in cases if case.seed // 2 % 2 == part] for part in (0, 1))  # both of each rounding
    shipped = {name: getattr(price, name) for name in CONSTANTS}
    found: dict[str, Any] = {"shipped": shipped, "errors of the shipped": errors(cases)}
    found["errors of the shipped on one half"] = errors(unseen)
    found["fitted on the other half"] = fitted(seen)
    found["errors of the fitted on that half"] = errors(unseen)
    print(json.dumps(found, indent=2))
    write_json(ROOT / "benchmarks/results/adder_graph.json", found)


def drawn(seed: int) -> tuple[float, Network]:
    """Return the share of zeros and a network, dead structure removed."""
    generator, rng = torch.Generator().manual_seed(seed), np.random.default_rng(seed)
    shape = SMALL[int(rng.integers(5))] if is_small(seed) else SHAPES[int(rng.integers(3))]
    limit = int(rng.choice([UNLIMITED, UNLIMITED, 1, 2])) if is_small(seed) else UNLIMITED
    bits, sparsity = int(rng.choice([4, 6, 6, 8])), float(rng.choice(SPARSITIES))
    smallest = rng.random() < 0.6
    layers: list[Layer] = [Input("x", shape[0], FixedPoint(int(rng.choice([8, 10])), 3, True, "RND", "SAT"))]
    for i, (n_in, n_out) in enumerate(pairwise(shape)):
        weight = torch.randn(n_out, n_in, generator=generator)
        if smallest:
            weight[weight.abs() < torch.quantile(weight.abs(), sparsity)] = 0
        else:
            weight[torch.rand(weight.shape, generator=generator) < sparsity] = 0
        bias = 0.3 * torch.randn(n_out, generator=generator)
        types = {"weight_type": weight_type(weight, bits), "bias_type": BIAS_TYPE}
        digits = torch.full(weight.shape, limit, dtype=torch.uint8)
        layers.append(Dense(f"fc{i}", weight, bias, digit_limit=digits, **types))
        if i < len(shape) - 2:
            rounding = "RND" if seed % 2 else "TRN"
            layers.append(ReLU(f"relu{i}", FixedPoint(int(rng.choice([6, 8])), 3, False, rounding, "SAT")))
    return sparsity, surgery.shrink(Network(layers))


def is_small(seed: int) -> bool:
    """Return whether a seed draws a network of a few hundred weights."""
    return seed // 4 % 2 == 1


def solved(seed: int) -> Case:
    """Return a network with the cost of its graph."""
    sparsity, network = drawn(seed)
    case = Case(seed, sparsity, network, rtl.solve(network).cost)
    print(f"{seed}: {sparsity:.0%} zeros, {case.solved:,.0f} LUT solved", flush=True)
    return case


def ratio(case: Case) -> float:
    """Return predicted over solved."""
    return float(cost.estimate(case.network, TARGET).resources.lut or 0.0) / case.solved


def fitted(cases: list[Case]) -> dict[str, float]:
    """Return the constants of least relative squares, which stay in place."""

    def residuals(values: Any) -> Any:
        for name, value in zip(CONSTANTS, values, strict=True):
            setattr(price, name, float(value))
        return [np.log(ratio(case)) for case in cases]

    start = [getattr(price, name) for name in CONSTANTS]
    best = least_squares(residuals, start, bounds=(0, 3), loss="soft_l1", f_scale=0.05, diff_step=1e-3).x
    residuals(best)
    return {name: float(f"{value:.3g}") for name, value in zip(CONSTANTS, best, strict=True)}


def errors(cases: list[Case]) -> dict[str, Any]:
    """Return the errors by size and zeros."""
    large = [case for case in cases if not is_small(case.seed)]
    groups = {"5,000 weights": large, "small": [case for case in cases if is_small(case.seed)]}
    groups |= {f"5,000 weights, {n:.0%} zeros": [c for c in large if c.sparsity == n] for n in sorted(set(SPARSITIES))}
    return {name: _summary([ratio(case) - 1 for case in group]) for name, group in groups.items() if group}


def _summary(off: list[float]) -> dict[str, float]:
    size = np.abs(off)
    figures = {"mean": size.mean(), "worst": size.max(), "bias": np.mean(off), "within 5 %": (size <= 0.05).mean()}
    return {"networks": len(off)} | {name: round(float(value), 3) for name, value in figures.items()}


if __name__ == "__main__":
    main()
