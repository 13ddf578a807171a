from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from hepprune import recipe
from hepprune.errors import RecipeError
from hepprune.fixed import FixedPoint
from hepprune.metrics import Conditions
from hepprune.recipe import Recipe
from hepprune.task import BinaryLabel, Classes, MultiLabel, Reconstruction, Regression, Task, Tasks
from hepprune.training import Fit

DEFAULT = Path(__file__).parents[2] / "hls_projects" / "jet_tagger" / "recipe.yaml"
SMALL: dict[str, Any] = {
    "name": "small",
    "data": {"file": "jets.root:Jets", "features": ["a", "b"], "classes": ["q", "g"]},
    "budget": {"latency_ns": 30},
}
QUARKS = Classes(Conditions(("q", "g")))
RELATIVE = {"mean_squared_relative_error": 0.1}


def written(folder: Path, content: Any) -> Path:
    path = folder / "recipe.yaml"
    path.write_text(content if isinstance(content, str) else yaml.safe_dump(content), encoding="utf-8")
    return path


def changed(place: str, value: Any) -> dict[str, Any]:
    """Return the small recipe with one value set, at a dotted place."""
    content: dict[str, Any] = yaml.safe_load(yaml.safe_dump(SMALL))
    section, *parts = content, *place.split(".")
    for part in parts[:-1]:
        section = section.setdefault(part, {})
    section[parts[-1]] = value
    return content


def test_the_default_recipe_loads() -> None:
    found = recipe.load(DEFAULT)
    assert found.name == "jet_tagger"
    assert len(found.data.features) == 16
    assert found.data.classes == ("g", "q", "W", "Z", "t")
    assert found.budget.latency_ns == 30
    assert found.budget.lut_of_baseline == 0.125
    assert found.granularities == ("neuron", "weight", "digit")
    assert found.model.bits.precision().inputs == FixedPoint(8, 4, True, "RND", "SAT")


def test_what_is_left_out_has_a_default(tmp_path: Path) -> None:
    found = recipe.load(written(tmp_path, SMALL))
    assert found.model.hidden == (64, 32, 32)
    assert found.granularities == ("neuron", "weight", "digit", "block")
    settings = found.settings()
    assert settings.settle.epochs == found.search.settle_epochs
    assert settings.trim.learning_rate == found.search.trim_learning_rate
    assert settings.fine_tune.batch_size == found.model.training.batch_size == 1024
    assert found.settings(stages=3).stages == 3
    assert found.model.training.fit(7, quantised=False).epochs == 7
    assert found.objective == settings.objective == found.model.training.fit(7).monitor == "loss"


def test_the_objective_is_that_of_every_training_and_of_the_search(tmp_path: Path) -> None:
    found = recipe.load(written(tmp_path, changed("objective", "rejection(0.5, q/g)")))
    settings = found.settings()
    watched = {fit.monitor for fit in (settings.fine_tune, settings.settle, settings.trim)}
    assert watched == {settings.objective} == {found.objective}
    assert found.judged_by == ("accuracy", "auc", "cross_entropy", "rejection(0.5, q/g)")


def test_a_recipe_says_how_to_prune_and_options_take_its_place(tmp_path: Path) -> None:
    section = {"method": "obd", "schedule": [0.5, 0.8], "fine_tune_epochs": 3, "patience": 2, "monitor": "auc"}
    found = recipe.load(written(tmp_path, changed("prune", section))).prune
    assert found is not None
    assert found.n_rounds == 2
    options = found.options(256)
    assert options["fine_tune"] == Fit(epochs=3, batch_size=256, learning_rate=6e-3, patience=2, monitor="auc")
    assert (options["method"], options["schedule"], "monitor" in options) == ("obd", (0.5, 0.8), False)
    other = recipe.pruning(found, {"schedule": "linear", "sparsity": 0.9, "rounds": 4})
    assert (other.method, other.n_rounds, other.patience) == ("obd", 4, 2)
    with pytest.raises(RecipeError, match="prune: a schedule has at least one round"):
        recipe.pruning(None, {"schedule": []})


def test_digits_are_trimmed_only_where_the_search_cuts_them(tmp_path: Path) -> None:
    for names, held in ((["weight"], False), (["weight", "digit"], True)):
        found = recipe.load(written(tmp_path, changed("search.granularities", names)))
        assert found.settings().digits is held
    for strategy, held in (("latency", False), ("resource", False), ("distributed_arithmetic", True)):
        found = recipe.load(written(tmp_path, changed("strategy", strategy)))
        assert found.settings().digits is held


def test_stages_take_bits_of_values_as_any_other_move(tmp_path: Path) -> None:
    found = recipe.load(written(tmp_path, changed("search.granularities", ["digit", "bit"])))
    assert found.granularities == ("digit", "bit")
    kinds = [each.kind for each in found.settings().phases({"lut": 5.0})]
    assert kinds == ["cut"] * (len(kinds) - 1) + ["settle"]
    other = changed("search.granularities", ["weight", "bit"]) | {"strategy": "latency"}
    with pytest.raises(RecipeError, match="with strategy latency granularities are neuron, weight, digit, bits, block"):
        recipe.load(written(tmp_path, other))


def test_an_allocation_is_one_training_that_chooses_bits_of_values_too(tmp_path: Path) -> None:
    wanted = {"kind": "allocation", "epochs": 30, "learning_rate": 0.004, "batch_size": 64}
    found = recipe.load(written(tmp_path, changed("search", wanted)))
    assert found.granularities == ("neuron", "weight", "digit", "bit")
    (phase,) = found.settings().phases({"lut": 5.0})
    assert (phase.kind, phase.fit.epochs, phase.fit.learning_rate) == ("narrow", 30, 0.004)
    assert {found.settings().trim.batch_size, phase.fit.batch_size} == {64}
    (again,) = found.settings(stages=1).phases({"lut": 1.1})
    assert (again.kind, again.fit.epochs) == ("narrow", 8)
    digits = recipe.load(written(tmp_path, changed("search", wanted | {"granularities": ["digit"]})))
    assert [each.kind for each in digits.settings().phases({"lut": 5.0})] == ["settle"]
    assert [each.kind for each in digits.settings(stages=1).phases({"lut": 1.1})] == ["trim"]
    other = changed("search", wanted) | {"strategy": "latency"}
    with pytest.raises(RecipeError, match="search.kind: an allocation chooses digits, which cost nothing"):
        recipe.load(written(tmp_path, other))


def test_a_front_is_made_by_an_allocation_with_bits_whatever_the_search_was(tmp_path: Path) -> None:
    found = recipe.as_front(recipe.load(DEFAULT).model_copy(update={"device": "auto"}))
    assert found.device == "auto"
    assert (found.search.kind, found.search.front) == ("allocation", True)
    assert "bit" in found.granularities
    own = recipe.load(written(tmp_path, changed("search", {"front": True})))
    assert own == recipe.as_front(recipe.load(written(tmp_path, changed("search", {}))))
    for other in ({"kind": "stages", "front": True}, {"front": True, "granularities": ["digit"]}):
        with pytest.raises(RecipeError, match="search.front: a front takes the kind 'allocation' with 'bit'"):
            recipe.load(written(tmp_path, changed("search", other)))


def test_a_recipe_survives_a_round_trip(tmp_path: Path) -> None:
    found = recipe.load(DEFAULT)
    again = recipe.load(written(tmp_path, found.model_dump(mode="json")))
    assert again == found.model_copy(update={"metrics_folder": tmp_path})  # which is where it lies


def test_paths_are_relative_to_the_recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = changed("model.file", "models/tagger.npz")
    path = written(tmp_path, content)
    found = recipe.load(path)
    assert found.data.file == f"{tmp_path}/jets.root:Jets"
    assert found.model.file == f"{tmp_path}/models/tagger.npz"
    monkeypatch.chdir(tmp_path.parent)
    relative = recipe.load(Path(tmp_path.name) / "recipe.yaml")
    assert Path(relative.data.file.partition(":")[0]).resolve() == tmp_path / "jets.root"


@pytest.mark.parametrize(
    ("file", "resolved"),
    [
        ("mytorch:mlp_bn", "mytorch:mlp_bn"),
        ("my.torch:Models.mlp@weights.pt", "my.torch:Models.mlp@{folder}/weights.pt"),
        ("mytorch:mlp_bn@../weights.pt", "mytorch:mlp_bn@{folder}/../weights.pt"),
        ("mytorch:mlp_bn@/far/weights.pt", "mytorch:mlp_bn@/far/weights.pt"),
        ("jets@home.npz", "{folder}/jets@home.npz"),
    ],
)
def test_of_a_module_and_its_weights_only_the_weights_are_a_file(tmp_path: Path, file: str, resolved: str) -> None:
    found = recipe.load(written(tmp_path, changed("model.file", file)))
    assert found.model.file == resolved.format(folder=tmp_path)


@pytest.mark.parametrize(
    ("target", "resolved"),
    [
        ("generic_vu13p", "generic_vu13p"),
        ("../targets/mine.yaml", "{folder}/../targets/mine.yaml"),
        ("/far/mine.yml", "/far/mine.yml"),
    ],
)
def test_a_target_file_is_relative_to_the_recipe(tmp_path: Path, target: str, resolved: str) -> None:
    found = recipe.load(written(tmp_path, changed("target", target)))
    assert found.target == resolved.format(folder=tmp_path)


def test_absolute_paths_stay(tmp_path: Path) -> None:
    found = recipe.load(written(tmp_path, changed("data.file", "/somewhere/jets.root:Jets")))
    assert found.data.file == "/somewhere/jets.root:Jets"


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("buget", "buget: unknown key; known here: name, seed, target, .*budget"),
        ("data.feature", "data.feature: unknown key; known here: file, features"),
        ("model.bits.input", "model.bits.input: unknown key; known here: inputs, weights"),
        ("search.stage", "search.stage: unknown key; known here: stages"),
        ("budget.luts", "budget.luts: unknown key; known here: latency_ns"),
        ("prune.sparsities", "prune.sparsities: unknown key; known here: method, sparsity, granularity"),
    ],
)
def test_an_unknown_key_lists_those_known_at_its_place(tmp_path: Path, place: str, message: str) -> None:
    with pytest.raises(RecipeError, match=rf"recipe.yaml': {message}"):
        recipe.load(written(tmp_path, changed(place, 1)))


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        ("name", "jet tagger", "name: "),
        ("name", "../up", "name: "),
        ("seed", -1, "seed: .*greater than or equal to 0"),
        ("budget.interval_cycles", 10**10, "budget.interval_cycles: .*less than or equal to 1000000000"),
        ("seed", "one", "seed: .*integer"),
        ("data.features", [], "data.features: .*at least 1 item"),
        ("data.features", "j_mass", "data.features: "),
        ("data.classes", ["q"], "data.classes: .*at least 2 items"),
        ("data.validation", 0, "data.validation: .*greater than 0"),
        ("data.validation", 0.8, "data: .*leave no jets to train on"),
        ("data.features", ["a", "b", "a"], "data: .*the feature 'a' is named twice"),
        ("data.features", ["one_hot(a, 1, 2)", "a == 2"], "data: .*the feature 'a == 2' is named twice"),
        ("data.features", ["one_hot(a)"], "data.features: 'one_hot\\(a\\)': one_hot\\(x, 1, 2, 3\\) takes a column"),
        ("data.features", ["a", "sqrt(label + 1)"], "data.label: the label 'label' is among the features"),
        ("data.make", {"jets": 4}, "data.make.jets"),
        ("data.make", {"jets": 10, "kind": "l1"}, "data.make.kind: unknown kind of sample 'l1'; choose one of: "),
        ("data.inputs", {"a": {"image": 3}}, "data.inputs.a"),
        ("data.classes", ["q", "q"], "data: .*the class 'q' is named twice"),
        ("data.label", "b", "data.label: the label 'b' is among the features"),
        ("data.weight", "label", "data.weight: 'label' is the label"),
        ("data.targets", {"x": 3}, "data.targets.x: Input should be a valid tuple"),
        ("data.targets", 3, "data.targets: Input should be a valid tuple"),
        ("reuse_factor", 0, "reuse_factor: Input should be greater than or equal to 1"),
        ("reuse_factor", {"dense_1": 0}, "reuse_factor.dense_1: Input should be greater than or equal to 1"),
        ("task", {"": "binary", "a": "binary"}, "task: .*each of several outputs has a name without dots"),
        ("task", {"a.b": "binary", "c": "binary"}, "task: .*a name without dots, as its metrics need, and not 'a.b'"),
        ("budget", {"lut": 10, "lut_of_baseline": 0.5}, "budget: .*give lut or lut_of_baseline, not both"),
        ("data.max_jets", 0, "data.max_jets: "),
        ("data.scaler", "minmax", "data.scaler: .*'standard', 'power_of_two' or 'none'"),
        ("data", None, "data: "),
        ("model.hidden", [64, 0], "model.hidden.1: "),
        ("model.bits.inputs", "int8", "model.bits.inputs: .*'int8' is not a fixed-point type"),
        ("model.bits.inputs", "ap_fixed<80,3>", "model.bits.inputs: .*80 bits is not between"),
        ("model.bits.inputs", "ap_fixed<8,3,AP_ROUND,AP_SAT>", "model.bits.inputs: .*unknown rounding 'ROUND'"),
        ("model.bits.weights", 1, "model.bits.weights: "),
        ("model.bits.overflow", "CLIP", "model.bits.overflow: "),
        ("model.bits.layers", {"dense_1": 0}, "model.bits.layers.dense_1: "),
        ("budget.lut_of_baseline", 1.5, "budget.lut_of_baseline: "),
        ("budget.latency_ns", 0, "budget.latency_ns: .*greater than 0"),
        ("budget.lut", float("nan"), "budget.lut: "),
        ("budget.latency_ns", float("inf"), "budget.latency_ns: "),
        ("search.solver", "milp", "search.solver: .*unknown solver 'milp'; choose one of: "),
        (
            "search.granularities",
            ["neurons"],
            "search.granularities: with strategy distributed_arithmetic granularities are neuron, weight, digit, block",
        ),
        ("search.granularities", [], "search.granularities: at least one"),
        (
            "search",
            {"kind": "allocation", "granularities": ["bit"]},
            "search.granularities: an allocation chooses digits",
        ),
        ("search.step", 0, "search.step: "),
        ("prune.sparsity", 1.5, "prune.sparsity: "),
        ("prune", {}, "prune: .*the schedule 'polynomial' needs a target sparsity"),
        ("prune", {"sparsity": 0.5, "method": "ods"}, "prune.method: unknown method 'ods'; choose one of: obs"),
        ("prune", {"sparsity": 0.5, "granularity": "row"}, "prune: .*unknown granularity 'row'"),
        ("prune", {"sparsity": 0.5, "method": "a.magnitude"}, "prune.method: unknown method 'a.magnitude'"),
        ("prune", {"schedule": [0.5, 0.2]}, "prune: .*a schedule never falls"),
        (
            "prune",
            {"sparsity": 0.5, "monitor": "los"},
            "prune.monitor: a monitor is the loss or a metric: unknown metric 'los'",
        ),
        ("search.learning_rate", float("nan"), "search.learning_rate: "),
        ("data.features", None, "data: .*name the features of one input, or its image, or the inputs"),
        ("data.lsb", {"aa": 0.5}, "data: .*lsb: unknown feature 'aa'; choose one of: a, b"),
        ("data.lsb", {"a": 0}, "data.lsb.a: Input should be greater than 0"),
        ("objective", "rejection(0.5, z)", "objective: unknown class 'z'"),
        ("objective", "resolution", "objective: unknown metric 'resolution'"),
        ("data.inputs", {"x": ["c"]}, "data: .*name the features of one input, or its image, or the inputs"),
        ("data.n_constituents", {"x": 3}, "data: n_constituents of the only input is one number"),
        ("data.targets", "a", "data: .*the target 'a' is among the features"),
        ("data.targets", ["c"], "the task 'classes' has no targets"),
        ("data.targets", {"pt": "c"}, "data.targets are the columns of the only output"),
        ("data.classes", None, "data.classes: the task classes needs their names"),
        ("data.n_constituents", 8, "model.hidden makes a network .*: give model.file"),
        ("task", "clases", "task.kind: .*'classes', 'binary'"),
        ("task", "binary", "data.classes are named and the task is binary"),
        ("task", {"kind": "classes", "loss": "mse"}, "task: .*the task classes has a loss of its own"),
        ("task", {"kind": "regression", "delta": 1}, "task: .*a delta is where the loss huber turns linear"),
        ("task", {"kind": "classes", "share": 2}, "a share is that of one of several outputs"),
        ("task", {"kind": "regression", "los": 1}, "task.los: unknown key; known here: kind, loss, delta, share"),
        ("task", {"a": "classes", "b": "classes"}, "the outputs a and b cannot share the label"),
        ("task", {"a": "classes", "b": "regression"}, "the task 'b' needs data.targets"),
        (
            "budget.max_loss",
            {"acuracy": 0.1},
            "budget.max_loss: unknown metric 'acuracy'; choose one of: accuracy, auc",
        ),
        ("budget.max_loss", {"auc": 0}, "budget.max_loss.auc: .*greater than 0"),
        ("budget", {"max_loss": {"accuracy": 0.1}, "max_accuracy_loss": 0.1}, "budget.max_accuracy_loss is .*, once"),
        ("budget.max_loss", {"rejection(0.5, x/g)": 1}, "budget.max_loss: unknown class 'x'; choose one of: g, q"),
        ("budget.max_loss", {"resolution(68 %)": 1}, "budget.max_loss: unknown metric 'resolution'"),
        ("prune", {"sparsity": 0.5, "monitor": "bias"}, "prune.monitor: .* neither more nor less of 'bias' is better"),
        ("prune", {"sparsity": 0.5, "monitor": "rejection(2)"}, "prune.monitor: the fraction 2 does not lie"),
        (
            "prune",
            {"sparsity": 0.5, "monitor": "label_auc"},
            "prune.monitor: unknown metric 'label_auc'; choose one of: auc",
        ),
    ],
)
def test_values_out_of_range_are_refused_at_their_place(tmp_path: Path, place: str, value: Any, message: str) -> None:
    with pytest.raises(RecipeError, match=rf"recipe.yaml': {message}"):
        recipe.load(written(tmp_path, changed(place, value)))


def task(kind: Any, data: dict[str, Any], **sections: Any) -> dict[str, Any]:
    """Return the small recipe of another task."""
    return SMALL | {"task": kind, "data": {"file": "jets.root:Jets", "features": ["a", "b"]} | data} | sections


@pytest.mark.parametrize(
    ("content", "meaning", "losses"),
    [
        (SMALL, QUARKS, {"accuracy": 0.01}),
        (changed("budget.max_accuracy_loss", 0.02), QUARKS, {"accuracy": 0.02}),
        (changed("budget.max_loss", {"auc": 0.002}), QUARKS, {"auc": 0.002}),
        (changed("budget.max_loss", {"rejection(0.5, q/g)": 2}), QUARKS, {"rejection(0.5, q/g)": 2}),
        (
            task("regression", {"targets": "pt"}, budget={"max_loss": {"resolution(68 %)": 0.1}}),
            Regression(),
            {"resolution(68 %)": 0.1},
        ),
        (task("binary", {}), BinaryLabel(), {"label_auc": 0.01}),
        (task("multilabel", {"targets": ["c", "d"]}), MultiLabel(), {"label_auc": 0.01}),
        (
            task({"kind": "regression", "loss": "relative"}, {"targets": "pt"}, budget={"max_loss": RELATIVE}),
            Regression("relative"),
            RELATIVE,
        ),
        (
            task("reconstruction", {}, budget={"max_loss": {"mean_absolute_error": 2}}),
            Reconstruction(),
            {"mean_absolute_error": 2},
        ),
        (
            task(
                {"flavour": "classes", "pt": {"kind": "regression", "loss": "huber", "delta": 2, "share": 0.1}},
                {"classes": ["b", "c"], "targets": {"pt": "true_pt"}},
                budget={"max_loss": {"pt.mean_absolute_error": 3}, "max_accuracy_loss": 0.03},
                model={"file": "model.npz"},
            ),
            Tasks(
                {"flavour": Classes(Conditions(("b", "c"))), "pt": Regression("huber", 2)}, {"flavour": 1, "pt": 0.1}
            ),
            {"pt.mean_absolute_error": 3, "flavour.accuracy": 0.03},
        ),
    ],
)
def test_a_recipe_says_what_outputs_mean_and_what_may_be_lost(
    tmp_path: Path, content: dict[str, Any], meaning: Task, losses: dict[str, float]
) -> None:
    found = recipe.load(written(tmp_path, content))
    assert found.meaning == meaning
    assert found.max_losses == losses
    again = recipe.load(written(tmp_path, found.model_dump(mode="json")))
    assert again.model_dump(exclude={"data", "model"}) == found.model_dump(exclude={"data", "model"})


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (task("regression", {}), "the task 'regression' needs data.targets"),
        (task("regression", {"targets": "pt"}), "budget.max_loss: say how much may be lost of mean_squared_error"),
        (task("binary", {"targets": ["c", "d"]}), "the task 'binary' has one column of targets, .* not 2"),
        (task("reconstruction", {"targets": "c"}), "the task 'reconstruction' has no targets"),
        (task("binary", {}, budget={"max_accuracy_loss": 0.1}), "of the task classes, once; give max_loss: {label_auc"),
        (
            task("binary", {"features": None, "inputs": {"x": ["a"], "y": ["b"]}, "n_constituents": 3}),
            "of several inputs n_constituents has a number each, as in {x: 16}",
        ),
        (
            task("binary", {"features": ["a", "isfilled"], "n_constituents": 3}),
            "'isfilled' says which constituents there are and is added",
        ),
        (task("regression", {"targets": "pt", "weight": "pt"}), "the weight 'pt' is among the targets"),
        (
            task("binary", {"features": None, "inputs": {"x": ["a"], "y": ["b"]}, "n_constituents": {"z": 3}}),
            "n_constituents names 'z', and the inputs are x, y",
        ),
        (task("reconstruction", {"features": None, "inputs": {"x": ["a"], "y": ["b"]}}), "takes one input, and here are 2"),
        (task({"a": "binary", "b": "binary"}, {"targets": {"c": "x"}}), "names 'c', and the outputs are a, b"),
        (task({"a": "binary", "b": "binary"}, {"targets": "x"}), "data.targets names columns by output, as in {b: "),
        (task("regression", {"targets": "pt", "teacher": {"hidden": [4]}}), "take out the teacher or the targets"),
        (task("regression", {"teacher": {}}), "a teacher has hidden sizes or an architecture, one of the two"),
        (task("regression", {"teacher": {"hidden": [4], "transform": "cube"}}), "unknown transform 'cube'"),
        (
            task("regression", {"teacher": {"task": "binary", "hidden": [4]}}),
            "a teacher of the task binary learns to tell signal",
        ),
        (
            task("regression", {"signal": "c", "teacher": {"task": "binary", "hidden": [4], "transform": "sqrt"}}),
            "the transform sqrt is of scores from 0 up; those of binary may be below",
        ),
        (
            task("regression", {"teacher": {"task": "latent", "architecture": {"kind": "convolutional"}}}),
            "latent values are those of the narrowest of the hidden sizes",
        ),
        (
            task("regression", {"teacher": {"hidden": [4], "of_signal": False}}),
            "there is no signal to learn nothing of",
        ),
        (
            task(
                "regression", {"signal": "c", "teacher": {"task": "binary", "hidden": [4], "of_signal": False}}
            ),
            "give `signal`, and not of_signal: false",
        ),
        (
            task(
                {"flavour": "classes", "size": "regression"},
                {"signal": "label == 1", "classes": ["a", "b"], "targets": {"size": "pt"}},
            ),
            "'label' tells which jets are signal, of which nothing is learned, and the output 'flavour' is to learn it",
        ),
        (task("binary", {"teacher": {"hidden": [4]}}), "data.teacher: its score is a number to be met"),
        (
            task("regression", {"features": None, "inputs": {"x": ["a"], "y": ["b"]}, "teacher": {"hidden": [4]}}),
            "a teacher takes one input, and here are 2",
        ),
    ],
)  # fmt: skip
def test_tasks_and_columns_that_do_not_go_together_are_refused(
    tmp_path: Path, content: dict[str, Any], message: str
) -> None:
    with pytest.raises(RecipeError, match=message) as caught:
        recipe.load(written(tmp_path, content))
    assert "\n" not in str(caught.value)


def test_a_metric_with_arguments_is_watched_and_judged_by(tmp_path: Path) -> None:
    content = changed("budget.max_loss", {"rejection(0.5, q/g)": 2})
    content["prune"] = {"sparsity": 0.5, "monitor": "rejection(0.3, q/g)"}
    found = recipe.load(written(tmp_path, content))
    assert found.prune is not None
    assert found.prune.monitor == "rejection(0.3, q/g)"
    assert found.judged_by == ("accuracy", "auc", "cross_entropy", "rejection(0.5, q/g)")


def test_a_feature_may_be_called_label_where_no_label_is_read(tmp_path: Path) -> None:
    content = task("binary", {"features": ["a", "label"], "targets": "is_up"})
    assert recipe.load(written(tmp_path, content)).data.features == ("a", "label")


def test_several_files_labels_and_an_event_are_named(tmp_path: Path) -> None:
    data = {"file": ["a.root:Jets", "/b/*.parquet"], "label": ["is_q", "is_g"], "event": None, "explode": "Jet"}
    content = SMALL | {"data": SMALL["data"] | data}
    found = recipe.load(written(tmp_path, content)).data
    assert found.file == (f"{tmp_path}/a.root:Jets", "/b/*.parquet")
    assert (found.labels, found.event, found.explode) == (("is_q", "is_g"), None, "Jet")
    leak = content | {"data": content["data"] | {"features": ["a", "is_g * 2"]}}
    with pytest.raises(RecipeError, match="data.label: the label 'is_g' is among the features"):
        recipe.load(written(tmp_path, leak))
    with pytest.raises(RecipeError, match="the task 'binary' has one label, of 0 and 1; several are those of the task"):
        recipe.load(written(tmp_path, task("binary", {"label": ["is_q", "is_g"]})))
    for file in (["a.root", "b.root"], "a.parquet"):
        with pytest.raises(RecipeError, match="what is made is one file, which ends in .root"):
            recipe.load(written(tmp_path, task("binary", {"file": file, "make": {"jets": 10}})))


IMAGE = {"x": "deta", "y": "dphi", "weight": "c_pt / pt", "bins": [16, 8], "range": [[-0.8, 0.8], [-1, 1]]}


def test_expressions_and_one_hot_codes_are_features(tmp_path: Path) -> None:
    features = ["log(c_pt)", "one_hot(c_pdg, 1, 2, 3)", "c_charge"]
    data = {"features": features, "n_constituents": 16, "isfilled": False, "cut": "pt > 500", "targets": "a / b"}
    found = recipe.load(written(tmp_path, task("binary", data, model={"file": "model.npz"})))
    only = found.data.columns["features"]
    assert only.names == ("log(c_pt)", "c_pdg == 1", "c_pdg == 2", "c_pdg == 3", "c_charge")
    assert only.shape == (16, 5)
    assert recipe.load(written(tmp_path, found.model_dump(mode="json"))) == found


def test_an_image_is_the_only_input_or_one_of_several(tmp_path: Path) -> None:
    model = {"model": {"file": "model.npz"}}
    alone = recipe.load(written(tmp_path, task("binary", {"features": None, "image": IMAGE}, **model)))
    assert {name: each.shape for name, each in alone.data.columns.items()} == {"features": (16, 8, 1)}
    inputs = {"picture": IMAGE | {"transform": "log1p"}, "jet": ["mass"], "parts": ["c_pt"]}
    data = {"features": None, "inputs": inputs, "n_constituents": {"parts": 4}}
    several = recipe.load(written(tmp_path, task("binary", data, **model)))
    shapes = {name: each.shape for name, each in several.data.columns.items()}
    assert shapes == {"picture": (16, 8, 1), "jet": (1,), "parts": (4, 2)}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"range": [[0.8, -0.8], [-1, 1]]}, "from a low end to a higher one, not from 0.8 to -0.8"),
        ({"range": [[0, float("inf")], [-1, 1]]}, "data.image.range.0.1: Input should be a finite number"),
        ({"bins": [16]}, "data.image.bins"),
        ({"weight": []}, "data.image.weight: Tuple should have at least 1 item"),
        ({"weight": ["pt", None, "pt"]}, "the feature 'pt' is named twice"),
        ({"bins": [16, 0]}, "data.image.bins"),
        ({"transform": "log2p"}, "unknown transform 'log2p'; choose one of: log1p"),
        ({"z": "pt"}, "unknown key; known here: x, y, weight, bins, range, transform"),
        ({"weight": "label + 1"}, "the label 'label' is among the features"),
    ],
)
def test_an_image_that_cannot_be_made_is_refused(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    content = task("binary", {"features": None, "image": IMAGE | changes}, model={"file": "model.npz"})
    with pytest.raises(RecipeError, match=message):
        recipe.load(written(tmp_path, content))


def test_an_image_has_no_number_of_constituents(tmp_path: Path) -> None:
    content = task("binary", {"features": None, "image": IMAGE, "n_constituents": 4}, model={"file": "model.npz"})
    with pytest.raises(RecipeError, match="the image 'features' takes all constituents, so it has no n_constituents"):
        recipe.load(written(tmp_path, content))


@pytest.mark.parametrize("key", ["name", "data", "budget"])
def test_a_missing_key_is_named(tmp_path: Path, key: str) -> None:
    with pytest.raises(RecipeError, match=f"{key}: Field required"):
        recipe.load(written(tmp_path, {k: v for k, v in SMALL.items() if k != key}))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "holds no recipe"),
        ("- a\n- b\n", "holds no recipe"),
        ("just words", "holds no recipe"),
        ("name: [unclosed", "is not YAML"),
        ("name: \x00", "is not YAML"),
        ("a: 2001-99-99", "is not YAML"),
        ("? [a, b]\n: 1", "is not YAML"),
        ("1: 2", "recipe.yaml'"),
        ("[" * 400, "is not YAML"),
        ("name: !!python/object/apply:os.system ['touch run']", "is not YAML"),
        ("!!python/object:hepprune.recipe.Recipe {}", "is not YAML"),
    ],
)
def test_what_is_no_recipe_is_refused_in_one_line(
    tmp_path: Path, text: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(RecipeError, match=message) as caught:
        recipe.load(written(tmp_path, text))
    assert "\n" not in str(caught.value)
    assert not Path("run").exists()


def test_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_bytes(b"\xff\xfe\x00name")
    with pytest.raises(RecipeError, match="is not YAML"):
        recipe.load(tmp_path / "recipe.yaml")


def test_a_missing_recipe_is_named(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="no recipe at '.*gone.yaml'"):
        recipe.load(tmp_path / "gone.yaml")
    with pytest.raises(RecipeError, match="no recipe at"):
        recipe.load(tmp_path)


def test_a_file_too_large_is_refused_unread(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="larger than 65536 bytes"):
        recipe.load(written(tmp_path, "#" * (2**16 + 1)))


@settings(max_examples=100)
@given(text=st.text(st.sampled_from("{}[]:,-#&*!|>'\"% \n0129.eab~?@`"), max_size=40))
def test_any_text_is_a_recipe_or_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(RecipeError):
        recipe.load(written(tmp_path, text))


def test_a_recipe_cannot_be_changed() -> None:
    found: Recipe = recipe.load(DEFAULT)
    with pytest.raises(ValueError, match="frozen"):
        found.seed = 3
