"""The main job, in one column."""

import logging
from concurrent.futures import Executor
from contextlib import nullcontext
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

from hepprune.errors import RecipeError
from hepprune.firmware.folders import check_folder
from hepprune.hardware import targets
from hepprune.hardware.resources import Budget, Estimate, Measurement, Resources
from hepprune.pipeline import checks, evidence, feedback, firmware, outcome, pictures, pricing, searches, taggers, tools
from hepprune.pipeline.context import Context, Track, locked, silent
from hepprune.recipe import Recipe
from hepprune.report import summary as summaries
from hepprune.report.summary import Summary
from hepprune.synthesis.ledger import Ledger
from hepprune.training import devices

log = logging.getLogger(__name__)


def run(
    recipe: Recipe, *, build: Path, executor: Executor | None = None, track: Track = silent, plots: bool = True
) -> Summary:
    """Run a recipe from jets to measured firmware; everything lands in `build`, and what is there already is used.

    A run waits for another one in the same folder. Without `plots` it leaves what `pictures.redraw` draws them from.

    Raises:
        BudgetMissedError: the budget, or the accuracy it must be met at, cannot be reached; the state is kept.
        MeasurementAwaitedError: another machine is to measure the design; summary.json has all but that.
        HeppruneError: something in the recipe, the data or the machine is wrong.
    """
    if recipe.search.front:
        raise RecipeError("search.front: a front has no firmware; make it by pipeline.front, or `hepprune run`")
    check_folder(build)
    tools.check(recipe)  # before the folder is made
    context = Context(recipe=recipe, target=targets.load(recipe.target), build=build, track=track, executor=executor)
    with devices.on(recipe.device, unless_asked=True), locked(build, track):
        return _run(context, plots=plots)


def _run(context: Context, *, plots: bool) -> Summary:
    recipe, build = context.recipe, context.build
    with context.step("checking recipe, model and data"):
        stage = tools.check(recipe).stage
        model, no_hls = checks.check(context, stage)
        if no_hls:
            log.warning("no HLS project will be written, Verilog alone: %s", no_hls)
            context, stage = replace(context, no_hls=no_hls), tools.check(recipe, hls=False).stage
    jets = taggers.read_jets(context)
    with tools.compiling() as compiled:
        baseline = taggers.baseline(context, jets, model)
        checks.check_jets(recipe, baseline, jets)
        pruned = taggers.pruned(context, baseline, jets)
        curves = taggers.sensitivities(context, pruned, jets)
        if tools.is_rtl(recipe):
            with context.step("compiling the solver, once per environment"):
                compiled()
    with context.step("solving the baseline's adder graph") if tools.is_rtl(recipe) else nullcontext():
        whole = pricing.whole(context, baseline)
    with Ledger(build / "ledger.sqlite") as book:
        measure = partial(firmware.measure, context, jets=jets, book=book)
        # What was known when this job was first run stays what it starts from, so that the same job ends the same.
        kind = list[tuple[Estimate, Measurement]]
        known = partial(book.pairs, stage, strategy=recipe.strategy)
        asked = recipe.model_dump(exclude={"synthesis": {"uniform"}})  # that comes after the search
        pairs = partial(context.store.value, kind, "known", [jets.key, stage, asked], known)
        budget = feedback.resolve(context, pricing.lut(context, whole, feedback.learned(pairs())))
        start = feedback.Start(tagger=baseline, jets=jets, curves=curves, budget=budget, pruned=pruned)
        turns = feedback.until_measured(context, start, stage=stage, measure=measure, pairs=pairs)
        compressed = firmware.deliver(context, turns[-1].built, jets)
        beside = replace(context, build=build / "uniform")
        also = partial(firmware.measure, beside, jets=jets, book=book) if recipe.synthesis.uniform else None
        uniform = outcome.pruned_uniformly(context, baseline, jets, compressed, turns[-1].known, measure=also)
    compared = outcome.Compared(baseline=whole, compressed=compressed, uniform=uniform)
    with context.step("summary and plots"):
        summary = outcome.summarise(context, start, turns, compared)
        written, no_model = outcome.came_back(context, compressed.network, model)
        files = outcome.files(context, compressed, jets) | written
        pictured = pictures.keep(context, start, turns[-1], compared)
        files |= pictures.draw(summary, *pictured, build / "plots") if plots else {}
    summary = replace(summary, files=files, no_model=no_model, seconds=dict(context.seconds))
    summaries.write(summary, build / "summary.json")
    searches.write([turn.stages for turn in turns], build / searches.FILE)
    lost, met = summary.compressed_minus_baseline.scores, turns[-1].met is True
    evidence.check_clock(compressed.measurement)
    evidence.check_kept(lost, recipe.max_losses, met=met)
    if compressed.measurement is None:
        raise firmware.awaited(context, compressed)
    return summary


def compare(recipe: Recipe, *, build: Path, track: Track = silent) -> dict[str, Any]:
    """Return what the search is worth against uniform pruning at the same solved cost, without synthesis.

    It is one seed of `benchmarks/search_vs_uniform.py`; solved adder graphs take the place of measurements,
    and only what they know is limited: LUT, latency and II.
    """
    with devices.on(recipe.device, unless_asked=True):
        context = Context(recipe=recipe, target=targets.load(recipe.target), build=build, track=track)
        stage = pricing.own_stage(recipe)
        model, _ = checks.check(context, stage)
        jets = taggers.read_jets(context)
        baseline = taggers.baseline(context, jets, model)
        curves = taggers.sensitivities(context, baseline, jets)
        solved = pricing.whole(context, baseline)
        whole = feedback.resolve(context, pricing.lut(context, solved))
        known = Budget(whole.latency_ns, whole.interval_cycles, Resources(lut=whole.resources.lut))
        budget = known if tools.is_rtl(recipe) else whole
        start = feedback.Start(tagger=baseline, jets=jets, curves=curves, budget=budget)
        measure = partial(firmware.solved_as_measured if tools.is_rtl(recipe) else pricing.whole, context)
        turns = feedback.until_measured(context, start, stage=stage, measure=measure, pairs=list)
        searched = turns[-1].built
        uniform = outcome.pruned_uniformly(context, baseline, jets, searched)
        gap = outcome.compare(context, searched.network, uniform.network, jets)
        named = {"baseline": solved, "search": searched, "uniform": uniform}
        described = {name: asdict(outcome.describe(context, built, jets)) for name, built in named.items()}
        return {"seed": recipe.seed, "difference": asdict(gap), **described}
