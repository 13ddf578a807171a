"""Deep Sets and a GRU of four frameworks through the whole street: each comes out measured, and in its own format."""

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest
import torch
import uproot
import yaml
from torch import nn

from hepprune import frontends, pipeline, recipe
from hepprune.network import exact_raw, load
from tests.frontends.keras import models

pytestmark = pytest.mark.slow
N_JETS, SHAPE, N_CLASSES = 3000, (3, 3), 3


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with jets whose class is told by the mean of a product over their constituents."""
    folder = tmp_path_factory.mktemp("formats")
    rng = np.random.default_rng(1)
    counts = rng.integers(2, 5, N_JETS)
    pt, eta = (ak.unflatten(rng.normal(size=counts.sum()).astype(np.float32), counts) for _ in range(2))
    told = ak.to_numpy(ak.sum(np.maximum(pt + eta, 0), axis=1))
    label = np.digitize(told, np.quantile(told, [1 / 3, 2 / 3])).astype(np.int32)
    columns: dict[str, Any] = {"pt": pt, "eta": eta, "label": label, "event": np.arange(N_JETS)}
    with uproot.recreate(folder / "jets.root") as file:
        file.mktree("Jets", {name: ak.type(values).content for name, values in columns.items()}).extend(columns)
    return folder


class DeepSets(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.phi, self.rho = nn.Linear(SHAPE[1], 4), nn.Linear(4, N_CLASSES)

    def forward(self, x: torch.Tensor) -> Any:
        return self.rho(torch.relu(self.phi(x)).mean(dim=1))


class Gated(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.cell, self.out = nn.GRU(SHAPE[1], 2, batch_first=True), nn.Linear(2, N_CLASSES)

    def forward(self, x: torch.Tensor) -> Any:
        return self.out(self.cell(x)[0][:, -1])


def of_torch(module: nn.Module, path: Path) -> Path:
    exported = torch.export.export(module.eval(), (torch.zeros(2, *SHAPE),))
    torch.export.save(exported, path.with_suffix(".pt2"))
    return path.with_suffix(".pt2")


def of_onnx(module: nn.Module, path: Path) -> Path:
    file = path.with_suffix(".onnx")
    batch = {"x": {0: "jets"}}
    names = {"input_names": ["x"], "output_names": ["y"]}
    torch.onnx.export(module.eval(), (torch.zeros(1, *SHAPE),), file, dynamo=False, dynamic_axes=batch, **names)
    return file


def of_keras(kind: str, path: Path) -> Path:
    keras = models.framework("keras")
    k, x = keras.layers, keras.Input(SHAPE)
    made = k.GlobalAveragePooling1D()(k.ReLU()(k.Dense(4)(x))) if kind == "deepsets" else k.GRU(2)(x)
    return models.save(keras.Model(x, k.Dense(N_CLASSES)(made)), path.with_suffix(".keras"))


def of_qkeras(kind: str, path: Path) -> Path:
    keras = models.framework("tf_keras")
    q = models.framework("qkeras")
    k, x = keras.layers, keras.Input(SHAPE)
    bits = dict.fromkeys(("kernel_quantizer", "bias_quantizer"), "quantized_bits(6, 1, alpha=1.0)")
    if kind == "deepsets":
        made = k.GlobalAveragePooling1D()(q.QActivation("quantized_relu(6, 2)")(q.QDense(4, **bits)(x)))
    else:
        made = k.GRU(2)(x)
    return models.save(keras.Model(x, q.QDense(N_CLASSES, **bits)(made)), path.with_suffix(".h5"))


MAKERS: dict[str, Callable[[str, Path], Path]] = {
    "torch": lambda kind, path: of_torch({"deepsets": DeepSets, "gru": Gated}[kind](), path),
    "onnx": lambda kind, path: of_onnx({"deepsets": DeepSets, "gru": Gated}[kind](), path),
    "keras": of_keras,
    "qkeras": of_qkeras,
}


@pytest.mark.parametrize("kind", ["deepsets", "gru"])
@pytest.mark.parametrize("framework", MAKERS)
def test_a_model_of_constituents_comes_back_smaller_and_proved(folder: Path, framework: str, kind: str) -> None:
    torch.manual_seed(1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the frameworks' own
        file = MAKERS[framework](kind, folder / f"{framework}_{kind}")
    content = {
        "name": f"{framework}_{kind}",
        "data": {"file": "jets.root:Jets", "features": ["pt", "eta"], "n_constituents": SHAPE[0], "classes": [*"abc"]},
        "model": {"file": file.name, "bits": {"weights": 5, "activations": 6}, "training": {"epochs": 6}},
        "budget": {"latency_ns": 500, "lut_of_baseline": 0.7, "max_accuracy_loss": 0.5},
        "search": {"stages": 2, "fine_tune_epochs": 1, "settle_epochs": 3, "trim_epochs": 1},
        "checks": {"csim_vectors": 300, "rtl_vectors": 200},
    }
    (folder / f"{file.stem}.yaml").write_text(yaml.safe_dump(content))
    build = folder / f"build_{file.stem}"
    summary = pipeline.run(recipe.load(folder / f"{file.stem}.yaml"), build=build)
    assert summary.feedback[-1].met
    assert summary.compressed.measured is not None
    assert 0 < summary.compressed.measured.lut <= summary.budget["lut"]
    assert (summary.checks.csim_mismatches, summary.checks.rtl_mismatches) == (0, 0)
    written = Path(summary.files["model"])
    assert written.suffix == file.suffix
    network, again = load(build / "network.npz"), frontends.read(written)
    assert sum(again.sizes.values()) == sum(network.sizes.values())
    x = np.random.default_rng(2).normal(size=(50, *SHAPE)).astype(np.float32)
    assert exact_raw(network, x)[0].shape == (50, N_CLASSES)
