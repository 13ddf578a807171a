import json
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml
from typer.testing import CliRunner

from hepprune import metrics, training
from hepprune.cli import app
from hepprune.errors import BudgetMissedError, DataError, NetworkError, RecipeError
from hepprune.files import stored
from hepprune.hardware import budgets, cost, targets
from hepprune.hardware.resources import Budget, Resources
from hepprune.jobs import planning
from hepprune.jobs.planning.whole_networks import PlanSettings
from hepprune.metrics import Conditions, Floats, Score
from hepprune.network import Network, load, save
from hepprune.search.plans.pareto import PlanSolution
from hepprune.search.plans.variants import ChoiceGrid
from hepprune.task import Classes, Regression, Tasks
from hepprune.task.sample import Sample

TARGET = targets.load("generic_vu13p")
GRID = ChoiceGrid(sparsities=(0.5, 0.75))
SETTINGS = PlanSettings(grid=GRID, n_jets=500)
Jets = tuple[Sample, Sample]


@pytest.fixture(scope="module")
def few(jets: Jets) -> Jets:
    return jets[0].first(500), jets[1].first(500)


@pytest.fixture
def files(tmp_path: Path, tagger: Network, few: Jets) -> tuple[Path, Path]:
    np.savez(tmp_path / "jets.npz", x=few[0].features.numpy(), y=few[0].y.numpy())
    return save(tagger, tmp_path / "tagger.npz"), tmp_path / "jets.npz"


def half(network: Network, strategy: str = "latency") -> Budget:
    whole = cost.estimate(network, TARGET, strategy=strategy)
    return Budget(whole.latency_ns, 1, Resources(lut=round(0.5 * (whole.resources.lut or 0))))


@pytest.mark.parametrize("solver", ["greedy", "exact", "dynamic_programming"])
@pytest.mark.parametrize("strategy", ["latency", "distributed_arithmetic"])
def test_the_whole_network_meets_the_budget(tagger: Network, few: Jets, solver: str, strategy: str) -> None:
    settings = replace(SETTINGS, solver=solver, strategy=strategy)
    budget = half(tagger, strategy)
    found = planning.search({"tagger": tagger}, [few], TARGET, settings=settings, budget=budget)
    (planned,) = found.models
    assert budget.met_by(planned.estimate)
    assert max(found.used.values()) <= 1
    assert planned.change > 0  # the loss rises
    assert found.solution.chosen.of("tagger") == planned.options


def test_models_that_share_a_device_fit_together(tagger: Network, few: Jets) -> None:
    budget, settings = half(tagger), replace(SETTINGS, grid=ChoiceGrid(sparsities=(0.7,)))
    found = planning.search({"one": tagger, "two": tagger}, [few], TARGET, settings=settings, budget=budget)
    together = sum(planned.estimate.resources.lut or 0 for planned in found.models)
    assert together <= (budget.resources.lut or 0)
    assert set(found.used) == {"lut", "latency_ns of one", "latency_ns of two"}


def test_a_users_metric_is_searched_by(tagger: Network, few: Jets) -> None:
    def first_class(logits: Floats, labels: np.ndarray) -> Score:
        hits = (logits.argmax(axis=1) == 0) == (labels == 0)
        return Score(float(hits.mean()), hits - hits.mean())

    settings = replace(SETTINGS, metric=first_class)
    found = planning.search({"tagger": tagger}, [few], TARGET, settings=settings, budget=half(tagger))
    assert found.metric == "first_class"
    assert found.models[0].before > 0.5


@pytest.mark.slow
@pytest.mark.parametrize(
    ("budget", "said"),
    [
        (["lut=100"], "lut binds, 100 allowed, .* at the closest point"),
        (["latency=5ns"], "latency_ns binds, 5 allowed"),
    ],
)
def test_an_impossible_budget_names_what_binds_and_the_closest_point(
    tagger: Network, few: Jets, budget: list[str], said: str
) -> None:
    for solver in ("greedy", "exact"):
        settings = replace(SETTINGS, solver=solver)
        with pytest.raises(BudgetMissedError, match=said):
            planning.search({"tagger": tagger}, [few], TARGET, settings=settings, budget=budget)


def test_mistakes_are_refused_before_anything_is_measured(tagger: Network, few: Jets) -> None:
    one = {"tagger": tagger}
    with pytest.raises(RecipeError, match="unknown solver 'magic'"):
        planning.search(one, [few], TARGET, settings=replace(SETTINGS, solver="magic"))
    with pytest.raises(DataError, match="unknown metric 'acuracy'; choose one of: accuracy"):
        planning.search(one, [few], TARGET, settings=replace(SETTINGS, metric="acuracy"))
    with pytest.raises(RecipeError, match="has a clock period of 0 ns"):
        planning.search(one, [few], replace(TARGET, clock_ns=0.0), settings=SETTINGS)
    with pytest.raises(NetworkError, match="3 sets of jets do not go with 1 models"):
        planning.search(one, [few] * 3, TARGET, settings=SETTINGS)


def test_jets_that_a_model_does_not_take_are_refused(tagger: Network, few: Jets) -> None:
    x, y = few[0].features, few[0].y
    for wrong, said in (
        (Sample(x[:, :7], y), r"'tagger' takes features of shape \(8,\), and the jets of 'data' have \(7,\)"),
        (Sample(x, y + 1), "tells 5 classes apart, 0 to 4, and a jet is of class 5"),
        (Sample((x, x), y), r"shape \(8,\), and the jets of 'data' have \(8,\) and \(8,\)"),
        (Sample(x, x[:, :3], task=Regression()), "puts out 5 values, and the jets have 3 targets"),
        (Sample(x, x[:, :5], task=Regression()), "unknown metric 'cross_entropy'; choose one of: .*mean_"),
        (Sample(x, (y, y), task=Tasks({"a": Classes(), "b": Classes()})), r"tasks of 2 outputs \(a, b\) are given 1"),
    ):
        with pytest.raises(DataError, match=said):
            planning.search({"tagger": tagger}, [(wrong, few[1])], TARGET, settings=SETTINGS)


def test_plans_are_judged_by_a_metric_with_arguments(tagger: Network, few: Jets) -> None:
    task = Classes(Conditions(classes=("g", "q", "W", "Z", "t")))
    jets = tuple(replace(sample, task=task) for sample in few)
    settings = replace(SETTINGS, metric="auc(t/q+g)")
    found = planning.search({"tagger": tagger}, [jets], TARGET, settings=settings)
    (planned,) = found.models
    wanted = metrics.find("auc(4/1+0)")(training.evaluate(tagger, jets[1]), jets[1].truth).value
    assert planned.before == pytest.approx(wanted, rel=1e-12)
    assert found.metric == "auc(t/q+g)"
    with pytest.raises(DataError, match="unknown class 'x'; choose one of: W, Z, g, q, t"):
        planning.search({"tagger": tagger}, [jets], TARGET, settings=replace(SETTINGS, metric="auc(x)"))


def test_a_metric_that_is_nan_is_refused(tagger: Network, few: Jets) -> None:
    def broken(logits: Floats, labels: np.ndarray) -> Score:
        return Score(float(logits[0, 0]) * float("nan"), np.zeros(len(labels)))

    with pytest.raises(DataError, match="the metric 'broken' is nan"):
        planning.search({"tagger": tagger}, [few], TARGET, settings=replace(SETTINGS, metric=broken))


@pytest.mark.slow
def test_the_command_writes_model_plan_and_plots(files: tuple[Path, Path], tagger: Network) -> None:
    model, data = files
    out = model.parent / "out"
    lut = half(tagger).resources.lut
    command = ["search", str(model), "--data", str(data), "-t", "generic_vu13p", "-o", str(out), "-b", f"lut={lut}"]
    outcome = CliRunner().invoke(app, [*command, "--sparsities", "0.5,0.75", "--jets", "500"], env={"COLUMNS": "160"})
    assert outcome.exit_code == 0, outcome.output
    assert "steps" in outcome.output
    assert "of the budget: lut" in outcome.output
    assert {path.name for path in out.iterdir()} == {"tagger.npz", "solution.json", "pareto.png", "pareto.pdf", "state"}
    solution = stored.read(PlanSolution, out / "solution.json")
    assert solution.solver == "greedy"
    assert cost.estimate(load(out / "tagger.npz"), TARGET, strategy="latency").resources.lut <= lut  # type: ignore[operator]
    again = CliRunner().invoke(app, [*command, "--sparsities", "0.5,0.75", "--jets", "500", "--json"])
    assert json.loads(again.stdout)["solution"]["chosen"]["loss"] == solution.chosen.loss


def test_the_command_ends_with_2_on_a_budget_it_cannot_meet_and_1_on_a_mistake(files: tuple[Path, Path]) -> None:
    model, data = files
    command = ["search", str(model), "--data", str(data), "-t", "generic_vu13p", "-o", str(model.parent / "out")]
    for more, code in (
        (["-b", "lut=10"], 2),
        (["-b", "lut=10ns"], 1),
        (["-b", "lut=-10"], 1),
        (["--weight-bits", "four"], 1),
        (["--solver", "evolve", "--trials", "5"], 1),
        (["-o", str(data)], 1),
    ):
        outcome = CliRunner().invoke(app, [*command, "--sparsities", "0.5", "--jets", "300", *more])
        assert outcome.exit_code == code
        assert outcome.exception is None or isinstance(outcome.exception, SystemExit)
        assert not (model.parent / "out" / "tagger.npz").exists()


KILLED = """
import sys
from pathlib import Path
from hepprune.hardware import targets
from tests.jobs.planning.test_planning import evolve
evolve(Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]))
"""


def test_a_journal_tells_training_sets_apart_by_the_jets_that_cuts_depend_on(
    tagger: Network, jets: Jets, tmp_path: Path
) -> None:
    train, test = jets
    features = train.features.clone()
    features[300:] = 2 * features[300:].flip(1)
    others = Sample.from_arrays(features.numpy(), train.y.numpy())
    settings = replace(SETTINGS, n_jets=300)

    def solved(sample: Sample, out: Path) -> PlanSolution:
        found = planning.search(
            {"t": tagger}, [(sample, test)], TARGET, settings=settings, budget=half(tagger), out=out
        )
        return found.solution

    first, fresh = solved(train, tmp_path / "kept"), solved(others, tmp_path / "fresh")
    assert fresh != first
    assert solved(others, tmp_path / "kept") == fresh


def evolve(model: Path, data: Path, out: Path) -> None:
    network = load(model)
    settings = replace(SETTINGS, solver="evolve", n_trials=60, seed=3)
    planning.search({"tagger": model}, [data], TARGET, settings=settings, budget=half(network), out=out)


@pytest.mark.slow
def test_a_search_that_was_killed_ends_as_if_it_had_not_been(files: tuple[Path, Path]) -> None:
    model, data = files
    whole, killed = model.parent / "whole", model.parent / "killed"
    evolve(model, data, whole)
    root = Path(__file__).parents[3]
    journal = killed / "state" / "journal.jsonl"
    running = subprocess.Popen([sys.executable, "-c", KILLED, str(model), str(data), str(killed)], cwd=root)
    n_whole = len((whole / "state" / "journal.jsonl").read_text().splitlines())
    for _ in range(3000):
        if journal.is_file() and len(journal.read_text().splitlines()) >= n_whole // 2:
            break
        time.sleep(0.01)
    running.send_signal(signal.SIGKILL)
    assert running.wait() == -signal.SIGKILL
    done = len(journal.read_text().splitlines())
    assert n_whole // 2 <= done < n_whole
    assert not (killed / "solution.json").exists()
    evolve(model, data, killed)
    for name in ("solution.json", "tagger.npz"):
        assert (killed / name).read_bytes() == (whole / name).read_bytes()
    assert len(journal.read_text().splitlines()) == n_whole


def test_a_recipe_says_what_is_asked() -> None:
    found = planning.asked(Path(__file__).parents[3] / "hls_projects/jet_tagger/recipe.yaml")
    assert (found.target, found.solver, found.strategy) == ("generic_vu13p", "greedy", "distributed_arithmetic")
    assert found.limits == ("latency_ns=30.0", "interval_cycles=1")


def test_limits_of_a_recipe_are_taken_to_the_last_digit(tmp_path: Path) -> None:
    recipe = yaml.safe_load((Path(__file__).parents[3] / "hls_projects/jet_tagger/recipe.yaml").read_text())
    recipe["budget"] = {"lut": 1234567, "dsp": 1.1 + 2.2, "latency_ns": 133.33333333}
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    read = dict(budgets.read(TARGET, limit) for limit in planning.asked(tmp_path / "recipe.yaml").limits)
    assert {name: read[name] for name in ("lut", "dsp", "latency_ns")} == {
        "lut": 1234567.0,
        "dsp": 1.1 + 2.2,
        "latency_ns": 133.33333333,
    }
