"""The commands of the tutorial, one after the other as they stand there, on a small job.

Those of the README are run by `tests/pipeline/test_formats.py`.
"""

from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from hepprune.cli import app
from hepprune.recipe import load as read_recipe
from hepprune.report import summary as summaries
from tests.docs import pages

pytestmark = pytest.mark.slow
FEW = {"csim_vectors": 200, "rtl_vectors": 200}
SHORT = {"stages": 2, "fine_tune_epochs": 1, "settle_epochs": 2, "trim_epochs": 1}
ELSEWHERE = {"pip": "`nox -s packages` installs", "doctor": "tests/jobs/test_doctor.py", "make": "`make hls` is nox's"}


def run(words: list[str]) -> str:
    """Return what a command that ends well prints."""
    done = CliRunner().invoke(app, words[1:])
    assert done.exit_code == 0, f"{' '.join(words)}: {done.output}"
    return " ".join(done.output.split())


def shortened(file: Path, **sections: Any) -> None:
    """Make a recipe that stands in a file take less time."""
    given = yaml.safe_load(file.read_text(encoding="utf-8"))
    file.write_text(yaml.safe_dump(given | sections), encoding="utf-8")


def test_the_tutorial_from_jets_to_an_emulator(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = pages.ROOT / "docs/tutorial.md"
    (recipe,) = pages.fences(page, "yaml")
    monkeypatch.chdir(tmp_path)
    Path("recipe.yaml").write_text(recipe)
    assert read_recipe(Path("recipe.yaml")).name == "tutorial"
    model = yaml.safe_load(recipe)["model"] | {"hidden": [8], "training": {"float_epochs": 2, "epochs": 2}}
    budget = {"lut_of_baseline": 0.6, "latency_ns": 30}
    shortened(Path("recipe.yaml"), model=model, search=SHORT, budget=budget, checks=FEW)
    said = {}
    for words in pages.commands(page):
        if words[0] in ELSEWHERE or words[1] in ELSEWHERE:
            continue
        if words[1:3] == ["data", "make"]:
            words[words.index("--jets") + 1] = "600"
        said[" ".join(words[1:3])] = run(words)
    assert "j_multiplicity" in said["data show"]
    found = summaries.read(Path("build/summary.json"))
    assert found.feedback[-1].met
    assert (found.checks.csim_mismatches, found.checks.rtl_mismatches) == (0, 0)
    assert "LUT" in said["estimate build/network.npz"]
    assert "entity tutorial is" in Path("firmware/tutorial.vhd").read_text()
    assert Path("build/report.html").is_file()
    assert Path("emulator/Makefile").is_file()
