"""How far the greedy solver is from the optimum, and what each solver takes, on one tagger at several budgets.

Every budget is a share of the LUT that the tagger itself needs under `latency`. First on the separable approximation,
where the optimum is known (`exact`, and `dynamic_programming` beside it as a check), then for whole networks, where
`evolve` is the only one that sees them while it searches.

One command: `python benchmarks/search_gap.py [--model tagger.npz] [--shares 0.6 0.4 0.25] [--trials 300]`. Without a
model it trains the recipe's tagger for a few epochs.
"""

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from hepprune import frontends, recipe, training
from hepprune.errors import BudgetMissedError
from hepprune.files import write_json
from hepprune.hardware import cost, targets
from hepprune.hardware.resources import Budget, Resources
from hepprune.jobs import planning as searching
from hepprune.jobs.planning.whole_networks import PlanSettings
from hepprune.network import Network
from hepprune.network.precision import quantise
from hepprune.pipeline import taggers
from hepprune.pipeline.context import Context
from hepprune.search.plans import solvers, tables
from hepprune.search.plans.choices import Choice, ChoiceTable, Option, PlanProblem
from hepprune.search.plans.pricing import Pricing
from hepprune.search.plans.variants import Variants
from hepprune.task.sample import Sample
from hepprune.training import Fit

ROOT = Path(__file__).parent.parent
SOLVERS = ("greedy", "exact", "dynamic_programming")


def main() -> None:
    """Print and keep a row for each budget."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, help="a trained tagger on the recipe's features")
    parser.add_argument("--shares", type=float, nargs="*", default=[0.6, 0.4, 0.25])
    parser.add_argument("--trials", type=int, default=300)
    parser.add_argument("--random", type=int, default=60, help="random problems on which the greedy gap is measured")
    arguments = parser.parse_args()
    gaps = random_gaps(arguments.random)
    print(json.dumps(gaps), flush=True)
    if not arguments.shares:
        return
    job = recipe.load(ROOT / "hls_projects/jet_tagger/recipe.yaml")
    target = targets.load(job.target)
    jets = taggers.read_jets(Context(recipe=job, target=target, build=ROOT / "benchmarks/results/search_gap"))
    network = frontends.read(arguments.model) if arguments.model else trained(job, jets)
    whole = cost.estimate(network, target, strategy="latency")
    settings = PlanSettings(n_trials=arguments.trials)
    separable = table(network, jets.train, Pricing.of(network, target, strategy="latency"), settings)
    rows = []
    for share in arguments.shares:
        budget = Budget(target.budget.latency_ns, 1, Resources(lut=share * (whole.resources.lut or 0), dsp=0.0))
        rows.append({"lut_share": share, "separable": compared(separable, budget)})
        rows[-1]["whole"] = on_whole_networks(network, (jets.train, jets.test), budget, settings)
        print(json.dumps(rows[-1]), flush=True)
    write_json(
        ROOT / "benchmarks/results/search_gap.json", {"random": gaps, "lut": whole.resources.lut, "budgets": rows}
    )


def trained(job: recipe.Recipe, jets: taggers.Samples) -> Network:
    """Return the recipe's tagger after a few epochs."""
    network = taggers.dense(job, seed=1)
    network, _ = training.fit(network, jets.train, jets.validation, settings=Fit(epochs=6, quantised=False), seed=1)
    network = quantise(network, jets.train.first(20_000).features.numpy(), job.model.bits.precision())
    return training.fit(network, jets.train, jets.validation, settings=Fit(epochs=4), seed=1)[0]


def table(network: Network, train: Sample, pricing: Pricing, settings: PlanSettings) -> Any:
    """Return the tagger's table of options."""
    variants = Variants.of(network, train.first(searching.STATISTICS_JETS))
    return tables.build(variants, train.first(settings.n_jets), pricing, model="tagger", grid=settings.grid)


def compared(separable: Any, budget: Budget) -> dict[str, Any]:
    """Return what each solver loses and takes on the separable approximation, and the greedy one's gap."""
    problem = PlanProblem.of([separable], budget)
    found: dict[str, Any] = {}
    for name in SOLVERS:
        seconds, solution = timed(lambda name=name: solvers.find(name)(problem))
        found[name] = {"loss": solution.chosen.loss, "seconds": seconds}
    difference = abs(found["exact"]["loss"] - found["dynamic_programming"]["loss"])
    if difference > 1e-9:
        raise SystemExit(f"the two exact solvers differ by {difference}")
    gap = found["greedy"]["loss"] - found["exact"]["loss"]
    return {**found, "gap": gap, "gap_over_optimum": gap / found["exact"]["loss"]}


def on_whole_networks(
    network: Network, jets: tuple[Sample, Sample], budget: Budget, settings: PlanSettings
) -> dict[str, Any]:
    """Return what the plans of each solver lose on test jets, and the LUT of their whole networks."""
    found = {}
    for name in ("greedy", "exact", "evolve"):
        chosen = replace(settings, solver=name)
        seconds, result = timed(
            lambda chosen=chosen: searching.search(
                {"tagger": network}, [jets], "generic_vu13p", settings=chosen, budget=budget
            )
        )
        (planned,) = result.models
        added = sum(pick.option.loss for pick in result.solution.chosen.picks)
        chosen_on = {"predicted": added, "chosen_on": result.solution.chosen.loss}
        change = {**chosen_on, "loss": planned.change, "error": planned.change_error}
        found[name] = {**change, "lut": planned.estimate.resources.lut, "seconds": seconds}
    return found


def random_gaps(n: int) -> dict[str, float]:
    """Return the greedy solver's gap, as a fraction of the optimum, on random tables of six layers and three limits."""
    gaps = []
    for seed in range(n):
        rng = np.random.default_rng(seed)
        choices = tuple(Choice(f"layer_{place}", _random_options(rng)) for place in range(6))
        separable = ChoiceTable(
            model="random", choices=choices, fixed=Resources(lut=3.0, dsp=0.0), fixed_latency_ns=1.0
        )
        share = rng.uniform(0.3, 0.9)
        best = [min(choice.options, key=lambda option: option.loss) for choice in choices]
        lut, dsp = (sum(getattr(option.resources, name) for option in best) for name in ("lut", "dsp"))
        budget = Budget(share * sum(o.latency_ns for o in best), 1, Resources(lut=share * lut, dsp=share * dsp))
        try:
            row = compared(separable, budget)
        except BudgetMissedError:
            continue
        gaps.append(row["gap_over_optimum"])
    found = {"mean": float(np.mean(gaps)), "largest": max(gaps), "optimal": float(np.mean(np.array(gaps) < 1e-9))}
    return {"problems": len(gaps), **found}


def _random_options(rng: np.random.Generator) -> tuple[Option, ...]:
    """Return options whose loss falls as what they use rises, roughly."""
    size = rng.integers(1, 20, 12)
    loss, dsp = 1 / size + rng.exponential(0.1, 12), size // 2 + rng.integers(0, 4, 12)
    rows = zip(loss.tolist(), (10.0 * size).tolist(), dsp.tolist(), rng.integers(1, 6, 12).tolist(), strict=True)
    return tuple(
        Option(sparsity=0.5, loss=each, resources=Resources(lut=lut, dsp=float(cells)), latency_ns=float(ns))
        for each, lut, cells, ns in rows
    )


def timed(run: Callable[[], Any]) -> tuple[float, Any]:
    """Return seconds and result of one call."""
    start = time.perf_counter()
    result = run()
    return time.perf_counter() - start, result


if __name__ == "__main__":
    torch.set_num_threads(min(torch.get_num_threads(), 2))
    main()
