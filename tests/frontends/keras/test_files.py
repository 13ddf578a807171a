"""Files of strangers: damaged, hostile, absurd; every one ends in a sentence, and nothing is executed or imported."""

import io
import json
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hepprune.errors import NetworkError
from hepprune.frontends import keras
from hepprune.frontends.keras.files import snake_case


def described(*layers: dict[str, Any], version: str = "2.13.1") -> dict[str, Any]:
    config = {"name": "tagger", "layers": list(layers)}
    return {"class_name": "Sequential", "config": config, "keras_version": version, "backend": "tensorflow"}


INPUT = {"class_name": "InputLayer", "config": {"name": "jets", "batch_input_shape": [None, 4]}}
DENSE = {"class_name": "Dense", "config": {"name": "fc1", "units": 3, "activation": "relu", "use_bias": True}}


def write_h5(path: Path, model: dict[str, Any] | None = None, **arrays: np.ndarray[Any, Any]) -> Path:
    """Write a Keras 2 file by hand: one dense layer of 4 values and 3 neurons unless told otherwise."""
    rng = np.random.default_rng(1)
    arrays = {"kernel": rng.normal(size=(4, 3)), "bias": rng.normal(size=3)} | arrays
    with h5py.File(path, "w") as file:
        file.attrs["keras_version"] = "2.13.1"
        file.attrs["model_config"] = json.dumps(model or described(INPUT, DENSE))
        group = file.create_group("model_weights/fc1")
        group.attrs["weight_names"] = np.array([f"fc1/{name}:0" for name in arrays], dtype="S")
        for name, values in arrays.items():
            group.create_dataset(f"fc1/{name}:0", data=np.asarray(values, dtype=np.float32))
    return path


def write_zip(path: Path, *, config: str | None = None, weights: bytes | None = None) -> Path:
    """Write a Keras 3 file by hand, of the same layer."""
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        file["layers/dense/vars/0"], file["layers/dense/vars/1"] = np.ones((4, 3)), np.zeros(3)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("metadata.json", json.dumps({"keras_version": "3.5.0"}))
        archive.writestr("config.json", config or json.dumps(described(INPUT, DENSE)))
        archive.writestr("model.weights.h5", weights or buffer.getvalue())
    return path


def test_the_files_written_by_hand_are_read(tmp_path: Path) -> None:
    for path in (write_h5(tmp_path / "a.h5"), write_zip(tmp_path / "a.keras")):
        assert [layer.name for layer in keras.read(path)] == ["jets", "fc1", "fc1_relu"]


@pytest.mark.slow
def test_reading_imports_no_framework_and_takes_under_a_second(tmp_path: Path) -> None:
    write_h5(tmp_path / "a.h5")
    write_zip(tmp_path / "a.keras")
    program = (
        "import sys, time\nfrom hepprune.frontends import read, write\n"
        "import hepprune.frontends.keras\nfrom pathlib import Path\n"
        "for name in ('a.h5', 'a.keras'):\n"
        "    start = time.process_time()\n    network = read(name)\n"
        "    assert time.process_time() - start < 1\n    write(network, Path('out' + name), like=name)\n"
        "assert not {'tensorflow', 'keras', 'tf_keras', 'qkeras', 'hgq'} & sys.modules.keys()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, env=_environment(), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def _environment() -> dict[str, str]:
    return os.environ | {"PYTHONPATH": str(Path(__file__).parents[3])}


def changed(**config: Any) -> dict[str, Any]:
    return described(INPUT, {**DENSE, "config": {**DENSE["config"], **config}})


HOSTILE: dict[str, tuple[Callable[[Path], Path], str]] = {
    "missing": (lambda folder: folder / "nothing.h5", "no model file"),
    "empty": (lambda folder: _bytes(folder / "a.h5", b""), "a.h5' cannot be read"),
    "pickle": (
        lambda folder: _bytes(folder / "a.keras", b"\x80\x04cos\nsystem\n(S'touch pwned'\ntR."),
        "a.keras' cannot be read",
    ),
    "nan": (lambda folder: write_h5(folder / "a.h5", kernel=np.full((4, 3), np.nan)), "layer 'fc1'.*NaN"),
    "infinite": (lambda folder: write_h5(folder / "a.h5", bias=np.full(3, np.inf)), "layer 'fc1'.*infinite"),
    "mismatch": (lambda folder: write_h5(folder / "a.h5", kernel=np.ones((5, 3))), r"'fc1'.*\(5, 3\).*\(4, 3\)"),
    "no_weights": (lambda folder: _without(write_h5(folder / "a.h5"), "model_weights/fc1"), "'fc1'.*shapes \\[\\]"),
    "lambda": (
        lambda folder: write_h5(
            folder / "a.h5",
            described(INPUT, {"class_name": "Lambda", "config": {"name": "evil", "function": ["4wEAAAA", None, None]}}),
        ),
        "layer 'evil' \\(Lambda\\)",
    ),
    "unknown_layer": (
        lambda folder: write_h5(folder / "a.h5", described(INPUT, {"class_name": "Teleport", "config": {"name": "t"}})),
        "layer 't' \\(Teleport\\)",
    ),
    "foreign_function": (lambda folder: write_h5(folder / "a.h5", _calling("os.system")), r"'call' \(tf.os.system\)"),
    "place_beyond": (
        lambda folder: write_h5(folder / "a.h5", _calling("__operators__.getitem", slice_spec=[FULL, 7])),
        "'call' .*place 7 of 4",
    ),
    "part_of_the_jets": (
        lambda folder: write_h5(folder / "a.h5", _calling("__operators__.getitem", slice_spec=[0])),
        "'call' .*part of the jets",
    ),
    "uneven_split": (
        lambda folder: write_h5(folder / "a.h5", _calling("split", num_or_size_splits=[3, -1], axis=1)),
        "'call' .*no whole parts",
    ),
    "unknown_activation": (lambda folder: write_h5(folder / "a.h5", changed(activation="warp")), "'fc1'.*'warp'"),
    "absurd_units": (lambda folder: write_h5(folder / "a.h5", changed(units=10**12)), "'fc1'.*units"),
    "units_text": (lambda folder: write_h5(folder / "a.h5", changed(units="3; import os")), "'fc1'.*units"),
    "absurd_input": (
        lambda folder: write_h5(
            folder / "a.h5", described({**INPUT, "config": {"name": "jets", "batch_input_shape": [None, 2**40]}}, DENSE)
        ),
        "jets.*shape",
    ),
    "config_no_json": (lambda folder: write_zip(folder / "a.keras", config="{'units': __import__('os')}"), "a.keras"),
    "config_deep": (lambda folder: write_zip(folder / "a.keras", config="[" * 100_000), "a.keras"),
    "config_big": (lambda folder: write_zip(folder / "a.keras", config=" " * (2**24 + 1)), "more than 16777216"),
    "zip_bomb": (lambda folder: _bomb(folder / "a.keras"), "unpacks to more than"),
    "hdf5_bomb": (lambda folder: _sparse(folder / "a.h5"), "'fc1'.*take more than"),
    "external": (lambda folder: _linked(folder / "a.h5", h5py.ExternalLink("/etc/passwd", "/")), "link to elsewhere"),
    "soft": (lambda folder: _linked(folder / "a.h5", h5py.SoftLink("/model_weights/other")), "link to elsewhere"),
    "outside": (lambda folder: _external_storage(folder / "a.h5"), "'fc1'.*plain numbers"),
    "old": (lambda folder: _version(write_h5(folder / "a.h5"), "1.2.2"), "Keras 1.2.2"),
    "json_alone": (
        lambda folder: _bytes(folder / "a.json", json.dumps(described(INPUT, DENSE)).encode()),
        "no weights lie beside",
    ),
    "twice": (lambda folder: write_h5(folder / "a.h5", described(INPUT, DENSE, DENSE)), "'fc1'"),
    "circle": (lambda folder: write_h5(folder / "a.h5", _circle()), "circle"),
    "subclassed": (lambda folder: write_h5(folder / "a.h5", {"class_name": "Evil", "config": {}}), "Evil"),
}


FULL = {"start": None, "stop": None, "step": None}


def _calling(function: str, **arguments: Any) -> dict[str, Any]:
    """Describe a model that calls a function of TensorFlow on its input."""
    config = {"name": "call", "trainable": True, "dtype": "float32", "function": function}
    call = {"class_name": "TFOpLambda", "name": "call", "config": config, "inbound_nodes": [["jets", 0, 0, arguments]]}
    graph = {"layers": [{**INPUT, "name": "jets", "inbound_nodes": []}, call], "input_layers": [["jets", 0, 0]]}
    return {"class_name": "Functional", "config": graph | {"output_layers": [["call", 0, 0]]}}


def _bytes(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def _without(path: Path, place: str) -> Path:
    with h5py.File(path, "a") as file:
        del file[place]
    return path


def _version(path: Path, version: str) -> Path:
    with h5py.File(path, "a") as file:
        file.attrs["keras_version"] = version
    return path


def _bomb(path: Path) -> Path:
    write_zip(path)
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("assets/zeros", bytes(2**20))
        archive.getinfo("assets/zeros").file_size = 2**31  # as the directory of a real bomb says
    return path


def _sparse(path: Path) -> Path:
    write_h5(path)
    with h5py.File(path, "a") as file:
        del file["model_weights/fc1/fc1/kernel:0"]
        file["model_weights/fc1"].create_dataset("fc1/kernel:0", shape=(2**20, 2**20), dtype="f4", chunks=(1024, 1024))
    return path


def _linked(path: Path, link: Any) -> Path:
    write_h5(path)
    with h5py.File(path, "a") as file:
        del file["model_weights/fc1/fc1/kernel:0"]
        file["model_weights/fc1/fc1"]["kernel:0"] = link
    return path


def _external_storage(path: Path) -> Path:
    write_h5(path)
    with h5py.File(path, "a") as file:
        del file["model_weights/fc1/fc1/kernel:0"]
        file["model_weights/fc1"].create_dataset("fc1/kernel:0", (4, 3), "f4", external=[("/etc/passwd", 0, 48)])
    return path


def _circle() -> dict[str, Any]:
    one = {**DENSE, "name": "fc1", "inbound_nodes": [[["fc2", 0, 0, {}]]]}
    two = {
        "class_name": "Dense",
        "name": "fc2",
        "config": {**DENSE["config"], "name": "fc2"},
        "inbound_nodes": [[["fc1", 0, 0, {}]]],
    }
    config = {"layers": [{**INPUT, "name": "jets", "inbound_nodes": []}, one, two]}
    return {
        "class_name": "Functional",
        "config": config | {"input_layers": [["jets", 0, 0]], "output_layers": [["fc2", 0, 0]]},
    }


@pytest.mark.parametrize("name", sorted(HOSTILE))
def test_bad_files_end_in_one_sentence_that_names_the_place(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    make, reason = HOSTILE[name]
    path = make(tmp_path)
    before = sorted(tmp_path.iterdir())
    with pytest.raises(NetworkError, match=reason):
        keras.read(path)
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize("suffix", [".h5", ".keras"])
@given(cut=st.floats(0, 0.999), flips=st.lists(st.floats(0, 0.999), max_size=8))
def test_truncated_and_corrupted_files_are_read_right_or_refused(
    tmp_path: Path, suffix: str, cut: float, flips: list[float]
) -> None:
    whole = write_h5(tmp_path / "whole.h5") if suffix == ".h5" else write_zip(tmp_path / "whole.keras")
    content = bytearray(whole.read_bytes())
    del content[max(1, int(len(content) * (1 - cut * (not flips)))) :]
    for flip in flips:
        content[int(flip * len(content))] ^= 0x55
    damaged = _bytes(tmp_path / f"damaged{suffix}", bytes(content))
    try:
        keras.read(damaged)
    except NetworkError as problem:
        assert "damaged" in str(problem)  # noqa: PT017 -- either outcome is right


def test_nothing_is_written_when_the_network_does_not_fit(tmp_path: Path) -> None:
    like = write_h5(tmp_path / "a.h5")
    other = keras.read(
        write_h5(tmp_path / "b.h5", described(INPUT, {**DENSE, "config": {**DENSE["config"], "activation": "tanh"}}))
    )
    shutil.rmtree(tmp_path / "out", ignore_errors=True)
    with pytest.raises(NetworkError, match="fc1_tanh|fc1_relu"):
        keras.write(other, tmp_path / "out" / "c.h5", like=like)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("name", "spelt"),
    [
        ("Conv1D", "conv1d"),
        ("ReLU", "re_lu"),
        ("BatchNormalization", "batch_normalization"),
        ("GRU", "gru"),
        ("MaxPooling2D", "max_pooling2d"),
        ("QDense", "q_dense"),
    ],
)
def test_class_names_are_spelt_as_keras_spells_them(name: str, spelt: str) -> None:
    assert snake_case(name) == spelt
