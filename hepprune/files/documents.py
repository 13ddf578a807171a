"""YAML documents that people write: plain data, of bounded size, also after what they refer to is filled in."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from operator import itemgetter
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Self, TypeVar, Union, get_args, get_origin

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from hepprune.errors import RecipeError

MAX_BYTES = 2**16  # PyYAML takes up to 60 us a byte
MAX_KEYS = 10_000  # of one mapping; merges of merges can ask for billions in a few lines
Checked = TypeVar("Checked", bound="Section")


class Section(BaseModel):
    """A mapping of a document: keys that are known, values that are finite, stay, and go together."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @model_validator(mode="after")
    def _is_sound(self) -> Self:
        if fault := next(self._faults(), None):
            raise ValueError(fault)
        return self

    def _faults(self) -> Iterator[str]:
        """Yield what is wrong with values that are right one by one, of which the first is told."""
        yield from ()


class _Loader(yaml.SafeLoader):
    """Loads plain data alone; `1:30` is text, as in YAML 1.2, and not the number of YAML 1.1 in base 60."""

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        """Fill merges (`<<`) in, as long as they stay small."""
        super().flatten_mapping(node)
        if len(node.value) > MAX_KEYS:
            raise yaml.constructor.ConstructorError(
                None, None, f"a mapping has more than {MAX_KEYS} keys", node.start_mark
            )


def _text(loader: _Loader, node: yaml.ScalarNode) -> str:
    """Return a text, and refuse halves of characters (lone surrogates), which no file can be written with."""
    text = str(loader.construct_scalar(node))
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise yaml.constructor.ConstructorError(None, None, "a text has half a character", node.start_mark)
    return text


def _number(loader: _Loader, node: yaml.ScalarNode) -> int | float | str:
    """Return a number, or the text of one in base 60, which would take quadratic time."""
    if ":" in node.value:
        return str(node.value)
    return loader.construct_yaml_int(node) if node.tag.endswith(":int") else loader.construct_yaml_float(node)


for _tag, _construct in {"int": _number, "float": _number, "str": _text}.items():
    _Loader.add_constructor(f"tag:yaml.org,2002:{_tag}", _construct)


def read(path: Path, *, kind: str, keys: str) -> dict[str, Any]:
    """Return the mapping in a YAML file of a kind (`recipe`); `keys` says in messages what it needs at least.

    Raises:
        RecipeError: the file is missing, too large, no YAML, or no mapping.
    """
    if not path.is_file():
        raise RecipeError(f"no {kind} at '{path}'")
    if path.stat().st_size > MAX_BYTES:
        raise RecipeError(f"'{path}' is larger than {MAX_BYTES} bytes, so it is not a {kind}")
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), _Loader)  # noqa: S506 - a safe loader
    except (yaml.YAMLError, ValueError, RecursionError) as problem:  # ValueError: no UTF-8, or a date that is none
        raise RecipeError(f"'{path}' is not YAML: {' '.join(str(problem).split())}") from problem
    if not isinstance(content, dict):
        raise RecipeError(f"'{path}' holds no {kind}; it needs at least the keys {keys}")
    return content


def checked(
    kind: type[Checked],
    content: Mapping[str, Any],
    where: str = "",
    *,
    wording: Callable[[Any], str] = itemgetter("msg"),
) -> Checked:
    """Return the section that a mapping is; `wording` says what is wrong with a value, as pydantic tells it.

    Raises:
        RecipeError: a key is unknown or missing, or a value is none of its own; it begins with `where`.
    """
    try:
        return kind.model_validate(content)
    except ValidationError as problem:
        place, fault = _fault(problem, kind)
        if fault["type"] == "extra_forbidden":
            said = f"unknown key; known here: {', '.join(_section(fault['loc'][:-1], kind).model_fields)}"
        else:
            said = str(fault["ctx"]["error"]) if fault["type"] == "value_error" else wording(fault)
        raise RecipeError(": ".join(each for each in (where, ".".join(place), said) if each)) from problem


def _fault(problem: ValidationError, root: type[BaseModel]) -> tuple[list[str], Any]:
    """Return the first fault with its place, unknown keys before others; of a choice among kinds that most like one."""
    every = sorted(problem.errors(), key=lambda fault: fault["type"] != "extra_forbidden")
    faults = [(_place(fault["loc"], root), fault) for fault in every]
    first = faults[0][0]
    return max((each for each in faults if each[0][: len(first)] == first), key=lambda each: len(each[0]))


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
    """Return the section that keys lead to; names that a document gives, as of an output, lead no further."""
    section = root
    for part in loc:
        if str(part) in section.model_fields:
            annotation = section.model_fields[str(part)].annotation
            kinds = (annotation, *get_args(annotation))
            section = next((k for k in kinds if isinstance(k, type) and issubclass(k, BaseModel)), section)
    return section
