"""A plan for models that are trained already: what to cut of each layer, how to build it, and the smaller models."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from hepprune import frontends, metrics
from hepprune import recipe as recipes
from hepprune.errors import DataError, NetworkError
from hepprune.files import stored
from hepprune.hardware import budgets, targets
from hepprune.hardware.resources import RESOURCES, Budget
from hepprune.hardware.targets import Target
from hepprune.jobs.planning.whole_networks import Planned, PlanSettings, SearchedModel, WholeNetworks
from hepprune.jobs.sources import by_recipe, check, jets
from hepprune.network import Network
from hepprune.pipeline.context import Track, silent
from hepprune.report.plots import costs
from hepprune.search.plans import pareto, solvers, tables
from hepprune.search.plans.choices import ChoiceTable, PlanProblem
from hepprune.search.plans.confirming import EXHAUSTED, Confirmed, confirm
from hepprune.search.plans.exploring import EVERY, MOST, explore
from hepprune.search.plans.pareto import Plan, PlanSolution, PricedPlan, PricedPlans
from hepprune.search.plans.pricing import Pricing, latency_limit
from hepprune.search.plans.variants import Variants
from hepprune.store import Journal
from hepprune.task import Tasks
from hepprune.task.sample import Sample

STATISTICS_JETS = 16_384
_FEWEST = 120  # plans that are priced of networks of any size
_STARTS = 16  # priced plans that evolution starts from


@dataclass(frozen=True, kw_only=True)
class Searched(Confirmed):
    """A search: the budget, the solution, and what its whole networks use and do.

    `n_priced` of `n_plans` plans were priced as whole networks.
    """

    target: str
    budget: dict[str, float]
    metric: str
    models: tuple[Planned, ...]
    files: dict[str, str]


@by_recipe("data")
def search(
    models: Mapping[str, Any],
    data: Sequence[Path | tuple[Sample, Sample]],
    target: str | Path | Target,
    *,
    settings: PlanSettings | None = None,
    budget: Sequence[str] | Budget = (),
    out: Path | None = None,
    track: Track = silent,
) -> Searched:
    """Return the plan of least loss for models that share a target, and write it with the smaller models to `out`.

    `models` are files or networks by name; `data` has jets for all of them, or one entry per model, as jets to train
    and to test on. A search that was interrupted goes on from what it has kept in `out`.

    Raises:
        BudgetMissedError: no plan meets the budget; it names the limit that binds and the closest point.
        RecipeError: the target, the budget or a setting cannot be followed.
        NetworkError: a model cannot be read, priced or changed.
        DataError: the jets cannot be used, or the metric is not finite on them.
    """
    wanted = settings or PlanSettings()
    place = target if isinstance(target, Target) else targets.load(target)
    limits = budget if isinstance(budget, Budget) else budgets.resolve(place, budget)
    budgets.check(place, limits)
    solvers.find(wanted.solver)
    if wanted.solver == "evolve":
        solvers.check_trials(wanted.n_trials)
    if isinstance(wanted.metric, str) and ":" not in wanted.metric:
        metrics.is_lower_better(wanted.metric)  # an unknown one is refused before anything is read
    if len(data) not in {1, len(models)}:
        raise NetworkError(f"{len(data)} sets of jets do not go with {len(models)} models; give one, or one for each")
    each = list(data) if len(data) == len(models) else [data[0]] * len(models)
    known = tuple(_read(*pair, wanted) for pair in zip(models.items(), each, strict=True))
    journal = Journal(None if out is None else out / "state" / "journal.jsonl")
    found = [_table(model, place, wanted, journal, track) for model in known]
    problem = PlanProblem.of(found, replace(limits, latency_ns=latency_limit(place, limits.latency_ns)))
    networks = WholeNetworks(models=known, target=place, settings=wanted, problem=problem, journal=journal)
    best = _solve(networks, track)
    planned = networks.planned(best.solution.chosen, out)
    metric = wanted.metric if isinstance(wanted.metric, str) else metrics.name_of(wanted.metric)
    result = Searched(target=place.name, budget=limits.limits(), metric=metric, **vars(best), models=planned, files={})
    return result if out is None else _written(result, out)


@dataclass(frozen=True)
class Asked:
    """What a recipe asks of a search: target, solver, strategy, and limits as `budgets.read` takes them."""

    target: str
    solver: str
    strategy: str
    limits: tuple[str, ...]


def asked(path: Path) -> Asked:
    """Return what a recipe asks; a share of its own baseline's LUT is not a limit for other models and is left out.

    Raises:
        RecipeError: the file is not a recipe.
    """
    recipe = recipes.load(path)
    wanted = recipe.budget.model_dump(include={"latency_ns", "interval_cycles", *RESOURCES})
    limits = tuple(f"{name}={value!r}" for name, value in wanted.items() if value is not None)
    return Asked(recipe.target, recipe.search.solver, recipe.strategy, limits)


def _read(named: tuple[str, Any], data: Path | tuple[Sample, Sample], settings: PlanSettings) -> SearchedModel:
    name, given = named
    network = given if isinstance(given, Network) else frontends.read(given)
    train, test = jets(data)[::2] if isinstance(data, Path) else data  # validation jets lie between them
    for sample in (train, test):
        check(network, sample, model=name, data=data if isinstance(data, Path) else "data")
        if isinstance(sample.task, Tasks):
            raise DataError("plans are judged by one output, and these jets have targets of several")
        settings.measure(sample)
    variants = Variants.of(network, train.first(STATISTICS_JETS), criterion=settings.criterion)
    return SearchedModel(name=name, given=given, variants=variants, sample=train.first(settings.n_jets), test=test)


def _table(model: SearchedModel, target: Target, settings: PlanSettings, journal: Journal, track: Track) -> ChoiceTable:
    pricing = Pricing.of(model.variants.network, target, strategy=settings.strategy, io_type=settings.io_type)
    with track(f"options of {model.name}", len(list(model.variants.options(settings.grid)))) as advance:
        return tables.build(
            model.variants,
            model.sample,
            pricing,
            model=model.name,
            grid=settings.grid,
            metric=settings.measure(model.sample),
            journal=journal,
            advance=advance,
        )


def _solve(networks: WholeNetworks, track: Track) -> Confirmed:
    settings, problem = networks.settings, networks.problem
    evolves = settings.solver == "evolve"
    solve = partial(solvers.find("greedy" if evolves else settings.solver), n_points=1)
    with track("plans priced") as priced, track("plans measured") as measured:

        def price(plan: Plan) -> dict[str, float]:
            priced(1)
            return networks.figures(plan)

        def evaluate(plan: Plan) -> Plan:
            measured(1)
            return networks.evaluate(plan)

        every, most, exhausted = (max(_FEWEST, round(networks.lightness * n)) for n in (EVERY, MOST, EXHAUSTED))
        plans = explore(problem, solve, price, every=every, most=most)
        also = _evolved(networks, plans, track) if evolves else ()
        return confirm(problem, plans, evaluate, name=settings.solver, also=also, exhausted=exhausted)


def _evolved(networks: WholeNetworks, plans: PricedPlans, track: Track) -> tuple[PricedPlan, ...]:
    """Return the plans that the solver "evolve" tries, from the best priced ones on; only the interval limits them."""
    settings, largest, slowest = networks.settings, networks.problem.largest, networks.problem.slowest
    problem = networks.problem.limited(largest).within(slowest)
    if not problem.open:
        return ()
    good = [each.plan for each in plans.contenders() if each.plan.slowest <= slowest]
    seen: list[PricedPlan] = []
    with track("solver evolve", settings.n_trials) as advance:

        def evaluate(plan: Plan) -> Plan:
            seen.append(plans.add(plan))
            return replace(networks.evaluate(plan), used=seen[-1].shares(largest))

        solvers.evolve(
            problem,
            evaluate=evaluate,
            start=pareto.thinned(good, _STARTS),
            n_trials=settings.n_trials,
            seed=settings.seed,
            advance=advance,
        )
    return tuple(seen)


def _written(result: Searched, out: Path) -> Searched:
    chosen = result.solution.chosen
    drawn = costs.plan_front(
        [(plan.worst, plan.loss, plan.error) for plan in result.solution.front],
        (max(result.used.values(), default=0.0), chosen.loss, chosen.error),
        metric=result.metric,
        path=out / "pareto",
    )
    solution = out / "solution.json"
    stored.write(PlanSolution, solution, result.solution)
    return replace(result, files={path.name: str(path) for path in (solution, *drawn)})
