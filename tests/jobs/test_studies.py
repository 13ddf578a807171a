"""Comparison, dynamic pruning and measured latency from the command line, on small networks."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from typer.testing import CliRunner

from hepprune.cli import app
from hepprune.network import Network, load, save
from hepprune.task.sample import Sample
from hepprune.training import multilayer_perceptron

ROOT = Path(__file__).parents[2]


@pytest.fixture
def files(tmp_path: Path, tagger: Network, jets: tuple[Sample, Sample]) -> tuple[Path, Path]:
    np.savez(tmp_path / "jets.npz", x=jets[1].features.numpy(), y=jets[1].y.numpy())
    return save(tagger, tmp_path / "tagger.npz"), tmp_path / "jets.npz"


@pytest.mark.slow
def test_methods_are_compared_on_a_model(files: tuple[Path, Path]) -> None:
    (model, data), out = files, files[0].parent / "out"
    options = ["--data", str(data), "--seeds", "2", "--epochs", "1", "--sparsities", "0.5", "-o", str(out)]
    outcome = CliRunner().invoke(app, ["compare", str(model), *options, "--methods", "magnitude,random"])
    assert outcome.exit_code == 0, outcome.output
    found = json.loads((out / "comparison.json").read_text())
    assert [(point["method"], point["sparsity"]) for point in found["points"]] == [
        ("unpruned", 0),
        ("magnitude", 0.5),
        ("random", 0.5),
    ]
    assert all(point["lut"] > 0 and point["scores"]["accuracy"]["error"] is not None for point in found["points"])
    assert set(found["files"]) == {
        f"{m}_against_{x}" for m in ("accuracy", "auc", "cross_entropy") for x in ("sparsity", "lut")
    }
    assert all(Path(file).is_file() for file in found["files"].values())
    refused = CliRunner().invoke(app, ["compare", str(model), *options, "--methods", "magnitud"])
    assert (refused.exit_code, "choose one of: magnitude" in refused.output) == (1, True)
    refused = CliRunner().invoke(app, ["compare", str(model)])
    assert "needs jets: --data recipe.yaml" in refused.output


@pytest.mark.parametrize("kind", ["exits", "top_k"])
def test_dynamic_networks_are_trained_on_a_recipes_jets(tmp_path: Path, kind: str) -> None:
    content = yaml.safe_load((ROOT / "hls_projects/jet_tagger/recipe.yaml").read_text())
    content["data"] |= {"file": f"{ROOT / 'datasets/jets_features.root'}:Jets", "max_jets": 2000}
    content["model"]["hidden"] = [12, 8]
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(content))
    options = ["--kind", kind, "--seeds", "1", "--epochs", "1", "-o", str(tmp_path), "--json"]
    outcome = CliRunner().invoke(app, ["dynamic", str(tmp_path / "recipe.yaml"), *options])
    assert outcome.exit_code == 0, outcome.output
    found = json.loads((tmp_path / f"dynamic_{kind}.json").read_text())
    for point in found["points"]:
        assert point["mean"] <= point["largest"] <= point["worst_case"]
    if kind == "exits":
        assert found["points"][0]["worst_case"] > found["plain"]["worst_case"]  # heads are paid for
        latencies = found["trials"][0]["latency_ns"]
        assert latencies == sorted(latencies)
        assert len(latencies) == 2
    else:
        worst = [point["worst_case"] for point in found["points"]]
        assert worst == sorted(worst)
    refused = CliRunner().invoke(app, ["dynamic", str(tmp_path / "recipe.yaml"), "--kind", "exit"])
    assert "choose one of: exits" in refused.output


def test_a_network_is_made_to_run_faster_here(files: tuple[Path, Path]) -> None:
    data, folder = files[1], files[0].parent
    wide = save(multilayer_perceptron(8, (512, 512), 5, seed=1), folder / "wide.npz")
    options = ["--data", str(data), "--batch", "64", "--epochs", "1", "--stages", "1", "--fraction", "0.6"]
    outcome = CliRunner().invoke(app, ["latency", str(wide), "-o", str(folder / "fast.npz"), *options, "--json"])
    assert outcome.exit_code == 0, outcome.output
    found = json.loads(outcome.stdout)
    assert found["after"]["timing"]["median_ns"] <= found["limit_ns"]
    assert [*load(folder / "fast.npz").sizes.values()] == found["after"]["layers"]
    assert found["after"]["parameters"] < found["before"]["parameters"]


def test_a_gpu_that_is_not_there_is_a_missing_tool(files: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    model, data = files
    options = ["--data", str(data), "-o", str(model.parent / "out.npz"), "--on", "torch:cuda"]
    outcome = CliRunner().invoke(app, ["latency", str(model), *options])
    assert outcome.exit_code == 3
    assert "'torch:cpu' runs everywhere" in outcome.output
    assert not (model.parent / "out.npz").exists()
