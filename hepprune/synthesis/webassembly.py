"""Open tools from PyPI as WebAssembly (YoWASP): how they are started, and compiled once ahead of need.

The first call of one on a machine compiles it (seconds to minutes, on all cores) and keeps the result in the user's
cache folder. They run in a sandbox that maps the folder they are started in.
"""

import fcntl
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from hepprune.errors import PrerequisiteError, explained

# Linux ends it with its parent (PR_SET_PDEATHSIG is 1), even if that was killed and could not clean up.
_PROGRAM = """
import ctypes, signal
ctypes.CDLL(None).prctl(1, signal.SIGKILL)
from {module} import {function}
{function}()
"""


@dataclass(frozen=True)
class WasmTool:
    """A tool of a PyPI package: the function that runs it, and arguments with which it does next to nothing."""

    package: str
    function: str
    idle: tuple[str, ...]

    @property
    def command(self) -> tuple[str, ...]:
        """What starts it."""
        module = self.package.replace("-", "_")
        return sys.executable, "-c", _PROGRAM.format(module=module, function=self.function)

    def release(self) -> str:
        """Return the version of its package."""
        return version(self.package)

    def warm_up(self) -> None:
        """Run it once on nothing, so that it is compiled and cached.

        Raises:
            PrerequisiteError: it does not run; the sentence quotes its last line.
        """
        with _cache_locked(), tempfile.TemporaryDirectory() as scratch:
            done = subprocess.run(
                [*self.command, *self.idle],
                env=os.environ | {"TMPDIR": scratch},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                check=False,
            )
        if done.returncode:
            last = (done.stderr.strip().splitlines() or ["it printed nothing"])[-1]
            raise PrerequisiteError(f"{self.package} does not run here: {last}")


@contextmanager
def _cache_locked() -> Iterator[None]:
    """Let one process at a time fill the cache: a second one would cut short the file that the first has mapped."""
    from platformdirs import user_cache_dir

    folder = Path(os.environ.get("YOWASP_CACHE_DIR", user_cache_dir("YoWASP", appauthor=False)))
    said = f"'{folder}'; set YOWASP_CACHE_DIR to a folder that can be written, which that one cannot:"
    with explained(PrerequisiteError, f"open tools keep their compiled form in {said}", OSError):
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / "hepprune.lock").open("w")
    with lock:
        with suppress(OSError):  # some file systems of networks have no locks
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield
