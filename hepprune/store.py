"""What took long to make, kept on disk under all that it depends on: interrupted work goes on, repeated work reads."""

import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from hepprune import __version__
from hepprune.files import content_hash, stored, write_text
from hepprune.network import Network, load, save

T = TypeVar("T")


@dataclass(frozen=True)
class Store:
    """Values and networks in a folder, each made once; without a folder nothing is kept.

    Each has a name and a key: as JSON, everything it depends on besides the version of hepprune. What is kept is whole,
    and what was damaged since is refused.
    """

    folder: Path | None = None

    def value(self, kind: type[T], name: str, key: Any, make: Callable[[], T]) -> T:
        """Return the value of that type kept under this name and key, or make and keep it."""
        path = self._path(name, key, ".json")
        if path is None:
            return make()
        if not path.is_file():
            stored.write(kind, path, make())
        return stored.read(kind, path)

    def network(self, name: str, key: Any, make: Callable[[], Network]) -> Network:
        """Return the network kept under this name and key, or make and keep it."""
        path = self._path(name, key, ".npz")
        if path is None:
            return make()
        if not path.is_file():
            save(make(), path)
        return load(path)

    def step(self, kind: type[T], name: str, key: Any, make: Callable[[], tuple[Network, T]]) -> tuple[Network, T]:
        """Return the network that a step led to, and what it tells of itself, or make and keep both."""
        path = self._path(name, key, ".json")
        if path is None:
            return make()
        if not path.is_file():
            network, about = make()
            save(network, path.with_suffix(".npz"))
            stored.write(kind, path, about)  # last: where it is, the network is too
        return load(path.with_suffix(".npz")), stored.read(kind, path)

    def has(self, name: str, key: Any) -> bool:
        """Return whether a value or a step is kept under this name and key."""
        path = self._path(name, key, ".json")
        return path is not None and path.is_file()

    def _path(self, name: str, key: Any, suffix: str) -> Path | None:
        return self.folder and self.folder / f"{name}-{content_hash(__version__, key)}{suffix}"


class Journal:
    """Many small values by key: one line each in a file, or in memory only where there is no path.

    Numbers come back exactly as they went in. A line that was torn by a kill is dropped, and its value made again.
    """

    def __init__(self, path: Path | None = None) -> None:
        self.path = path
        self._known: dict[str, Any] = {}
        if path is not None and path.is_file():
            whole = path.read_text(encoding="utf-8", errors="replace").splitlines(keepends=True)
            for line in whole:
                with suppress(ValueError, TypeError):
                    key, value = json.loads(line)
                    if line.endswith("\n"):
                        self._known[key] = value
            if whole and not whole[-1].endswith("\n"):
                write_text(path, "".join(whole[:-1]))

    def __len__(self) -> int:
        """Return how many values are known."""
        return len(self._known)

    def remember(self, key: Any, make: Callable[[], Any]) -> Any:
        """Return the JSON value known under a key, or make it and write it down."""
        name = content_hash(__version__, key)
        if name not in self._known:
            value = make()
            if self.path is not None:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                with self.path.open("a", encoding="utf-8") as file:
                    file.write(json.dumps([name, value]) + "\n")
            self._known[name] = value
        return self._known[name]
