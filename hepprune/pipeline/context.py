"""What every step of a run shares: the recipe, the target, where results are kept, how progress is shown."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypeVar

from pydantic import TypeAdapter

import hepprune
from hepprune import stored
from hepprune.files import content_hash, write_text
from hepprune.hardware.targets import Target
from hepprune.network import Network, load, save
from hepprune.recipe import Recipe

T = TypeVar("T")


class Track(Protocol):
    """Shows the progress of one named step."""

    def __call__(self, name: str, total: int | None = None) -> AbstractContextManager[Callable[..., None]]:
        """Yield `advance(n=1, note="")`."""


@contextmanager
def silent(name: str, total: int | None = None) -> Iterator[Callable[..., None]]:
    """Show nothing: the `Track` of notebooks and tests."""
    del name, total
    yield lambda *_, **__: None


@dataclass(frozen=True)
class Context:
    """One run: its recipe and target, its build folder, the workers it may use, the seconds each step has taken.

    Results are kept under names made from everything they depend on (the version of hepprune too), so that a run that
    was interrupted goes on, and a run that is repeated only reads.
    """

    recipe: Recipe
    target: Target
    build: Path
    track: Track = silent
    seconds: dict[str, float] = field(default_factory=dict)
    executor: Executor | None = None

    @contextmanager
    def step(self, name: str, total: int | None = None) -> Iterator[Callable[..., None]]:
        """Show and time one step; yields `advance(n=1, note="")`."""
        started = time.perf_counter()
        with self.track(name, total) as advance:
            yield advance
        self.seconds[name] = round(self.seconds.get(name, 0.0) + time.perf_counter() - started, 2)

    @property
    def state(self) -> Path:
        """Where results of steps are kept."""
        return self.build / "state"

    def kept_network(self, name: str, key: Any, make: Callable[[], Network]) -> Network:
        """Return the network kept under this name and key, or make and keep it."""
        path = self.state / f"{name}-{content_hash(hepprune.__version__, key)}.npz"
        if not path.is_file():
            save(make(), path)
        return load(path)

    def kept(self, kind: type[T], name: str, key: Any, make: Callable[[], T]) -> T:
        """Return the value of that type kept under this name and key, or make and keep it."""
        path = self.state / f"{name}-{content_hash(hepprune.__version__, key)}.json"
        adapter: TypeAdapter[T] = TypeAdapter(kind)
        if not path.is_file():
            write_text(path, adapter.dump_json(make(), indent=2).decode())
        return stored.read(adapter, path)
