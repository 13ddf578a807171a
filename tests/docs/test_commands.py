"""Every command that a page shows exists, with its options, targets and files; every kind of block is looked after."""

import ast
import re
from pathlib import Path
from typing import Any

import pytest
import typer

from hepprune.cli import app
from tests.docs import pages

# What looks after each kind of block.
KINDS = {
    "": "a drawing, or what a command prints: our commands in it are looked up",
    "bash": "every command is looked up here; the tutorial's are run by test_sequences, README's by test_formats",
    "python": "run by test_snippets",
    "py": "needs a batch system: test_snippets compiles it",
    "yaml": "test_snippets reads it as a recipe, a target or a workflow",
    "json": "parsed by test_snippets",
    "c": "needs an emulator, as tests/jobs/exports compile and run",
    "{eval-rst}": "a warning of `make docs` is an error",
    "{toctree}": "a warning of `make docs` is an error",
}
# Programs of others, and why they are not looked up.
OTHERS = {
    "git": "the address of the repository",
    "cd": "a folder that an earlier command makes",
    "pip": "what this package is installed with; `nox -s packages` does that",
    "verilator": "tests/jobs/exports runs it on the same files",
    "obj_dir/Vtestbench": "what verilator makes",
    "condor_submit": "a batch system",
    "sbatch": "a batch system",
}
OF_A_PROGRAM = {name: [(page.name, words) for page in pages.PAGES for words in pages.shown(page) if words[0] == name]
                for name in ("hepprune", "make", "nox", "python")}  # fmt: skip
MAKEFILE = (pages.ROOT / "Makefile").read_text(encoding="utf-8")


@pytest.mark.parametrize("page", pages.PAGES, ids=lambda page: page.name)
def test_something_looks_after_every_block_and_every_command(page: Path) -> None:
    assert pages.kinds(page) <= KINDS.keys()
    assert {words[0] for words in pages.commands(page)} <= OTHERS.keys() | OF_A_PROGRAM.keys()


@pytest.mark.parametrize(("page", "words"), OF_A_PROGRAM["hepprune"], ids=str)
def test_a_command_exists_with_its_options(page: str, words: list[str]) -> None:
    rest = [word for word in words[1:] if word != "..."]
    place: Any = typer.main.get_command(app)
    while hasattr(place, "commands") and rest and not rest[0].startswith("-"):
        alternatives = rest.pop(0).split("|")
        for name in alternatives:
            assert name in place.commands, page
        place = place.commands[alternatives[0]]
    known = {option for parameter in place.params for option in (*parameter.opts, *parameter.secondary_opts)}
    assert _options(rest) <= known, page


@pytest.mark.parametrize(("page", "words"), OF_A_PROGRAM["make"], ids=str)
def test_make_has_the_target_and_its_variables(page: str, words: list[str]) -> None:
    text, rest = MAKEFILE, words[3:] if words[1] == "-C" else words[1:]
    if rest == ["check"]:  # of an exported emulator
        text = (pages.ROOT / "hepprune/firmware/texts/emulator.mk").read_text(encoding="utf-8")
    for word in rest:
        variable, sets, _ = word.partition("=")
        pattern = rf"^{variable} \?= " if sets else rf"^{word}:"
        assert re.search(pattern, text, re.MULTILINE), page


@pytest.mark.parametrize(("page", "words"), OF_A_PROGRAM["nox"], ids=str)
def test_nox_has_the_sessions(page: str, words: list[str]) -> None:
    tree = ast.parse((pages.ROOT / "noxfile.py").read_text(encoding="utf-8"))
    sessions = {part.name for part in tree.body if isinstance(part, ast.FunctionDef) and part.decorator_list}
    named = words[2 : words.index("--")] if "--" in words else words[2:]
    assert words[1] == "-s"
    assert set(named) <= sessions, page


@pytest.mark.parametrize(("page", "words"), OF_A_PROGRAM["python"], ids=str)
def test_a_script_exists_with_its_options(page: str, words: list[str]) -> None:
    file = pages.ROOT / words[1]
    if words[1] == "-m":
        place = pages.ROOT / words[2].replace(".", "/")
        file = place / "__main__.py" if place.is_dir() else place.with_suffix(".py")
    text = file.read_text(encoding="utf-8")
    for option in _options(words[2:]) - {"-m"}:
        assert re.search(rf"""add_argument\(\s*["']{option}["']""", text), f"{page}: {option}"


def test_every_row_of_the_benchmarks_has_a_script_or_a_command() -> None:
    rows = re.findall(r"^\|[^|]+\| ([^|]*`[^|]+) \|", (pages.ROOT / "docs/benchmarks.md").read_text(), re.MULTILINE)
    found = [command.split() for row in rows for command in re.findall(r"`([^`]+)`", row)]
    scripts = [words for words in found if words[0] not in OF_A_PROGRAM]
    assert len(scripts) > 20
    for name, *rest in scripts:
        text = (pages.ROOT / f"benchmarks/{name}.py").read_text(encoding="utf-8")
        assert all(f'"{option}"' in text for option in _options(rest)), name


def _options(words: list[str]) -> set[str]:
    """Return the options among words, those of a synopsis in brackets, too."""
    shown = {word.strip("[],.").split("=")[0] for word in words if word.strip("[").startswith("-")}
    return {option for option in shown if option not in {"-", "", "--help"}}
