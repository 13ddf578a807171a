"""Every Python snippet of the guides runs, one after the other as a reader would paste them."""

import re
from pathlib import Path

import pytest

from hepprune.pruning import importance

DOCS = Path(__file__).parents[1] / "docs"


@pytest.mark.parametrize("name", ["pruning.md", "dynamic.md"])
def test_snippets_run(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    snippets = re.findall(r"```python\n(.*?)```", (DOCS / name).read_text(), flags=re.DOTALL)
    known, names = set(importance.CRITERIA), {}
    assert snippets
    try:
        for snippet in snippets:
            exec(compile(snippet, name, "exec"), names)  # noqa: S102
    finally:
        for added in set(importance.CRITERIA) - known:
            del importance.CRITERIA[added]
    assert capsys.readouterr().out


def test_every_criterion_is_in_the_guide() -> None:
    guide = (DOCS / "pruning.md").read_text()
    assert [name for name in importance.CRITERIA if f"| `{name}` |" not in guide] == []
