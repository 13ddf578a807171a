#!/usr/bin/env -S uv run --script
# /// script
# dependencies = ["nox>=2025.2.9"]
# ///
"""The commands of the Makefile and of CI in environments of their own: `nox -s lint`, `nox -s quick_oldest`."""

import shutil
import tarfile
from pathlib import Path

import nox

nox.needs_version = ">=2025.2.9"
nox.options.default_venv_backend = "venv"
QUICK = ("pytest", "-n", "2", "--dist", "loadgroup", "-m", "not slow")
PINNED = ("--constraint", "constraints.txt")
INSTALL = ("-m", "pip", "install", "--quiet")
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


@nox.session(default=False)
def frameworks(session: nox.Session) -> None:
    """Run the tests that ask HGQ2, PQuantML, Brevitas and QKeras of Keras 3, in two environments of their own."""
    _installed(session, *PINNED)
    named = dict.fromkeys(("HGQ_PYTHON", "PQUANT_PYTHON", "BREVITAS_PYTHON"), _having(session, "frameworks"))
    named["QKERAS3_PYTHON"] = _having(session, "qkeras3")
    session.run("pytest", "-n", "2", "--dist", "loadgroup", "tests/frontends", *session.posargs, env=named)


@nox.session
def review(session: nox.Session) -> None:
    """Hold the repository against the Scientific Python guide; what is argued against stands in pyproject.toml."""
    session.install("sp-repo-review[cli]==2026.8.14")
    session.run("repo-review", ".", *session.posargs)


@nox.session
def packages(session: nox.Session) -> None:
    """Build both packages, install each in a clean environment, and run a small job and `make hls` with them.

    `nox -s packages -- RECIPE=tests/small.yaml` has `make hls` run the small job, too.
    """
    session.install("build", "twine")
    shutil.rmtree("dist", ignore_errors=True)
    session.run("python", "-m", "build")
    session.run("twine", "check", "--strict", *map(str, Path("dist").iterdir()))
    (wheel,), (sources,) = (list(Path("dist").resolve().glob(kind)) for kind in ("*.whl", "*.tar.gz"))
    pinned, small = ("--constraint", str(Path("constraints.txt").resolve())), Path("tests/small.yaml").resolve()
    session.chdir(session.create_tmp())
    for package, extras in ((sources, ""), (wheel, "[all]")):
        python = _clean(session, package.suffix[1:])
        session.run(python, *INSTALL, *pinned, "torch", f"{package}{extras}", external=True)
        session.run(python, "-m", "hepprune", "targets", external=True)
    session.run(python, "-m", "hepprune", "run", str(small), "--build", "built", external=True)
    with tarfile.open(sources) as archive:
        archive.extractall(filter="data")
    session.chdir(sources.name.removesuffix(".tar.gz"))
    session.run("make", "hls", *session.posargs, external=True)


def _having(session: nox.Session, frameworks: str) -> str:
    """Return the interpreter of a new environment with the frameworks of a list."""
    python = _clean(session, frameworks)
    session.run(python, *INSTALL, "--requirement", f"tests/frontends/{frameworks}.txt", external=True)
    return python


def _clean(session: nox.Session, name: str) -> str:
    """Return the interpreter of a new environment with nothing in it."""
    folder = Path(session.create_tmp()) / name
    session.run("python", "-m", "venv", "--clear", str(folder))
    return str(folder / "bin" / "python")


def _installed(session: nox.Session, *constraints: str) -> None:
    """Install the package and what its tests need; torch first, so that a CPU index can be chosen for it."""
    session.install(*constraints, "torch")
    session.install(*constraints, "--editable", f".[{EXTRAS}]")
    session.install(*constraints, "--requirement", "requirements-dev.txt")


if __name__ == "__main__":
    nox.main()
