"""Interpreters of frameworks that no environment of ours holds; `nox -s frameworks` makes one that has them all."""

import os
import subprocess
from pathlib import Path

import pytest


def of(framework: str) -> str:
    """Return the interpreter that has hgq, pquant or brevitas; where none is named, the test says so and is skipped."""
    variable = f"{framework.upper()}_PYTHON"
    if variable not in os.environ:
        pytest.skip(f"{variable} names no interpreter that has {framework}")
    return os.environ[variable]


def run(framework: str, *arguments: Path | str) -> None:
    """Run a script where a framework is, on the backend that all of them have."""
    environment = {**os.environ, "KERAS_BACKEND": "torch"}
    done = subprocess.run(
        [of(framework), *arguments],
        check=False,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        env=environment,
    )
    assert done.returncode == 0, done.stderr[-3000:]
