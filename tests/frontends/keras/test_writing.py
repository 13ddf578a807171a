"""Smaller networks written back: after real surgery, with masks, in the framework they came from."""

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from hepprune import frontends
from hepprune.errors import NetworkError
from hepprune.fixed import FixedPoint
from hepprune.frontends import keras
from hepprune.network import Network, Recurrent
from hepprune.network.precision import Precision, quantise
from hepprune.pruning import masks
from hepprune.pruning.structure import coupling, surgery
from tests.frontends.keras.models import (
    FRAMEWORKS,
    SUFFIXES,
    assert_agree,
    fill,
    framework,
    jets,
    load,
    native_outputs,
    outputs,
    save,
)
from tests.networks import weighted

pytestmark = [pytest.mark.xdist_group("tensorflow"), pytest.mark.slow, pytest.mark.filterwarnings("ignore")]


def tagger(native: Any) -> Any:
    """Return a dense model, nested, so that shapes inside must follow."""
    layers = native.layers
    source = native.Input((6,), name="jets")
    inner = native.Sequential([layers.Input((8,)), layers.Dense(7, activation="relu", name="fc2")], name="inner")
    hidden = inner(layers.Dense(8, activation="relu", name="fc1", use_bias=False)(source))
    return fill(native.Model(source, layers.Dense(3, name="logits")(hidden)), 4)


@torch.no_grad()
def shrunk(network: Network) -> Network:
    """Return the network in fixed point, neurons cut and removed."""
    cut = (masks.Cut("fc1", "neuron", (0, 3, 5), constants=(0.0, 0.5, 0.0)), masks.Cut("inner_fc2", "neuron", (1,)))
    features = np.random.default_rng(0).normal(size=(100, 6))
    types = Precision(inputs=FixedPoint(10, 4, True, "RND", "SAT"), weight_bits=8, activation_bits=10)
    return surgery.shrink(masks.apply(quantise(network, features, types), cut))


@torch.no_grad()
def without_neurons(network: Network) -> Network:
    """Return a network of fewer neurons, cut by hand in both hidden layers."""
    first, second, last = (network[name] for name in ("fc1", "inner_fc2", "logits"))
    keep, stay = [1, 2, 4, 6, 7], [0, 2, 3, 4, 5, 6]
    rows = first.rebuilt(weight=first.weight[keep], bias=first.bias[keep] + 0.25, digit_limit=first.digit_limit[keep])
    limit = second.digit_limit[stay][:, keep].clone()
    limit[0, 1] = 0
    middle = second.rebuilt(weight=second.weight[stay][:, keep], bias=second.bias[stay], digit_limit=limit)
    columns = last.rebuilt(weight=last.weight[:, stay], digit_limit=last.digit_limit[:, stay])
    return network.replacing({"fc1": rows, "inner_fc2": middle, "logits": columns})


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("package", FRAMEWORKS)
def test_fewer_neurons_give_a_smaller_native_model_that_agrees(package: str, suffix: str, tmp_path: Path) -> None:
    native = framework(package)
    path = save(tagger(native), tmp_path / f"model{suffix}")
    small = without_neurons(keras.read(path))
    written = keras.write(small, tmp_path / f"small{suffix}", like=path)
    model = load(native, written)
    assert [w.shape[-1] for w in model.get_weights()] == [5, 5, 6, 6, 3, 3]  # the first layer gained a bias
    assert_agree(small, model)
    assert keras.read(written).widths == small.widths
    assert_agree(small, keras.native(small, like=path))


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("package", FRAMEWORKS)
def test_convolutions_with_fewer_filters_agree(package: str, suffix: str, tmp_path: Path) -> None:
    native = framework(package)
    layers = native.layers
    source = native.Input((6, 6, 2), name="image")
    hidden = layers.BatchNormalization(name="norm")(layers.Conv2D(5, 3, name="conv")(source))
    value = layers.Dense(2, name="fc")(layers.Flatten(name="flat")(layers.MaxPooling2D(name="pool")(hidden)))
    model = fill(native.Model(source, value), 6)
    model.compile("adam", native.losses.MeanSquaredError())  # whose state has the old sizes
    model.fit(np.zeros((2, 6, 6, 2)), np.zeros((2, 2)), verbose=0)
    path = save(model, tmp_path / f"model{suffix}")
    network, keep = keras.read(path), [0, 2, 3]
    conv, norm, flat, dense = (network[name] for name in ("conv", "norm", "flat", "fc"))
    columns = torch.arange(20).reshape(4, 5)[:, keep].flatten()
    with torch.no_grad():
        changed = {
            "conv": conv.rebuilt(weight=conv.weight[keep], bias=conv.bias[keep], digit_limit=conv.digit_limit[keep]),
            "norm": norm.rebuilt(scale=norm.scale[keep], shift=norm.shift[keep]),
            "flat": flat.rebuilt(target=(12,)),
            "fc": dense.rebuilt(weight=dense.weight[:, columns], digit_limit=dense.digit_limit[:, columns]),
        }
    small = network.replacing(changed)
    written = keras.write(small, tmp_path / f"small{suffix}", like=path)
    assert_agree(small, load(native, written))


@pytest.mark.parametrize("package", FRAMEWORKS)
def test_after_real_surgery_in_fixed_point_the_weights_that_act_are_written(
    package: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    native = framework(package)
    path = save(tagger(native), tmp_path / "model.keras")
    small = shrunk(keras.read(path))
    assert small.widths["fc1"] <= 5
    with caplog.at_level(logging.WARNING):
        written = keras.write(small, tmp_path / "small.keras", like=path)
    assert "the file keeps the result None" in caplog.text
    again = keras.read(written)
    assert all(
        torch.equal(a.used_weight(), b.used_weight()) for a, b in zip(weighted(small), weighted(again), strict=True)
    )
    features = jets(load(native, written), 2)
    for ours, theirs in zip(outputs(again, features), native_outputs(load(native, written), features), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("package", FRAMEWORKS)
def test_masks_are_held_while_the_native_model_trains(package: str) -> None:
    native = framework(package)
    layers = native.layers
    source = native.Input((5, 3), name="jets")
    hidden = layers.LSTM(3, name="lstm")(layers.Conv1D(4, 2, name="conv", activation="relu")(source))
    model = fill(native.Model(source, layers.Dense(2, name="logits")(hidden)), 8)
    network = keras.read(model)
    network["conv"].digit_limit[1] = 0
    network["logits"].digit_limit[:, 0] = 0
    network["lstm"].recurrent_digit_limit[2:5] = 0
    trained = keras.native(network, like=model)
    trained.compile("sgd", "mse")
    rng = np.random.default_rng(1)
    before = [w.copy() for w in trained.get_weights()]
    features, wanted = rng.normal(size=(64, 5, 3)), rng.normal(size=(64, 2))
    trained.fit(features, wanted, epochs=2, verbose=0, callbacks=[keras.hold_masks(network, trained)])
    again = keras.read(trained)
    for name in ("conv", "logits"):
        pruned = network[name].digit_limit == 0
        assert not again[name].weight[pruned].any()
        assert again[name].weight[~pruned].all()
    assert not again["lstm"].recurrent_weight[2:5].any()
    assert any((a != b).any() for a, b in zip(before, trained.get_weights(), strict=True))


@pytest.mark.parametrize("package", FRAMEWORKS)
def test_what_a_file_cannot_hold_is_refused(package: str, tmp_path: Path) -> None:
    native = framework(package)
    path = save(tagger(native), tmp_path / "model.keras")
    network = keras.read(path)
    network["fc1_relu"].maximum = 3.0
    with pytest.raises(NetworkError, match="fc1_relu.*cannot hold"):
        keras.write(network, tmp_path / "out.keras", like=path)
    assert not (tmp_path / "out.keras").exists()


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("package", FRAMEWORKS)
def test_names_in_other_letters_are_written(package: str, suffix: str, tmp_path: Path) -> None:
    """TensorFlow takes none for layers with weights, but for inputs, and Keras 3 for all."""
    native = framework(package)
    names = ("énergie", "caché", "質量") if package == "keras" else ("énergie", "hidden", "logits")
    source = native.Input((6,), name=names[0])
    hidden = native.layers.Dense(8, activation="relu", name=names[1])(source)
    model = fill(native.Model(source, native.layers.Dense(3, name=names[2])(hidden)), 4)
    path = save(model, tmp_path / f"model{suffix}")
    small = half_of_each(keras.read(path))
    again = load(native, keras.write(small, tmp_path / f"small{suffix}", like=path))
    assert tuple(layer.name for layer in again.layers if layer.name in names) == names
    assert_agree(small, again)


@torch.no_grad()
def half_of_each(network: Network) -> Network:
    """Return the network without each second unit of every group."""
    free = [group for group in coupling.groups(network) if not group.kept]
    plan = [cut for group in free for cut in coupling.cuts(group, range(1, len(group), 2))]
    return surgery.shrink(network, plan, warn=False)


BLOCKS: dict[str, Any] = {
    "attention": lambda layers, x: layers.MultiHeadAttention(2, 4)(x, x),
    "attention_of_other_widths": lambda layers, x: layers.MultiHeadAttention(2, 4, value_dim=3)(layers.Dense(5)(x), x),
    "last_states": lambda layers, x: layers.Bidirectional(layers.LSTM(5))(x),
    "all_states": lambda layers, x: layers.Bidirectional(layers.GRU(5, return_sequences=True))(x),
    "summed_states": lambda layers, x: layers.Bidirectional(layers.SimpleRNN(5), merge_mode="sum")(x),
    "reshape": lambda layers, x: layers.Reshape((2, 16))(x),
    "repeated": lambda layers, x: layers.RepeatVector(3)(layers.GlobalMaxPooling1D()(x)),
}


@pytest.mark.parametrize("name", BLOCKS)
@pytest.mark.parametrize("package", FRAMEWORKS)
def test_sizes_that_follow_another_layer_are_written_out(package: str, name: str, tmp_path: Path) -> None:
    """Neurons leave before the block and inside it, both directions of a recurrent layer alike."""
    native = framework(package)
    source = native.Input((4, 3), name="jets")
    block = BLOCKS[name](native.layers, native.layers.Dense(8, activation="relu", name="first")(source))
    model = fill(native.Model(source, native.layers.Dense(3)(native.layers.Flatten()(block))), 5)
    path = save(model, tmp_path / "model.keras")
    network = keras.read(path)
    small = half_of_each(network)
    assert small.shapes["first"] == (4, 4)
    assert_agree(small, load(native, keras.write(small, tmp_path / "small.keras", like=path)))


@pytest.mark.parametrize("package", FRAMEWORKS)
def test_bounds_that_cannot_move_are_refused_by_name(package: str, tmp_path: Path) -> None:
    native = framework(package)
    source = native.Input((6,), name="jets")
    hidden = native.layers.Dense(8, activation="relu", name="first")(source)
    halves = native.layers.Add()([hidden[:, :4], hidden[:, 4:]])
    path = save(fill(native.Model(source, native.layers.Dense(3)(halves)), 5), tmp_path / "model.keras")
    with pytest.raises(NetworkError, match=r"layer '.*getitem|layer 'get_item"):
        keras.write(half_of_each(keras.read(path)), tmp_path / "small.keras", like=path)
    assert not (tmp_path / "small.keras").exists()


def test_a_cell_of_float_keras_gets_the_biases_that_act(tmp_path: Path) -> None:
    native = framework("keras")
    x = native.Input((3, 2))
    file = save(fill(native.Model(x, native.layers.GRU(2)(x)), 1), tmp_path / "cell.keras")
    network = frontends.read(file)
    jets = np.random.default_rng(0).normal(size=(200, 3, 2)).astype(np.float32)
    bits = Precision(inputs=FixedPoint(6, 3, True, "RND", "SAT"), weight_bits=3, activation_bits=4)
    typed = quantise(network, (jets,), bits)
    (cell,) = (layer for layer in typed if isinstance(layer, Recurrent))
    assert not torch.equal(cell.bias, cell.used_biases()[0])
    again = frontends.read(frontends.write(typed, tmp_path / "typed.keras", like=file))[cell.name]
    assert isinstance(again, Recurrent)
    for own, acting in zip((again.bias, again.recurrent_bias), cell.used_biases(), strict=True):
        torch.testing.assert_close(own, acting)


@pytest.mark.parametrize("kind", ["LSTM", "SimpleRNN"])
def test_a_cell_of_one_bias_gets_the_sum_of_both(kind: str, tmp_path: Path) -> None:
    """Training moves the recurrent bias too, which files of Keras have in one array with the other."""
    native = framework("keras")
    x = native.Input((3, 2))
    file = save(fill(native.Model(x, getattr(native.layers, kind)(2)(x)), 1), tmp_path / "cell.keras")
    network = frontends.read(file)
    (cell,) = (layer for layer in network if isinstance(layer, Recurrent))
    with torch.no_grad():
        cell.recurrent_bias += 0.25
    again = frontends.read(frontends.write(network, tmp_path / "moved.keras", like=file))[cell.name]
    assert isinstance(again, Recurrent)
    torch.testing.assert_close(again.bias, cell.bias + cell.recurrent_bias)
    assert not again.recurrent_bias.any()
