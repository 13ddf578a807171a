"""The programs that every run needs: found by name, run quietly, with one sentence when they are missing or fail."""

import ctypes
import logging
import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from hepprune.errors import PrerequisiteError

log = logging.getLogger(__name__)


def require(program: str, *, what: str) -> str:
    """Return the path of a program.

    Raises:
        PrerequisiteError: it is not on PATH; the sentence says what needs it.
    """
    found = shutil.which(program)
    if found is None:
        raise PrerequisiteError(f"{program} is missing, which {what} needs; install it (`apt install {program}`)")
    return found


def loaded(library: Path) -> ctypes.CDLL:
    """Return a shared library; the loader reads a $ in its path as a variable, so a link without one leads to it."""
    if "$" not in str(library):
        return ctypes.CDLL(str(library))
    with tempfile.TemporaryDirectory(prefix="hepprune-") as folder:
        link = Path(folder) / library.name
        link.symlink_to(library.resolve())
        return ctypes.CDLL(str(link))


def run(command: Sequence[str], *, folder: Path, what: str, environment: Mapping[str, str] | None = None) -> None:
    """Run a program in a folder; its output goes to the log.

    Raises:
        PrerequisiteError: it fails; the sentence ends with its last line of output.
    """
    env = os.environ | dict(environment or {})
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, errors="replace", check=False)
    log.debug("%s\n%s%s", " ".join(command), done.stdout, done.stderr)
    if done.returncode:
        lines = [line for line in (done.stdout + done.stderr).splitlines() if "rror" in line] or [done.stderr.strip()]
        raise PrerequisiteError(f"{what} does not build in '{folder}' ({command[0]}: {done.returncode}): {lines[0]}")
