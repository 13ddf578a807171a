"""Values of hepprune's own types in the JSON files that it wrote: read back whole, or refused in one sentence."""

import json
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from hepprune.errors import HeppruneError, explained
from hepprune.files import write_text

T = TypeVar("T")


@cache
def adapter(kind: Any) -> TypeAdapter[Any]:
    """Return what reads and writes values of a type; of a large one making it takes milliseconds."""
    return TypeAdapter(kind)


def write(kind: Any, path: Path, value: Any) -> None:
    """Write a value of that type as a JSON file, whole; infinite numbers stay what they are."""
    write_text(path, json.dumps(adapter(kind).dump_python(value, mode="json"), indent=2))


def read(kind: type[T], path: Path, *, error: type[HeppruneError] = HeppruneError) -> T:
    """Return the value of that type that a JSON file holds.

    Raises:
        HeppruneError: as `error`, the file cannot be read, is damaged, or is of another version.
    """
    with explained(error, f"'{path}' cannot be read:", OSError):
        content = path.read_bytes()
    return parse(kind, content, str(path), error=error)


def parse(kind: type[T], content: str | bytes, source: str, error: type[HeppruneError] = HeppruneError) -> T:
    """Return the value of that type that JSON holds; `source` is what the sentence calls it.

    Raises:
        HeppruneError: as `error`, it is damaged, or of another version.
    """
    try:
        value: T = adapter(kind).validate_json(content)  # type: ignore[arg-type]
    except ValidationError as problem:
        first = problem.errors(include_url=False, include_input=False)[0]
        said = f"{'.'.join(map(str, first['loc'])) or 'the file'}: {first['msg'].removeprefix('Value error, ')}"
        raise error(f"'{source}' is damaged or of another version of hepprune ({said}); write it again") from problem
    return value


def note(kind: type[T], path: Path, key: str, value: T) -> T:
    """Write down what is known of what lies beside a file, with the key of its content; return the value."""
    write(tuple[str, kind], path, (key, value))  # type: ignore[valid-type]
    return value


def noted(kind: type[T], path: Path, key: str) -> T | None:
    """Return what a note says, None where there is none, or one of other content or of another version."""
    try:
        known, value = adapter(tuple[str, kind]).validate_json(path.read_bytes())  # type: ignore[valid-type]
    except (OSError, ValidationError):
        return None
    return value if known == key else None
