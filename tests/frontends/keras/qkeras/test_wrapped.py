"""Layers still wrapped for pruning, read from files and written back: tf_keras with the package itself is the oracle."""

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from hepprune.frontends import keras
from hepprune.network import Dense
from hepprune.pruning.structure import surgery
from tests.frontends.keras.models import SUFFIXES, assert_agree, framework, save

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


def test_weights_under_a_mask_count_as_pruned(tmp_path: Path) -> None:
    network = keras.read(save(wrapped(nested=True), tmp_path / "model.keras"))
    first = next(layer for layer in network if isinstance(layer, Dense))
    assert torch.equal((first.digit_limit == 0).all(dim=1), torch.arange(6) == 1)
