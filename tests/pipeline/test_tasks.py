"""Recipes of other tasks than classes: what is read, and the whole street from made jets to measured firmware."""

from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest
import torch
import uproot
import yaml

from hepprune import metrics, pipeline, recipe, training
from hepprune.data import reading, scaling
from hepprune.data.jets import split
from hepprune.errors import BudgetMissedError, HeppruneError, RecipeError
from hepprune.firmware.routes import Built
from hepprune.firmware.verilog import verilator
from hepprune.fixed import interface
from hepprune.fixed.interface import Word
from hepprune.hardware import targets
from hepprune.jobs.trainings import dynamic, lottery
from hepprune.metrics import Conditions
from hepprune.network import Activation, Concatenate, Dense, Input, Network, Reshape, exact_raw, load, save
from hepprune.pipeline import delivery, firmware, taggers
from hepprune.pipeline.context import Context
from hepprune.report.summary import Summary
from hepprune.task import BinaryLabel, Classes, MultiLabel, Reconstruction, Regression, Tasks
from hepprune.task.sample import Sample

N_JETS, FEATURES = 4000, ("a", "b", "c")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with jets whose features say all: a momentum, whether a sum is above zero, and which third it is in."""
    folder = tmp_path_factory.mktemp("tasks")
    rng = np.random.default_rng(1)
    a, b, c = rng.normal(size=(3, N_JETS)).astype(np.float32)
    counts = rng.integers(1, 5, N_JETS)
    candidates = ak.unflatten(rng.normal(size=(counts.sum())).astype(np.float32), counts)
    columns: dict[str, Any] = {
        "a": a,
        "b": b,
        "c": c,
        "cand_pt": candidates,
        "cand_eta": candidates**2,
        "pt": 2 + np.maximum(a, 0) + 0.5 * np.maximum(b, 0),
        "is_up": (a + b > 0).astype(np.int32),
        "is_out": (np.abs(c) > 1).astype(np.int8),
        "label": np.digitize(a + b, [-0.5, 0.5]).astype(np.int32),
        "weight": (0.5 + rng.random(N_JETS)).astype(np.float32),
        "event": np.arange(N_JETS),
    }
    with uproot.recreate(folder / "jets.root") as file:
        tree = file.mktree("Jets", {name: ak.type(values).content for name, values in columns.items()})
        tree.extend(columns)
    return folder


def written(folder: Path, task: Any, data: dict[str, Any], **sections: Any) -> recipe.Recipe:
    """Return a small recipe of a task."""
    inputs = {} if {"inputs", "features"} & set(data) else {"features": list(FEATURES)}
    content = {
        "name": "small",
        "task": task,
        "data": {"file": "jets.root:Jets", **inputs, **data},
        "model": {"hidden": [8], "training": {"float_epochs": 20, "epochs": 10, "batch_size": 64}},
        "budget": {"latency_ns": 40, "lut_of_baseline": 0.6},
        "search": {"stages": 2, "fine_tune_epochs": 2, "settle_epochs": 10, "trim_epochs": 2},
        "checks": {"csim_vectors": 500, "rtl_vectors": 300},
        **sections,
    }
    (folder / "recipe.yaml").write_text(yaml.safe_dump(content))
    return recipe.load(folder / "recipe.yaml")


def read(folder: Path, task: Any, data: dict[str, Any], **sections: Any) -> taggers.Samples:
    wanted = written(folder, task, data, **sections)
    return taggers.read_jets(Context(recipe=wanted, target=targets.load(wanted.target), build=folder / "build"))


LOST = {"latency_ns": 40, "lut_of_baseline": 0.3}
MOMENTUM = LOST | {"max_loss": {"mean_squared_error": 1.0}}


def ran(build: Path, wanted: recipe.Recipe, *, plots: bool = False) -> Summary:
    """Return the summary of a run, in which every form of the network agreed."""
    found = pipeline.run(wanted, build=build, plots=plots)
    assert (found.checks.csim_mismatches, found.checks.rtl_mismatches) == (0, 0)
    assert (found.checks.csim_vectors, found.checks.rtl_vectors) == (500, 300)
    assert found.checks.csim_agreement == 1.0
    assert found.feedback[-1].met
    assert found.compressed.nonzero_weights < found.baseline.nonzero_weights
    jets = taggers.read_jets(Context(recipe=wanted, target=targets.load(wanted.target), build=build))
    compressed = load(build / "network.npz")
    own = metrics.stated(jets.test.judged(exact_raw(compressed, jets.test.arrays)))
    assert found.compressed.scores == own
    assert list(own) == list(found.compressed_minus_uniform.scores) == list(wanted.meaning.metrics)
    assert (build / "plots" / "pareto.png").is_file() == plots
    return found


@pytest.mark.slow
@pytest.mark.xdist_group("tasks")
def test_a_regression_goes_from_jets_to_measured_firmware(folder: Path, tmp_path: Path) -> None:
    wanted = written(folder, "regression", {"targets": "pt"}, budget=MOMENTUM)
    found = ran(tmp_path / "build", wanted, plots=True)
    name, error = next(iter(found.compressed.scores.items()))
    assert name == "mean_squared_error"
    assert error.value < 0.25 * 0.43  # the variance of the momentum
    tight = wanted.model_copy(update={"budget": recipe.Limits(**(LOST | {"max_loss": {name: 1e-9}}))})
    with pytest.raises(BudgetMissedError, match="mean squared error binds: 1e-09 may be lost"):
        pipeline.run(tight, build=tmp_path / "build", plots=False)


@pytest.mark.slow
@pytest.mark.xdist_group("tasks")
def test_a_weighted_yes_or_no_goes_from_jets_to_measured_firmware(folder: Path, tmp_path: Path) -> None:
    wanted = written(folder, "binary", {"label": "is_up", "weight": "weight"})
    found = ran(tmp_path / "build", wanted)
    assert wanted.max_losses == {"label_auc": 0.01}
    assert found.compressed.scores["label_auc"].value > 0.95


def test_weights_and_targets_of_each_task_are_read(folder: Path) -> None:
    with uproot.open(folder / "jets.root") as file:
        raw = file["Jets"].arrays(library="np")
    whole = {
        "binary": (read(folder, "binary", {"targets": ["is_up"], "weight": "weight"}), BinaryLabel(), raw["is_up"][:, None]),
        "multilabel": (
            read(folder, "multilabel", {"targets": ["is_out", "is_up"]}),
            MultiLabel(),
            np.stack([raw["is_out"], raw["is_up"]], axis=1),
        ),
        "huber": (
            read(folder, {"kind": "regression", "loss": "huber", "delta": 0.5}, {"targets": "pt"}, budget={
                "lut": 1, "max_loss": {"mean_absolute_error": 0.1}
            }),
            Regression("huber", 0.5),
            raw["pt"][:, None],
        ),
    }  # fmt: skip
    for jets, task, wanted in whole.values():
        parts = (jets.train, jets.validation, jets.test)
        assert all(part.task == task for part in parts)
        rows = [_rows(part, raw, jets) for part in parts]
        assert sum(map(len, rows)) == N_JETS
        for part, own in zip(parts, rows, strict=True):
            assert np.array_equal(part.truth, wanted[own].astype(np.float32))
    weighted, own = whole["binary"][0].test, raw["weight"][_rows(whole["binary"][0].test, raw, whole["binary"][0])]
    assert weighted.weight is not None
    assert torch.allclose(weighted.weight, torch.tensor(own / own.mean()))
    assert whole["multilabel"][0].train.weight is None


def _rows(part: Sample, raw: dict[str, Any], jets: taggers.Samples) -> Any:
    """Return which rows of the file a sample's jets are, by their first feature."""
    (scaler,) = jets.scalers.values()
    scaled = ((raw["a"].astype(np.float64) - scaler.offset[0]) / scaler.scale[0]).astype(np.float32)
    order = np.argsort(scaled)
    return order[np.searchsorted(scaled[order], part.features[:, 0].numpy())]


def test_what_is_reconstructed_are_the_scaled_features(folder: Path) -> None:
    jets = read(folder, "reconstruction", {}, budget=MOMENTUM)
    assert jets.train.task == Reconstruction()
    assert torch.equal(jets.train.y, jets.train.features)  # type: ignore[arg-type]


HEADS = {"kind": {"kind": "classes"}, "momentum": {"kind": "regression", "loss": "relative", "share": 0.3}}


def test_signal_judges_and_is_never_learned_from(folder: Path) -> None:
    limits = LOST | {"max_loss": {"efficiency_at_rate(100 kHz)": 0.5}}
    wanted = written(folder, "reconstruction", {"signal": "is_out == 1"}, budget=limits, n_bunches=100)
    jets = read(folder, "reconstruction", {"signal": "is_out == 1"}, budget=limits, n_bunches=100)
    everyone = read(folder, "reconstruction", {}, budget=MOMENTUM)
    assert len(jets.train) < len(everyone.train)
    assert (len(jets.validation), len(jets.test)) == (len(everyone.validation), len(everyone.test))
    (targets, signal), (_, learned) = jets.test.truth, jets.train.truth
    assert learned.sum() == 0
    assert signal.mean() == pytest.approx(0.317, abs=0.05)  # of a normal number beyond one
    scale = jets.scalers["features"]
    assert isinstance(scale, scaling.Scaler)
    assert np.array_equal(targets, jets.test.features.numpy())
    raw = torch.zeros(len(jets.test), 3)
    assert float(jets.test.loss(raw)) == pytest.approx(
        float((targets[signal == 0] ** 2).mean(axis=1).sum() / len(signal))
    )
    name = "efficiency_at_rate(100 kHz)"
    metric = metrics.find("efficiency_at_rate(100 kHz, mse, n_bunches=100)", judging="values")
    assert jets.test.scores((raw,), [name])[name].stated == metric(raw.numpy(), (targets, signal)).stated
    assert wanted.meaning.metric(name) == metric


def test_signal_judges_the_numbers_among_several_outputs_and_none_learns_from_it(folder: Path) -> None:
    wanted = {"signal": "is_out == 1", "classes": ["0", "1", "2"], "targets": {"momentum": "pt"}}
    model = {"architecture": {"kind": "deepsets"}}
    data = {"features": ["cand_pt", "cand_eta"], "n_constituents": 3} | wanted
    budget = LOST | {"max_loss": {"kind.accuracy": 0.1, "momentum.auc": 0.1}}
    jets = read(folder, HEADS, data, budget=budget, model=model)
    (labels, momenta, signal), learned = jets.test.truth, jets.train.truth[-1]
    assert (learned.sum(), signal.mean()) == (0, pytest.approx(0.317, abs=0.05))
    raw = torch.zeros(len(labels), 3), torch.as_tensor(momenta + 0.5 * signal[:, None])
    found = jets.test.scores(raw, ["momentum.auc", "kind.accuracy", "momentum.mean_absolute_error"])
    metric = metrics.find("auc", judging="values")(raw[1].double().numpy(), (momenta, signal))
    assert found["momentum.auc"].value == pytest.approx(metric.value)
    assert found["momentum.mean_absolute_error"].value == pytest.approx(0.5 * signal.mean())
    assert float(jets.test.loss(raw)) == pytest.approx(np.log(3) * (signal == 0).mean(), rel=1e-5)
    said = torch.zeros(len(jets.train), 3), torch.zeros(len(jets.train), 1)
    _, taught, flags = jets.train.task.taught(jets.train.y, said)
    assert torch.equal(taught, jets.train.y[1] / 2)
    assert torch.equal(flags, jets.train.y[-1])


@pytest.mark.parametrize(
    ("task", "data", "said"),
    [
        (
            "binary",
            {"signal": "is_out", "label": "is_up"},
            "data.signal is what numbers are told apart by, of an output",
        ),
        (
            "reconstruction",
            {"signal": "c > 1"},
            "data.signal: 'c' is among the features and tells which jets are signal",
        ),
    ],
)
def test_signal_that_would_be_learned_from_is_refused(folder: Path, task: str, data: dict[str, Any], said: str) -> None:
    with pytest.raises(RecipeError, match=said):
        written(folder, task, data, budget=MOMENTUM if task != "binary" else LOST)


def test_a_recipe_of_signal_alone_has_nothing_to_learn_from(folder: Path) -> None:
    with pytest.raises(HeppruneError, match="'is_out >= 0' is true of all jets, and none is left to train on"):
        read(folder, "reconstruction", {"signal": "is_out >= 0"}, budget=MOMENTUM)


def test_metrics_of_your_own_lie_beside_the_recipe_or_in_its_folder(folder: Path) -> None:
    source = """
import numpy as np
from hepprune import metrics


def largest(raw, truth):
    return metrics.mean(np.abs(raw - truth).max(axis=1))


largest.lower_is_better = True
"""
    (folder / "beside.py").write_text(source)
    (folder / "own").mkdir()
    (folder / "own" / "further.py").write_text(source)
    for name, sections in (("beside:largest", {}), ("further:largest", {"metrics_folder": "own"})):
        limits = LOST | {"max_loss": {name: 0.1}}
        jets = read(folder, "regression", {"targets": "pt"}, budget=limits, **sections)
        raw = torch.zeros(len(jets.test), 1)
        assert jets.test.scores((raw,), [name])[name].value == pytest.approx(float(jets.test.truth.mean()))
        wanted = written(folder, "regression", {"targets": "pt"}, budget=limits, **sections)
        assert name in wanted.judged_by
        assert "metrics_folder" not in wanted.model_dump()
    with pytest.raises(RecipeError, match="further"):
        written(folder, "regression", {"targets": "pt"}, budget=LOST | {"max_loss": {"further:largest": 0.1}})


def two_heads(folder: Path, *, order: tuple[str, str] = ("kind", "momentum")) -> str:
    """Write a model of constituents and single features with two heads, and return its file."""
    generator = torch.Generator().manual_seed(1)

    def dense(name: str, n_in: int, n_out: int) -> Dense:
        return Dense(name, torch.randn(n_out, n_in, generator=generator), torch.zeros(n_out))

    layers = [Input("candidates", (4, 3)), Input("jet", 3), Reshape("flat", (12,)), Concatenate("both")]
    layers += [dense("kind", 15, 3), dense("momentum", 15, 1)]
    sources = {"flat": "candidates", "both": ("flat", "jet"), "kind": "both", "momentum": "both"}
    save(Network(layers, sources, list(order)), folder / "model.npz")
    return "model.npz"


def of_two_heads(folder: Path) -> recipe.Recipe:
    """Return a recipe of that model."""
    data = {
        "inputs": {"candidates": ["cand_pt", "cand_eta"], "jet": list(FEATURES)},
        "n_constituents": {"candidates": 4},
        "classes": ["low", "middle", "high"],
        "targets": {"momentum": ["pt"]},
    }
    budget = {"lut": 1000, "max_loss": {"momentum.mean_squared_relative_error": 0.1}}
    return written(folder, HEADS, data, model={"file": two_heads(folder)}, budget=budget)


def unpacked(file: Path, words: tuple[Word, ...]) -> np.ndarray[Any, Any]:
    """Return the values in the lines of a file, (n_jets, n_words)."""
    lines = [int(line, 16) for line in file.read_text().splitlines()]
    columns = []
    for word in words:
        found = np.array([line >> word.low & (1 << word.width) - 1 for line in lines])
        signed = word.kind is not None and word.kind.signed
        found = np.where(signed & (found >= 1 << max(word.width - 1, 0)), found - (1 << word.width), found)
        columns.append(found * (word.kind.step if word.kind else 0.0))
    return np.stack(columns, axis=1)


@pytest.mark.slow
@pytest.mark.xdist_group("tasks")
def test_what_feeds_a_design_of_several_inputs_is_delivered_for_each_of_them(folder: Path, tmp_path: Path) -> None:
    wanted = of_two_heads(folder)
    context = Context(recipe=wanted, target=targets.load(wanted.target), build=tmp_path)
    jets = taggers.read_jets(context)
    network = taggers.baseline(context, jets, taggers.model_of(wanted))
    built = firmware.written(context, Built(network=network), "rtl")
    files = delivery.write(context, built, jets)
    own = interface.read(Path(files["scaler"]))
    assert [(port.name, port.mark, port.shape) for port in own.inputs] == [
        ("candidates", "isfilled", (4, 3)),
        ("jet", None, (3,)),
    ]
    assert [(port.name, port.meaning) for port in own.outputs] == [("kind", "class logits"), ("momentum", "values")]
    assert [word.name for word in own.output_words] == ["low", "middle", "high", "pt"]
    played = unpacked(tmp_path / "patterns" / "inputs.hex", own.input_words)
    fractions = (0.6, 0.15, 0.25)
    for name, n_constituents, part in (("candidates", 4, played[:, :12]), ("jet", None, played[:, 12:])):
        scaler, columns = scaling.load(tmp_path / "scaler.json", input_name=name), wanted.data.inputs[name]
        raw = reading.read(wanted.data.file, features=columns, label=None, n_constituents=n_constituents)
        test = scaler.apply(split(raw, fractions, seed=wanted.seed)[2]).x[:1000].astype(np.float64)
        kind = next(layer.fixed_result for layer in network.inputs if layer.name == name)
        assert kind is not None
        assert np.array_equal(kind(test).reshape(len(part), -1), part)
    said = np.concatenate(exact_raw(network, jets.test.first(1000).arrays), axis=1)
    assert np.array_equal(unpacked(tmp_path / "patterns" / "outputs.hex", own.output_words), said)
    assert built.design is not None
    assert np.array_equal(verilator.simulate(verilator.build(built.design), played), said)


def test_several_inputs_constituents_and_outputs_are_read_and_fit_a_model(folder: Path) -> None:
    wanted = of_two_heads(folder)
    context = Context(recipe=wanted, target=targets.load(wanted.target), build=folder / "build")
    jets = taggers.read_jets(context)
    assert jets.train.task == Tasks(
        {"kind": Classes(Conditions(("low", "middle", "high"))), "momentum": Regression("relative")},
        {"momentum": 0.3, "kind": 1},
    )
    assert [tuple(x.shape[1:]) for x in jets.train.x] == [(4, 3), (3,)]
    assert list(jets.scalers) == ["candidates", "jet"]
    filled = jets.train.x[0][..., -1]
    assert ((filled == 0) | (filled == 1)).all()
    assert torch.equal(filled, filled.sort(dim=1, descending=True).values)
    assert wanted.max_losses == {"kind.accuracy": 0.01, "momentum.mean_squared_relative_error": 0.1}
    model = taggers.model_of(wanted)
    tagger = taggers.untrained(wanted, model)
    assert list(training.scores(tagger, jets.test)) == list(jets.test.task.metrics)
    baseline = taggers.baseline(context, jets, model)
    for name, score in training.scores(baseline, jets.validation).items():
        assert metrics.lost(name, score.value) < metrics.lost(
            name, training.scores(tagger, jets.validation)[name].value
        )
    two_heads(folder, order=("momentum", "kind"))
    with pytest.raises(RecipeError, match=r"gives 1 and 3 values, the recipe names .* and 3 and 1"):
        taggers.untrained(wanted, taggers.model_of(wanted))


def test_a_sigmoid_in_front_of_logits_is_refused(folder: Path) -> None:
    layers = [Input("x", 3), Dense("d", torch.ones(1, 3), torch.zeros(1)), Activation("s", "sigmoid")]
    save(Network(layers), folder / "sigmoid.npz")
    wanted = written(folder, "binary", {"label": "is_up"}, model={"file": "sigmoid.npz"})
    with pytest.raises(RecipeError, match="ends in the sigmoid 's', and is judged by its logits"):
        taggers.untrained(wanted, taggers.model_of(wanted))


def test_trees_are_named_as_uproot_takes_them(folder: Path) -> None:
    wanted = written(folder, "classes", {"file": {"jets.root": "Jets"}, "classes": ["a", "b", "c"]})
    assert wanted.data.file == f"{folder}/jets.root:Jets"
    several = written(folder, "classes", {"file": {"a.root": "Jets", "b.root": None}, "classes": ["a", "b", "c"]})
    assert several.data.file == (f"{folder}/a.root:Jets", f"{folder}/b.root")


def test_targets_that_are_none_of_the_task_are_named(folder: Path) -> None:
    with pytest.raises(HeppruneError, match="targets of labels lie between 0"):
        read(folder, "binary", {"targets": "pt"})
    with pytest.raises(HeppruneError, match="column 'label' of .* is 2 in row"):
        read(folder, "binary", {})


def test_studies_that_draw_networks_refuse_several_inputs_or_outputs(folder: Path) -> None:
    of_two_heads(folder)
    for study in (
        lambda: dynamic.study(folder / "recipe.yaml", "threshold", folder / "build"),
        lambda: lottery.play(str(folder / "recipe.yaml"), folder / "build", seeds=[1]),
    ):
        with pytest.raises(RecipeError, match="one input of one number per feature and have one output"):
            study()
