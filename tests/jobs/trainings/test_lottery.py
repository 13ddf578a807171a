import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from hepprune.cli import app
from hepprune.data import images
from hepprune.errors import DataError
from hepprune.jobs.trainings import lottery
from tests.data.test_images import packed


@pytest.fixture
def mnist(tmp_path: Path) -> Path:
    """A folder like MNIST's, of scikit-learn's digits in its upper left corner."""
    for (x, y), part, n_images in zip(images.digits(), ("train", "t10k"), (300, 100), strict=True):
        canvas = np.zeros((n_images, 28, 28), dtype=np.uint8)
        canvas[:, :8, :8] = 255 * x[:n_images].reshape(-1, 8, 8)
        (tmp_path / f"{part}-images-idx3-ubyte").write_bytes(packed(canvas))
        (tmp_path / f"{part}-labels-idx1-ubyte").write_bytes(packed(y[:n_images].astype(np.uint8)))
    return tmp_path


@pytest.mark.slow
def test_a_game_on_the_files_of_mnist(mnist: Path) -> None:
    out = mnist / "out"
    options = ["--seeds", "1", "--rounds", "1", "--sparsity", "0.5", "--epochs", "10", "-o", str(out), "--json"]
    outcome = CliRunner().invoke(app, ["lottery", str(mnist), *options])
    assert outcome.exit_code == 0, outcome.output
    found = json.loads((out / "lottery_mnist.json").read_text())
    assert found["network"] == [784, 300, 100, 10]
    assert (found["n_train"], found["n_test"]) == (250, 100)
    assert [trial["kind"] for trial in found["trials"]] == ["dense", "ticket", "new weights", "random mask"]
    assert found["trials"][1]["sparsity"] == pytest.approx(0.5, abs=0.01)
    assert all(trial["scores"]["accuracy"]["value"] > 0.2 for trial in found["trials"])
    assert json.loads(outcome.stdout)["trials"] == found["trials"]
    assert {path.suffix for path in out.glob("lottery_mnist.p*")} == {".png", ".pdf"}
    before = {path: path.stat().st_mtime_ns for path in (out / "state").rglob("*.*")}
    shown = CliRunner().invoke(app, ["lottery", str(mnist), *options[:-1]])
    assert "random mask: within 1.0% of the dense network" in shown.output
    assert {path: path.stat().st_mtime_ns for path in (out / "state").rglob("*.*")} == before  # nothing trained again


def test_what_is_no_source_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="'numbers' is neither 'digits', nor a folder"):
        lottery.play("numbers", tmp_path, seeds=[1])
    with pytest.raises(DataError, match="no MNIST file"):
        lottery.play(str(tmp_path), tmp_path, seeds=[1])
