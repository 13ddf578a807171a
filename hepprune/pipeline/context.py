"""What every step of a run shares: recipe, target, where results are kept and by whom, how progress is shown."""

import fcntl
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from pydantic import TypeAdapter

from hepprune.hardware.targets import Target
from hepprune.recipe import Recipe
from hepprune.store import Store


class Track(Protocol):
    """Shows the progress of one named step."""

    def __call__(self, name: str, total: int | None = None) -> AbstractContextManager[Callable[..., None]]:
        """Yield `advance(n=1, note="")`."""


@contextmanager
def silent(name: str, total: int | None = None) -> Iterator[Callable[..., None]]:
    """Show nothing: the `Track` of notebooks and tests."""
    del name, total
    yield lambda *_, **__: None


@dataclass(frozen=True, kw_only=True)
class Context:
    """One run: its recipe and target, its build folder, the workers it may use, the seconds each step has taken.

    `no_hls` is why hls4ml does not take the tagger, of which a run then writes Verilog alone; empty where it does.
    """

    recipe: Recipe
    target: Target
    build: Path
    track: Track = silent
    seconds: dict[str, float] = field(default_factory=dict)
    executor: Executor | None = None
    no_hls: str = ""

    @contextmanager
    def step(self, name: str, total: int | None = None) -> Iterator[Callable[..., None]]:
        """Show and time one step; yields `advance(n=1, note="")`."""
        started = time.perf_counter()
        with self.track(name, total) as advance:
            yield advance
        self.seconds[name] = round(self.seconds.get(name, 0.0) + time.perf_counter() - started, 2)

    @property
    def place(self) -> dict[str, Any]:
        """All that prices and firmware depend on of the target, for keys of what is kept."""
        return TypeAdapter(Target).dump_python(self.target, mode="json")  # type: ignore[no-any-return]

    @property
    def state(self) -> Path:
        """The folder of all that lets an interrupted run go on."""
        return self.build / "state"

    @property
    def store(self) -> Store:
        """Where results of steps are kept."""
        return Store(self.state)


@contextmanager
def locked(build: Path, track: Track) -> Iterator[None]:
    """Hold a build folder while the block runs; where another process holds it, one step says so and waits.

    The lock goes with the process that holds it, however that ends.
    """
    build.mkdir(parents=True, exist_ok=True)
    with (build / ".lock").open("w") as file:
        with suppress(OSError):  # some network file systems have no locks, and there is nothing to wait for
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                with track("waiting for another run in the same build folder"):
                    fcntl.flock(file, fcntl.LOCK_EX)
        yield
