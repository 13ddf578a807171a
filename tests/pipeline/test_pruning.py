import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from hepprune.cli import app
from hepprune.errors import DataError, NetworkError
from hepprune.network import Network, load, save
from hepprune.pipeline import pruning
from hepprune.pruning import plan
from hepprune.training import Sample


@pytest.fixture
def files(tmp_path: Path, tagger: Network, jets: tuple[Sample, Sample]) -> tuple[Path, Path]:
    np.savez(tmp_path / "jets.npz", x=jets[1].x.numpy(), y=jets[1].y.numpy())
    return save(tagger, tmp_path / "tagger.npz"), tmp_path / "jets.npz"


def test_a_file_comes_back_pruned(files: tuple[Path, Path], tagger: Network, jets: tuple[Sample, Sample]) -> None:
    model, data = files
    done = pruning.prune(model, model.parent / "out.npz", data=data, method="fisher", sparsity=0.6)
    expected = plan.prune(tagger, jets[1], method="fisher", sparsity=0.6)
    assert done.sparsity == plan.sparsity(expected) == plan.sparsity(load(done.path)) >= 0.6
    assert done.before
    assert done.after
    assert done.after.accuracy < done.before.accuracy
    assert not done.removed


def test_neurons_are_really_gone(files: tuple[Path, Path]) -> None:
    model, data = files
    options = {"granularity": "neuron", "scope": "local", "sparsity": 0.5}
    done = pruning.prune(model, model.parent / "out.npz", data=data, **options)
    assert done.removed["dense_1"] >= 8
    assert done.removed["dense_2"] >= 6  # surgery may find one that the cuts before it have left dead
    sizes = [layer.n_out for layer in load(done.path).dense_layers]
    assert sizes == [16 - done.removed["dense_1"], 12 - done.removed["dense_2"], 5]


def test_mistakes_are_refused(files: tuple[Path, Path]) -> None:
    model, data = files
    with pytest.raises(NetworkError, match="is the model itself"):
        pruning.prune(model, model, sparsity=0.5)
    with pytest.raises(DataError, match=r"is no \.npz with jets x and classes y"):
        pruning.prune(model, model.parent / "out.npz", data=model, sparsity=0.5)
    assert not (model.parent / "out.npz").exists()
    assert data.exists()


def test_the_command(files: tuple[Path, Path]) -> None:
    model, out = files[0], files[0].parent / "out.npz"
    arguments = ["prune", str(model), "-o", str(out), "--granularity", "2:4"]
    told = CliRunner().invoke(app, [*arguments, "--json"])
    assert told.exit_code == 0, told.output
    assert json.loads(told.stdout)["sparsity"] == pytest.approx(plan.sparsity(load(out)))
    assert "of the weights are zero" in CliRunner().invoke(app, arguments).output
    refused = CliRunner().invoke(app, [*arguments[:4], "--sparsity", "1.5"])
    assert refused.exit_code == 1
    assert "1.5 does not" in refused.output
