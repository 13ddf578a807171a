"""Files that are either whole or absent, and the content hashes that name them."""

import csv
import hashlib
import io
import json
import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any


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


@contextmanager
def staged(folder: Path) -> Iterator[Path]:
    """Yield a temporary folder inside `folder`, whose files come into it when the block ends well, else vanish."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".") as name:
        yield Path(name)
        for file in sorted(Path(name).iterdir()):
            file.replace(folder / file.name)


def write_text(path: Path, text: str) -> Path:
    """Write a text file whole, and return its path."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return path


def write_csv(path: Path, columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> Path:
    """Write a CSV file whole, and return its path."""
    text = io.StringIO()
    table = csv.DictWriter(text, columns, lineterminator="\n")
    table.writeheader()
    table.writerows(rows)
    return write_text(path, text.getvalue())


def write_json(path: Path, value: Any) -> Path:
    """Write a JSON file whole, keys in the order given, and return its path."""
    return write_text(path, json.dumps(value, indent=2, allow_nan=False) + "\n")


def content_hash(*parts: Any) -> str:
    """Return 16 hexadecimal digits that name this content: JSON values and bytes, in order."""
    digest = hashlib.sha256()
    for part in parts:
        chunk = part if isinstance(part, bytes) else json.dumps(part, sort_keys=True).encode()
        digest.update(len(chunk).to_bytes(8, "little") + chunk)
    return digest.hexdigest()[:16]
