"""Layers still wrapped for pruning, read from files and written back: tf_keras with the package itself is the oracle."""

import warnings
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from hepprune.errors import NetworkError
from hepprune.frontends import keras
from hepprune.network import Dense
from hepprune.pruning.structure import surgery
from tests.frontends.keras.models import SUFFIXES, assert_agree, framework, save
from tests.frontends.keras.published import loaded

pytestmark = [pytest.mark.xdist_group("tensorflow"), pytest.mark.slow, pytest.mark.filterwarnings("ignore")]


def wrapped(*, nested: bool) -> Any:
    """Return a model with wrapped layers, its own or those of a model inside, and a dead neuron under a mask."""
    native = framework("tf_keras")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import tensorflow_model_optimization as tfmot

        prune, layers = tfmot.sparsity.keras.prune_low_magnitude, native.layers
        source = layers.Input((5,), name="features")
        hidden = layers.Dense(6, activation="relu", bias_initializer="random_normal", name="hidden")
        block = native.Sequential([layers.InputLayer((5,)), hidden, layers.Dense(4)], name="block")
        body = prune(block) if nested else block
        out = layers.Dense(2, name="out")
        model = native.Model(source, (out if nested else prune(out))(body(source)))
    for variable in model.variables:
        if variable.shape in {(5, 6), (6,)}:  # kernel and mask, and the bias
            variable.assign(np.where(np.arange(6) == 1, 0.0, variable.numpy()))
    return model


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("nested", [True, False])
def test_wrapped_layers_are_read_and_written(suffix: str, tmp_path: Path, *, nested: bool) -> None:
    model = wrapped(nested=nested)
    path = save(model, tmp_path / f"model{suffix}")
    network = keras.read(path)
    assert_agree(network, model)
    small = surgery.shrink(network)
    assert [layer.n_out for layer in small if isinstance(layer, Dense)] == [5, 4, 2]
    written = keras.write(small, tmp_path / f"small{suffix}", like=path)
    import tensorflow_model_optimization as tfmot

    with tfmot.sparsity.keras.prune_scope():
        again = framework("tf_keras").models.load_model(written, compile=False)
    assert_agree(small, again)


def one_of_each() -> dict[str, tuple[tuple[int, ...], Any]]:
    """Return for each kind of layer that has kernels a shape that it reads, and one of it."""
    k, q = framework("tf_keras").layers, framework("qkeras")
    bits = {"bias_quantizer": "quantized_bits(6,1,alpha=1)"}
    kernel = bits | {"kernel_quantizer": "quantized_bits(5,0,alpha=1)"}
    deep = bits | {"depthwise_quantizer": "quantized_bits(5,0,alpha=1)"}
    states = kernel | dict.fromkeys(("recurrent_quantizer", "state_quantizer"), "quantized_bits(6,1,alpha=1)")
    return {
        "conv": ((6, 6, 2), k.Conv2D(4, 3, name="mine")),
        "conv1d": ((6, 2), k.Conv1D(4, 3, name="mine")),
        "depthwise": ((6, 6, 2), k.DepthwiseConv2D(3, name="mine")),
        "separable": ((6, 6, 2), k.SeparableConv2D(4, 3, name="mine")),
        "lstm": ((5, 3), k.LSTM(4, name="mine")),
        "gru": ((5, 3), k.GRU(4, name="mine")),
        "qdense": ((5,), q.QDense(4, name="mine", **kernel)),
        "qconv": ((6, 6, 2), q.QConv2D(4, 3, name="mine", **kernel)),
        "qdepthwise": ((6, 6, 2), q.QDepthwiseConv2D(3, name="mine", **deep)),
        "qseparable": (
            (6, 6, 2),
            q.QSeparableConv2D(4, 3, name="mine", pointwise_quantizer="ternary(alpha=1)", **deep),
        ),
        "qfolded": ((6, 6, 2), q.QConv2DBatchnorm(4, 3, name="mine", **kernel)),
        "qgru": ((5, 3), q.QGRU(4, name="mine", recurrent_activation="quantized_sigmoid(6)", **states)),
    }


KINDS = (
    *("conv", "conv1d", "depthwise", "separable", "lstm", "gru"),
    *("qdense", "qconv", "qdepthwise", "qseparable", "qfolded", "qgru"),
)
TWO_KERNELS = ("lstm", "gru", "qseparable", "qgru")


# The package cannot save two masks of one layer in a `.h5`, which it gives one name.
@pytest.mark.parametrize(
    ("kind", "suffix"), [*product(KINDS, [".keras"]), *((kind, ".h5") for kind in KINDS if kind not in TWO_KERNELS)]
)
def test_every_kind_of_kernel_is_read_and_written_in_its_wrapper(
    kind: str, suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import tensorflow_model_optimization as tfmot
    from qkeras import qrecurrent

    # TensorFlow dropped the old name that QKeras calls.
    monkeypatch.setattr(qrecurrent.nest, "is_sequence", qrecurrent.nest.is_nested, raising=False)
    native, rng = framework("tf_keras"), np.random.default_rng(1)
    shape, layer = one_of_each()[kind]
    source = native.layers.Input(shape)
    model = native.Model(source, tfmot.sparsity.keras.prune_low_magnitude(layer)(source))
    for weight in layer.weights:
        weight.assign(
            np.abs(rng.normal(size=weight.shape)) + 0.1 if "variance" in weight.name else rng.normal(size=weight.shape)
        )
    for kernel, mask, _ in model.layers[-1].pruning_vars:
        mask.assign(rng.random(mask.shape) < 0.7)
        kernel.assign(kernel * mask)
    path = save(model, tmp_path / f"model{suffix}")
    network = keras.read(path)
    assert_agree(network, model)
    kernels = [kernel for layer in network for kernel in layer.kernels]
    under = sum(int((kernel.digit_limit == 0).sum()) for kernel in kernels)
    assert under == sum(int((mask.numpy() == 0).sum()) for _, mask, _ in model.layers[-1].pruning_vars)
    for kernel in kernels:
        kernel.digit_limit.view(-1)[:2] = 0
    written = keras.write(network, tmp_path / f"changed{suffix}", like=path)
    again = loaded(written)
    assert_agree(network, again)
    for kernel, mask, _ in again.layers[-1].pruning_vars:
        np.testing.assert_array_equal(kernel.numpy() * (1 - mask.numpy()), 0)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_clustered_weights_are_read_and_written(suffix: str, tmp_path: Path) -> None:
    import tensorflow_model_optimization as tfmot

    native, clustering = framework("tf_keras"), tfmot.clustering.keras
    k, rng = native.layers, np.random.default_rng(1)
    layers = [
        *(k.Conv2D(3, 3, name="mine"), k.Conv2D(4, 2, name="channels"), k.DepthwiseConv2D(2, name="deep")),
        *(k.Flatten(name="flat"), k.Dense(4, activation="relu", name="last")),
    ]
    start = {"cluster_centroids_init": clustering.CentroidInitialization.LINEAR, "number_of_clusters": 4}

    def clustered(layer: Any) -> Any:
        return clustering.cluster_weights(layer, cluster_per_channel=layer.name == "channels", **start)

    model = native.models.clone_model(native.Sequential([k.InputLayer((6, 6, 2)), *layers]), clone_function=clustered)
    for weight in model.weights:
        weight.assign(rng.normal(size=weight.shape) if weight.dtype.is_floating else weight)
    path = save(model, tmp_path / f"model{suffix}")
    network = keras.read(path)
    assert_agree(network, model)
    assert [len(np.unique(kernel.weight.detach())) for layer in network for kernel in layer.kernels][0::3] == [4, 4]
    network["cluster_channels"].kernels[0].digit_limit[..., 0] = 0  # then nothing reads the first filter
    small = surgery.shrink(network)
    assert small.sizes["cluster_mine"] == network.sizes["cluster_mine"] - 1
    written = keras.write(small, tmp_path / f"small{suffix}", like=path)
    with clustering.cluster_scope():
        again = native.models.load_model(written, compile=False)
    assert_agree(small, again)


def test_layers_that_no_fixed_point_type_holds_say_what_helps(tmp_path: Path) -> None:
    import tensorflow_model_optimization as tfmot

    native = framework("tf_keras")
    plain = native.Sequential([native.layers.InputLayer((5,)), native.layers.Dense(4, name="mine")])
    path = save(tfmot.quantization.keras.quantize_model(plain), tmp_path / "model.h5")
    with pytest.raises(
        NetworkError, match=r"\(QuantizeLayer\) quantises in steps of any size .*; read the model as it was"
    ):
        keras.read(path)
    cell = native.Sequential([native.layers.InputLayer((5, 3)), native.layers.GRU(4, name="mine")])
    start = {"cluster_centroids_init": tfmot.clustering.keras.CentroidInitialization.LINEAR, "number_of_clusters": 4}
    clustered = tfmot.clustering.keras.cluster_weights(cell, **start)
    with pytest.raises(NetworkError, match=r"\(ClusterWeightsRNN\) .* save the model that strip_clustering returns"):
        keras.read(save(clustered, tmp_path / "cell.h5"))


def test_weights_under_a_mask_count_as_pruned(tmp_path: Path) -> None:
    network = keras.read(save(wrapped(nested=True), tmp_path / "model.keras"))
    first = next(layer for layer in network if isinstance(layer, Dense))
    assert torch.equal((first.digit_limit == 0).all(dim=1), torch.arange(6) == 1)
