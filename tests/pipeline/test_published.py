"""A published interaction network of eight constituents on its authors' jets, through the whole street."""

from pathlib import Path

import awkward as ak
import numpy as np
import pytest
import torch
import uproot
import yaml

from hepprune import frontends, pipeline, recipe
from tests.frontends.keras.published import SCALES
from tests.reference import REFERENCE

MODEL = REFERENCE / "models" / "model_QInteractionNetwork_NodeEdgeProj_Conv1D_nconst_8_nbits_8.h5"
JETS = REFERENCE / "jets" / "x_test_8const.npy"
pytestmark = pytest.mark.slow


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the jets in the order and the scale that the network was trained in."""
    x, y = np.load(JETS) / SCALES[8], np.load(JETS.with_name("y_test_8const.npy")).argmax(axis=1)
    columns = {name: ak.from_regular(x[..., axis].astype(np.float32)) for axis, name in enumerate(("pt", "eta", "phi"))}
    columns |= {"label": y.astype(np.int32), "event": np.arange(len(y))}
    with uproot.recreate(tmp_path / "jets.root") as file:
        file.mktree("Jets", {name: ak.type(ak.Array(values)).content for name, values in columns.items()}).extend(
            columns
        )
    return tmp_path


def test_it_is_made_to_fit_and_comes_back_as_it_came(folder: Path) -> None:
    content = {
        "name": "published",
        "data": {
            "file": "jets.root:Jets",
            "features": ["pt", "eta", "phi"],
            "n_constituents": 8,
            "isfilled": False,
            "classes": ["g", "q", "W", "Z", "t"],
            "scaler": "none",
        },
        "model": {
            "file": str(MODEL),
            "bits": {"inputs": "ap_fixed<10,4,AP_RND,AP_SAT>"},
            "training": {"epochs": 2, "batch_size": 64, "learning_rate": 1e-3},
        },
        "budget": {"latency_ns": 200, "lut": 20_000, "max_loss": {"accuracy": 0.3}},
        "search": {
            "stages": 2,
            "step": 0.5,
            "learning_rate": 1e-3,
            "settle_learning_rate": 2e-3,
            "fine_tune_epochs": 2,
            "settle_epochs": 8,
            "trim_epochs": 1,
        },
        "checks": {"csim_vectors": 300, "rtl_vectors": 200},
    }
    (folder / "recipe.yaml").write_text(yaml.safe_dump(content))
    summary = pipeline.run(recipe.load(folder / "recipe.yaml"), build=folder / "build", plots=False)
    assert summary.baseline.scores["accuracy"].value > 0.6
    assert summary.feedback[-1].met
    assert (summary.checks.csim_mismatches, summary.checks.rtl_mismatches) == (0, 0)
    before, after = frontends.read(MODEL), frontends.read(Path(summary.files["model"]))
    assert sum(after.sizes.values()) < sum(before.sizes.values())
    assert after.shapes[after.outputs[0]] == before.shapes[before.outputs[0]] == (5,)
    fixed = [layer.name for layer in before if layer.fixed]
    assert len(fixed) == 3
    assert all(torch.equal(after[name].weight, before[name].weight) for name in fixed)
