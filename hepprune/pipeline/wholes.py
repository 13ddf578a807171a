"""The whole networks of a plan: built, priced and measured, where a solver has only added up their layers."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from hepprune import frontends, metrics
from hepprune.files import content_hash
from hepprune.hardware import cost
from hepprune.hardware.resources import Budget, Estimate, Resources
from hepprune.hardware.targets import Target
from hepprune.metrics import Metric
from hepprune.network import Network, identity
from hepprune.search.effects import compare
from hepprune.search.plans import tables
from hepprune.search.plans.choices import Option, Problem, latency_name
from hepprune.search.plans.journal import Journal
from hepprune.search.plans.pareto import Plan
from hepprune.search.plans.variants import Grid, Workshop
from hepprune.training import Sample


@dataclass(frozen=True)
class Settings:
    """How to search: the solver, the strategy of the hardware, the metric that must not suffer, and what may change.

    `n_jets` jets to train on measure the effects. `n_trials` and `seed` are of the solver "evolve".
    """

    solver: str = "greedy"
    strategy: str = "latency"
    io_type: str = "io_parallel"
    metric: str | Metric = "cross_entropy"
    grid: Grid = field(default_factory=Grid)
    criterion: str = "fisher"
    n_jets: int = 20_000
    n_trials: int = 300
    seed: int = 0

    @property
    def measure(self) -> Metric:
        """The metric itself."""
        return metrics.find(self.metric) if isinstance(self.metric, str) else self.metric


@dataclass(frozen=True)
class Model:
    """A model on its way through the search: as given, its workshop, jets that choose, and jets to test on."""

    name: str
    given: Any
    workshop: Workshop
    sample: Sample
    test: Sample


@dataclass(frozen=True)
class Planned:
    """One model after the search: what is chosen for its layers, its price, and the metric on jets to test on.

    `change` is the metric of the smaller model less that of the given one, on the same jets, with its paired error.
    """

    model: str
    file: str | None
    options: dict[str, Option]
    estimate: Estimate
    before: float
    before_error: float
    after: float
    change: float
    change_error: float


@dataclass(frozen=True)
class Wholes:
    """All models of a search with what their plans are judged by."""

    models: tuple[Model, ...]
    target: Target
    settings: Settings
    problem: Problem
    journal: Journal

    def built(self, plan: Plan) -> dict[str, Network]:
        """Return the network that a plan makes of each model."""
        return {model.name: model.workshop.build(plan.of(model.name)) for model in self.models}

    def price(self, network: Network) -> Estimate:
        """Return the price of a whole network."""
        settings = self.settings
        return cost.estimate(network, self.target, strategy=settings.strategy, io_type=settings.io_type)

    def shares(self, plan: Plan) -> dict[str, float]:
        """Return what a plan's networks use together, as a share of each limit."""
        return self._used({name: self.price(network) for name, network in self.built(plan).items()})

    def evaluate(self, plan: Plan) -> Plan:
        """Return a plan with the loss, error and shares that its whole networks have; the journal remembers them."""
        loss, error, used = self.journal.remember(self._key(plan), lambda: self._judged(plan))
        return replace(plan, loss=loss, error=error, used=used)

    def _judged(self, plan: Plan) -> list[Any]:
        built = self.built(plan)
        measure = self.settings.measure
        changes = [
            compare(model.workshop.network, built[model.name], model.sample, measure)[2] for model in self.models
        ]
        loss = tables.sign(measure) * sum(change.value for change in changes)
        error = sum(change.error**2 for change in changes) ** 0.5
        return [loss, error, self._used({name: self.price(network) for name, network in built.items()})]

    def _key(self, plan: Plan) -> str:
        chosen = [[pick.model, pick.layer, str(pick.option)] for pick in plan.picks]
        given = [[identity(model.workshop.network), tables.jets_key(model.sample)] for model in self.models]
        settings = self.settings
        how = [settings.strategy, settings.io_type, settings.criterion, tables.named(settings.measure)]
        return content_hash("plan", chosen, given, how, self.target.name, self.problem.resources.known())

    def _used(self, prices: Mapping[str, Estimate]) -> dict[str, float]:
        together = Resources(**dict.fromkeys(self.problem.resources.known(), 0.0))
        for price in prices.values():
            together += price.resources
        whole = replace(next(iter(prices.values())), resources=together)
        used = Budget(resources=self.problem.resources).usage(whole)
        several = len(self.problem.tables) > 1
        for table in self.problem.tables:
            own = Budget(latency_ns=table.latency_ns).usage(prices[table.model])
            used |= {latency_name(table.model, several): share for share in own.values()}
        return used

    def planned(self, plan: Plan, out: Path | None) -> tuple[Planned, ...]:
        """Return what becomes of each model, written beside the solution where there is a folder."""
        built = self.built(plan)
        return tuple(self._planned(model, plan.of(model.name), built[model.name], out) for model in self.models)

    def _planned(self, model: Model, options: dict[str, Option], network: Network, out: Path | None) -> Planned:
        given, measure = model.workshop.network, self.settings.measure
        before, after, change = compare(given, network, model.test, measure)
        file = None
        if out is not None:
            suffix = Path(model.given).suffix if isinstance(model.given, str | Path) else ".npz"
            file = out / f"{model.name}{suffix}"
            frontends.write(network, file, like=model.given)
        scores = before.value, before.error, after.value, change.value, change.error
        return Planned(model.name, None if file is None else str(file), options, self.price(network), *scores)
