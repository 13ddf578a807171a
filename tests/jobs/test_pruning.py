import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from hepprune.cli import app
from hepprune.errors import DataError, NetworkError
from hepprune.jobs import pruning, sources
from hepprune.network import Network, identity, load, save
from hepprune.pruning import plan
from hepprune.studies import iterative
from hepprune.task.sample import Sample
from hepprune.training import Fit
from tests.networks import transformer


@pytest.fixture
def files(tmp_path: Path, tagger: Network, jets: tuple[Sample, Sample]) -> tuple[Path, Path]:
    np.savez(tmp_path / "jets.npz", x=jets[1].features.numpy(), y=jets[1].y.numpy())
    return save(tagger, tmp_path / "tagger.npz"), tmp_path / "jets.npz"


def test_a_file_comes_back_pruned(files: tuple[Path, Path], tagger: Network, jets: tuple[Sample, Sample]) -> None:
    model, data = files
    done = pruning.prune(model, model.parent / "out.npz", data=data, method="fisher", sparsity=0.6)
    expected = plan.prune(tagger, jets[1], method="fisher", sparsity=0.6)
    assert done.sparsity == plan.sparsity(expected) == plan.sparsity(load(done.path)) >= 0.6
    assert done.before
    assert done.after
    assert done.after["accuracy"].value < done.before["accuracy"].value
    assert not done.removed


def test_neurons_are_really_gone(files: tuple[Path, Path]) -> None:
    model, data = files
    options = {"granularity": "neuron", "scope": "local", "sparsity": 0.5}
    done = pruning.prune(model, model.parent / "out.npz", data=data, **options)
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
        pruning.prune(model, model, sparsity=0.5)
    with pytest.raises(DataError, match=r"is not an \.npz with jets x and classes y"):
        pruning.prune(model, model.parent / "out.npz", data=model, sparsity=0.5)
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
    done = pruning.prune_in_rounds(str(model), model.parent / "out.npz", options, data=data)
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
