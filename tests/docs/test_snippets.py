"""The blocks of README and docs are what they say: Python runs, recipes, targets and workflows are read."""

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from hepprune.hardware import targets
from hepprune.pruning import importance
from hepprune.recipe import Recipe
from tests.docs import pages
from tests.reference import REFERENCE

TAGGER = REFERENCE / "models/jet-mlp-16-64-32-32-5.h5"


def _snippets(page: Path) -> list[str]:
    """Return the Python of a page, but for the whole job, which is the golden path's."""
    return [body for body in pages.fences(page, "python") if "pipeline.run" not in body]


@pytest.mark.slow
@pytest.mark.parametrize("page", [pytest.param(page, id=page.name) for page in pages.PAGES if _snippets(page)])
def test_the_snippets_of_a_page_run_one_after_the_other(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(TAGGER, tmp_path / "tagger.h5")
    (tmp_path / "hls_projects").symlink_to(pages.ROOT / "hls_projects")
    (tmp_path / "datasets").symlink_to(pages.ROOT / "datasets")
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    for body in _snippets(page):
        exec(compile(body, page.name, "exec"), names)  # noqa: S102 -- that is the test


@pytest.mark.parametrize("page", [pytest.param(page, id=page.name) for page in pages.PAGES if pages.fences(page, "py")])
def test_what_needs_a_batch_system_is_python(page: Path) -> None:
    for body in pages.fences(page, "py"):
        compile(body, page.name, "exec")


def _blocks(kind: str) -> list[Any]:
    return [pytest.param(body, id=page.name) for page in pages.PAGES for body in pages.fences(page, kind)]


@pytest.mark.parametrize("body", _blocks("yaml"))
def test_a_block_is_a_recipe_or_part_of_one_a_target_or_a_workflow(body: str, tmp_path: Path) -> None:
    given = yaml.safe_load(body)
    if "jobs" in given:  # its commands are looked up with those of the page
        steps = [step for job in given["jobs"].values() for step in job["steps"]]
        assert all(("run" in step) != ("uses" in step) for step in steps)
        return
    if "part" in given:
        (tmp_path / "board.yaml").write_text(yaml.safe_dump({"name": "board", "clock_ns": 5} | given))
        assert targets.load(tmp_path / "board.yaml").device.lut
        return
    data = {"file": "jets.root:Jets", "features": ["pt"], "classes": ["background", "signal"]}
    rest = {"name": "job", "data": data, "budget": {"lut": 20_000}, "model": {"file": "model.keras"}}
    assert Recipe.model_validate(rest | given).data.columns


def test_a_target_of_ones_own_takes_its_wrapper_off_the_budget(tmp_path: Path) -> None:
    (board,) = (body for body in pages.fences(pages.ROOT / "docs/howto.md", "yaml") if "part:" in body)
    (tmp_path / "my_board.yaml").write_text(board)
    target = targets.load(tmp_path / "my_board.yaml")
    assert target.budget.latency_ns == 100 - 8 * 3.125
    assert target.device.lut * 0.1 == target.budget.resources.lut


@pytest.mark.parametrize("body", _blocks("json"))
def test_a_block_of_json_is_json(body: str) -> None:
    assert json.loads(body)


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
    guide = pages.ROOT / "docs/pruning.md"
    rows = dict(_ROW.findall(guide.read_text(encoding="utf-8")))
    assert name in rows
    cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", rows[name])]
    assert len(cells) == 5
    assert all(cells)
    jets, oracle = cells[2], cells[4]
    assert jets == ("yes" if importance.find(name).gathers else "no")
    tests = [(guide.parent / link).read_text(encoding="utf-8") for link in _LINK.findall(oracle)]
    assert any(re.search(rf"\b{name}s?\b", test) for test in tests)
