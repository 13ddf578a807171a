"""Files that are either whole or absent, and the content hashes that name them."""

import hashlib
import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from hepprune.errors import HeppruneError

if TYPE_CHECKING:
    from pydantic import TypeAdapter

T = TypeVar("T")


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path` that takes its place when the block ends well and vanishes when it does not.

    The temporary name keeps the suffix, because writers such as matplotlib and uproot look at it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem}-", suffix=path.suffix)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        temporary.chmod(0o644)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> Path:
    """Write a text file whole, and return its path."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return path


def write_json(path: Path, value: Any) -> Path:
    """Write a JSON file whole, keys in the order given, and return its path."""
    return write_text(path, json.dumps(value, indent=2, allow_nan=False) + "\n")


def read_value(adapter: "TypeAdapter[T]", path: Path, *, error: type[HeppruneError] = HeppruneError) -> T:
    """Return the value that a JSON file holds.

    Raises:
        HeppruneError: as `error`, the file cannot be read, is damaged, or is of another version.
    """
    try:
        content = path.read_bytes()
    except OSError as problem:
        raise error(f"'{path}' cannot be read: {problem.strerror}") from problem
    return parse_value(adapter, content, str(path), error=error)


def parse_value(
    adapter: "TypeAdapter[T]", content: str | bytes, source: str, *, error: type[HeppruneError] = HeppruneError
) -> T:
    """Return the value that JSON holds; `source` is what the sentence calls it.

    Raises:
        HeppruneError: as `error`, it is damaged, or of another version.
    """
    from pydantic import ValidationError

    try:
        return adapter.validate_json(content)
    except ValidationError as problem:
        first = problem.errors(include_url=False, include_input=False)[0]
        place = ".".join(map(str, first["loc"])) or "the file"
        raise error(
            f"'{source}' is damaged or of another version of hepprune ({place}: {first['msg']}); write it again"
        ) from problem


def content_hash(*parts: Any) -> str:
    """Return 16 hexadecimal digits that name this content: JSON values and bytes, in order."""
    digest = hashlib.sha256()
    for part in parts:
        chunk = part if isinstance(part, bytes) else json.dumps(part, sort_keys=True).encode()
        digest.update(len(chunk).to_bytes(8, "little") + chunk)
    return digest.hexdigest()[:16]
