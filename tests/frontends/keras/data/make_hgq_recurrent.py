"""Makes hgq_recurrent.keras and hgq_gru.keras, their features and outputs; run as make_hgq.py says, which runs what is written as well."""

import zipfile
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
from hgq.layers import QGRU, QDense, QSimpleRNN
from moving import moving

HERE = Path(__file__).parent
rng = np.random.default_rng(5)


def model() -> keras.Model:
    steps = keras.Input((5, 3), name="steps")
    first = QSimpleRNN(4, return_sequences=True, name="first")(steps)
    second = QSimpleRNN(3, activation="tanh", enable_sq=True, go_backwards=True, name="second")(first)
    return keras.Model(steps, QDense(2, name="logits")(second))


def filled(made: keras.Model) -> keras.Model:
    for layer in made._flatten_layers():
        if hasattr(layer, "_f"):
            layer._f.assign(rng.integers(2, 6, tuple(layer._f.shape)).astype("float32"))
        if hasattr(layer, "_b"):
            layer._b.assign(rng.integers(0, 6, tuple(layer._b.shape)).astype("float32"))
        for weight in layer._trainable_variables:
            if "kernel" in weight.name or "bias" in weight.name:
                weight.assign(rng.normal(0, 0.7, tuple(weight.shape)))
    return made


def gated() -> keras.Model:
    """GRUs whose reset gates multiply behind the recurrent kernel and before it, one without a quantiser of inputs."""
    steps = keras.Input((4, 3), name="steps")
    first = QGRU(4, return_sequences=True, name="first")(steps)
    second = QGRU(3, reset_after=False, go_backwards=True, enable_iq=True, name="second")(first)
    return keras.Model(steps, QDense(2, name="logits")(second))


def keep(build: Callable[[], keras.Model], name: str) -> None:
    path, outputs = HERE / f"{name}.keras", np.zeros((1, 1))
    while not moving(outputs):
        made = build()
        features = rng.normal(0, 1.5, (40, *made.input_shape[1:])).astype("float32")
        made(features, training=True)
        filled(made).save(path)
        outputs = keras.ops.convert_to_numpy(keras.models.load_model(path, compile=False)(features))
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for part, content in parts.items():
            archive.writestr(part, content)
    np.savez(path.with_suffix(".npz"), features=features, outputs=outputs)


keep(model, "hgq_recurrent")
keep(gated, "hgq_gru")
