"""The sections of a recipe, each with its defaults and what its values may be; unknown keys are refused."""

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, model_validator

from hepprune.data.inputs import TRANSFORMS
from hepprune.errors import HeppruneError, check_known
from hepprune.files.documents import Section
from hepprune.fixed import FixedPoint
from hepprune.hardware.targets.files import HardLimits
from hepprune.metrics import is_lower_better
from hepprune.network.precision import Precision
from hepprune.pruning import granularity as granularities
from hepprune.pruning import importance, schedules, selection
from hepprune.recipe.architectures import Architecture
from hepprune.search.plans.solvers import SOLVERS
from hepprune.search.stages import Settings
from hepprune.training import Fit

Positive = Annotated[int, Field(ge=1, le=10**9)]  # what is larger is not a count, and may be more than a float holds
Fraction = Annotated[float, Field(gt=0, le=1)]


@contextmanager
def placed(before: str = "") -> Iterator[None]:
    """Turn an error into one that pydantic says the place of."""
    try:
        yield
    except HeppruneError as problem:
        raise ValueError(f"{before}{problem}") from problem


def through(function: Callable[[Any], Any]) -> AfterValidator:
    """Return what makes of a value what a function does, which may refuse it."""

    def passed(value: Any) -> Any:
        with placed():
            return function(value)

    return AfterValidator(passed)


def one_of(kind: str, choices: Collection[str]) -> AfterValidator:
    """Return what refuses all but these names of a kind."""

    def known(name: str) -> str:
        check_known(kind, name, choices, ValueError)
        return name

    return AfterValidator(known)


class Teacher(Section):
    """A float network that is trained first, and whose score of each jet is what the recipe's network learns.

    A `reconstruction` learns to put together again what is not signal, and its score is the mean squared residual, to
    which a `transform` is applied. Of a `latent` the scores are the values of the narrowest of the `hidden` layers,
    which then has no ReLU, with a mean of 0 and a spread of 1 over what is not signal. The task `binary` learns to tell
    signal, and its score is the logit. With `of_signal` false the network learns no score of signal.
    """

    task: Literal["reconstruction", "latent", "binary"] = "reconstruction"
    hidden: Annotated[tuple[Positive, ...], Field(min_length=1)] | None = None
    architecture: Architecture | None = None
    transform: Annotated[str, one_of("transform", TRANSFORMS)] = "none"
    of_signal: bool = True
    epochs: Positive = 20
    batch_size: Positive = 512
    learning_rate: Annotated[float, Field(gt=0)] = 3e-3

    def _faults(self) -> Iterator[str]:
        if (self.hidden is None) == (self.architecture is None):
            yield "a teacher has hidden sizes or an architecture, one of the two"
        if self.hidden is None and self.task == "latent":
            yield "latent values are those of the narrowest of the hidden sizes; give hidden"
        if self.transform != "none" and self.task != "reconstruction":
            yield f"the transform {self.transform} is of scores from 0 up; those of {self.task} may be below"

    @property
    def narrowest(self) -> int:
        """Which of the hidden layers is the narrowest, counted from 1."""
        sizes = self.hidden or (1,)
        return 1 + sizes.index(min(sizes))

    @property
    def scores(self) -> tuple[str, ...]:
        """The names of its scores."""
        if self.task != "latent" or self.hidden is None:
            return ("score",)
        return tuple(f"mu_{index}" for index in range(min(self.hidden)))

    @property
    def fit(self) -> Fit:
        """Its training's settings."""
        return Fit(epochs=self.epochs, batch_size=self.batch_size, learning_rate=self.learning_rate, quantised=False)


class Bits(Section):
    """Bits per value; `layers` holds exceptions by layer name (dense_1, relu_1, ...)."""

    inputs: Annotated[str, through(lambda text: str(FixedPoint.parse(text)))] = "ap_fixed<8,4,AP_RND,AP_SAT>"
    weights: Annotated[int, Field(ge=2, le=16)] = 6
    activations: Annotated[int, Field(ge=1, le=16)] = 6
    overflow: Literal["SAT", "WRAP"] = "SAT"
    layers: dict[str, Annotated[int, Field(ge=1, le=16)]] = Field(default_factory=dict)

    def precision(self) -> Precision:
        """Return the bits as the network takes them."""
        return Precision(
            inputs=FixedPoint.parse(self.inputs),
            weight_bits=self.weights,
            activation_bits=self.activations,
            overflow=self.overflow,
            layer_bits=self.layers,
        )


class Training(Section):
    """How the baseline is trained: first in float, then under its quantisers."""

    float_epochs: Positive = 20
    epochs: Positive = 40
    batch_size: Positive = 1024
    learning_rate: Annotated[float, Field(gt=0)] = 6e-3

    def fit(self, epochs: int, *, quantised: bool = True, objective: str = "loss") -> Fit:
        """Return one training's settings; its best epoch is that of the best `objective`."""
        own = {"batch_size": self.batch_size, "learning_rate": self.learning_rate}
        return Fit(epochs=epochs, **own, quantised=quantised, monitor=objective)  # type: ignore[arg-type]


class Model(Section):
    """The baseline: hidden sizes or an architecture to train, or the file of a trained one."""

    hidden: tuple[Positive, ...] = (64, 32, 32)
    architecture: Architecture | None = None
    file: str | None = None
    bits: Bits = Field(default_factory=Bits)
    training: Training = Field(default_factory=Training)

    def _faults(self) -> Iterator[str]:
        given = self.model_fields_set & {"hidden", "architecture", "file"}
        if self.architecture is not None and len(given) > 1:
            yield f"give one of {' and '.join(sorted(given))}, not both"


class Limits(HardLimits):
    """The budget; `lut_of_baseline` is a fraction of the unpruned baseline's LUTs.

    Those are of its solved adder graph, or, where the strategy has none, as the cost model estimates them at the stage
    that is measured, corrected by what the ledger knew when the job was first run.
    `max_loss` is what may be lost of metrics on the baseline, by their names; `max_accuracy_loss` is that of accuracy.
    """

    lut_of_baseline: Fraction | None = None
    max_loss: dict[str, Annotated[float, Field(gt=0)]] = Field(default_factory=dict)
    max_accuracy_loss: Fraction | None = None

    def _faults(self) -> Iterator[str]:
        if self.lut is not None and self.lut_of_baseline is not None:
            yield "give lut or lut_of_baseline, not both"


class Search(Section):
    """How the search goes, see search.stages; `solver`: what `hepprune search` plans with, see search.plans.solvers.

    Without `granularities` it chooses among what pays under the recipe's strategy, see search.moves. The kind
    "allocation" is one training of `epochs` in place of stages, for chains of dense layers; as a `front`, which is
    always one, it keeps networks of many budgets on its way, in place of one. `batch_size`, jets per step of all its
    trainings, is the baseline's without a word.
    """

    stages: Annotated[int, Field(ge=2)] = 12
    kind: Literal["stages", "allocation"] = "stages"
    epochs: Positive = 240
    batch_size: Positive | None = None
    front: bool = False
    step: Fraction = 0.08
    granularities: tuple[str, ...] | None = None
    fine_tune_epochs: Positive = 8
    settle_epochs: Positive = 240
    trim_epochs: Positive = 20
    learning_rate: Annotated[float, Field(gt=0)] = 6e-3
    settle_learning_rate: Annotated[float, Field(gt=0)] = 1.2e-2
    trim_learning_rate: Annotated[float, Field(gt=0)] = 5e-4
    solver: Annotated[str, one_of("solver", SOLVERS)] = "greedy"

    @model_validator(mode="before")
    @classmethod
    def _makes_a_front_by_an_allocation(cls, given: Any) -> Any:
        is_front = isinstance(given, dict) and given.get("front") is True
        return {"kind": "allocation"} | given if is_front else given

    def settings(
        self, batch_size: int, *, digits: bool, bits: bool = False, stages: int | None = None, objective: str = "loss"
    ) -> Settings:
        """Return the settings as the search takes them; `digits` and `bits` say whether single ones are chosen."""
        fit = partial(Fit, batch_size=self.batch_size or batch_size, monitor=objective)
        return Settings(
            stages=stages or self.stages,
            step=self.step,
            digits=digits,
            bits=bits,
            allocate=fit(epochs=self.epochs, learning_rate=self.learning_rate) if self.kind == "allocation" else None,
            fine_tune=fit(epochs=self.fine_tune_epochs, learning_rate=self.learning_rate),
            settle=fit(epochs=self.settle_epochs, learning_rate=self.settle_learning_rate),
            trim=fit(epochs=self.trim_epochs, learning_rate=self.trim_learning_rate),
        )


def _watched(name: str) -> str:
    """Return what judges epochs, the loss or a metric with a better side."""
    if name != "loss" and ":" not in name:
        with placed("a monitor is the loss or a metric: "):
            is_lower_better(name)  # its arguments are the task's to check
    return name


class Prune(Section):
    """Pruning by one method before the search, or alone with `hepprune prune recipe.yaml`; see studies.iterative.

    `schedule` is a name, with `sparsity` reached after `rounds`, or the sparsities after each round themselves.
    """

    method: Annotated[str, one_of("method", importance.CRITERIA)] = "magnitude"
    sparsity: Annotated[float, Field(ge=0, le=1)] | None = None
    granularity: str = "weight"
    scope: Annotated[str, one_of("scope", selection.SCOPES)] = "global"
    normalisation: Annotated[str, one_of("normalisation", selection.NORMALISATIONS)] = "none"
    keep: Annotated[int, Field(ge=0)] = 0
    schedule: str | tuple[float, ...] = "polynomial"
    rounds: Positive = 5
    fine_tune_epochs: Positive = 8
    learning_rate: Annotated[float, Field(gt=0)] = 6e-3
    patience: Positive | None = None
    monitor: Annotated[str, AfterValidator(_watched)] = "loss"

    def _faults(self) -> Iterator[str]:
        with placed():
            granularities.parse(self.granularity)
            schedules.sparsities(self.schedule, self.sparsity, rounds=self.rounds)
        yield from ()

    @property
    def n_rounds(self) -> int:
        """Cuts that are made, each with its fine-tuning."""
        return len(schedules.sparsities(self.schedule, self.sparsity, rounds=self.rounds))

    def options(self, batch_size: int) -> dict[str, Any]:
        """Return the options as studies.iterative takes them."""
        own = {"patience": self.patience, "monitor": self.monitor}
        tuned = {"fine_tune_epochs", "learning_rate", *own}
        fine_tune = Fit(epochs=self.fine_tune_epochs, batch_size=batch_size, learning_rate=self.learning_rate, **own)  # type: ignore[arg-type]
        return {**self.model_dump(exclude=tuned), "fine_tune": fine_tune}


class Synthesis(Section):
    """Which tool measures, and how often the search may go on after a measurement over budget.

    With `tool: elsewhere` the run stops at each design that has to be measured on another machine, at `stage`. With
    `uniform` the network of uniform pruning is measured too, and is pruned until it measures what the design does.
    `solver` makes the adder graph of which Verilog is written.
    """

    tool: str = "auto"
    stage: Literal["csynth", "vsynth", "route", "yosys"] | None = None
    max_iterations: Positive = 5
    uniform: bool = False
    solver: Literal["da4ml", "alkaid"] = "da4ml"

    def _faults(self) -> Iterator[str]:
        if self.uniform and self.tool == "elsewhere":
            yield "uniform pruning is measured by tools of this machine only, not by `tool: elsewhere`"
        if self.stage is not None and self.tool != "elsewhere":
            yield f"a stage is for `tool: elsewhere`; the tool '{self.tool}' has its own"


class Checks(Section):
    """How many jets each equality is proved on."""

    csim_vectors: Positive = 10_000
    rtl_vectors: Positive = 2_000
