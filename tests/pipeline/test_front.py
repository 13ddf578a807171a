"""A front by the command: a table of budgets, each network solved and scored as the file of it says."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from hepprune import pipeline, recipe, stored
from hepprune.cli import app
from hepprune.errors import BudgetMissedError, DataError, RecipeError
from hepprune.firmware import rtl
from hepprune.hardware import targets
from hepprune.network import exact_raw, load
from hepprune.pipeline import taggers
from hepprune.pipeline.context import Context
from hepprune.report import descent
from hepprune.report.descent import Front

ROOT = Path(__file__).parent.parent.parent


def written(folder: Path) -> Path:
    """Write a recipe of a small network and few jets, whose search is the default one of stages."""
    content = yaml.safe_load((ROOT / "hls_projects/jet_tagger/recipe.yaml").read_text())
    content["data"] |= {"file": str(ROOT / "datasets/jets_features.root:Jets"), "max_jets": 2000}
    content["model"] |= {"hidden": [8, 6], "training": {"float_epochs": 10, "epochs": 3, "batch_size": 128}}
    content["search"]["epochs"] = 3
    content["objective"] = "auc"
    content["budget"]["lut_of_baseline"] = 0.4
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


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
    return stored.parse(descent.KIND, done.stdout, "front.json")


@pytest.mark.slow
def test_every_row_is_solved_and_scored_as_its_network_is(front: Front, folder: Path) -> None:
    limit = front.budget["lut"]
    assert limit == int(0.4 * front.baseline.lut)
    wanted = recipe.load(folder / "recipe.yaml")
    jets = taggers.read_jets(Context(recipe=wanted, target=targets.load(wanted.target), build=folder / "build"))
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
    points = [(row.tagger.lut, row.tagger.solved_depth, -row.validation["auc"].value) for row in front.rows]
    for one in points:
        assert not any(all(a <= b for a, b in zip(other, one, strict=True)) for other in points if other != one)


@pytest.mark.slow
def test_the_table_says_what_half_of_the_budget_costs(front: Front, folder: Path) -> None:
    at_budget = next(row for row in front.rows if row.tagger.lut <= front.budget["lut"])
    assert at_budget.against_budget.scores["auc"].value == 0
    assert all(next(iter(row.validation)) == next(iter(row.tagger.scores)) == "auc" for row in front.rows)
    half = next(row for row in front.rows if row.tagger.lut <= front.budget["lut"] / 2)
    change = half.against_budget.scores["auc"]
    assert change.value == pytest.approx(half.tagger.scores["auc"].value - at_budget.tagger.scores["auc"].value)
    again = CliRunner().invoke(app, ["run", str(folder / "recipe.yaml"), "--front"], env={"COLUMNS": "160"})
    assert again.exit_code == 0, again.stderr
    assert f"half the budget's LUT: AUC {change.value:+.4f}" in again.stdout
    assert f"{half.tagger.lut:,.0f} LUT" in again.stdout
    assert {path.name for path in (folder / "build").glob("front.*")} == {"front.json", "front.pdf", "front.png"}


@pytest.mark.slow
def test_a_budget_of_no_lut_is_one_and_a_descent_begins_with_the_pruned_network(front: Front, folder: Path) -> None:
    wanted = recipe.as_front(recipe.load(folder / "recipe.yaml"))
    none = wanted.budget.model_copy(update={"lut": 0.0, "lut_of_baseline": None})
    pruned = recipe.pruning(None, {"sparsity": 0.5, "rounds": 1, "fine_tune_epochs": 1})
    steps: list[str] = []

    @contextmanager
    def track(name: str, total: int | None = None) -> Iterator[Callable[..., None]]:
        steps.append(f"{name}: {total}")
        yield lambda *_, **__: None

    with pytest.raises(BudgetMissedError, match="lut binds, 0 allowed"):
        pipeline.front(wanted.model_copy(update={"budget": none, "prune": pruned}), build=folder / "build", track=track)
    assert steps[-3:] == [
        "pruning: 1",
        "solving the baseline's adder graph: None",
        "one training down a ladder of budgets: 33",  # 11 rungs of three epochs
    ]
    assert stored.read(descent.KIND, folder / "build/front.json") == front


@pytest.mark.slow
def test_metrics_of_too_few_jets_are_refused_before_the_descent(front: Front, folder: Path) -> None:
    wanted = recipe.as_front(recipe.load(folder / "recipe.yaml"))
    kept = {path.name for path in (folder / "build/state/front").iterdir()}
    with pytest.raises(DataError, match="background jets pass"):
        pipeline.front(wanted.model_copy(update={"metrics": ("rejection(0.01, t/q)",)}), build=folder / "build")
    assert {path.name for path in (folder / "build/state/front").iterdir()} == kept
    assert front.rows


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
