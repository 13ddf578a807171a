"""What a study starts from: a recipe, whose tagger is trained, or a model file with jets; and its device."""

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import wraps
from itertools import count
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from hepprune import frontends, training
from hepprune import recipe as recipes
from hepprune.data.files import npz
from hepprune.errors import DataError, NetworkError, explained
from hepprune.hardware import targets
from hepprune.hardware.targets import Target
from hepprune.network import Network
from hepprune.pipeline import taggers
from hepprune.pipeline.context import Context, Track, silent
from hepprune.recipe import Prune, Recipe
from hepprune.task.sample import Sample, Split
from hepprune.training import devices

RECIPES = {".yaml", ".yml"}
_TRAIN, _VALIDATION = 0.6, 0.75  # of an .npz, whose jets are split in the order they come
P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Source(Split):
    """A network for each seed, jets to train, validate and test it on, and the hardware it is meant for.

    A trained `model`, None for a recipe's own tagger, is the same for every seed. Batch size and learning rate are
    those of fine-tuning. `prune` is what the recipe says of pruning.
    """

    name: str
    baseline: Callable[[int], Network]
    target: Target
    strategy: str
    batch_size: int = 1024
    learning_rate: float = 3e-3
    model: str | None = None
    prune: Prune | None = None


def find(source: str, data: Path | None, build: Path, track: Track = silent) -> Source:
    """Return the source that a command line names: recipe.yaml, or a model with `data` (a recipe or an .npz).

    Raises:
        DataError: a model comes without jets.
        RecipeError: the recipe cannot be followed.
        NetworkError: the model cannot be read.
    """
    if Path(source).suffix in RECIPES:
        return _of_recipe(recipes.load(Path(source)), build, track)
    if data is None:
        raise DataError(f"'{source}' is a model and needs jets: --data recipe.yaml, or --data jets.npz with x and y")
    network, name = frontends.read(source), Path(source).stem
    if data.suffix in RECIPES:
        found = _of_recipe(recipes.load(data), build, track)
        return replace(found, name=name, baseline=lambda _: network, model=source, prune=None)
    whole = jets(data)[0]
    check(network, whole, model=source, data=data)
    first, second = round(_TRAIN * len(whole)), round(_VALIDATION * len(whole))
    slices = {"train": slice(first), "validation": slice(first, second), "test": slice(second, None)}
    parts: dict[str, Any] = {part: whole.taking(rows) for part, rows in slices.items()}
    if not all(map(len, parts.values())):
        raise DataError(f"'{data}' has {len(whole)} jets, too few to train, validate and test on")
    return Source(
        name=name,
        baseline=lambda _: network,
        **parts,
        target=targets.load("generic_vu13p"),
        strategy="distributed_arithmetic",
        model=source,
    )


def jets(path: Path) -> tuple[Sample, Sample, Sample]:
    """Return jets to train, validate and test on: those of a recipe, or all of an .npz with x and y each time.

    Raises:
        DataError: the file holds no jets.
        RecipeError: the recipe cannot be followed.
    """
    if path.suffix != ".npz":
        recipe, build = recipes.load(path), path.parent / "build"
        found = taggers.read_jets(Context(recipe=recipe, target=targets.load(recipe.target), build=build))
        return found.train, found.validation, found.test
    sample = Sample.from_arrays(*npz.read(path))
    return sample, sample, sample


def check(network: Network, sample: Sample, *, model: str, data: object) -> None:
    """Refuse jets that a network does not take, or whose targets its outputs cannot meet.

    Raises:
        DataError: they are.
    """
    shapes = [tuple(layer.features_shape) for layer in network.inputs]
    given = [tuple(x.shape[1:]) for x in sample.x]
    if shapes != given:
        wanted, found = (" and ".join(map(str, each)) for each in (shapes, given))
        raise DataError(f"'{model}' takes features of shape {wanted}, and the jets of '{data}' have {found}")
    with explained(DataError, f"'{model}' does not go with the jets of '{data}':", DataError):
        training.check(network, sample)


def check_another_file(model: Any, path: Path) -> None:
    """Refuse to write over the model that is read.

    Raises:
        NetworkError: both are the same file.
    """
    if isinstance(model, str | Path) and Path(model).resolve() == path.resolve():
        raise NetworkError(f"'{path}' is the model itself; give another file to write")


def told_apart(names: Sequence[str]) -> list[str]:
    """Return names, with the place behind those that are the same, or the next number that makes none of another."""
    taken = {name for name in names if names.count(name) == 1}
    found = []
    for place, name in enumerate(names, start=1):
        free = (text for n in count(place) if (text := f"{name}_{n}") not in taken)
        found.append(name if names.count(name) == 1 else next(free))
        taken.add(found[-1])
    return found


def _of_recipe(recipe: Recipe, build: Path, track: Track) -> Source:
    """Return the recipe's tagger, trained anew for each seed on the jets that the recipe's own seed splits."""
    context = Context(recipe=recipe, target=targets.load(recipe.target), build=build, track=track)
    jets, model = taggers.read_jets(context), taggers.model_of(recipe)

    def baseline(seed: int) -> Network:
        return taggers.baseline(replace(context, recipe=recipe.model_copy(update={"seed": seed})), jets, model)

    return Source(
        name=recipe.name,
        baseline=baseline,
        **jets.parts,
        target=context.target,
        strategy=recipe.strategy,
        batch_size=recipe.model.training.batch_size,
        learning_rate=recipe.model.training.learning_rate,
        model=recipe.model.file,
        prune=recipe.prune,
    )


def by_recipe(*names: str) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """Return what makes a function train and score on the device of a recipe that one of these arguments names.

    The first that names a device counts, and none does where the caller asked for one.
    """

    def placed(function: Callable[P, T]) -> Callable[P, T]:
        own = inspect.signature(function)

        @wraps(function)
        def on_device(*args: P.args, **kwargs: P.kwargs) -> T:
            given = own.bind(*args, **kwargs).arguments
            found = (recipes.load(path).device for name in names for path in _recipes(given.get(name)))
            with devices.on(next((device for device in found if device), None), unless_asked=True):
                return function(*args, **kwargs)

        return on_device

    return placed


def _recipes(given: Any) -> Iterator[Path]:
    several = list(given.values()) if isinstance(given, Mapping) else given
    if isinstance(several, Sequence) and not isinstance(several, str):
        for each in several:
            yield from _recipes(each)
    elif isinstance(given, str | Path) and Path(given).suffix in RECIPES and Path(given).is_file():
        yield Path(given)
