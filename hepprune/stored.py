"""Values of hepprune's own types in the JSON files that it wrote: read back whole, or refused in one sentence."""

from pathlib import Path
from typing import TypeVar

from pydantic import TypeAdapter, ValidationError

from hepprune.errors import HeppruneError

T = TypeVar("T")


def read(adapter: TypeAdapter[T], path: Path, *, error: type[HeppruneError] = HeppruneError) -> T:
    """Return the value that a JSON file holds.

    Raises:
        HeppruneError: as `error`, the file cannot be read, is damaged, or is of another version.
    """
    try:
        content = path.read_bytes()
    except OSError as problem:
        raise error(f"'{path}' cannot be read: {problem.strerror}") from problem
    return parse(adapter, content, str(path), error=error)


def parse(
    adapter: TypeAdapter[T], content: str | bytes, source: str, *, error: type[HeppruneError] = HeppruneError
) -> T:
    """Return the value that JSON holds; `source` is what the sentence calls it.

    Raises:
        HeppruneError: as `error`, it is damaged, or of another version.
    """
    try:
        return adapter.validate_json(content)
    except ValidationError as problem:
        first = problem.errors(include_url=False, include_input=False)[0]
        place = ".".join(map(str, first["loc"])) or "the file"
        raise error(
            f"'{source}' is damaged or of another version of hepprune ({place}: {first['msg']}); write it again"
        ) from problem
