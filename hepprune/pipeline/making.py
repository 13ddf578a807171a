"""Jets that a recipe makes itself, where its file is missing."""

from contextlib import nullcontext
from pathlib import Path

from hepprune import executors
from hepprune.data import production
from hepprune.data.files import trees
from hepprune.pipeline.context import Context
from hepprune.recipe import Recipe


def make(context: Context) -> None:
    """Make the recipe's jets where it says how and they are not there; goes on where an earlier run stopped.

    Raises:
        ToolMissingError: Pythia or FastJet is not installed.
        DataError: the file that is there holds other jets than the recipe makes.
    """
    wanted = context.recipe.data.make
    if wanted is None:
        return
    path, asked = _file(context.recipe), wanted.model_dump(exclude={"jets"})
    if path.exists():
        production.check_made(path, n_jets=wanted.jets, **asked)
        return
    own = context.executor
    with (
        executors.open() if own is None else nullcontext(own) as pool,
        context.step(f"making {path.name}, which is missing", wanted.jets) as advance,
    ):
        path.parent.mkdir(parents=True, exist_ok=True)
        production.generate(wanted.jets, path, executor=pool, advance=advance, **asked)


def example(recipe: Recipe, folder: Path) -> Recipe:
    """Return a recipe that reads one jet, written to a folder, where its own are still to be made."""
    if recipe.data.make is None or _file(recipe).exists():
        return recipe
    wanted = recipe.data
    path = production.example(folder / _file(recipe).name, seed=recipe.data.make.seed, kind=recipe.data.make.kind)
    _, tree = trees.split(str(wanted.file))
    file = f"{path}:{tree}" if tree else str(path)
    cut = None if wanted.cut is None else f"({wanted.cut}) | True"  # one jet says nothing of how many pass
    return recipe.model_copy(update={"data": wanted.model_copy(update={"file": file, "cut": cut})})


def _file(recipe: Recipe) -> Path:
    return Path(trees.split(str(recipe.data.file))[0])
