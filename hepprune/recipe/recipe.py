"""A whole recipe: its sections, and what they mean together."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from hepprune.errors import check_known
from hepprune.files.documents import Section
from hepprune.hardware.cost import COST_MODELS, measured
from hepprune.metrics import Conditions, is_lower_better
from hepprune.metrics.scores import is_fraction
from hepprune.recipe.data import Data
from hepprune.recipe.outputs import Head, HeadByOutput, Output, outputs
from hepprune.recipe.sections import Checks, Limits, Model, Positive, Prune, Search, Synthesis, placed
from hepprune.search import moves
from hepprune.search.stages import Settings
from hepprune.task import Classes, Task, Tasks

_LOST = 0.01  # of an accuracy or an AUC, where a recipe says nothing


def _priced(strategy: str) -> str:
    if strategy in measured.DEVICES:
        use = f"use `hepprune latency --on {strategy}`"
        raise ValueError(f"'{strategy}' measures on this machine, without firmware; {use}")
    check_known("strategy", strategy, COST_MODELS, ValueError)
    return strategy


class Recipe(Section):
    """One run from jets to measured firmware; `reuse_factor` is that of every layer, or of those named.

    Without one, layers keep what the model brings. The `objective`, the loss or a metric, decides which epoch of a
    training is the best and which moves of the search are taken. `metrics` names what else the networks are judged by;
    rates are of `n_bunches`, and metrics of your own are looked for in `metrics_folder`, that of the recipe if it names
    none. The `device` is where networks train and are scored, the processor without a word.
    """

    name: Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_]*$")]
    seed: Annotated[int, Field(ge=0)] = 1
    target: str = "generic_vu13p"
    strategy: Annotated[str, AfterValidator(_priced)] = "distributed_arithmetic"
    reuse_factor: Positive | dict[str, Positive] | None = None
    task: HeadByOutput = Field(default_factory=lambda: {"": Head()})
    data: Data
    model: Model = Field(default_factory=Model)
    budget: Limits
    objective: str = "loss"
    metrics: tuple[str, ...] = ()
    n_bunches: Positive | None = None
    device: Annotated[Literal["auto", "cpu", "cuda"] | None, Field(exclude=True)] = None
    metrics_folder: Annotated[Path | None, Field(exclude=True)] = None
    prune: Prune | None = None
    search: Search = Field(default_factory=Search)
    synthesis: Synthesis = Field(default_factory=Synthesis)
    checks: Checks = Field(default_factory=Checks)

    @property
    def granularities(self) -> tuple[str, ...]:
        """What the search chooses among."""
        if self.search.granularities is None and self.search.kind == "allocation":
            return moves.ALLOCATED
        return self.search.granularities or moves.CHOICES.get(self.strategy, moves.CHOICES["latency"])

    def settings(self, *, stages: int | None = None) -> Settings:
        """Return the settings of the search."""
        bits = "bit" in self.granularities and self.search.kind == "allocation"  # stages take them move by move
        chosen = {"digits": "digit" in self.granularities, "bits": bits}
        batch_size = self.model.training.batch_size
        return self.search.settings(batch_size, **chosen, stages=stages, objective=self.objective)

    def _faults(self) -> Iterator[str]:
        yield from self._faults_of_search()
        _ = self.max_losses  # refuses tasks that go with no columns, and metrics that are none of a task
        if self.model.file is None and self.model.architecture is None and not self.is_plain:
            yield (
                "model.hidden makes a network of one number per feature and one output; several inputs or outputs, and "
                "constituents, need a model of their own: give model.file, or of one input model.architecture"
            )
        for name in self.metrics:
            _check_metric("metrics", name, self.meaning)
        if self.objective != "loss":
            _check_metric("objective", self.objective, self.meaning)
        if self.prune is not None and self.prune.monitor != "loss":
            _check_metric("prune.monitor", self.prune.monitor, self.meaning)

    def _faults_of_search(self) -> Iterator[str]:
        allowed = moves.ALLOWED.get(self.strategy, moves.ALLOWED["latency"])
        if self.search.granularities is not None and not set(self.granularities) <= set(allowed):
            known = ", ".join(allowed)
            yield f"search.granularities: with strategy {self.strategy} granularities are {known}"
        if self.search.kind == "allocation" and self.strategy != "distributed_arithmetic":
            yield f"search.kind: an allocation chooses digits, which cost nothing in strategy {self.strategy}"
        if self.search.kind == "allocation" and "digit" not in self.granularities:
            yield "search.granularities: an allocation chooses digits, and 'digit' is not among them"
        if self.search.front and (self.search.kind != "allocation" or "bit" not in self.granularities):
            yield "search.front: a front takes the kind 'allocation' with 'bit' among its granularities"
        if self.search.granularities == ():
            yield "search.granularities: at least one is needed"
        if self.strategy == "distributed_arithmetic" and self.reuse_factor not in (None, 1):
            yield "strategy distributed_arithmetic has no multipliers to share, so no reuse_factor but 1"

    @property
    def is_plain(self) -> bool:
        """Whether jets have one input, of one number per feature, and one output, as `model.hidden` makes them."""
        shapes = [each.shape for each in self.data.columns.values()]
        return len(self.task) == len(shapes) == len(shapes[0]) == 1

    @property
    def outputs(self) -> dict[str, Output]:
        """What each output is to learn, by its name; the only one may have the name ""."""
        return outputs(self.task, self.data, Conditions(n_bunches=self.n_bunches, folder=self.metrics_folder))

    @property
    def meaning(self) -> Task:
        """What the outputs mean."""
        found = self.outputs
        if "" in found:
            return found[""].task
        return Tasks({name: each.task for name, each in found.items()}, {n: each.share for n, each in found.items()})

    @property
    def max_losses(self) -> dict[str, float]:
        """What may be lost of each metric on the baseline; without a word a hundredth of an accuracy or AUC."""
        budget, task, allowed = self.budget, self.meaning, dict(self.budget.max_loss)
        for name in allowed:
            _check_metric("budget.max_loss", name, task)
        hits = [_named(name, "accuracy") for name, output in self.outputs.items() if isinstance(output.task, Classes)]
        if budget.max_accuracy_loss is not None:
            if not hits or set(hits) & set(allowed):
                raise ValueError(
                    f"budget.max_accuracy_loss is of the task classes, once; give max_loss: {{{task.metrics[0]}: ...}}"
                )
            allowed |= dict.fromkeys(hits, budget.max_accuracy_loss)
        for name, output in self.outputs.items():
            first = _named(name, output.task.metrics[0])
            if not any(limited.startswith(_named(name, "")) for limited in allowed):
                if not is_fraction(first):
                    raise ValueError(f"budget.max_loss: say how much may be lost of {first}, as in {{{first}: 0.1}}")
                allowed[first] = _LOST
        return allowed

    @property
    def judged_by(self) -> tuple[str, ...]:
        """The metrics of the outputs, the objective, those that are limited and those that are asked for."""
        own = () if self.objective == "loss" else (self.objective,)
        return tuple(dict.fromkeys((*self.meaning.metrics, *own, *self.max_losses, *self.metrics)))


def _check_metric(place: str, name: str, task: Task) -> None:
    """Refuse a name that is of no metric of the task, or of one without a better side."""
    with placed(f"{place}: "):
        task.metric(name)
        is_lower_better(name)


def _named(output: str, metric: str) -> str:
    return f"{output}.{metric}" if output else metric
