"""Which jets a recipe is about: the columns of each input, what the network is to learn, weights, split and scaling."""

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from hepprune.data.expressions import grammar
from hepprune.data.files import trees
from hepprune.data.inputs import LEAST_LSB, TRANSFORMS, Columns, Image, JetInput
from hepprune.data.jets import IS_FILLED, Flatten, checked
from hepprune.data.production import KINDS, check_background
from hepprune.errors import unknown
from hepprune.files.documents import Section
from hepprune.recipe.sections import Positive, Teacher, one_of, placed, through


def _spread(texts: tuple[str, ...]) -> tuple[str, ...]:
    """Return features with those that one text stands for in its place."""
    return tuple(feature for text in texts for feature in grammar.expanded(text))


def _spread_worths(given: dict[str, float]) -> dict[str, float]:
    return {feature: lsb for text, lsb in given.items() for feature in grammar.expanded(text)}


def _trees(given: Any) -> Any:
    """Return trees by their file as the names of trees, and anything else as it is."""
    if isinstance(given, dict) and given and all(tree is None or isinstance(tree, str) for tree in given.values()):
        named = trees.specs(given)
        return named if len(named) > 1 else named[0]
    return given


def _listed(given: Any) -> Any:
    """Return one column as a list of one, of each output where they are by output."""
    if isinstance(given, dict):
        return {name: [each] if isinstance(each, str) else each for name, each in given.items()}
    return [given] if isinstance(given, str) else given


def _extent(ends: tuple[float, float]) -> tuple[float, float]:
    low, high = ends
    if low >= high:
        raise ValueError(f"an axis goes from a low end to a higher one, not from {low:g} to {high:g}")
    return ends


Texts = Annotated[tuple[str, ...], Field(min_length=1)]
FeatureNames = Annotated[Texts, through(_spread)]
Worth = Annotated[float, Field(gt=0, le=1 / LEAST_LSB)]
Extent = Annotated[tuple[float, float], AfterValidator(_extent)]


class ImageSection(Section):
    """An image that the constituents of each jet make: see data.inputs.Image."""

    x: str
    y: str
    weight: Annotated[tuple[str | None, ...], Field(min_length=1)] | str | None = None
    bins: tuple[Annotated[int, Field(gt=0, le=1024)], Annotated[int, Field(gt=0, le=1024)]]
    range: tuple[Extent, Extent]
    transform: Annotated[str, one_of("transform", TRANSFORMS)] = "none"


class Flat(Section):
    """Weights that make the distribution of a column flat in each class: see data.jets.Flatten."""

    column: str
    edges: Annotated[tuple[float, ...], through(checked)]


class Make(Section):
    """Jets that are made with Pythia where the file is missing, as `hepprune data make` does; see data.production."""

    jets: Annotated[int, Field(ge=5)]
    seed: Annotated[int, Field(ge=0)] = 1
    kind: Annotated[str, one_of("kind of sample", KINDS)] = "jets"
    background: float | None = None

    def _faults(self) -> Iterator[str]:
        with placed():
            check_background(self.kind, self.background)
        yield from ()


class Data(Section):
    """Which jets: a ROOT tree, its columns or expressions of them, and how they are split by event and scaled.

    `features` are those of the only input, or an `image` is; `inputs` holds the features or the image of each of
    several. With `n_constituents`, a number or one by input, features are jagged columns, padded with zeros, and told
    from padding by a last feature if `isfilled`. Those with an `lsb` are whole numbers of it, as hardware has them.
    With `explode: Jet` each object of the lists `Jet_*` is a jet. Those that do not pass the `cut` are left out.
    `classes` name what the `label` counts or names, or are those of several labels of 0 and 1; `targets` are to be
    met, or are those of each output. Jets of one `event` stay together. Where the file is missing jets are made, if
    `make` says how. Those of which a condition `signal` is true judge how well they are told from others, and nothing
    is learned from them; of a `teacher`, whose score of each jet is the target, its score of them is learned too, if
    it does not say otherwise.
    """

    file: Annotated[str | Texts, BeforeValidator(_trees)]
    features: FeatureNames | None = None
    image: ImageSection | None = None
    inputs: dict[str, FeatureNames | ImageSection] = Field(default_factory=dict)
    n_constituents: Positive | dict[str, Positive] | None = None
    lsb: Annotated[dict[str, Worth], through(_spread_worths)] = Field(default_factory=dict)
    isfilled: bool = True
    cut: str | None = None
    signal: str | None = None
    explode: str | None = None
    label: str | Texts = "label"
    event: str | None = None
    weight: str | None = None
    flatten: Flat | None = None
    classes: Annotated[tuple[str, ...], Field(min_length=2)] | None = None
    targets: Annotated[Texts | dict[str, Texts] | None, BeforeValidator(_listed)] = None
    teacher: Teacher | None = None
    validation: Annotated[float, Field(gt=0, lt=1)] = 0.15
    test: Annotated[float, Field(gt=0, lt=1)] = 0.25
    max_jets: Positive | None = None
    scaler: Literal["standard", "power_of_two", "none"] = "power_of_two"
    make: Make | None = None

    def _faults(self) -> Iterator[str]:
        yield from self._faults_of_columns()
        yield from self._faults_of_lsb()
        yield from () if self.teacher is None else self._faults_of(self.teacher)
        if self.make is not None and not (isinstance(self.file, str) and trees.split(self.file)[0].endswith(".root")):
            yield "what is made is one file, which ends in .root"
        if any(IS_FILLED in each.expressions and each.shape[1:] for each in self.columns.values()):
            yield f"'{IS_FILLED}' says which constituents there are and is added; take it off the features"
        yield from self._faults_of_names()

    def _faults_of_columns(self) -> Iterator[str]:
        if self.validation + self.test >= 1:
            yield "validation and test leave no jets to train on"
        if [self.features is not None, self.image is not None, bool(self.inputs)].count(True) != 1:
            yield "name the features of one input, or its image, or the inputs with the features of each"
        if self.inputs and isinstance(self.n_constituents, int):
            first = next(iter(self.inputs))
            yield f"of several inputs n_constituents has a number each, as in {{{first}: 16}}"
        if isinstance(self.n_constituents, dict) and not self.inputs:
            yield "n_constituents of the only input is one number, without a name"
        if isinstance(self.n_constituents, dict) and (wrong := set(self.n_constituents) - set(self.inputs)):
            yield f"n_constituents names '{min(wrong)}', and the inputs are {', '.join(self.inputs)}"
        for name, each in self._given().items():
            if isinstance(each, ImageSection) and self._padded(name):
                yield f"the image '{name}' takes all constituents, so it has no n_constituents"

    def _faults_of_lsb(self) -> Iterator[str]:
        known = {feature for each in self.columns.values() if isinstance(each, Columns) for feature in each.features}
        for feature in self.lsb:
            if feature not in known:
                yield f"lsb: {unknown('feature', feature, known)}"
            if self.lsb[feature] < LEAST_LSB:
                yield f"lsb: that of '{feature}' is {self.lsb[feature]}, and at least 2**-64"

    def _faults_of(self, teacher: Teacher) -> Iterator[str]:
        if self.targets is not None:
            yield "the teacher's score is the target; take out the teacher or the targets"
        if teacher.task == "binary" and not (self.signal and teacher.of_signal):
            yield "a teacher of the task binary learns to tell signal: give `signal`, and not of_signal: false"
        if self.signal is None and not teacher.of_signal:
            yield "there is no signal to learn nothing of: give the condition `signal`"
        if len(self.columns) != 1:
            yield f"a teacher takes one input, and here are {len(self.columns)}"

    def _faults_of_names(self) -> Iterator[str]:
        kinds = [("feature", each.names) for each in self.columns.values()]
        for kind, names in [*kinds, ("class", self.classes or ()), ("target", self.target_columns)]:
            if again := next((name for name in names if names.count(name) > 1), None):
                yield f"the {kind} '{again}' is named twice"
        features = {name for _, names in kinds for name in names}
        if self.weight in self.target_columns:
            yield f"the weight '{self.weight}' is among the targets, and would weigh by what is to be met"
        if found := features & set(self.target_columns):
            yield f"the target '{min(found)}' is among the features, and would tell what is to be met"

    def _given(self) -> Mapping[str, Texts | ImageSection]:
        only = self.features or self.image
        return self.inputs if only is None else {"features": only}

    def _padded(self, name: str) -> int | None:
        given = self.n_constituents
        return given.get(name) if isinstance(given, dict) else given

    @property
    def learns_signal(self) -> bool:
        """Whether something is learned from signal."""
        return self.signal is None or (self.teacher is not None and self.teacher.of_signal)

    @property
    def columns(self) -> dict[str, JetInput]:
        """What every input reads, by its name; the only one is called `features`."""
        found: dict[str, JetInput] = {}
        for name, each in self._given().items():
            if isinstance(each, ImageSection):
                found[name] = Image(**each.model_dump())
            else:
                lsb, n = {feature: self.lsb[feature] for feature in each if feature in self.lsb}, self._padded(name)
                found[name] = Columns(features=each, n_constituents=n, is_filled=self.isfilled, lsb=lsb)
        return found

    @property
    def flattened(self) -> Flatten | None:
        """Whose distribution weights make flat."""
        return None if self.flatten is None else Flatten(**self.flatten.model_dump())

    @property
    def is_weighted(self) -> bool:
        """Whether jets have weights of their own."""
        return self.weight is not None or self.flatten is not None

    @property
    def labels(self) -> tuple[str, ...]:
        """The column that is the label, or those of which each is that of one class."""
        return (self.label,) if isinstance(self.label, str) else self.label

    @property
    def target_columns(self) -> tuple[str, ...]:
        """The columns of all targets."""
        given = self.targets.values() if isinstance(self.targets, dict) else [self.targets or ()]
        return tuple(name for names in given for name in names)
