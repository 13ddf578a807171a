"""The whole networks of a plan: built, priced and measured, where a solver has only added up their layers."""

from collections.abc import Hashable
from dataclasses import dataclass, field, replace
from functools import cached_property, partial, reduce
from operator import add
from pathlib import Path
from typing import Any

import torch

from hepprune import frontends, metrics
from hepprune.hardware import cost
from hepprune.hardware.resources import Estimate
from hepprune.hardware.targets import Target
from hepprune.metrics import Metric, Score
from hepprune.network import Network
from hepprune.pruning.masks import nonzero_weights
from hepprune.search.plans import tables
from hepprune.search.plans.choices import Option, PlanProblem, limit_name
from hepprune.search.plans.pareto import Plan
from hepprune.search.plans.variants import ChoiceGrid, Variants
from hepprune.search.sensitivity.effects import compare, scored
from hepprune.store import Journal
from hepprune.task.sample import Sample

_LIGHT = 2**16  # weights up to which a network takes no time to speak of
_KEPT = 2**14  # weights of models whose networks are kept in memory, plan by plan


@dataclass(frozen=True, kw_only=True)
class PlanSettings:
    """How to search: the solver, the strategy of the hardware, the metric that must not suffer, and what may change.

    `n_jets` jets to train on measure the effects. `n_trials` and `seed` are of the solver "evolve".
    """

    solver: str = "greedy"
    strategy: str = "latency"
    io_type: str = "io_parallel"
    metric: str | Metric = "cross_entropy"
    grid: ChoiceGrid = field(default_factory=ChoiceGrid)
    criterion: str = "fisher"
    n_jets: int = 20_000
    n_trials: int = 300
    seed: int = 0

    def measure(self, sample: Sample) -> Metric:
        """Return the metric itself, as the task of the jets reads its name."""
        return sample.task.metric(self.metric) if isinstance(self.metric, str) else self.metric


@dataclass(frozen=True, kw_only=True)
class SearchedModel:
    """A model on its way through the search: as given, its variants, jets that choose, and jets to test on."""

    name: str
    given: Any
    variants: Variants
    sample: Sample
    test: Sample


@dataclass(frozen=True, kw_only=True)
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


@dataclass(frozen=True, kw_only=True)
class WholeNetworks:
    """All models of a search with what their plans are judged by."""

    models: tuple[SearchedModel, ...]
    target: Target
    settings: PlanSettings
    problem: PlanProblem
    journal: Journal
    _networks: dict[Hashable, Network] = field(default_factory=dict, repr=False, compare=False)
    _prices: dict[Hashable, Estimate] = field(default_factory=dict, repr=False, compare=False)

    @property
    def lightness(self) -> float:
        """How many plans can be priced, as a fraction of those of small networks, in about the same time."""
        n_weights = sum(nonzero_weights(model.variants.network) for model in self.models)
        return min(1.0, _LIGHT / max(n_weights, 1))

    def built(self, model: SearchedModel, plan: Plan) -> Network:
        """Return the network that a plan makes of a model; small ones are kept."""
        key = plan.key_of(model.name)
        found = self._networks.get(key)
        if found is None:
            found = model.variants.build(plan.of(model.name), draft=True)
            if nonzero_weights(model.variants.network) <= _KEPT:
                self._networks[key] = found
        return found

    def price(self, network: Network) -> Estimate:
        """Return the price of a whole network."""
        settings = self.settings
        return cost.estimate(network, self.target, strategy=settings.strategy, io_type=settings.io_type)

    def figures(self, plan: Plan) -> dict[str, float]:
        """Return what a plan's networks need: cells of all together, latency in ns and interval of each, by name."""
        prices: dict[str, Estimate] = {}
        for model in self.models:
            key = plan.key_of(model.name)
            if key not in self._prices:
                self._prices[key] = self.price(self.built(model, plan))
            prices[model.name] = self._prices[key]
        found = reduce(add, (price.resources for price in prices.values())).known()
        named = partial(limit_name, several=len(prices) > 1)
        for name, price in prices.items():
            found[named("latency_ns", name)] = price.latency_ns
            found[named("interval_cycles", name)] = float(price.interval_cycles)
        return found

    def evaluate(self, plan: Plan) -> Plan:
        """Return a plan with the loss and error that its whole networks have; the journal remembers them."""
        loss, error = self.journal.remember(self._key(plan), lambda: self._measured(plan))
        return replace(plan, loss=loss, error=error)

    def _measured(self, plan: Plan) -> tuple[float, float]:
        changes = [metrics.difference(self._score(m, self.built(m, plan)), self._before[m.name]) for m in self.models]
        loss = metrics.lost(self.settings.metric, sum(change.value for change in changes))
        return loss, sum(change.error**2 for change in changes) ** 0.5

    @cached_property
    def _before(self) -> dict[str, Score]:
        return {model.name: self._score(model, model.variants.network) for model in self.models}

    @torch.no_grad()
    def _score(self, model: SearchedModel, network: Network) -> Score:
        """Return the metric of a network in a model's place, on the jets that choose."""
        return scored(self.settings.measure(model.sample), network.logits(model.sample.x), model.sample)

    def _key(self, plan: Plan) -> list[Any]:
        chosen = [[pick.model, pick.layer, pick.option.key] for pick in plan.picks]
        return ["whole", chosen, *self._given]

    @cached_property
    def _given(self) -> list[Any]:
        given = [[*model.variants.key, model.sample.key] for model in self.models]
        judged_by = [tables.named(self.settings.measure(model.sample)) for model in self.models]
        return [given, judged_by]

    def planned(self, plan: Plan, out: Path | None) -> tuple[Planned, ...]:
        """Return what becomes of each model, written beside the solution where there is a folder."""
        return tuple(self._planned(model, plan.of(model.name), out) for model in self.models)

    def _planned(self, model: SearchedModel, options: dict[str, Option], out: Path | None) -> Planned:
        network = model.variants.build(options)
        given, measure = model.variants.network, self.settings.measure(model.test)
        before, after, change = compare(given, network, model.test, measure)
        file = None
        if out is not None:
            file = out / f"{model.name}{frontends.suffix(model.given)}"
            frontends.write(network, file, like=model.given)
        return Planned(
            model=model.name,
            file=None if file is None else str(file),
            options=options,
            estimate=self.price(network),
            before=before.value,
            before_error=before.error,
            after=after.value,
            change=change.value,
            change_error=change.error,
        )
