"""Which jets a recipe is about: the columns of each input, what the network is to learn, weights, split and scaling."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from hepprune.data.jets import IS_FILLED
from hepprune.recipe.base import Positive, Section

Columns = Annotated[tuple[str, ...], Field(min_length=1)]


@dataclass(frozen=True)
class InputColumns:
    """What one input reads: columns with a number per jet, or jagged ones of that many constituents."""

    features: tuple[str, ...]
    n_constituents: int | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of its features: (n_features,), or (n_constituents, n_features + 1) with a last one `isfilled`."""
        n_features = len(self.features)
        return (n_features,) if self.n_constituents is None else (self.n_constituents, n_features + 1)

    @property
    def names(self) -> tuple[str, ...]:
        """The names along the last axis."""
        return self.features if self.n_constituents is None else (*self.features, IS_FILLED)

    @property
    def values(self) -> tuple[str, ...]:
        """The names of all values, row by row."""
        rows = range(self.n_constituents or 1)
        return self.names if self.n_constituents is None else tuple(f"{n}[{row}]" for row in rows for n in self.names)


class Data(Section):
    """Which jets: a ROOT tree, its columns, and how they are split by event and scaled.

    `features` are those of the only input, `inputs` those of each of several; with `n_constituents`, a number or one by
    input, they are jagged columns. `classes` name what the `label` column counts; `targets` are columns to be met, or
    those of each output.
    """

    file: str
    features: Columns | None = None
    inputs: dict[str, Columns] = Field(default_factory=dict)
    n_constituents: Positive | dict[str, Positive] | None = None
    label: str = "label"
    event: str = "event"
    weight: str | None = None
    classes: Annotated[tuple[str, ...], Field(min_length=2)] | None = None
    targets: Columns | dict[str, Columns] | None = None
    validation: Annotated[float, Field(gt=0, lt=1)] = 0.15
    test: Annotated[float, Field(gt=0, lt=1)] = 0.25
    max_jets: Positive | None = None
    scaler: Literal["standard", "power_of_two", "none"] = "power_of_two"

    @field_validator("targets", mode="before")
    @classmethod
    def _one_column_or_several(cls, given: Any) -> Any:
        if isinstance(given, dict):
            return {name: [each] if isinstance(each, str) else each for name, each in given.items()}
        return [given] if isinstance(given, str) else given

    @model_validator(mode="after")
    def _leave_jets_to_train_on(self) -> "Data":
        if self.validation + self.test >= 1:
            raise ValueError("validation and test leave no jets to train on")
        return self

    @model_validator(mode="after")
    def _name_the_columns_of_every_input(self) -> "Data":
        if (self.features is None) == (not self.inputs):
            raise ValueError("name the features of one input, or the inputs with the features of each")
        if self.inputs and isinstance(self.n_constituents, int):
            first = next(iter(self.inputs))
            raise ValueError(f"of several inputs n_constituents has a number each, as in {{{first}: 16}}")
        if isinstance(self.n_constituents, dict) and not self.inputs:
            raise ValueError("n_constituents of the only input is one number, without a name")
        if isinstance(self.n_constituents, dict) and (wrong := set(self.n_constituents) - set(self.inputs)):
            raise ValueError(f"n_constituents names '{min(wrong)}', and the inputs are {', '.join(self.inputs)}")
        return self

    @model_validator(mode="after")
    def _leave_the_mark_of_constituents_alone(self) -> "Data":
        if any(each.n_constituents is not None and IS_FILLED in each.features for each in self.columns.values()):
            raise ValueError(f"'{IS_FILLED}' says which constituents there are and is added; take it off the features")
        return self

    @model_validator(mode="after")
    def _name_everything_once(self) -> "Data":
        kinds = [("feature", each.features) for each in self.columns.values()]
        for kind, names in [*kinds, ("class", self.classes or ()), ("target", self.target_columns)]:
            if again := next((name for name in names if names.count(name) > 1), None):
                raise ValueError(f"the {kind} '{again}' is named twice")
        features = {name for _, names in kinds for name in names}
        if self.weight in self.target_columns:
            raise ValueError(f"the weight '{self.weight}' is among the targets, and would weigh by what is to be met")
        if found := features & set(self.target_columns):
            raise ValueError(f"the target '{min(found)}' is among the features, and would tell what is to be met")
        return self

    @property
    def columns(self) -> dict[str, InputColumns]:
        """What every input reads, by its name; the only one is called `features`."""
        if self.features is not None:
            return {"features": InputColumns(self.features, self._constituents("features"))}
        return {name: InputColumns(each, self._constituents(name)) for name, each in self.inputs.items()}

    def _constituents(self, name: str) -> int | None:
        given = self.n_constituents
        return given.get(name) if isinstance(given, dict) else given

    @property
    def target_columns(self) -> tuple[str, ...]:
        """The columns of all targets."""
        return tuple(self._target_columns())

    def _target_columns(self) -> Iterator[str]:
        if isinstance(self.targets, dict):
            for each in self.targets.values():
                yield from each
        else:
            yield from self.targets or ()
