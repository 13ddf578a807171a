#!/usr/bin/env -S uv run --script
# /// script
# dependencies = ["nox>=2025.2.9"]
# ///
"""The commands of the Makefile and of CI in environments of their own: `nox -s lint`, `nox -s quick_oldest`."""

import shutil
from pathlib import Path

import nox

nox.needs_version = ">=2025.2.9"
nox.options.default_venv_backend = "venv"
QUICK = ("pytest", "-n", "2", "--dist", "loadgroup", "-m", "not slow")
PINNED = ("--constraint", "constraints.txt")
EXTRAS = "hls,rtl,jets,report,digits"


@nox.session
def lint(session: nox.Session) -> None:
    """Run ruff, mypy --strict and the import contracts."""
    _installed(session, *PINNED)
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    session.run("mypy")
    session.run("lint-imports")


@nox.session
def quick(session: nox.Session) -> None:
    """Run the tests that are not marked slow, with the pinned versions."""
    _installed(session, *PINNED)
    session.run(*QUICK, *session.posargs)


@nox.session(default=False)
def quick_newest(session: nox.Session) -> None:
    """Run the quick tests with the newest versions that the package allows."""
    _installed(session)
    session.run(*QUICK, *session.posargs)


@nox.session(venv_backend="uv", default=False)
def quick_oldest(session: nox.Session) -> None:
    """Run the quick tests of the library with the oldest versions that the package allows."""
    session.install("--resolution", "lowest-direct", "--editable", f".[{EXTRAS}]", "--group", "dev")
    session.run(*QUICK, *session.posargs)


@nox.session(default=False)
def tests(session: nox.Session) -> None:
    """Run the whole suite, with the pinned versions."""
    _installed(session, *PINNED)
    session.run("hepprune", "prepare")
    session.run("pytest", "-n", "2", "--dist", "loadgroup", *session.posargs)


@nox.session
def docs(session: nox.Session) -> None:
    """Build the pages; a warning is an error."""
    _installed(session, *PINNED)
    session.run("sphinx-build", "-W", "--keep-going", "-b", "html", "docs", "docs/_build/html")


@nox.session
def packages(session: nox.Session) -> None:
    """Build the wheel and the source archive, install the wheel elsewhere and use it from an empty folder."""
    session.install("build", "twine")
    shutil.rmtree("dist", ignore_errors=True)
    session.run("python", "-m", "build")
    session.run("twine", "check", "--strict", *map(str, Path("dist").iterdir()))
    (wheel,) = Path("dist").glob("*.whl")
    session.install(*PINNED, "torch", str(wheel))
    session.chdir(session.create_tmp())
    session.run("hepprune", "targets")


def _installed(session: nox.Session, *constraints: str) -> None:
    """Install the package and what its tests need; torch first, so that a CPU index can be chosen for it."""
    session.install(*constraints, "torch")
    session.install(*constraints, "--editable", f".[{EXTRAS}]")
    session.install(*constraints, "--requirement", "requirements-dev.txt")


if __name__ == "__main__":
    nox.main()
