"""Random graphs of Keras 2 and Keras 3: shared and nested parts, branches, several inputs and outputs."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hepprune.errors import NetworkError
from hepprune.frontends import keras
from hepprune.network import Shared
from tests.frontends.keras.models import (
    FRAMEWORKS,
    SUFFIXES,
    architectures,
    assert_agree,
    fill,
    framework,
    load,
    save,
)

pytestmark = [pytest.mark.xdist_group("tensorflow"), pytest.mark.slow, pytest.mark.filterwarnings("ignore")]


@pytest.mark.parametrize("package", FRAMEWORKS)
@settings(max_examples=12)
@given(build=architectures(), suffix=st.sampled_from(SUFFIXES))
def test_read_equals_the_original_and_write_is_its_inverse(
    package: str, tmp_path: Path, build: Callable[[Any], Any], suffix: str
) -> None:
    native = framework(package)
    model = build(native)
    path = save(model, tmp_path / f"model{suffix}")
    network = keras.read(path)
    assert_agree(network, model)
    written = keras.write(network, tmp_path / f"written{suffix}", like=path)
    again = keras.read(written)
    assert again.structure() == network.structure()
    assert all(torch.equal(a, b) for a, b in zip(again.parameters(), network.parameters(), strict=True))
    assert_agree(network, load(native, written))


@pytest.mark.parametrize("package", FRAMEWORKS)
def test_json_beside_its_weights_and_objects_in_memory_are_read_as_the_files_are(package: str, tmp_path: Path) -> None:
    native = framework(package)
    layers = native.layers
    model = fill(native.Sequential([layers.Input((5,)), layers.Dense(4, activation="relu"), layers.Dense(2)]), 1)
    (tmp_path / "tagger.json").write_text(model.to_json())
    model.save_weights(tmp_path / "tagger.weights.h5")
    for like in (tmp_path / "tagger.json", model):
        network = keras.read(like)
        assert_agree(network, model)
        network.kernels[0].layer.weight.data *= 2
        suffix = ".json" if like is not model else (".h5" if package == "tf_keras" else ".keras")
        written = keras.write(network, tmp_path / "out" / f"small{suffix}", like=like)
        assert_agree(network, keras_from_json(native, written) if suffix == ".json" else load(native, written))
        assert_agree(network, keras.native(network, like=like))


def keras_from_json(native: Any, path: Path) -> Any:
    model = native.models.model_from_json(path.read_text())
    model.load_weights(path.with_suffix(".weights.h5"))
    return model


@pytest.mark.parametrize("package", FRAMEWORKS)
def test_old_weights_beside_a_json_and_a_sequential_without_input_layer(package: str, tmp_path: Path) -> None:
    native = framework(package)
    layers = native.layers
    model = native.Sequential([layers.Conv1D(3, 2), layers.Flatten(), layers.Dense(2)])
    model.build((None, 5, 2))
    fill(model, 2)
    assert_agree(keras.read(save(model, tmp_path / "model.h5")), model)
    assert_agree(keras.read(save(model, tmp_path / "model.keras")), model)
    (tmp_path / "model.json").write_text(model.to_json())
    assert_agree(keras.read(tmp_path / "model.json"), model)  # model.h5 lies beside it


@pytest.mark.parametrize("package", FRAMEWORKS)
def test_a_layer_called_twice_keeps_one_set_of_weights(package: str, tmp_path: Path) -> None:
    native = framework(package)
    left, right = native.Input((4,), name="left"), native.Input((4,), name="right")
    dense = native.layers.Dense(3, activation="relu", name="phi")
    model = fill(native.Model([left, right], native.layers.Add(name="sum")([dense(left), dense(right)])), 5)
    network = keras.read(save(model, tmp_path / "model.keras"))
    assert [type(layer) for layer in network].count(Shared) == 1
    assert [layer.name for layer in network] == ["left", "right", "phi", "phi_relu", "phi_2", "phi_2_relu", "sum"]
    assert_agree(network, model)


def test_an_inner_model_that_is_called_on_values_by_name_is_refused(tmp_path: Path) -> None:
    native = framework("keras")
    first, second, left, right = (native.Input((3,), name=name) for name in ("first", "second", "left", "right"))
    difference = native.layers.Subtract(name="difference")([first, second])
    inner = native.Model({"first": first, "second": second}, difference, name="inner")
    outer = native.Model([left, right], native.layers.ReLU(name="out")(inner({"second": left, "first": right})))
    with pytest.raises(NetworkError, match="'inner/' has 2 inputs and is called on 0 values"):
        keras.read(save(outer, tmp_path / "model.keras"))


@pytest.mark.parametrize("package", FRAMEWORKS)
def test_what_cannot_be_taken_over_is_refused_by_name(package: str, tmp_path: Path) -> None:
    native = framework(package)
    layers = native.layers
    source = native.Input((4, 3))
    refused = {
        "Lambda": layers.Lambda(lambda x: x * 2, name="culprit")(source),
        "return_state": layers.LSTM(3, return_state=True, name="culprit")(source)[0],
        "along axis": layers.BatchNormalization(axis=1, name="culprit")(source),
        "channels first": layers.Conv1D(3, 1, data_format="channels_first", name="culprit")(source),
        "use_causal_mask": layers.MultiHeadAttention(1, 2, name="culprit")(source, source, use_causal_mask=True),
        "wraps Conv1D": layers.TimeDistributed(layers.Conv1D(2, 1), name="culprit")(layers.Reshape((4, 3, 1))(source)),
        "bilinear": layers.UpSampling2D(interpolation="bilinear", name="culprit")(layers.Reshape((4, 3, 1))(source)),
    }
    for reason, value in refused.items():
        path = save(native.Model(source, value), tmp_path / "model.h5")
        with pytest.raises(NetworkError, match=f"culprit.*{reason}|culprit.*\\({reason}"):
            keras.read(path)
    open_ended = native.Input((None, 3))
    path = save(native.Model(open_ended, layers.Dense(2)(open_ended)), tmp_path / "open.h5")
    with pytest.raises(NetworkError, match="not fixed"):
        keras.read(path)
