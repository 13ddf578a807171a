"""A recipe that makes its own jets: once, with the seed it names, after everything else was found right."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hepprune.data import production, read
from hepprune.errors import DataError, ToolMissingError
from hepprune.executors import Serial
from hepprune.hardware import targets
from hepprune.pipeline import checks, making, taggers
from hepprune.pipeline.context import Context
from hepprune.recipe import Recipe

pytestmark = pytest.mark.xdist_group("production")


def job(folder: Path, **data: Any) -> Context:
    wanted: dict[str, Any] = {
        "file": f"{folder}/made/jets.root:Jets",
        "make": {"jets": 20, "seed": 3},
        "features": ["j_mass_mmdt / mass", "log(pt)", "count(constituent_pt)"],
        "cut": "pt > 0",
        "classes": list("gqWZt"),
        "validation": 0.3,
        "test": 0.3,
    }
    recipe = Recipe.model_validate({"name": "small", "data": wanted | data, "budget": {"lut": 20_000}})
    return Context(recipe=recipe, target=targets.load(recipe.target), build=folder / "build", executor=Serial())


@pytest.mark.slow
def test_jets_are_made_once_where_they_are_missing_and_are_those_of_data_make(tmp_path: Path) -> None:
    context = job(tmp_path)
    samples = taggers.read_jets(context)
    file = tmp_path / "made" / "jets.root"
    made = file.read_bytes()
    assert sum(map(len, (samples.train, samples.validation, samples.test))) == 20
    assert taggers.read_jets(context).key == samples.key
    assert file.read_bytes() == made
    assert [each.name for each in file.parent.iterdir()] == ["jets.root"]
    again = production.generate(20, tmp_path / "again.root", executor=Serial(), seed=3)
    columns = ["pt", "mass", "j_multiplicity"]
    one, other = (read(f"{path}:Jets", features=columns, classes=list("gqWZt")) for path in (file, again))
    assert np.array_equal(one.x, other.x)
    with pytest.raises(
        DataError, match="jets.root' holds 20 jets of seed 3, where 20 jets of seed 4 are to be made; remove"
    ):
        taggers.read_jets(job(tmp_path, make={"jets": 20, "seed": 4}))


@pytest.mark.slow
@pytest.mark.parametrize("wrong", [{"features": ["ptt"]}, {"cut": "ptt > 3"}, {"file": "jets.root:Jetz"}])
def test_a_wrong_column_is_found_before_jets_are_made(tmp_path: Path, wrong: dict[str, Any]) -> None:
    if "file" in wrong:
        wrong = {"file": f"{tmp_path}/{wrong['file']}"}
    with pytest.raises(DataError, match="no column 'ptt'; the nearest are: pt|no tree 'Jetz'; it has: Jets"):
        checks.check(job(tmp_path, **wrong), "yosys")
    assert not list(tmp_path.iterdir())


def test_a_recipe_whose_jets_are_there_is_checked_with_them(tmp_path: Path) -> None:
    context = job(tmp_path, file=str(tmp_path / "jets.root"))
    (tmp_path / "jets.root").write_bytes(b"")
    assert making.example(context.recipe, tmp_path) is context.recipe
    with pytest.raises(DataError, match="is not a ROOT file, or a damaged one"):
        making.make(context)


def test_without_pythia_nothing_is_made_and_the_exit_code_is_that_of_a_missing_program(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(production, "find_spec", lambda name: None)
    for run in (lambda context: checks.check(context, "yosys"), taggers.read_jets):
        with pytest.raises(ToolMissingError, match="needs the Python package pythia8mc: pip install") as caught:
            run(job(tmp_path))
        assert caught.value.exit_code == 3
    assert not (tmp_path / "made" / "jets.root").exists()
