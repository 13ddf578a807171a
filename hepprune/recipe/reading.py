"""recipe.yaml -> Recipe: read, its paths resolved, and what is wrong with it said in one sentence."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

from hepprune.errors import RecipeError
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
    try:
        recipe = Recipe.model_validate(content | {"metrics_folder": metrics_folder})
    except ValidationError as problem:
        raise RecipeError(f"'{path}': {_sentence(problem, Recipe)}") from problem
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
    try:
        own = {"device": recipe.device, "metrics_folder": recipe.metrics_folder}
        return Recipe.model_validate(recipe.model_dump() | own | {"search": search})
    except ValidationError as problem:
        raise RecipeError(_sentence(problem, Recipe)) from problem


def pruning(section: Prune | None, options: Mapping[str, Any]) -> Prune:
    """Return a `prune` section, or the default one, in which options have taken the place of its own.

    Raises:
        RecipeError: an option is unknown or out of range.
    """
    base = {} if section is None else section.model_dump()
    try:
        return Prune.model_validate(base | dict(options))
    except ValidationError as problem:
        raise RecipeError(f"prune: {_sentence(problem, Prune)}") from problem


def _sentence(problem: ValidationError, root: type[BaseModel]) -> str:
    """Return the first fault in one sentence, with its place; of a choice among kinds that of the kind most like it."""
    faults = [(_place(fault["loc"], root), fault) for fault in problem.errors()]
    first = faults[0][0]
    place, fault = max((each for each in faults if each[0][: len(first)] == first), key=lambda each: len(each[0]))
    said = fault["msg"].removeprefix("Value error, ")
    if fault["type"] == "extra_forbidden":
        said = f"unknown key; known here: {', '.join(_section(fault['loc'][:-1], root).model_fields)}"
    return ": ".join(each for each in (".".join(place), said) if each)


def _place(loc: Sequence[int | str], root: type[BaseModel]) -> list[str]:
    """Return the keys that lead to a fault, without the names of kinds that pydantic puts after a choice of them."""
    found, is_kind = [], False
    for index, part in enumerate(loc):
        if part != "" and not is_kind:
            found.append(str(part))
        field = _section(loc[:index], root).model_fields.get(str(part))
        is_kind = field is not None and not is_kind and _is_choice(field.annotation)
    return found


def _is_choice(annotation: Any) -> bool:
    is_union = get_origin(annotation) in {Union, UnionType}
    return is_union and len([each for each in get_args(annotation) if each is not NoneType]) > 1


def _section(loc: Sequence[int | str], root: type[BaseModel]) -> type[BaseModel]:
    """Return the section that keys lead to; names that a recipe gives, as of an output, lead no further."""
    section = root
    for part in loc:
        if str(part) in section.model_fields:
            annotation = section.model_fields[str(part)].annotation
            kinds = (annotation, *get_args(annotation))
            section = next((k for k in kinds if isinstance(k, type) and issubclass(k, BaseModel)), section)
    return section


def _from(folder: Path, spec: str) -> str:
    file, colon, tree = spec.partition(":")
    return f"{folder / file}{colon}{tree}"


def _resolved_model(file: str, folder: Path) -> str:
    """Return a model file, or `package.module:factory@weights.pt`, in which only the weights are a file."""
    factory, at, weights = file.partition("@")
    if not _FACTORY.fullmatch(factory):
        return str(folder / file)
    return f"{factory}{at}{folder / weights}" if at else factory
