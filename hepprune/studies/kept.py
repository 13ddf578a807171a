"""What long series of trainings keep on disk: each result under the hash of all it depends on."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from pydantic import TypeAdapter

from hepprune import stored
from hepprune.files import content_hash, write_text
from hepprune.network import Network, load, save
from hepprune.sample import Sample

T = TypeVar("T")


@dataclass(frozen=True)
class Kept:
    """Results in a folder, so that a series that was interrupted goes on; without a folder nothing is kept."""

    folder: Path | None = None

    def network(self, name: str, make: Callable[[], Network]) -> Network:
        """Return the network kept under this name, or make and keep it."""
        if self.folder is None:
            return make()
        path = self.folder / f"{name}.npz"
        if not path.is_file():
            save(make(), path)
        return load(path)

    def value(self, kind: type[T], name: str, make: Callable[[], T]) -> T:
        """Return the value of that type kept under this name, or make and keep it."""
        if self.folder is None:
            return make()
        path, adapter = self.folder / f"{name}.json", TypeAdapter(kind)
        if not path.is_file():
            write_text(path, adapter.dump_json(make()).decode())
        return stored.read(adapter, path)


def named(*samples: Sample) -> str:
    """Return the content hash of samples."""
    return content_hash([sample.key for sample in samples])
