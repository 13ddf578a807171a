"""One run at a time in a build folder: a second one waits, and then finds all that the first has kept."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from hepprune.pipeline.context import Track

_FILE = ".lock"


@contextmanager
def locked(build: Path, track: Track) -> Iterator[None]:
    """Hold a build folder while the block runs; where another process holds it, one step says so and waits.

    The lock goes with the process that holds it, however that ends.
    """
    build.mkdir(parents=True, exist_ok=True)
    with (build / _FILE).open("w") as file:
        with suppress(OSError):  # some network file systems have no locks, and there is nothing to wait for
            _wait(file, track)
        yield


def _wait(file: IO[str], track: Track) -> None:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        with track("waiting for another run in the same build folder"):
            fcntl.flock(file, fcntl.LOCK_EX)
