"""How far a settled plan is from the best of all plans, each of them priced as a whole network.

Small trained networks (8-12-8-3), options of 30, 60 and 90 % of weights or neurons: 196 plans, tried one by one. A
budget is the LUT that a share of all plans meets. One command: `python benchmarks/whole_gap.py [--seeds 4]`.
"""

import argparse
import itertools
import json
import logging
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from hepprune import training
from hepprune.errors import BudgetMissedError
from hepprune.files import write_json
from hepprune.fixed import FixedPoint
from hepprune.hardware import cost, targets
from hepprune.hardware.resources import Budget, Resources
from hepprune.network import Network
from hepprune.network.precision import Precision, quantise
from hepprune.pipeline import searching
from hepprune.pipeline.wholes import Settings
from hepprune.search.plans import tables
from hepprune.search.plans.pricing import Pricing
from hepprune.search.plans.variants import Grid, Workshop
from hepprune.training import Fit, Sample

ROOT = Path(__file__).parent.parent
TARGET = targets.load("generic_vu13p")
GRID = Grid((0.3, 0.6, 0.9), ("weight", "neuron"))
SHARES = (0.02, 0.1, 0.2, 0.3, 0.5, 0.7)
N_JETS = 500


def main() -> None:
    """Print and keep the gaps in nat, None where no plan was found, by share and strategy."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=4)
    seeds = range(parser.parse_args().seeds)
    logging.disable(logging.WARNING)
    rows = [row for seed in seeds for name in ("latency", "distributed_arithmetic") for row in gaps(seed, name)]
    write_json(ROOT / "benchmarks/results/whole_gap.json", {"rows": rows})


def trained(seed: int) -> tuple[Network, Sample]:
    """Return a quantised tagger of three classes, and its jets."""
    generator = torch.Generator().manual_seed(seed)
    x, directions = torch.randn(1500, 8, generator=generator), torch.randn(8, 3, generator=generator)
    y = (x @ directions + 0.5 * torch.randn(1500, 3, generator=generator)).argmax(dim=1)
    sample = Sample(x, y)
    network = training.multilayer_perceptron(8, (12, 8), 3, seed=seed)
    network, _ = training.fit(network, sample, sample, settings=Fit(25, 256, 1e-2, quantised=False), seed=seed)
    return quantise(network, x.numpy(), Precision(FixedPoint(8, 4, True, "RND", "SAT"))), sample.first(N_JETS)


def gaps(seed: int, strategy: str) -> Iterator[dict[str, object]]:
    """Yield, for each budget, the loss of the greedy solver's settled plan less that of the best plan there is."""
    network, sample = trained(seed)
    lut, loss = every_plan(network, sample, strategy)
    for share in SHARES:
        limit = float(np.ceil(np.quantile(lut, share)))
        settings = Settings(strategy=strategy, grid=GRID, n_jets=N_JETS)
        budget = Budget(resources=Resources(lut=limit))
        row: dict[str, object] = {"seed": seed, "strategy": strategy, "share": share, "lut": limit, "gap": None}
        try:
            found = searching.search({"m": network}, [(sample, sample)], TARGET, settings=settings, budget=budget)
            row["gap"] = round(found.solution.chosen.loss - float(loss[lut <= limit].min()), 4)
        except BudgetMissedError as error:
            row["error"] = str(error)
        print(json.dumps(row), flush=True)
        yield row


def every_plan(network: Network, sample: Sample, strategy: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the LUT of every plan's whole network, and the loss that its layers add up to."""
    workshop = Workshop.of(network, sample)
    pricing = Pricing.of(network, TARGET, strategy=strategy)
    table = tables.build(workshop, sample, pricing, model="m", grid=GRID)
    rows = []
    for options in itertools.product(*(choice.options for choice in table.choices)):
        chosen = {choice.layer: option for choice, option in zip(table.choices, options, strict=True)}
        price = cost.estimate(workshop.build(chosen), TARGET, strategy=strategy)
        rows.append((price.resources.lut or 0.0, sum(option.loss for option in options)))
    lut, loss = np.array(rows).T
    return lut, loss


if __name__ == "__main__":
    main()
