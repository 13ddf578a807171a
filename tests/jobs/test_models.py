"""What the command line does with a model alone: look into it, shrink it, prove that nothing changed."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from hepprune.cli import app
from hepprune.errors import DataError, EquivalenceError, NetworkError
from hepprune.jobs import models, sources
from hepprune.network import Dense, Input, LayerNorm, Network, Recurrent, ReLU, Softmax, identity, load, save
from hepprune.pruning import masks, plan
from hepprune.pruning.structure import surgery
from hepprune.studies import iterative
from hepprune.task.sample import Sample
from hepprune.training import Fit
from tests.networks import transformer


@pytest.fixture
def half_dead(tagger: Network, tmp_path: Path) -> Path:
    plan = [masks.Cut("dense_1", "neuron", (1, 4), (0.25, 0.0)), masks.Cut("dense_2", "neuron", (0,))]
    return save(masks.apply(tagger, plan), tmp_path / "half_dead.npz")


def test_a_description_counts_what_is_there(half_dead: Path) -> None:
    rows = {row.name: row for row in models.describe(load(half_dead))}
    first = rows["dense_1"]
    assert (first.kind, first.shape, first.dead, first.weight_bits) == ("Dense", (16,), 2, 6.0)
    assert first.parameters == 16 * 8 + 16
    assert first.nonzero < first.nonzero_float == 16 * 8
    assert rows["dense_2"].dead == 1
    assert rows["relu_1"].result_bits == 6.0


def test_what_no_firmware_can_be_made_of_is_named_with_the_reason() -> None:
    weights = (torch.randn(3, 4), torch.randn(3, 3), torch.zeros(3), torch.zeros(3))
    kernel, again, bias, more = weights
    cell = Recurrent("cell", "simple", weight=kernel, recurrent_weight=again, bias=bias, recurrent_bias=more)
    norm = LayerNorm("norm", torch.ones(4), torch.zeros(4))
    rows = {row.name: row.refused for row in models.describe(Network([Input("x", (5, 4)), norm, cell]))}
    assert rows["x"] == ()
    assert "simple recurrent cell" in rows["cell"][0]
    assert [reason.partition(":")[0] for reason in rows["norm"]] == ["io_stream"]


def test_a_float_network_with_attention_and_a_cell_is_described() -> None:
    arrays = {"weight": torch.randn(12, 4), "recurrent_weight": torch.randn(12, 3)}
    biases = {"bias": torch.zeros(12), "recurrent_bias": torch.zeros(12)}
    layers = [Input("x", (5, 4)), Softmax("inside"), Recurrent("cell", "lstm", **arrays, **biases), Softmax("head")]
    assert [row.refused for row in models.describe(Network(layers))] == [(), (), (), ()]


def test_shrinking_keeps_every_output(half_dead: Path, tmp_path: Path) -> None:
    done = models.shrink(half_dead, tmp_path / "small.npz")
    assert done.exact
    assert done.difference == 0
    assert done.removed == {"dense_1": 2, "dense_2": 1}
    assert done.parameters == sum(p.numel() for p in load(done.path).parameters()) < done.parameters_before


def test_a_surgery_that_changes_outputs_writes_nothing(
    half_dead: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        surgery, "shrink", lambda network: masks.apply(network, [masks.Cut("dense_3", "weight", tuple(range(12)))])
    )
    with pytest.raises(EquivalenceError, match="nothing was written"):
        models.shrink(half_dead, tmp_path / "small.npz")
    assert not (tmp_path / "small.npz").exists()


def test_a_float_model_says_how_close_it_is(tmp_path: Path) -> None:
    layers = [Input("x", 3), Dense("a", torch.randn(4, 3), torch.randn(4)), ReLU("r")]
    last = torch.randn(2, 4)
    last[:, 1] = 0
    path = save(Network([*layers, Dense("b", last, torch.randn(2))]), tmp_path / "float.npz")
    done = models.shrink(path, tmp_path / "small.npz")
    assert not done.exact
    assert done.removed == {"a": 1}


def test_the_model_itself_is_not_overwritten(half_dead: Path) -> None:
    before = half_dead.read_bytes()
    with pytest.raises(NetworkError, match="is the model itself"):
        models.shrink(str(half_dead), half_dead)
    assert half_dead.read_bytes() == before


def test_the_command_line_prints_tables_and_json(half_dead: Path, tmp_path: Path) -> None:
    shown = CliRunner().invoke(app, ["inspect", str(half_dead)])
    assert shown.exit_code == 0
    assert "dense_1" in shown.output
    assert "3 neurons or filters are dead" in " ".join(shown.output.split())
    rows = json.loads(CliRunner().invoke(app, ["inspect", str(half_dead), "--json"]).output)
    assert [row["name"] for row in rows][:2] == ["features", "dense_1"]
    out = tmp_path / "small.npz"
    done = CliRunner().invoke(app, ["shrink", str(half_dead), "-o", str(out), "--json"])
    assert json.loads(done.output)["removed"] == {"dense_1": 2, "dense_2": 1}
    assert "bit for bit" in CliRunner().invoke(app, ["shrink", str(half_dead), "-o", str(out)]).output


@pytest.mark.parametrize("model", ["nowhere.h5", "tests", "README.md"])
def test_what_is_no_model_is_refused_in_one_sentence(model: str) -> None:
    done = CliRunner().invoke(app, ["inspect", model])
    assert done.exit_code == 1
    assert model in done.output or model in done.stderr


@pytest.fixture
def files(tmp_path: Path, tagger: Network, jets: tuple[Sample, Sample]) -> tuple[Path, Path]:
    np.savez(tmp_path / "jets.npz", x=jets[1].features.numpy(), y=jets[1].y.numpy())
    return save(tagger, tmp_path / "tagger.npz"), tmp_path / "jets.npz"


def test_a_file_comes_back_pruned(files: tuple[Path, Path], tagger: Network, jets: tuple[Sample, Sample]) -> None:
    model, data = files
    done = models.prune(model, model.parent / "out.npz", data=data, method="fisher", sparsity=0.6)
    expected = plan.prune(tagger, jets[1], method="fisher", sparsity=0.6)
    assert done.sparsity == plan.sparsity(expected) == plan.sparsity(load(done.path)) >= 0.6
    assert done.before
    assert done.after
    assert done.after["accuracy"].value < done.before["accuracy"].value
    assert not done.removed


def test_neurons_are_really_gone(files: tuple[Path, Path]) -> None:
    model, data = files
    options = {"granularity": "neuron", "scope": "local", "sparsity": 0.5}
    done = models.prune(model, model.parent / "out.npz", data=data, **options)
    assert done.removed["dense_1"] >= 8
    assert done.removed["dense_2"] >= 6  # surgery may find one that the cuts before it have left dead
    sizes = [*load(done.path).sizes.values()]
    assert sizes == [16 - done.removed["dense_1"], 12 - done.removed["dense_2"], 5]


@pytest.mark.parametrize(("granularity", "method"), [("head", "taylor"), ("layer", "loss_change")])
def test_heads_and_layers_are_really_gone(granularity: str, method: str, tmp_path: Path) -> None:
    network = transformer(heads=4)
    model, data = save(network, tmp_path / "model.npz"), tmp_path / "jets.npz"
    rng = np.random.default_rng(1)
    np.savez(data, x=rng.normal(size=(60, *network.input.features_shape)), y=rng.integers(0, 3, 60))
    options = ["--granularity", granularity, "--method", method, "--sparsity", "0.5", "--data", str(data)]
    outcome = CliRunner().invoke(app, ["prune", str(model), "-o", str(tmp_path / "out.npz"), "--json", *options])
    assert outcome.exit_code == 0, outcome.output
    removed = json.loads(outcome.stdout)["removed"]
    if granularity == "head":
        assert removed == {"query": 4, "key": 4, "value": 4}
    else:
        assert set(removed) in ({"query", "key", "value", "out"}, {"up", "down"})
        assert removed == {name: network[name].n_out for name in removed}
    assert sum(p.numel() for p in load(tmp_path / "out.npz").parameters()) < sum(
        p.numel() for p in network.parameters()
    )
    shown = CliRunner().invoke(app, ["inspect", str(model), "--groups"])
    assert "query + key + value: 4 heads" in shown.output
    assert "feed_forward: residual branch up > relu > down, in whose place 'attention' is read" in shown.output


def test_mistakes_are_refused(files: tuple[Path, Path]) -> None:
    model, data = files
    with pytest.raises(NetworkError, match="is the model itself"):
        models.prune(model, model, sparsity=0.5)
    with pytest.raises(DataError, match=r"is not an \.npz with jets x and classes y"):
        models.prune(model, model.parent / "out.npz", data=model, sparsity=0.5)
    assert not (model.parent / "out.npz").exists()
    assert data.exists()


def test_the_command(files: tuple[Path, Path]) -> None:
    model, out = files[0], files[0].parent / "out.npz"
    arguments = ["prune", str(model), "-o", str(out), "--granularity", "2:4"]
    outcome = CliRunner().invoke(app, [*arguments, "--json"])
    assert outcome.exit_code == 0, outcome.output
    assert json.loads(outcome.stdout)["sparsity"] == pytest.approx(plan.sparsity(load(out)))
    assert "of the weights are zero" in CliRunner().invoke(app, arguments).output
    refused = CliRunner().invoke(app, [*arguments[:4], "--sparsity", "1.5"])
    assert refused.exit_code == 1
    assert "1.5 does not" in refused.output


def test_rounds_are_those_of_iterative_pruning(files: tuple[Path, Path], tagger: Network) -> None:
    model, data = files
    options = {"schedule": [0.4, 0.6], "fine_tune_epochs": 1, "method": "fisher", "monitor": "accuracy"}
    done = models.prune_in_rounds(str(model), model.parent / "out.npz", options, data=data)
    source = sources.find(str(model), data, model.parent)
    fine_tune = Fit(epochs=1, batch_size=source.batch_size, learning_rate=6e-3, monitor="accuracy")
    expected, history = iterative.prune(
        tagger, source.train, source.validation, method="fisher", schedule=[0.4, 0.6], fine_tune=fine_tune, seed=1
    )
    assert identity(load(done.path)) == identity(expected)
    assert [(r.target, r.sparsity, r.scores) for r in done.history] == [
        (r.target, r.sparsity, r.scores) for r in history
    ]


def test_the_command_tells_the_rounds(files: tuple[Path, Path]) -> None:
    model, data = files
    arguments = ["prune", str(model), "-o", str(model.parent / "out.npz"), "--data", str(data)]
    outcome = CliRunner().invoke(app, [*arguments, "--schedule", "0.3,0.5", "--epochs", "1", "--json"])
    assert outcome.exit_code == 0, outcome.output
    assert [entry["target"] for entry in json.loads(outcome.stdout)["history"]] == [0, 0.3, 0.5]
    refused = CliRunner().invoke(app, [*arguments, "--schedule", "cubic", "--sparsity", "0.5"])
    assert refused.exit_code == 1
    assert "unknown schedule 'cubic'; choose one of" in refused.output
    refused = CliRunner().invoke(app, [*arguments[:4], "--schedule", "linear", "--sparsity", "0.5"])
    assert "needs jets: --data" in refused.output
