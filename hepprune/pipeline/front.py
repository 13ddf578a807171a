"""A front in one training: what every budget around the recipe's would buy, without a run for each."""

from concurrent.futures import Executor
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from hepprune import metrics
from hepprune.errors import RecipeError
from hepprune.files import stored
from hepprune.firmware.folders import check_folder
from hepprune.firmware.routes import Built
from hepprune.hardware import targets
from hepprune.hardware.resources import Budget, Resources
from hepprune.metrics.scores import headline
from hepprune.network import Network, save
from hepprune.pipeline import checks, feedback, firmware, outcome, pricing, taggers
from hepprune.pipeline.context import Context, Track, locked, silent
from hepprune.pipeline.taggers import Samples
from hepprune.recipe import Recipe
from hepprune.report import descent
from hepprune.report.descent import Front, FrontRow
from hepprune.search import front as fronts
from hepprune.search import moves
from hepprune.search.front import Kept, Rung
from hepprune.studies.fronts import unbeaten
from hepprune.training import devices


def front(recipe: Recipe, *, build: Path, executor: Executor | None = None, track: Track = silent) -> Front:
    """Return the networks that one long allocation keeps on its way down, each solved and scored on test jets.

    front.json, the plot and the networks land in `build`; what was finished there is used.

    Raises:
        RecipeError: the recipe's search is none that makes a front.
        NetworkError: the recipe's model is not a chain of dense layers.
        HeppruneError: something in the recipe, the data or the machine is wrong.
    """
    if not recipe.search.front:
        raise RecipeError("a front needs search.front: true in the recipe, or `hepprune run --front`")
    check_folder(build)
    context = Context(recipe=recipe, target=targets.load(recipe.target), build=build, track=track, executor=executor)
    with devices.on(recipe.device, unless_asked=True), locked(build, track):
        return _front(context)


def _front(context: Context) -> Front:
    with context.step("checking recipe, model and data"):
        model, _ = checks.check(context, pricing.own_stage(context.recipe))
    jets = taggers.read_jets(context)
    baseline = taggers.baseline(context, jets, model)
    checks.check_jets(context.recipe, baseline, jets)
    pruned = taggers.pruned(context, baseline, jets)
    with context.step("solving the baseline's adder graph"):
        whole = firmware.solved(context, baseline)
    lut = pricing.lut(context, whole)
    wanted = feedback.resolve(context, lut)
    most = lut if wanted.resources.lut is None else wanted.resources.lut
    budget = Budget(wanted.latency_ns, wanted.interval_cycles, Resources(lut=most))
    kept = _descend(context, baseline, pruned, jets, budget)
    with context.step("solving and scoring the networks kept", len(kept)) as advance:
        built = []
        for each in kept:
            built.append(firmware.solved(context, each.network))
            advance()
        # an earlier front, its table first: where there is one, it is of the networks and the plot beside it
        earlier = (*context.build.glob("front.p??"), *(context.build / "front").glob("network_*.npz"))
        for path in (context.build / descent.FILE, *earlier):
            path.unlink(missing_ok=True)
        found = _described(context, whole, jets, budget, _best(kept, built))
    files = {"table": str(context.build / descent.FILE), "plot": str(descent.draw(found, context.build / "front")[0])}
    found = replace(found, files=files, seconds=dict(context.seconds))
    stored.write(Front, context.build / descent.FILE, found)
    return found


def _descend(context: Context, baseline: Network, pruned: Network, jets: Samples, budget: Budget) -> tuple[Kept, ...]:
    recipe, price = context.recipe, pricing.own(context)
    propose = moves.PerKernel.of((), recipe.granularities)
    problem = feedback.problem_of(context, jets, baseline, budget=budget, price=price, propose=propose)
    given = fronts.training(problem.settings).epochs
    rungs = fronts.ladder(budget, price(pruned).resources.lut or 0.0, epochs=given)
    epochs = len(rungs) * fronts.share(problem.settings, len(rungs)).epochs

    def tell(rung: Rung) -> None:
        advance(0, f"{rung.estimate.resources.lut or 0:,.0f} LUT, {headline(rung.scores)}")

    with context.step("one training down a ladder of budgets", epochs) as advance:
        return fronts.descend(pruned, problem, rungs, state=context.state / "front", advance=tell, trained=advance)


def _best(kept: tuple[Kept, ...], built: list[Built]) -> list[tuple[Kept, Built]]:
    """Return what no other beats in LUT, adder levels and the primary metric on validation jets, most LUT first."""
    metric = next(iter(kept[0].rung.scores))
    rows = [(*pair, graph) for pair in zip(kept, built, strict=True) if (graph := pair[1].solution) is not None]
    lost = [metrics.lost(metric, each.rung.scores[metric].value) for each, *_ in rows]
    points = [(graph.lut, graph.depth, loss) for (*_, graph), loss in zip(rows, lost, strict=True)]
    best = [row for row, is_kept in zip(rows, unbeaten(np.array(points, np.float64)), strict=True) if is_kept]
    return [(each, made) for each, made, _ in sorted(best, key=lambda row: -row[2].lut)]


def _described(context: Context, whole: Built, jets: Samples, budget: Budget, best: list[tuple[Kept, Built]]) -> Front:
    limit = budget.limits()["lut"]
    reference = next((b for _, b in best if b.solution and b.solution.lut <= limit), best[-1][1])
    against = partial(outcome.compare, context, jets=jets)
    rows = tuple(
        FrontRow(
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
