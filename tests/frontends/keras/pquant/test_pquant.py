"""PQuantML itself is the oracle: `data/make_pquant.py` kept what its models put out."""

import io
import json
import os
import subprocess
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch

import hepprune
from hepprune.errors import NetworkError
from hepprune.frontends import keras as frontend
from hepprune.pruning.structure import surgery
from tests.networks import weighted

DATA = Path(hepprune.__file__).parents[1] / "tests" / "frontends" / "keras" / "data"
NAMES = (
    *("dense", "dense_compressed", "dense_fine", "dense_multiplied", "dense_wrapped"),
    *("image", "image_fine", "image_wanda", "steps", "steps_fine"),
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("pquant")
    with zipfile.ZipFile(DATA / "pquant.zip") as archive:
        archive.extractall(path)
    return path


@pytest.mark.parametrize("name", NAMES)
def test_a_network_computes_what_pquant_computes_bit_for_bit(name: str, folder: Path) -> None:
    kept = np.load(folder / f"{name}.npz")
    with torch.no_grad():
        outputs = frontend.read(folder / f"{name}.keras")(torch.as_tensor(kept["features"]))
    np.testing.assert_array_equal(outputs.numpy(), kept["outputs"])


@pytest.mark.parametrize("name", NAMES)
def test_a_smaller_network_is_written_as_pquant_reads_it(name: str, folder: Path, tmp_path: Path) -> None:
    """PQuantML itself runs what was written where PQUANT_PYTHON names an interpreter that has it."""
    path, kept = folder / f"{name}.keras", np.load(folder / f"{name}.npz")
    changed, rng = frontend.read(path), np.random.default_rng(0)
    for layer in weighted(changed):
        layer.digit_limit[torch.as_tensor(rng.random(layer.weight.shape) < 0.3)] = 0
        layer.digit_limit[0] = 0
    smaller = surgery.shrink(changed)
    with torch.no_grad():
        wanted = changed(torch.as_tensor(kept["features"])).numpy()
        written = frontend.write(smaller, tmp_path / "smaller.keras", like=path)
        found = frontend.read(written)(torch.as_tensor(kept["features"])).numpy()
    np.testing.assert_array_equal(found, wanted)
    if "PQUANT_PYTHON" in os.environ:
        np.save(tmp_path / "features.npy", kept["features"])
        arguments = [DATA / "make_pquant.py", written, tmp_path / "features.npy", tmp_path / "outputs.npy"]
        environment = os.environ | {"KERAS_BACKEND": "torch"}
        subprocess.run([os.environ["PQUANT_PYTHON"], *arguments], check=True, capture_output=True, env=environment)
        np.testing.assert_array_equal(np.load(tmp_path / "outputs.npy"), wanted)


def test_neurons_leave_with_their_masks_and_their_channels_of_a_batch_norm(folder: Path, tmp_path: Path) -> None:
    path = folder / "dense_fine.keras"
    changed = frontend.read(path)
    weighted(changed)[1].digit_limit[:, 2:5] = 0
    smaller = surgery.shrink(changed)
    assert smaller.widths["norm"] <= changed.widths["norm"] - 3
    with zipfile.ZipFile(frontend.write(smaller, tmp_path / "smaller.keras", like=path)) as archive:
        arrays = io.BytesIO(archive.read("model.weights.h5"))
    with h5py.File(arrays) as file:
        assert "0" not in file["layers/pq_dense/pruning_layer/vars"]
        assert file["layers/pq_batch_normalization/vars/0"].shape == (smaller.widths["norm"],)


def _config(change: Callable[[dict[str, Any]], None], layer: str = "maps") -> Callable[[Path, Path], Path]:
    def altered(path: Path, to: Path) -> Path:
        with zipfile.ZipFile(path) as archive:
            parts = {name: archive.read(name) for name in archive.namelist()}
        config = json.loads(parts["config.json"])
        change(next(each["config"] for each in config["config"]["layers"] if each["name"] == layer))
        parts["config.json"] = json.dumps(config).encode()
        return _packed(parts, to)

    return altered


def _arrays(*places: str, values: Any) -> Callable[[Path, Path], Path]:
    def altered(path: Path, to: Path) -> Path:
        with zipfile.ZipFile(path) as archive:
            parts = {name: archive.read(name) for name in archive.namelist()}
        changed = io.BytesIO(parts["model.weights.h5"])
        with h5py.File(changed, "r+") as file:
            for place in places:
                del file[place]
                if values is not None:
                    file[place] = values
        parts["model.weights.h5"] = changed.getvalue()
        return _packed(parts, to)

    return altered


def _packed(parts: dict[str, bytes], to: Path) -> Path:
    with zipfile.ZipFile(to, "w") as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
    return to


def _truncated(path: Path, to: Path) -> Path:
    to.write_bytes(path.read_bytes()[:40_000])
    return to


BAD: dict[str, tuple[Callable[[Path, Path], Path], str]] = {
    "truncated": (_truncated, "cannot be read as a model of Keras"),
    "no settings": (_config(lambda each: each.pop("config")), "'maps' .* has no pruning_parameters in its config"),
    "settings of a wrong type": (
        _config(lambda each: each.update(config={"pruning_parameters": 3})),
        "'maps' .* has no pruning_parameters",
    ),
    "an unknown pruning": (
        _config(lambda each: each["config"]["pruning_parameters"].update(pruning_method="magic")),
        "'maps' .* prunes by magic; known are",
    ),
    "an unknown overflow": (
        _config(lambda each: each["config"]["quantization_parameters"].update(overflow_mode_data="WRAP_SM")),
        "'maps' .* overflow WRAP_SM; known are",
    ),
    "an unknown rounding": (
        _config(lambda each: each["config"]["quantization_parameters"].update(round_mode="UP")),
        "'maps' .* rounding UP, which is not known",
    ),
    "a size of its own": (_config(lambda each: each.update(filters=2**40)), "which is no size"),
    "an unknown function": (
        _config(lambda each: each.update(activation="exec"), "curved"),
        "'curved' .* computes exec; known are relu, tanh, hard_tanh",
    ),
    "compressed off its grid": (
        _config(lambda each: each.update(final_compression_done=True)),
        "'maps' .* compressed for good, but has values that its weight_quantizer does not hold",
    ),
    "half a search": (
        _arrays(*(f"layers/pq_conv1d/pruning_layer/vars/{n}" for n in (2, 3)), values=np.array(False)),
        "'maps' .* in the middle of its pruning by pdp",
    ),
    "no mask": (_arrays("layers/pq_conv1d/pruning_layer/vars/0", values=None), "'maps' .* has no mask of its pruning"),
    "a soft mask": (
        _arrays("layers/pq_conv1d/pruning_layer/vars/0", values=np.full((4, 3, 2), 0.5)),
        "'maps' .* mask that is not one of zeros and ones",
    ),
    "a mask of another shape": (
        _arrays("layers/pq_conv1d/pruning_layer/vars/0", values=np.ones((9, 3, 2))),
        "'maps' .* has a mask of shape .* for a kernel of",
    ),
    "no kernel": (_arrays("layers/pq_conv1d/vars/0", values=None), "'maps' .* has "),
    "a kernel of text": (_arrays("layers/pq_conv1d/vars/0", values="text"), "no plain numbers"),
    "half a bit": (
        _arrays("layers/pq_conv1d/input_quantizer/vars/2", values=np.array(3.5)),
        "'maps' .* input_quantizer of bits that are no whole numbers",
    ),
    "no bits": (
        _arrays("layers/pq_conv1d/weight_quantizer/vars/1", values=None),
        "'maps' .* has no bit widths for its kq_conf",
    ),
    "bits of another shape": (
        _arrays("layers/pq_conv1d/weight_quantizer/vars/1", values=np.ones((7, 7))),
        "'maps' .* has bit widths",
    ),
}


@pytest.mark.parametrize("flaw", BAD)
def test_a_damaged_file_ends_in_one_sentence(flaw: str, folder: Path, tmp_path: Path) -> None:
    damage, sentence = BAD[flaw]
    path = damage(folder / "steps.keras", tmp_path / "bad.keras")
    with pytest.raises(NetworkError, match=sentence):
        frontend.read(path)
