"""What README and docs say works: every command they show exists with its options, and every snippet runs."""

import re
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from hepprune.cli import app
from hepprune.hardware import targets
from hepprune.pruning import importance
from hepprune.recipe import Recipe
from tests.reference import REFERENCE

ROOT = Path(__file__).parent.parent
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").glob("*.md")])
TAGGER = REFERENCE / "models/jet-mlp-16-64-32-32-5.h5"
_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_INLINE = re.compile(r"`(hepprune [^`]+)`")


def _commands() -> list[tuple[str, str]]:
    found = []
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        fenced = "\n".join(body for kind, body in _FENCE.findall(text) if kind in {"", "bash", "console", "sh"})
        joined = fenced.replace("\\\n", " ")
        lines = [line.strip() for line in joined.splitlines() if re.match(r"\s*hepprune [a-z]", line)]
        found += [(page.name, command.split(" #")[0]) for command in (*lines, *_INLINE.findall(text))]
    return list(dict.fromkeys(found))


@pytest.mark.parametrize(("page", "command"), _commands())
def test_every_command_shown_exists_with_its_options(page: str, command: str) -> None:
    words = shlex.split(command.replace("...", " "))[1:]
    place: Any = typer.main.get_command(app)
    while hasattr(place, "commands") and words and not words[0].startswith("-"):
        alternatives = words.pop(0).split("|")
        for name in alternatives:
            assert name in place.commands, f"{page}: `{command}`"
        place = place.commands[alternatives[0]]
    known = {option for parameter in place.params for option in (*parameter.opts, *parameter.secondary_opts)}
    shown = {word.split("=")[0].strip("[],.") for word in words if word.strip("[").startswith("-")} - {"-", "--help"}
    assert shown <= known, f"{page}: `{command}`"


def _snippets(page: Path) -> list[str]:
    """Return the Python of a page, but for the whole job, which is the golden path's."""
    code = [body for kind, body in _FENCE.findall(page.read_text(encoding="utf-8")) if kind == "python"]
    return [body for body in code if "pipeline.run" not in body]


@pytest.mark.slow
@pytest.mark.parametrize("page", [pytest.param(page, id=page.name) for page in PAGES if _snippets(page)])
def test_the_snippets_of_a_page_run_one_after_the_other(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(TAGGER, tmp_path / "tagger.h5")
    (tmp_path / "hls_projects").symlink_to(ROOT / "hls_projects")
    (tmp_path / "datasets").symlink_to(ROOT / "datasets")
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    for body in _snippets(page):
        exec(compile(body, page.name, "exec"), names)  # noqa: S102 -- that is the test


def _recipes(page: Path) -> list[str]:
    return [body for kind, body in _FENCE.findall(page.read_text(encoding="utf-8")) if kind == "yaml"]


@pytest.mark.parametrize("body", _recipes(ROOT / "docs/data.md"))
def test_the_recipes_of_the_page_on_data_are_recipes(body: str) -> None:
    rest = {"name": "job", "budget": {"lut": 20_000}, "model": {"file": "model.keras"}}
    recipe = Recipe.model_validate(rest | yaml.safe_load(body))
    assert recipe.data.columns


def test_the_tutorial_has_a_recipe_and_the_how_tos_a_target(tmp_path: Path) -> None:
    (recipe,) = _recipes(ROOT / "docs/tutorial.md")
    assert Recipe.model_validate(yaml.safe_load(recipe)).name == "tutorial"
    (board,) = _recipes(ROOT / "docs/howto.md")
    (tmp_path / "my_board.yaml").write_text(board)
    target = targets.load(tmp_path / "my_board.yaml")
    assert target.budget.latency_ns == 100 - 8 * 3.125
    assert target.device.lut * 0.1 == target.budget.resources.lut


@pytest.fixture(autouse=True)
def _same_criteria() -> Iterator[None]:
    """Forget the criteria that a snippet registers."""
    known = dict(importance.CRITERIA)
    yield
    importance.CRITERIA.clear()
    importance.CRITERIA.update(known)


_ROW = re.compile(r"^\| `(\w+)` \|(.*)\|$", re.MULTILINE)
_LINK = re.compile(r"\[[^]]+]\(([^)]+)\)")


@pytest.mark.parametrize("name", list(importance.CRITERIA))
def test_every_criterion_has_its_formula_paper_and_oracle_in_the_guide(name: str) -> None:
    guide = ROOT / "docs/pruning.md"
    rows = dict(_ROW.findall(guide.read_text(encoding="utf-8")))
    assert name in rows
    cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", rows[name])]
    assert len(cells) == 5
    assert all(cells)
    jets, oracle = cells[2], cells[4]
    assert jets == ("yes" if importance.find(name).gathers else "no")
    tests = [(guide.parent / link).read_text(encoding="utf-8") for link in _LINK.findall(oracle)]
    assert any(re.search(rf"\b{name}s?\b", test) for test in tests)
