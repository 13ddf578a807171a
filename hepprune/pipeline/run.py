"""The main job, told in one column."""

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from hepprune.errors import BudgetMissedError
from hepprune.hardware import targets
from hepprune.pipeline import feedback, firmware, outcome, taggers
from hepprune.pipeline.context import Context, Track, silent
from hepprune.recipe import Recipe
from hepprune.report import summary as summaries
from hepprune.report.summary import Checks, Summary
from hepprune.synthesis.ledger import Ledger


def run(recipe: Recipe, *, build: Path, track: Track = silent) -> Summary:
    """Run a recipe from jets to measured firmware; everything lands in `build`, and what is there already is used.

    Raises:
        BudgetMissedError: the budget, or the accuracy it must be met at, cannot be reached; the state is kept.
        HeppruneError: something in the recipe, the data or the machine is wrong.
    """
    context = Context(recipe, targets.load(recipe.target), build, track)
    firmware.check_programs(recipe)
    jets = taggers.read_jets(context)
    with feedback.solver_compiling():
        baseline = taggers.baseline(context, jets)
        curves = taggers.sensitivities(context, baseline, jets)
    with context.step("solving the baseline's adder graph"):
        budget = feedback.resolve(context, feedback.solve(context, baseline))
    with Ledger(build / "ledger.sqlite") as ledger:
        turns = feedback.until_measured(context, baseline, jets, budget, curves, ledger)
    last = turns[-1]
    project, csim = firmware.export_and_check(context, last.network, jets)
    uniform = outcome.pruned_uniformly(context, baseline, jets, feedback.solve(context, last.network).lut)
    with context.step("writing the summary"):
        summary = Summary(
            recipe=recipe.name,
            target=context.target.name,
            budget=budget.limits(),
            baseline=outcome.describe(context, baseline, jets),
            compressed=replace(
                outcome.describe(context, last.network, jets, last.measurement),
                estimate=summaries.Cost.of(last.estimate),
            ),
            uniform=outcome.describe(context, uniform, jets),
            compressed_minus_baseline=outcome.compare(last.network, baseline, jets),
            compressed_minus_uniform=outcome.compare(last.network, uniform, jets),
            checks=Checks.of(csim, last.rtl_check),
            feedback=tuple(outcome.turn_record(index, turn) for index, turn in enumerate(turns, start=1)),
            search=outcome.stage_points(turns),
            seconds=context.seconds,
            seed=recipe.seed,
            versions=outcome.versions(),
        )
        network_file = firmware.save_network(last.network, build)
        files = {"hls project": str(project), "verilog": str(last.design.folder), "network": str(network_file)}
        files |= outcome.draw(summary, curves, build / "plots")
        summary = replace(summary, files=files | {"summary": str(build / "summary.json")})
        summaries.write(summary, build / "summary.json")
    _check_accuracy(summary, recipe)
    return summary


def _check_accuracy(summary: Summary, recipe: Recipe) -> None:
    lost, allowed = -summary.compressed_minus_baseline.accuracy, recipe.budget.max_accuracy_loss
    if lost > allowed:
        raise BudgetMissedError(
            f"the budget is met, but accuracy binds: {100 * allowed:.2f} points may be lost and "
            f"{100 * lost:.2f} +- {100 * summary.compressed_minus_baseline.accuracy_err:.2f} are; see summary.json"
        )


def compare(recipe: Recipe, *, build: Path, track: Track = silent) -> dict[str, Any]:
    """Return what the search is worth against uniform pruning, without firmware: one seed of the benchmark."""
    context = Context(recipe, targets.load(recipe.target), build, track)
    jets = taggers.read_jets(context)
    baseline = taggers.baseline(context, jets)
    curves = taggers.sensitivities(context, baseline, jets)
    budget = feedback.resolve(context, feedback.solve(context, baseline))
    searched = feedback.until_solved(context, baseline, jets, budget, curves)
    goal = feedback.solve(context, searched).lut
    uniform = outcome.pruned_uniformly(context, baseline, jets, goal)
    gap = outcome.compare(searched, uniform, jets)
    described = {
        name: asdict(outcome.describe(context, network, jets))
        for name, network in (("baseline", baseline), ("search", searched), ("uniform", uniform))
    }
    return {"seed": recipe.seed, "difference": gap.accuracy, "difference_error": gap.accuracy_err, **described}
