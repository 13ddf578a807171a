"""A front in one training: what every budget around the recipe's would buy, without a run for each."""

from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from hepprune import metrics, stored
from hepprune.errors import RecipeError
from hepprune.firmware.folders import check_folder
from hepprune.firmware.routes import Built
from hepprune.hardware import targets
from hepprune.hardware.resources import Budget, Resources
from hepprune.network import Network, save
from hepprune.pipeline import checks, feedback, firmware, outcome, pricing, taggers
from hepprune.pipeline.context import Context, Track, silent
from hepprune.pipeline.locking import locked
from hepprune.pipeline.taggers import Samples
from hepprune.recipe import Recipe
from hepprune.report import descent
from hepprune.report.descent import Front, Row
from hepprune.scores import headline, primary
from hepprune.search import front as fronts
from hepprune.search import moves
from hepprune.search.front import Kept, Rung
from hepprune.search.stages import Problem
from hepprune.studies.fronts import unbeaten
from hepprune.training import devices

FILE = "front.json"


def front(recipe: Recipe, *, build: Path, track: Track = silent) -> Front:
    """Return the networks that one long allocation keeps on its way down, each solved and scored on test jets.

    front.json, the plot and the networks land in `build`; what was finished there is used.

    Raises:
        RecipeError: the recipe's search is none that makes a front.
        NetworkError: the recipe's model is no chain of dense layers.
        HeppruneError: something in the recipe, the data or the machine is wrong.
    """
    if not recipe.search.front:
        raise RecipeError("a front needs search.front: true in the recipe, or `hepprune run --front`")
    check_folder(build)
    with devices.on(recipe.device, unless_asked=True), locked(build, track):
        return _front(Context(recipe=recipe, target=targets.load(recipe.target), build=build, track=track))


def _front(context: Context) -> Front:
    model = checks.check(context, pricing.own_stage(context.recipe))
    jets = taggers.read_jets(context)
    baseline = taggers.baseline(context, jets, model)
    with context.step("solving the baseline's adder graph"):
        whole = firmware.solved(context, baseline)
    lut = pricing.lut(context, whole)
    wanted = feedback.resolve(context, lut)
    budget = Budget(wanted.latency_ns, wanted.interval_cycles, Resources(lut=wanted.resources.lut or lut))
    kept = _descend(context, baseline, jets, budget)
    with context.step("solving and scoring the networks kept", len(kept)) as advance:
        built = []
        for each in kept:
            built.append(firmware.solved(context, each.network))
            advance()
        found = _described(context, whole, jets, budget, _best(kept, built))
    files = {"table": str(context.build / FILE), "plot": str(descent.draw(found, context.build / "front")[0])}
    found = replace(found, files=files, seconds=dict(context.seconds))
    stored.write(Front, context.build / FILE, found)
    return found


def _descend(context: Context, baseline: Network, jets: Samples, budget: Budget) -> tuple[Kept, ...]:
    recipe, price = context.recipe, pricing.own(context)
    problem = Problem(
        train=jets.train,
        validation=jets.validation,
        budget=budget,
        price=price,
        propose=moves.PerKernel.of((), recipe.granularities),
        settings=recipe.settings(),
        seed=recipe.seed,
        teacher=baseline,
    )
    rungs = fronts.ladder(budget, price(baseline).resources.lut or 0.0)

    def tell(rung: Rung) -> None:
        advance(0, f"{rung.estimate.resources.lut or 0:,.0f} LUT, {headline(rung.scores)}")

    with context.step("one training down a ladder of budgets", problem.settings.epochs) as advance:
        return fronts.descend(baseline, problem, rungs, state=context.state / "front", advance=tell, trained=advance)


def _best(kept: tuple[Kept, ...], built: list[Built]) -> list[tuple[Kept, Built]]:
    """Return what no other beats in LUT, adder levels and the primary metric on validation jets, most LUT first."""
    metric = next(iter(kept[0].rung.scores))
    costs = [[b.solution.lut, b.solution.depth] for b in built if b.solution is not None]
    lost = [metrics.lost(metric, primary(each.rung.scores).value) for each in kept]
    places = np.flatnonzero(unbeaten(np.column_stack([np.array(costs, np.float64), lost])))
    return [(kept[place], built[place]) for place in sorted(places, key=lambda place: -costs[place][0])]


def _described(context: Context, whole: Built, jets: Samples, budget: Budget, best: list[tuple[Kept, Built]]) -> Front:
    """Return the front without the files that are made of it."""
    limit = budget.limits()["lut"]
    reference = next((b for _, b in best if b.solution and b.solution.lut <= limit), best[-1][1])
    against = partial(outcome.compare, context, jets=jets)
    rows = tuple(
        Row(
            lut_allowed=each.rung.lut,
            tagger=outcome.describe(context, built, jets),
            validation=each.rung.scores,
            against_budget=against(each.network, reference.network),
            against_baseline=against(each.network, whole.network),
            network=str(save(each.network, context.build / "front" / f"network_{index}.npz")),
        )
        for index, (each, built) in enumerate(best, start=1)
    )
    return Front(
        recipe=context.recipe.name,
        target=context.target.name,
        seed=context.recipe.seed,
        budget=budget.limits(),
        baseline=outcome.describe(context, whole, jets),
        rows=rows,
        seconds={},
        versions=outcome.versions(),
        files={},
    )
