"""What README and docs say works: every command they show exists with its options, and every snippet runs."""

import re
import shlex
import shutil
from pathlib import Path
from typing import Any

import pytest
import typer

from hepprune.cli import app

ROOT = Path(__file__).parent.parent
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").glob("*.md")])
TAGGER = ROOT.parent / "shared/reference/models/jet-mlp-16-64-32-32-5.h5"
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


def _snippets() -> list[tuple[str, str]]:
    found = []
    for page in PAGES:
        code = [body for kind, body in _FENCE.findall(page.read_text(encoding="utf-8")) if kind == "python"]
        found += [(f"{page.name}-{index}", body) for index, body in enumerate(code, start=1)]
    return found


@pytest.mark.parametrize(
    "body", [pytest.param(body, id=name) for name, body in _snippets() if "pipeline.run" not in body]
)
def test_every_snippet_runs(body: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The snippet of the whole job is run by the golden path."""
    if not TAGGER.is_file():
        pytest.skip("the snippets start from a published tagger, which is not here")
    shutil.copy(TAGGER, tmp_path / "tagger.h5")
    (tmp_path / "hls_projects").symlink_to(ROOT / "hls_projects")
    (tmp_path / "datasets").symlink_to(ROOT / "datasets")
    monkeypatch.chdir(tmp_path)
    exec(compile(body, "snippet", "exec"), {})  # noqa: S102 -- that is the test
