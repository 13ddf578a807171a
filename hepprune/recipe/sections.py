"""The sections of a recipe, each with its defaults and what its values may be; unknown keys are refused."""

from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from hepprune.errors import NetworkError, unknown
from hepprune.fixed import FixedPoint
from hepprune.hardware.cost import COST_MODELS, measured
from hepprune.metrics import METRICS
from hepprune.network.precision import Precision
from hepprune.pruning import granularity as granularities
from hepprune.pruning import importance, schedules, selection
from hepprune.recipe.base import Fraction, Positive, Section
from hepprune.recipe.data import Data
from hepprune.recipe.outputs import Head, Output, heads, meaning, outputs
from hepprune.scores import is_fraction
from hepprune.search import moves
from hepprune.search.plans.solvers import SOLVERS
from hepprune.search.stages import Settings
from hepprune.task import Classes, Task
from hepprune.training import Fit

_LOST = 0.01  # of an accuracy or an AUC, where a recipe says nothing


class Bits(Section):
    """Bits per value; `layers` holds exceptions by layer name (dense_1, relu_1, ...)."""

    inputs: str = "ap_fixed<8,4,AP_RND,AP_SAT>"
    weights: Annotated[int, Field(ge=2, le=16)] = 6
    activations: Annotated[int, Field(ge=1, le=16)] = 6
    overflow: Literal["SAT", "WRAP"] = "SAT"
    layers: dict[str, Annotated[int, Field(ge=1, le=16)]] = Field(default_factory=dict)

    @field_validator("inputs")
    @classmethod
    def _is_fixed_point(cls, text: str) -> str:
        try:
            return str(FixedPoint.parse(text))
        except NetworkError as problem:
            raise ValueError(str(problem)) from problem

    def precision(self) -> Precision:
        """Return the bits as the network takes them."""
        return Precision(FixedPoint.parse(self.inputs), self.weights, self.activations, self.overflow, self.layers)


class Training(Section):
    """How the baseline is trained: first in float, then under its quantisers."""

    float_epochs: Positive = 20
    epochs: Positive = 40
    batch_size: Positive = 1024
    learning_rate: Annotated[float, Field(gt=0)] = 6e-3

    def fit(self, epochs: int, *, quantised: bool = True) -> Fit:
        """Return one training's settings."""
        return Fit(epochs, self.batch_size, self.learning_rate, quantised=quantised)


class Model(Section):
    """The baseline: hidden sizes to train, or the file of a trained one."""

    hidden: tuple[Positive, ...] = (64, 32, 32)
    file: str | None = None
    bits: Bits = Field(default_factory=Bits)
    training: Training = Field(default_factory=Training)


class Limits(Section):
    """The budget; `lut_of_baseline` is a fraction of the unpruned baseline's LUTs (its solved adder graph).

    `max_loss` is what may be lost of metrics on the baseline, by their names; `max_accuracy_loss` is that of accuracy.
    """

    latency_ns: Annotated[float, Field(gt=0)] | None = None
    interval_cycles: Positive | None = None
    lut: Annotated[float, Field(ge=0)] | None = None
    lut_of_baseline: Fraction | None = None
    ff: Annotated[float, Field(ge=0)] | None = None
    dsp: Annotated[float, Field(ge=0)] | None = None
    bram18: Annotated[float, Field(ge=0)] | None = None
    max_loss: dict[str, Annotated[float, Field(gt=0)]] = Field(default_factory=dict)
    max_accuracy_loss: Fraction | None = None

    @model_validator(mode="after")
    def _limit_lut_once(self) -> "Limits":
        if self.lut is not None and self.lut_of_baseline is not None:
            raise ValueError("give lut or lut_of_baseline, not both")
        return self


class Search(Section):
    """How the search goes, see search.stages; `solver`: what `hepprune search` plans with, see search.plans.solvers.

    Without `granularities` it chooses among what pays under the recipe's strategy, see search.moves.
    """

    stages: Annotated[int, Field(ge=2)] = 12
    step: Fraction = 0.08
    granularities: tuple[str, ...] | None = None
    fine_tune_epochs: Positive = 8
    settle_epochs: Positive = 240
    trim_epochs: Positive = 20
    learning_rate: Annotated[float, Field(gt=0)] = 6e-3
    settle_learning_rate: Annotated[float, Field(gt=0)] = 1.2e-2
    trim_learning_rate: Annotated[float, Field(gt=0)] = 5e-4
    solver: str = "greedy"

    @field_validator("solver")
    @classmethod
    def _is_a_solver(cls, name: str) -> str:
        if name not in SOLVERS:
            raise ValueError(unknown("solver", name, SOLVERS))
        return name

    def settings(self, batch_size: int, *, digits: bool, stages: int | None = None) -> Settings:
        """Return the settings as the search takes them; `digits` says whether single ones are chosen."""
        return Settings(
            stages or self.stages,
            self.step,
            digits=digits,
            fine_tune=Fit(self.fine_tune_epochs, batch_size, self.learning_rate),
            settle=Fit(self.settle_epochs, batch_size, self.settle_learning_rate),
            trim=Fit(self.trim_epochs, batch_size, self.trim_learning_rate),
        )


class Prune(Section):
    """Pruning by one method before the search, or alone with `hepprune prune recipe.yaml`; see studies.iterative.

    `schedule` is a name, with `sparsity` reached after `rounds`, or the sparsities after each round themselves.
    """

    method: str = "magnitude"
    sparsity: Annotated[float, Field(ge=0, le=1)] | None = None
    granularity: str = "weight"
    scope: str = "global"
    normalisation: str = "none"
    keep: Annotated[int, Field(ge=0)] = 0
    schedule: str | tuple[float, ...] = "polynomial"
    rounds: Positive = 5
    fine_tune_epochs: Positive = 8
    learning_rate: Annotated[float, Field(gt=0)] = 6e-3
    patience: Positive | None = None
    monitor: str = "loss"

    @model_validator(mode="after")
    def _can_be_followed(self) -> "Prune":
        tables: dict[str, Iterable[str]] = {
            "method": importance.CRITERIA,
            "scope": selection.SCOPES,
            "normalisation": selection.NORMALISATIONS,
            "monitor": ("loss", *METRICS),  # of one of several outputs, after a dot
        }
        for kind, known in tables.items():
            if getattr(self, kind).rpartition(".")[2] not in known:
                raise ValueError(unknown(kind, getattr(self, kind), known))
        try:
            granularities.parse(self.granularity)
            schedules.sparsities(self.schedule, self.sparsity, rounds=self.rounds)
        except NetworkError as problem:
            raise ValueError(str(problem)) from problem
        return self

    @property
    def n_rounds(self) -> int:
        """Cuts that are made, each with its fine-tuning."""
        return len(schedules.sparsities(self.schedule, self.sparsity, rounds=self.rounds))

    def options(self, batch_size: int) -> dict[str, Any]:
        """Return the options as studies.iterative takes them."""
        own = {"patience": self.patience, "monitor": self.monitor}
        tuned = {"fine_tune_epochs", "learning_rate", *own}
        fine_tune = Fit(self.fine_tune_epochs, batch_size, self.learning_rate, **own)  # type: ignore[arg-type]
        return {**self.model_dump(exclude=tuned), "fine_tune": fine_tune}


class Synthesis(Section):
    """Which tool measures, and how often the search may go on after a measurement over budget.

    With `tool: elsewhere` the run stops at each design that has to be measured on another machine, at `stage`.
    """

    tool: str = "auto"
    stage: Literal["csynth", "vsynth", "route", "yosys"] | None = None
    max_iterations: Positive = 5

    @model_validator(mode="after")
    def _name_a_stage_only_elsewhere(self) -> "Synthesis":
        if self.stage is not None and self.tool != "elsewhere":
            raise ValueError(f"a stage is for `tool: elsewhere`; the tool '{self.tool}' has its own")
        return self


class Checks(Section):
    """How many jets each equality is proved on."""

    csim_vectors: Positive = 10_000
    rtl_vectors: Positive = 2_000


class Recipe(Section):
    """One run from jets to measured firmware; `reuse_factor` is that of every layer, or of those named.

    Without one, layers keep what the model brings.
    """

    name: Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_]*$")]
    seed: Annotated[int, Field(ge=0)] = 1
    target: str = "generic_vu13p"
    strategy: str = "distributed_arithmetic"
    reuse_factor: Positive | dict[str, Positive] | None = None
    task: Annotated[dict[str, Head], Field(min_length=1)] = Field(default_factory=lambda: {"": Head()})
    data: Data
    model: Model = Field(default_factory=Model)
    budget: Limits
    prune: Prune | None = None
    search: Search = Field(default_factory=Search)
    synthesis: Synthesis = Field(default_factory=Synthesis)
    checks: Checks = Field(default_factory=Checks)

    @field_validator("strategy")
    @classmethod
    def _has_a_cost_model(cls, name: str) -> str:
        if name in measured.DEVICES:
            raise ValueError(
                f"'{name}' measures on this machine and makes no firmware; use `hepprune latency --on {name}`"
            )
        if name not in COST_MODELS:
            raise ValueError(unknown("strategy", name, COST_MODELS))
        return name

    @property
    def granularities(self) -> tuple[str, ...]:
        """What the search chooses among."""
        return self.search.granularities or moves.CHOICES.get(self.strategy, moves.CHOICES["latency"])

    def settings(self, *, stages: int | None = None) -> Settings:
        """Return the settings of the search."""
        digits = "digit" in self.granularities
        return self.search.settings(self.model.training.batch_size, digits=digits, stages=stages)

    @model_validator(mode="after")
    def _chooses_what_pays(self) -> "Recipe":
        allowed = moves.ALLOWED.get(self.strategy, moves.ALLOWED["latency"])
        if self.search.granularities is not None and not set(self.granularities) <= set(allowed):
            raise ValueError(f"search.granularities of strategy {self.strategy} are {', '.join(allowed)}")
        if self.search.granularities == ():
            raise ValueError("search.granularities names none")
        if self.strategy == "distributed_arithmetic" and self.reuse_factor not in (None, 1):
            raise ValueError("strategy distributed_arithmetic has no multipliers to share, so no reuse_factor but 1")
        return self

    @field_validator("task", mode="before")
    @classmethod
    def _is_by_output(cls, given: Any) -> Any:
        return heads(given)

    @model_validator(mode="after")
    def _can_be_learned(self) -> "Recipe":
        _ = self.max_losses  # refuses tasks that go with no columns, and metrics that are none of a task
        flat = len(self.task) == 1 and all(len(each.shape) == 1 for each in self.data.columns.values())
        if self.model.file is None and not (flat and len(self.data.columns) == 1):
            raise ValueError(
                "model.hidden makes a network of one number per feature and one output; "
                "several inputs or outputs, and constituents, need a model of their own: give model.file"
            )
        known = ("loss", *self.meaning.metrics)
        if self.prune is not None and self.prune.monitor not in known:
            raise ValueError(f"prune: {unknown('monitor', self.prune.monitor, known)}")
        return self

    @property
    def outputs(self) -> dict[str, Output]:
        """What each output is to learn, by its name; the only one may have the name ""."""
        return outputs(self.task, self.data)

    @property
    def meaning(self) -> Task:
        """What the outputs mean."""
        return meaning(self.outputs)

    @property
    def max_losses(self) -> dict[str, float]:
        """What may be lost of each metric on the baseline; without a word a hundredth of an accuracy or AUC."""
        return max_losses(self.budget, self.outputs, self.meaning)


def max_losses(budget: Limits, found: Mapping[str, Output], task: Task) -> dict[str, float]:
    """Return what may be lost of each metric.

    Raises:
        ValueError: a metric is none of the task's, is limited twice, or has no limit and needs one.
    """
    allowed = dict(budget.max_loss)
    for name in allowed:
        if name not in task.metrics:
            raise ValueError(f"budget.max_loss: {unknown('metric', name, task.metrics)}")
    hits = [_named(name, "accuracy") for name, output in found.items() if isinstance(output.task, Classes)]
    if budget.max_accuracy_loss is not None:
        if not hits or set(hits) & set(allowed):
            raise ValueError(
                f"budget.max_accuracy_loss is of the task classes, once; give max_loss: {{{task.metrics[0]}: ...}}"
            )
        allowed |= dict.fromkeys(hits, budget.max_accuracy_loss)
    for name, output in found.items():
        own = [_named(name, metric) for metric in output.task.metrics]
        if not set(own) & set(allowed):
            if not is_fraction(own[0]):
                raise ValueError(f"budget.max_loss: say how much may be lost of {own[0]}, as in {{{own[0]}: 0.1}}")
            allowed[own[0]] = _LOST
    return allowed


def _named(output: str, metric: str) -> str:
    return f"{output}.{metric}" if output else metric
