"""recipe.yaml -> Recipe: read, its paths resolved, and what is wrong with it said in one sentence."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hepprune.files import documents
from hepprune.recipe.recipe import Recipe
from hepprune.recipe.sections import Prune

_FACTORY = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*")  # package.module:factory


def load(path: str | Path) -> Recipe:
    """Read and check a recipe; paths in it are relative to its folder and come back resolved.

    Raises:
        RecipeError: the file is missing, is not YAML, or a key is unknown, missing or out of range.
    """
    path = Path(path)
    content = documents.read(path, kind="recipe", keys="name, data and budget")
    metrics_folder = path.parent / str(content.get("metrics_folder") or "")
    recipe = documents.checked(Recipe, content | {"metrics_folder": metrics_folder}, f"'{path}'")
    given = recipe.data.file
    file = _from(path.parent, given) if isinstance(given, str) else tuple(_from(path.parent, each) for each in given)
    data = recipe.data.model_copy(update={"file": file})
    model = recipe.model
    if model.file is not None:
        model = model.model_copy(update={"file": _resolved_model(model.file, path.parent)})
    target = str(path.parent / recipe.target) if Path(recipe.target).suffix in {".yaml", ".yml"} else recipe.target
    return recipe.model_copy(update={"data": data, "model": model, "target": target})


def as_front(recipe: Recipe) -> Recipe:
    """Return a recipe whose search is one long allocation that makes a front, whatever it was.

    Raises:
        RecipeError: its strategy has none.
    """
    search = recipe.search.model_dump() | {"kind": "allocation", "front": True, "granularities": None}
    own = {"device": recipe.device, "metrics_folder": recipe.metrics_folder}
    return documents.checked(Recipe, recipe.model_dump() | own | {"search": search})


def pruning(section: Prune | None, options: Mapping[str, Any]) -> Prune:
    """Return a `prune` section, or the default one, in which options have taken the place of its own.

    Raises:
        RecipeError: an option is unknown or out of range.
    """
    base = {} if section is None else section.model_dump()
    return documents.checked(Prune, base | dict(options), "prune")


def _from(folder: Path, spec: str) -> str:
    file, colon, tree = spec.partition(":")
    return f"{folder / file}{colon}{tree}"


def _resolved_model(file: str, folder: Path) -> str:
    """Return a model file, or `package.module:factory@weights.pt`, in which only the weights are a file."""
    factory, at, weights = file.partition("@")
    if not _FACTORY.fullmatch(factory):
        return str(folder / file)
    return f"{factory}{at}{folder / weights}" if at else factory
