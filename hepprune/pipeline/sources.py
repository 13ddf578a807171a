"""What a study starts from: a recipe, whose tagger is trained, or a model file with jets beside it."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from hepprune import frontends
from hepprune import recipe as recipes
from hepprune.errors import DataError
from hepprune.hardware import targets
from hepprune.hardware.targets import Target
from hepprune.network import Network
from hepprune.pipeline import pruning, taggers
from hepprune.pipeline.context import Context, Track, silent
from hepprune.recipe import Recipe
from hepprune.training import Sample

_RECIPES = {".yaml", ".yml"}
_TRAIN, _VALIDATION = 0.6, 0.75  # of an .npz, whose jets are split in the order they come


@dataclass(frozen=True)
class Source:
    """A network for each seed, jets to train, validate and test it on, and the hardware it is meant for.

    A trained model is the same for every seed. Batch size and learning rate are those of fine-tuning.
    """

    name: str
    baseline: Callable[[int], Network]
    train: Sample
    validation: Sample
    test: Sample
    target: Target
    strategy: str
    batch_size: int = 1024
    learning_rate: float = 3e-3


def find(source: str, data: Path | None, build: Path, track: Track = silent) -> Source:
    """Return the source that a command line names: recipe.yaml, or a model with `data` (a recipe or an .npz).

    Raises:
        DataError: a model comes without jets.
        RecipeError: the recipe cannot be followed.
        NetworkError: the model cannot be read.
    """
    if Path(source).suffix in _RECIPES:
        return _of_recipe(recipes.load(Path(source)), build, track)
    if data is None:
        raise DataError(f"'{source}' is a model and needs jets: --data recipe.yaml, or --data jets.npz with x and y")
    model = frontends.read(source)
    name = Path(source).stem
    if data.suffix in _RECIPES:
        found = _of_recipe(recipes.load(data), build, track)
        return replace(found, name=name, baseline=lambda _: model)
    whole, _ = pruning.jets(data)
    ends = [round(_TRAIN * len(whole)), round(_VALIDATION * len(whole))]
    train, validation, test = (Sample(whole.x[part], whole.y[part]) for part in _slices(ends))
    if not all(len(part) for part in (train, validation, test)):
        raise DataError(f"'{data}' has {len(whole)} jets, too few to train, validate and test on")
    target = targets.load("generic_vu13p")
    return Source(name, lambda _: model, train, validation, test, target, "distributed_arithmetic")


def _slices(ends: list[int]) -> list[slice]:
    return [slice(0, ends[0]), slice(ends[0], ends[1]), slice(ends[1], None)]


def _of_recipe(recipe: Recipe, build: Path, track: Track) -> Source:
    """Return the recipe's tagger, trained anew for each seed on the jets that the recipe's own seed splits."""
    target = targets.load(recipe.target)
    jets = taggers.read_jets(Context(recipe, target, build, track))

    def baseline(seed: int) -> Network:
        return taggers.baseline(Context(recipe.model_copy(update={"seed": seed}), target, build, track), jets)

    wanted = recipe.model.training
    fine_tuning = wanted.batch_size, wanted.learning_rate
    parts = jets.train, jets.validation, jets.test
    return Source(recipe.name, baseline, *parts, target, recipe.strategy, *fine_tuning)
