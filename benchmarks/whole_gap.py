"""How far a confirmed plan is from the best of all plans, each of them priced as a whole network.

Small trained networks (8-12-8-3), options of weights or neurons, all plans priced and measured one by one. A search of
its own prices all 196 plans of three sparsities, and the optimum is what it finds; so of six sparsities (1,092 plans)
only `--explored` are let it price, as of a larger network, and what it then chooses is compared with the best of all.
A budget is the LUT that a share of all plans meets. One command: `python benchmarks/whole_gap.py [--seeds 4]`.
"""

import argparse
import json
import logging
from collections.abc import Iterator
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch

from hepprune import training
from hepprune.errors import BudgetMissedError
from hepprune.files import write_json
from hepprune.fixed import FixedPoint
from hepprune.hardware import targets
from hepprune.hardware.resources import Budget, Resources
from hepprune.jobs.planning.whole_networks import PlanSettings, SearchedModel, WholeNetworks
from hepprune.network import Network
from hepprune.network.precision import Precision, quantise
from hepprune.search.plans import solvers, tables
from hepprune.search.plans.choices import PlanProblem
from hepprune.search.plans.confirming import confirm
from hepprune.search.plans.exploring import explore
from hepprune.search.plans.pricing import Pricing
from hepprune.search.plans.variants import ChoiceGrid, Variants
from hepprune.store import Journal
from hepprune.task.sample import Sample
from hepprune.training import Fit

ROOT = Path(__file__).parent.parent
TARGET = targets.load("generic_vu13p")
FEW, MANY = (0.3, 0.6, 0.9), (0.25, 0.4, 0.55, 0.7, 0.85, 0.95)
SHARES = (0.0, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7)
N_JETS = 500


def main() -> None:
    """Print and keep the gaps in nat, None where no plan was found, by share and strategy."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=4)
    parser.add_argument("--explored", type=int, default=250)
    given = parser.parse_args()
    logging.disable(logging.WARNING)
    rows = []
    for seed in range(given.seeds):
        for strategy in ("latency", "distributed_arithmetic"):
            rows += gaps(*networks(seed, strategy, FEW))
            rows += gaps(*networks(seed, strategy, MANY), every=0, most=given.explored)
            print(json.dumps({"seed": seed, "strategy": strategy, "rows so far": len(rows)}), flush=True)
    print(json.dumps({"budgets": len(rows), "larger budgets that gave a worse metric": worse(rows)}))
    for n_plans, share in sorted({(row["plans"], row["share"]) for row in rows}):
        some = [row["gap"] for row in rows if (row["plans"], row["share"]) == (n_plans, share)]
        found = sorted(gap for gap in some if gap is not None)
        print(json.dumps({"plans": n_plans, "share": share, "missed": len(some) - len(found), "gaps": found}))
    write_json(ROOT / "benchmarks/results/whole_gap.json", {"rows": rows})


def worse(rows: list[dict[str, Any]]) -> int:
    """Return how often the next larger budget of the same network gave a worse metric, or none."""
    pairs = [pair for pair in pairwise(rows) if pair[0]["share"] < pair[1]["share"] and pair[0]["gap"] is not None]
    return sum(after["gap"] is None or after["loss"] > before["loss"] for before, after in pairs)


def trained(seed: int) -> tuple[Network, Sample]:
    """Return a quantised tagger of three classes, and its jets."""
    generator = torch.Generator().manual_seed(seed)
    x, directions = torch.randn(1500, 8, generator=generator), torch.randn(8, 3, generator=generator)
    y = (x @ directions + 0.5 * torch.randn(1500, 3, generator=generator)).argmax(dim=1)
    sample = Sample(x, y)
    network = training.multilayer_perceptron(8, (12, 8), 3, seed=seed)
    network, _ = training.fit(
        network, sample, sample, settings=Fit(epochs=25, batch_size=256, learning_rate=1e-2, quantised=False), seed=seed
    )
    return quantise(network, x.numpy(), Precision(inputs=FixedPoint(8, 4, True, "RND", "SAT"))), sample.first(N_JETS)


def networks(seed: int, strategy: str, sparsities: tuple[float, ...]) -> tuple[WholeNetworks, dict[str, Any]]:
    """Return what prices and measures the plans of one network, and how it is called."""
    network, sample = trained(seed)
    settings = PlanSettings(
        strategy=strategy, grid=ChoiceGrid(sparsities=sparsities, granularities=("weight", "neuron")), n_jets=N_JETS
    )
    variants, pricing = Variants.of(network, sample), Pricing.of(network, TARGET, strategy=strategy)
    table = tables.build(variants, sample, pricing, model="m", grid=settings.grid)
    models = (SearchedModel(name="m", given=network, variants=variants, sample=sample, test=sample),)
    return WholeNetworks(
        models=models, target=TARGET, settings=settings, problem=PlanProblem.of([table], Budget()), journal=Journal()
    ), {
        "seed": seed,
        "strategy": strategy,
    }


def gaps(networks: WholeNetworks, name: dict[str, Any], **limits: int) -> Iterator[dict[str, Any]]:
    """Yield, for each budget, the measured loss of the plan that is chosen less that of the best plan there is."""
    problem, greedy = networks.problem, partial(solvers.greedy, n_points=1)
    every = explore(problem, greedy, networks.figures, every=10**6)
    lut = np.array([priced.figures["lut"] for priced in every])
    loss = np.array([networks.evaluate(priced.plan).loss for priced in every])
    for share in SHARES:
        limit = float(np.ceil(np.quantile(lut, share)))
        row: dict[str, Any] = {**name, "plans": len(every), "share": share, "lut": limit, "gap": None}
        try:
            plans = explore(problem, greedy, networks.figures, **limits)
            found = confirm(
                PlanProblem.of(problem.tables, Budget(resources=Resources(lut=limit))), plans, networks.evaluate
            )
            row["loss"] = found.solution.chosen.loss
            row["gap"] = round(found.solution.chosen.loss - float(loss[lut <= limit].min()), 4)
            row["priced"] = found.n_priced
        except BudgetMissedError as error:
            row["error"] = str(error)
        yield row


if __name__ == "__main__":
    main()
