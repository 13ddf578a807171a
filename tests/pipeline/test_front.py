"""A front by the command: a table of budgets, each network solved and scored as the file of it says."""

import json
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from hepprune import pipeline, recipe
from hepprune.cli import app
from hepprune.errors import RecipeError
from hepprune.files import stored
from hepprune.firmware import rtl
from hepprune.hardware import targets
from hepprune.network import exact_raw, load
from hepprune.pipeline import pricing, taggers
from hepprune.pipeline.context import Context
from hepprune.report.descent import Front

ROOT = Path(__file__).parent.parent.parent
pytestmark = pytest.mark.xdist_group("front")  # one front for all of them


def written(folder: Path) -> Path:
    """Write a recipe of a small network and few jets, whose search is one of stages."""
    content = yaml.safe_load((ROOT / "hls_projects/jet_tagger/recipe.yaml").read_text())
    content["data"] |= {"file": str(ROOT / "datasets/jets_features.root:Jets"), "max_jets": 2000}
    content["model"] |= {"hidden": [8, 6], "training": {"float_epochs": 10, "epochs": 3, "batch_size": 128}}
    content["search"] = {"epochs": 3}
    content["budget"]["lut_of_baseline"] = 0.4
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


def context(path: Path) -> Context:
    """Return what steps of a recipe's run share."""
    wanted = recipe.load(path)
    return Context(recipe=wanted, target=targets.load(wanted.target), build=path.parent / "build")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("front")


@pytest.fixture(scope="module")
def front(folder: Path) -> Front:
    (folder / "build/front").mkdir(parents=True)
    (folder / "build/front/network_99.npz").write_bytes(b"")  # as a front of more networks left it
    done = CliRunner().invoke(app, ["run", str(written(folder)), "--front", "--json"])
    assert done.exit_code == 0, done.stderr
    assert json.loads(done.stdout) == json.loads((folder / "build/front.json").read_text())
    return stored.parse(Front, done.stdout, "front.json")


@pytest.mark.slow
def test_every_row_is_solved_and_scored_as_its_network_is(front: Front, folder: Path) -> None:
    limit = front.budget["lut"]
    assert limit == int(0.4 * front.baseline.lut)
    jets = taggers.read_jets(context(folder / "recipe.yaml"))
    for row in front.rows:
        network = load(Path(row.network))
        solved = rtl.solve(network).solved
        assert (row.tagger.solved_lut, row.tagger.solved_depth) == (solved.lut, solved.depth)
        hits = jets.test.judged(exact_raw(network, jets.test.arrays))["accuracy"]
        assert row.tagger.scores["accuracy"].value == hits.value
        gap = row.against_baseline.scores["accuracy"].value
        assert gap == pytest.approx(hits.value - front.baseline.scores["accuracy"].value)
    luts = [row.tagger.lut for row in front.rows]
    assert luts == sorted(luts, reverse=True)
    assert luts[-1] < limit < luts[0]
    assert {str(path) for path in (folder / "build/front").iterdir()} == {row.network for row in front.rows}


@pytest.mark.slow
def test_no_row_is_beaten_by_another(front: Front) -> None:
    points = [(row.tagger.lut, row.tagger.solved_depth, -row.validation["accuracy"].value) for row in front.rows]
    for one in points:
        assert not any(all(a <= b for a, b in zip(other, one, strict=True)) for other in points if other != one)


@pytest.mark.slow
def test_the_table_says_what_half_of_the_budget_costs(front: Front, folder: Path) -> None:
    at_budget = next(row for row in front.rows if row.tagger.lut <= front.budget["lut"])
    assert at_budget.against_budget.scores["accuracy"].value == 0
    half = next(row for row in front.rows if row.tagger.lut <= front.budget["lut"] / 2)
    change = half.against_budget.scores["accuracy"]
    assert change.value == pytest.approx(
        half.tagger.scores["accuracy"].value - at_budget.tagger.scores["accuracy"].value
    )
    again = CliRunner().invoke(app, ["run", str(folder / "recipe.yaml"), "--front"], env={"COLUMNS": "160"})
    assert again.exit_code == 0, again.stderr
    assert f"half the budget's LUT: {change.times(100):+.2f} points of accuracy" in again.stdout
    assert f"{half.tagger.lut:,.0f} LUT" in again.stdout
    assert {path.name for path in (folder / "build").glob("front.*")} == {"front.json", "front.pdf", "front.png"}


@pytest.mark.slow
def test_it_begins_with_what_the_recipe_prunes_and_takes_workers(front: Front, folder: Path) -> None:
    content = yaml.safe_load((folder / "recipe.yaml").read_text())
    content["prune"] = {"sparsity": 0.8, "schedule": "one_shot", "rounds": 1, "fine_tune_epochs": 1}
    path = folder / "pruned.yaml"
    path.write_text(yaml.safe_dump(content))
    options = ["--front", "--json", "--executor", "threads:2", "--build", str(folder / "pruned")]
    done = CliRunner().invoke(app, ["run", str(path), *options])
    assert done.exit_code == 0, done.stderr
    found = stored.parse(Front, done.stdout, "front.json")
    assert found.baseline.nonzero_weights == front.baseline.nonzero_weights
    (kept,) = (folder / "pruned/state").glob("pruned*.npz")
    most = pricing.own(context(path))(load(kept)).resources.lut or 0.0
    assert max(row.lut_allowed for row in found.rows) <= most < max(row.lut_allowed for row in front.rows)


def test_a_metric_that_too_few_jets_can_tell_is_refused_before_the_descent(tmp_path: Path) -> None:
    path = written(tmp_path)
    content = yaml.safe_load(path.read_text())
    content["model"]["training"] |= {"float_epochs": 1, "epochs": 1}
    content["metrics"] = ["rejection(0.0001, t/q)"]
    path.write_text(yaml.safe_dump(content))
    done = CliRunner().invoke(app, ["run", str(path), "--front"])
    assert done.exit_code == 1
    assert "background jets" in done.stderr
    assert not (tmp_path / "build/state/front").exists()


def test_a_run_makes_no_firmware_of_a_recipe_that_asks_for_a_front(tmp_path: Path) -> None:
    wanted = recipe.load(written(tmp_path))
    with pytest.raises(RecipeError, match="search.front"):
        pipeline.front(wanted, build=tmp_path / "build")
    with pytest.raises(RecipeError, match="search.front"):
        pipeline.run(recipe.as_front(wanted), build=tmp_path / "build")


def test_a_strategy_without_digits_has_no_front(tmp_path: Path) -> None:
    path = written(tmp_path)
    path.write_text(path.read_text().replace("distributed_arithmetic", "latency"))
    done = CliRunner().invoke(app, ["run", str(path), "--front"])
    assert done.exit_code == 1
    assert "an allocation chooses digits, which cost nothing in strategy latency" in done.stderr
