"""recipe.yaml -> Recipe: read, its paths resolved, and what is wrong with it said in one sentence."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from hepprune import documents
from hepprune.errors import RecipeError
from hepprune.recipe.recipe import Recipe
from hepprune.recipe.sections import Prune

_FACTORY = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*")  # package.module:factory


def load(path: Path) -> Recipe:
    """Read and check a recipe; paths in it are relative to its folder and come back resolved.

    Raises:
        RecipeError: the file is missing, is no YAML, or a key is unknown, missing or out of range.
    """
    content = documents.read(path, kind="recipe", keys="name, data and budget")
    try:
        recipe = Recipe.model_validate(content)
    except ValidationError as problem:
        raise RecipeError(f"'{path}': {_first(problem)}") from problem
    return _resolved(recipe, path.parent)


def pruning(section: Prune | None, options: Mapping[str, Any]) -> Prune:
    """Return a `prune` section, or the default one, in which options have taken the place of its own.

    Raises:
        RecipeError: an option is unknown or out of range.
    """
    base = {} if section is None else section.model_dump()
    try:
        return Prune.model_validate(base | dict(options))
    except ValidationError as problem:
        raise RecipeError(f"prune: {_sentence(problem)}") from problem


def _sentence(problem: ValidationError) -> str:
    fault = problem.errors()[0]
    place = ".".join(str(part) for part in fault["loc"])
    return f"{place}: {fault['msg']}" if place else fault["msg"].removeprefix("Value error, ")


def _first(problem: ValidationError) -> str:
    """Return the first fault in one sentence, with the place and the keys known there."""
    fault = problem.errors()[0]
    place = ".".join(str(part) for part in fault["loc"] if part)
    if fault["type"] != "extra_forbidden":
        return f"{place}: {fault['msg']}" if place else fault["msg"].removeprefix("Value error, ")
    section: type[BaseModel] = Recipe
    for part in fault["loc"][:-1]:
        if str(part) not in section.model_fields:  # a name that a recipe gives: of an output
            continue
        annotation = section.model_fields[str(part)].annotation
        kinds = (annotation, *get_args(annotation))
        section = next((k for k in kinds if isinstance(k, type) and issubclass(k, BaseModel)), section)
    return f"{place}: unknown key; known here: {', '.join(section.model_fields)}"


def _resolved(recipe: Recipe, folder: Path) -> Recipe:
    file, colon, tree = recipe.data.file.partition(":")
    data = recipe.data.model_copy(update={"file": f"{folder / file}{colon}{tree}"})
    model = recipe.model
    if model.file is not None:
        model = model.model_copy(update={"file": _resolved_model(model.file, folder)})
    target = str(folder / recipe.target) if Path(recipe.target).suffix in {".yaml", ".yml"} else recipe.target
    return recipe.model_copy(update={"data": data, "model": model, "target": target})


def _resolved_model(file: str, folder: Path) -> str:
    """Return a model file, or `package.module:factory@weights.pt`, in which only the weights are a file."""
    factory, at, weights = file.partition("@")
    if not _FACTORY.fullmatch(factory):
        return str(folder / file)
    return f"{factory}{at}{folder / weights}" if at else factory
