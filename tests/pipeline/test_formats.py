"""Deep Sets and a GRU of four frameworks through the whole street: each comes out measured, and in its own format."""

import shutil
import subprocess
import warnings
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest
import torch
import uproot
import yaml
from torch import nn
from typer.testing import CliRunner

from hepprune import frontends, pipeline, recipe
from hepprune.cli import app
from hepprune.frontends.checking import acting
from hepprune.network import Network, load
from hepprune.report import summary as summaries
from hepprune.report.summary import Summary
from tests.docs import pages
from tests.frontends.keras import models
from tests.frontends.keras.published import loaded
from tests.pipeline.taught import teach

pytestmark = pytest.mark.slow
N_JETS, N_FEATURES, N_CLASSES = 3000, 3, 3
N_CONSTITUENTS = {
    "deepsets": 3,
    "gru": 2,
}  # a mean over three has no exact inverse; two steps make a state that is read


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with jets whose class is told by the mean of a product over their constituents."""
    folder = tmp_path_factory.mktemp("formats")
    rng = np.random.default_rng(1)
    counts = rng.integers(2, 5, N_JETS)
    pt, eta = (ak.unflatten(rng.normal(size=counts.sum()).astype(np.float32), counts) for _ in range(2))
    score = ak.to_numpy(ak.sum(np.maximum(pt + eta, 0), axis=1))
    label = np.digitize(score, np.quantile(score, [1 / 3, 2 / 3])).astype(np.int32)
    columns: dict[str, Any] = {"pt": pt, "eta": eta, "label": label, "total": score, "event": np.arange(N_JETS)}
    with uproot.recreate(folder / "jets.root") as file:
        file.mktree("Jets", {name: ak.type(values).content for name, values in columns.items()}).extend(columns)
    return folder


class DeepSets(nn.Module):
    """Two heads, a class and a number, behind one mean."""

    def __init__(self) -> None:
        super().__init__()
        self.phi, self.flavour, self.sum = nn.Linear(N_FEATURES, 4), nn.Linear(4, N_CLASSES), nn.Linear(4, 1)

    def forward(self, x: torch.Tensor) -> Any:
        mean = torch.relu(self.phi(x)).mean(dim=1)
        return self.flavour(mean), self.sum(mean)


class Gated(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.cell, self.out = nn.GRU(N_FEATURES, 2, batch_first=True), nn.Linear(2, N_CLASSES)

    def forward(self, x: torch.Tensor) -> Any:
        return self.out(self.cell(x)[0][:, -1])


MODULES: dict[str, type[nn.Module]] = {"deepsets": DeepSets, "gru": Gated}


def shape(kind: str) -> tuple[int, int]:
    return N_CONSTITUENTS[kind], N_FEATURES


def of_torch(kind: str, path: Path) -> Path:
    exported = torch.export.export(MODULES[kind]().eval(), (torch.zeros(2, *shape(kind)),))
    torch.export.save(exported, path.with_suffix(".pt2"))
    return path.with_suffix(".pt2")


def of_onnx(kind: str, path: Path) -> Path:
    file = path.with_suffix(".onnx")
    batch = {"x": {0: "jets"}}
    names = {"input_names": ["x"], "output_names": ["flavour", "sum"] if kind == "deepsets" else ["y"]}
    module, x = MODULES[kind]().eval(), torch.zeros(1, *shape(kind))
    torch.onnx.export(module, (x,), file, dynamo=False, dynamic_axes=batch, **names)
    return file


def of_keras(kind: str, path: Path) -> Path:
    keras = models.framework("keras")
    k, x = keras.layers, keras.Input(shape(kind))
    if kind == "deepsets":
        mean = k.GlobalAveragePooling1D()(k.ReLU()(k.Dense(4)(x)))
        outputs = [k.Dense(N_CLASSES, name="flavour")(mean), k.Dense(1, name="sum")(mean)]
    else:
        outputs = [k.Dense(N_CLASSES)(k.GRU(2)(x))]
    return models.save(keras.Model(x, outputs), path.with_suffix(".keras"))


def of_qkeras(kind: str, path: Path) -> Path:
    keras = models.framework("tf_keras")
    q = models.framework("qkeras")
    k, x = keras.layers, keras.Input(shape(kind))
    bits = dict.fromkeys(("kernel_quantizer", "bias_quantizer"), "quantized_bits(6, 1, alpha=1.0)")
    if kind == "deepsets":
        made = k.GlobalAveragePooling1D()(q.QActivation("quantized_relu(6, 2)")(q.QDense(4, **bits)(x)))
    else:
        functions = {"activation": "quantized_tanh(6)", "recurrent_activation": "quantized_sigmoid(6)"}
        states = dict.fromkeys(("recurrent_quantizer", "state_quantizer"), "quantized_bits(6, 1, alpha=1.0)")
        qrecurrent = import_module("qkeras.qrecurrent")
        # TensorFlow dropped the old name that QKeras calls.
        qrecurrent.nest.is_sequence = qrecurrent.nest.is_nested
        made = q.QGRU(2, **bits, **states, **functions)(x)
    return models.save(keras.Model(x, q.QDense(N_CLASSES, **bits)(made)), path.with_suffix(".h5"))


MAKERS: dict[str, Callable[[str, Path], Path]] = {
    "torch": of_torch,
    "onnx": of_onnx,
    "keras": of_keras,
    "qkeras": of_qkeras,
}


@torch.no_grad()
def by_torch(path: Path, x: np.ndarray) -> Any:
    module = torch.export.load(path).module()
    pairs = [module(pair) for pair in torch.as_tensor(x).split(2)]  # as many as it was exported with
    return [torch.cat(each) for each in zip(*pairs, strict=True)] if isinstance(pairs[0], tuple) else torch.cat(pairs)


def by_onnxruntime(path: Path, x: np.ndarray) -> Any:
    session = import_module("onnxruntime").InferenceSession(path, providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: x})


def by_keras(path: Path, x: np.ndarray) -> Any:
    return models.native_outputs(models.framework("keras").models.load_model(path, compile=False), [x])


# What runs a model that was written, in its own framework.
RUNS: dict[str, Callable[[Path, np.ndarray], Any]] = {
    ".pt2": by_torch,
    ".onnx": by_onnxruntime,
    ".keras": by_keras,
    ".h5": lambda path, x: loaded(path)(x),
}


# Yosys makes a third more of the tables of these GRUs than is estimated, which an earlier campaign may well have seen;
# without it most of the time of a run is its second turn, which `test_feedback.py` and the recipes are about.
TAUGHT = {"stage": "yosys", "strategy": "distributed_arithmetic", "factor": 1.5}
SHORT = {
    "budget": {"latency_ns": 500, "lut_of_baseline": 0.8, "max_accuracy_loss": 0.5},
    "search": {"stages": 2, "fine_tune_epochs": 1, "settle_epochs": 3, "trim_epochs": 1},
    "checks": {"csim_vectors": 300, "rtl_vectors": 200},
}


# Beyond reading and writing, which each frontend's own tests hold for all layers, networks of a kind go the same way.
@pytest.mark.parametrize(
    ("framework", "kind"), [("torch", "deepsets"), ("onnx", "gru"), ("keras", "deepsets"), ("qkeras", "gru")]
)
def test_a_model_of_constituents_comes_back_smaller_and_proved(folder: Path, framework: str, kind: str) -> None:
    torch.manual_seed(1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the frameworks' own
        file = MAKERS[framework](kind, folder / f"{framework}_{kind}")
    content = {
        "name": f"{framework}_{kind}",
        "data": {
            "file": "jets.root:Jets",
            "features": ["pt", "eta"],
            "n_constituents": N_CONSTITUENTS[kind],
            "classes": [*"abc"],
        },
        "model": {"file": file.name, "bits": {"weights": 5, "activations": 4}, "training": {"epochs": 6}},
    }
    if kind == "deepsets":
        content["data"] |= {"targets": {"sum": "total"}}
        content["task"] = {"flavour": "classes", "sum": "regression"}
        lost = {"max_accuracy_loss": None, "max_loss": {"flavour.accuracy": 0.5, "sum.resolution(68 %)": 1.0}}
        content["budget"] = {key: value for key, value in (SHORT["budget"] | lost).items() if value is not None}
    (folder / f"{file.stem}.yaml").write_text(yaml.safe_dump(SHORT | content))
    build = folder / f"build_{file.stem}"
    teach(build, **TAUGHT)
    _check(pipeline.run(recipe.load(folder / f"{file.stem}.yaml"), build=build, plots=False), build, file, kind)


def _check(summary: Summary, build: Path, file: Path, kind: str) -> None:
    """Hold what a run found against its budget, its proofs, and the model that it wrote back."""
    assert summary.feedback[-1].met
    assert summary.compressed.measured is not None
    assert 0 < summary.compressed.measured.lut <= summary.budget["lut"]
    assert (summary.checks.csim_mismatches, summary.checks.rtl_mismatches) == (0, 0)
    written = Path(summary.files["model"])
    assert written.suffix == file.suffix
    network, again = load(build / "network.npz"), frontends.read(written)
    assert sum(again.sizes.values()) == sum(network.sizes.values())
    x = np.random.default_rng(2).integers(-64, 65, (50, *shape(kind))).astype(np.float32) / 32
    for mine, its in zip(kernels(network), kernels(again), strict=True):
        torch.testing.assert_close(its, mine, rtol=1e-6, atol=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the frameworks' own
        found = RUNS[written.suffix](written, x)
    found = [np.asarray(each) for each in (found if isinstance(found, list | tuple) else [found])]
    typed = written.suffix == ".h5"  # of the formats here the only one that has types for values
    computes = again if typed else acting(network)
    with torch.no_grad():
        values = computes.double().activations([torch.as_tensor(x).double()], quantised=typed)
    assert np.ptp(found[0], axis=0).any()
    for name, got in zip(computes.outputs, found, strict=True):
        np.testing.assert_allclose(got, values[name].numpy(), rtol=0, atol=1e-5 * np.abs(got).max())


def kernels(network: Network) -> list[torch.Tensor]:
    """Return the weights that act."""
    return [kernel.used().detach() for layer in network for kernel in layer.kernels]


def test_a_new_users_session_from_an_empty_folder(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second command of the README, then `report` and `export`, with a QKeras model and a ROOT file of one's own."""
    (_, *init), (_, *job) = (words for words in pages.commands(pages.ROOT / "README.md") if words[0] == "hepprune")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        of_qkeras("deepsets", tmp_path / "tagger")
    shutil.copy(folder / "jets.root", tmp_path)
    monkeypatch.chdir(tmp_path)
    assert "g++" in _said("doctor", "--no-test")
    assert "their order" in _said(*init, "--features", "pt,eta", "--label", "label", "--yes")
    drafted = yaml.safe_load(Path("recipe.yaml").read_text())
    assert (drafted["model"]["file"], drafted["data"]["features"]) == ("tagger.h5", ["pt", "eta"])
    drafted["model"]["training"] = {"epochs": 6}
    Path("recipe.yaml").write_text(yaml.safe_dump(drafted | SHORT))
    _said(*job, "--no-plots")
    assert not Path("build/plots").exists()
    _check(summaries.read(Path("build/summary.json")), Path("build"), Path("tagger.h5"), "deepsets")
    assert "pareto: build/plots/pareto.png" in _said("plot", "build")
    assert "page: build/report.html" in _said("report", "build")
    assert "The measured design meets its limits" in Path("build/report.html").read_text()
    _said("export", "build", "--verilog", "--vhdl-wrapper", "tagger_fw", "-o", "firmware")
    assert "entity tagger_fw is" in Path("firmware/tagger_fw.vhd").read_text()
    _said("export", "build", "--emulator", "tagger", "-o", "emulator")
    done = subprocess.run(["make", "-s", "check"], cwd="emulator", capture_output=True, text=True, check=False)
    assert done.stdout.endswith(" jets, 0 values differ\n"), done.stdout + done.stderr


def _said(*command: str) -> str:
    """Return what a command that ends well prints, in one line."""
    done = CliRunner().invoke(app, list(command))
    assert done.exit_code == 0, done.output
    return " ".join(done.output.split())
