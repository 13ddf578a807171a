"""The command that plans how to make trained models fit."""

from pathlib import Path
from typing import Annotated, Any

from rich.table import Table
from typer import Argument, Option

from hepprune.cli.screen import AsJson, BudgetOption, IoType, Screen, numbers, show, words

_Target = Annotated[str | None, Option("--target", "-t", help="A preset or a YAML file; else the recipe's.")]
_Strategy = Annotated[
    str | None, Option(help="latency, resource, resource_unrolled, distributed_arithmetic; else the recipe's.")
]


def search(
    models: Annotated[list[str], Argument(help="Model files; several share the target's cells.")],
    *,
    data: Annotated[list[Path], Option(help="Jets: recipe.yaml or .npz with x and y; one, or one for each model.")],
    out: Annotated[Path, Option("--out", "-o", help="A folder for the smaller models, the plan and its plots.")],
    target: _Target = None,
    solver: Annotated[str | None, Option(help="greedy, exact, dynamic_programming, evolve; else the recipe's.")] = None,
    budget: BudgetOption = None,
    strategy: _Strategy = None,
    io_type: IoType = "io_parallel",
    metric: Annotated[str, Option(help="cross_entropy, accuracy, auc, ...")] = "cross_entropy",
    granularities: Annotated[
        str, Option(help="weight, dsp_row, bram_row, N:M, neuron, head, layer.")
    ] = "weight,neuron",
    sparsities: Annotated[str, Option(help="Fractions to cut.")] = "0.125,0.25,0.375,0.5,0.625,0.75,0.875,0.95",
    reuse_factors: Annotated[str, Option(help="Choose among these, as in 1,2,4; else each layer's own.")] = "",
    weight_bits: Annotated[str, Option(help="Choose among these too, as in 4,5.")] = "",
    activation_bits: Annotated[str, Option(help="Choose among these too.")] = "",
    input_bits: Annotated[str, Option(help="Choose among these too, for each input.")] = "",
    jets: Annotated[int, Option(min=1, help="Jets that measure the effect of an option.")] = 20_000,
    trials: Annotated[int, Option(min=1, help="Plans that `evolve` tries.")] = 300,
    seed: Annotated[int, Option(min=0, help="Of `evolve`.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Choose sparsity, granularity, reuse factor and bits of every layer so that a budget holds and least is lost."""
    from hepprune.jobs import planning, sources
    from hepprune.jobs.planning.whole_networks import PlanSettings
    from hepprune.search.plans.variants import ChoiceGrid

    grid = ChoiceGrid(
        sparsities=numbers("sparsities", sparsities, float),
        granularities=words(granularities),
        reuse_factors=numbers("reuse-factors", reuse_factors, int),
        weight_bits=numbers("weight-bits", weight_bits, int),
        activation_bits=numbers("activation-bits", activation_bits, int),
        input_bits=numbers("input-bits", input_bits, int),
    )
    recipes = [path for path in data if path.suffix in {".yaml", ".yml"}]
    recipe = planning.asked(recipes[0]) if recipes else planning.Asked("generic_vu13p", "greedy", "latency", ())
    settings = PlanSettings(
        solver=solver or recipe.solver,
        strategy=strategy or recipe.strategy,
        io_type=io_type,
        metric=metric,
        grid=grid,
        n_jets=jets,
        n_trials=trials,
        seed=seed,
    )
    names = sources.told_apart([Path(model.partition(":")[0]).stem for model in models])
    named = dict(zip(names, models, strict=True))
    limits, place = (*recipe.limits, *(budget or ())), target or recipe.target
    with Screen() as screen:
        found = planning.search(named, data, place, settings=settings, budget=limits, out=out, track=screen)
    steps = [_steps(found)] if found.solution.steps else []
    show(found, lambda: [*steps, _plan(found), *_verdict(found)], as_json=as_json)


def _steps(found: Any) -> Table:
    several, usual = len(found.models) > 1, found.solution.steps[0].reason
    table = Table("", "layer", "change", f"loss in {found.metric}", "frees", title=f"steps to the plan: {usual}")
    for number, step in enumerate(found.solution.steps, start=1):
        noise = "" if step.significant else " [dim](noise)[/]"
        change = f"{step.before} -> {step.after}" + ("" if step.reason == usual else f" [dim]({step.reason})[/]")
        frees = ", ".join(f"{name} {100 * share:.1f} %" for name, share in step.freed.items() if abs(share) >= 5e-4)
        name = f"{step.model}/{step.layer}" if several else step.layer
        table.add_row(str(number), name, change, f"{step.loss:+.5f} ± {step.error:.5f}{noise}", frees)
    return table


def _plan(found: Any) -> Table:
    several = len(found.models) > 1
    table = Table("layer", "chosen", f"loss in {found.metric}", "LUT", "DSP", title=f"plan ({found.solution.solver})")
    for pick in found.solution.chosen.picks:
        option, cells = pick.option, pick.option.resources
        noise = "" if option.significant else " [dim](noise)[/]"
        name = f"{pick.model}/{pick.layer}" if several else pick.layer
        loss = f"{option.loss:+.5f} ± {option.error:.5f}{noise}"
        table.add_row(name, str(option), loss, f"{cells.lut or 0:,.0f}", f"{cells.dsp or 0:,.0f}")
    return table


def _verdict(found: Any) -> list[str]:
    chosen = found.solution.chosen
    of_all = f"the best of all {found.n_plans:,} plans" if found.solution.optimal else f"of {found.n_plans:,} plans"
    lines = [
        (
            f"loss in {found.metric} on the jets that chose it: {chosen.loss:+.5f} ± {chosen.error:.5f}, "
            f"{sum(pick.option.loss for pick in chosen.picks):+.5f} where layers add up"
        ),
        f"{of_all}, {found.n_priced:,} priced as whole networks",
    ]
    for model in found.models:
        price, cells = model.estimate, model.estimate.resources
        lines += [
            (
                f"{model.model}: {found.metric} {model.before:.4f} ± {model.before_error:.4f} -> {model.after:.4f} "
                f"({model.change:+.4f} ± {model.change_error:.4f} on the same jets)"
            ),
            (
                f"  {cells.lut or 0:,.0f} LUT, {cells.ff or 0:,.0f} FF, {cells.dsp or 0:,.0f} DSP, "
                f"{cells.bram18 or 0:,.0f} BRAM18, {price.latency_ns:g} ns, II {price.interval_cycles} "
                f"(estimated, stage {price.stage}, clock assumed)"
            ),
            f"  written to {model.file}",
        ]
    lines.append("of the budget: " + ", ".join(f"{name} {100 * share:.1f} %" for name, share in found.used.items()))
    lines.append("files: " + ", ".join(found.files.values()))
    return lines
