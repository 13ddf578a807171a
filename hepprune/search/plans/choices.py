"""Choices: the ways each layer could be built, what each does to the metric and what it needs; and plans made of them.

Effects and costs are added over layers. That is an approximation, the separable one, which makes a search take seconds
and its optimum provable; whoever uses a plan prices and measures the whole network again.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from hepprune.errors import RecipeError
from hepprune.hardware.resources import RESOURCES, Budget, Resources


@dataclass(frozen=True, kw_only=True)
class Option:
    """One way to build a layer: what is cut, how often its multipliers are used again, and its bits.

    `loss` is by how much the metric gets worse (lower is better, whatever the metric), with its statistical `error`.
    Resources and latency are the layer's share. None leaves reuse factor or bits as they are.
    """

    granularity: str = "weight"
    sparsity: float = 0.0
    reuse_factor: int | None = None
    weight_bits: int | None = None
    activation_bits: int | None = None
    input_bits: int | None = None
    loss: float = 0.0
    error: float = 0.0
    resources: Resources = field(default_factory=Resources)
    latency_ns: float = 0.0
    interval_cycles: int = 1

    @property
    def significant(self) -> bool:
        """Whether the change of the metric exceeds its statistical error; a smaller one is noise."""
        return abs(self.loss) > self.error

    @property
    def kept(self) -> float:
        """The fraction of the layer's neurons that stay."""
        return 1 - self.sparsity if self.granularity == "neuron" else 1.0

    @property
    def key(self) -> tuple[object, ...]:
        """What is done, without what it does and costs."""
        bits = self.weight_bits, self.activation_bits, self.input_bits
        return self.granularity, self.sparsity, self.reuse_factor, *bits

    def __str__(self) -> str:
        """Say what is done, in a few words."""
        parts = [f"{100 * self.sparsity:.4g} % of its {self.granularity}s cut"] if self.sparsity else []
        parts += [f"reuse factor {self.reuse_factor}"] if self.reuse_factor is not None else []
        bits = {"weights": self.weight_bits, "activations": self.activation_bits, "inputs": self.input_bits}
        parts += [f"{each}-bit {of}" for of, each in bits.items() if each is not None]
        return ", ".join(parts) or "left as it is"


@dataclass(frozen=True)
class Choice:
    """The options of one layer, of which a plan takes one."""

    layer: str
    options: tuple[Option, ...]

    def within(self, slowest: float, spared: str | None) -> "Choice":
        """Return the choice without slower options, and without those that use any of the cells to be spared."""
        quick = (option for option in self.options if option.interval_cycles <= slowest)
        return Choice(self.layer, tuple(o for o in quick if spared is None or not getattr(o.resources, spared)))


@dataclass(frozen=True, kw_only=True)
class ChoiceTable:
    """Everything that can be chosen for one model, beside what it needs in any case (`fixed`).

    `feeders` names, for a layer, those whose neurons it reads; see `search.plans.links`.
    """

    model: str
    choices: tuple[Choice, ...]
    latency_ns: float | None = None
    interval_cycles: int | None = None
    fixed: Resources = field(default_factory=Resources)
    fixed_latency_ns: float = 0.0
    feeders: dict[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class PlanProblem:
    """Models that share one device: what each may choose, and what all of them may use together."""

    tables: tuple[ChoiceTable, ...]
    resources: Resources = field(default_factory=Resources)

    @classmethod
    def of(cls, tables: Sequence[ChoiceTable], budget: Budget) -> "PlanProblem":
        """Return the problem of models that each have to meet the budget's latency and interval, and share its cells.

        Raises:
            RecipeError: there is no model, or two of one name.
        """
        names = [table.model for table in tables]
        if not names or len(set(names)) != len(names):
            raise RecipeError("a search needs at least one model, and a name of its own for each")
        latency, interval = budget.latency_ns, budget.interval_cycles
        limited = (replace(table, latency_ns=latency, interval_cycles=interval) for table in tables)
        return cls(tuple(limited), budget.resources)

    def limited(self, limits: Mapping[str, float]) -> "PlanProblem":
        """Return the problem with these limits on cells and latency, by name, and with no other."""
        named = self._named("latency_ns").items()
        tables = tuple(replace(table, latency_ns=limits.get(name), interval_cycles=None) for name, table in named)
        cells = {name: limit for name, limit in limits.items() if name in RESOURCES}
        return PlanProblem(tables, Resources(**cells))

    def _named(self, figure: str) -> dict[str, ChoiceTable]:
        """Return the tables by the names of a limit of their own."""
        several = len(self.tables) > 1
        return {limit_name(figure, table.model, several=several): table for table in self.tables}

    @property
    def open(self) -> bool:
        """Whether every choice has an option left."""
        return all(choice.options for table in self.tables for choice in table.choices)

    @property
    def slowest(self) -> float:
        """The interval that every model has to keep, infinite without a limit."""
        return min((table.interval_cycles or math.inf for table in self.tables), default=math.inf)

    def within(self, slowest: float, *, spared: str | None = None) -> "PlanProblem":
        """Return the problem without slower options, and without those that use any of the cells to be spared."""
        kept = ((table, tuple(each.within(slowest, spared) for each in table.choices)) for table in self.tables)
        return replace(self, tables=tuple(replace(table, choices=choices) for table, choices in kept))

    @property
    def sums(self) -> dict[str, float]:
        """The limits that are sums over layers, by name: shared cells, and each model's latency."""
        own = {name: table.latency_ns for name, table in self._named("latency_ns").items()}
        return self.resources.known() | {name: limit for name, limit in own.items() if limit is not None}

    @property
    def intervals(self) -> dict[str, float]:
        """The limit on each model's interval, by name; all of an interval of 1 is always used."""
        own = {name: table.interval_cycles for name, table in self._named("interval_cycles").items()}
        return {name: float(limit) for name, limit in own.items() if limit is not None}

    @property
    def limits(self) -> dict[str, float]:
        """Every limit by name."""
        return self.sums | self.intervals

    @property
    def largest(self) -> dict[str, float]:
        """What the largest option of every layer would add up to, by name; only of what every option tells."""

        def largest(name: str, table: ChoiceTable) -> float:
            most = (max(use_of(name, table.model, option) for option in choice.options) for choice in table.choices)
            return fixed_of(name, table) + sum(most)

        names = (*RESOURCES, *self._named("latency_ns"))
        totals = {name: sum(largest(name, table) for table in self.tables) for name in names}
        return {name: total for name, total in totals.items() if math.isfinite(total) and total > 0}

    @property
    def places(self) -> tuple[tuple[str, str], ...]:
        """The model and layer of each choice, in the order of a plan."""
        return tuple((table.model, choice.layer) for table in self.tables for choice in table.choices)


def limit_name(figure: str, model: str, *, several: bool) -> str:
    """Return the name of a model's latency or interval, which tells it from those of others where there are several."""
    return f"{figure} of {model}" if several else figure


def use_of(name: str, model: str, option: Option) -> float:
    """Return what an option of a model uses of a limit, infinite where nobody knows."""
    if name in RESOURCES:
        value = getattr(option.resources, name)
        return math.inf if value is None else float(value)
    return option.latency_ns if name in {"latency_ns", f"latency_ns of {model}"} else 0.0


def fixed_of(name: str, table: ChoiceTable) -> float:
    """Return what a model uses of a limit in any case."""
    if name in RESOURCES:
        return float(getattr(table.fixed, name) or 0.0)
    return table.fixed_latency_ns if name in {"latency_ns", f"latency_ns of {table.model}"} else 0.0
