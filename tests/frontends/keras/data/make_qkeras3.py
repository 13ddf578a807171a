"""Makes `qkeras3.zip` beside it; run with qkeras-v3 1.2.1, Keras 3.15 and TensorFlow 2.21.

With arguments it asks of a model that was written back that it puts out what is given:
`make_qkeras3.py MODEL ARRAYS.npz NAME OUTPUTS.npy`.
"""

import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import keras
import numpy as np
import qkeras as q

HERE = Path(__file__).parent
rng = np.random.default_rng(0)
BITS = q.quantized_bits(6, 2, alpha=1)


def frozen(alpha: str, n_out: int) -> Any:
    """Return a quantiser whose scales, one for each channel, are those of an earlier training."""
    return q.quantized_bits(5, 1, alpha=alpha, post_training_scale=2.0 ** rng.integers(-2, 1, (1, n_out)))


def image() -> keras.Model:
    """Return a model with a mask over its first window, fixed scales, normalisation and a mean."""
    inputs = keras.Input((6, 6, 2), name="image")
    mask = np.array([[1, 0, 1], [1, 1, 1], [0, 1, 1]], np.float32)
    kinds = {"kernel_quantizer": "quantized_bits(5,0,alpha='auto_po2')", "bias_quantizer": BITS}
    x = q.QConv2D(4, 3, mask=mask, name="maps", **kinds)(inputs)
    x = q.QBatchNormalization(name="norm")(x)
    x = q.QActivation("quantized_relu(6,2)", name="act")(x)
    x = q.QDepthwiseConv2D(2, depthwise_quantizer=BITS, bias_quantizer=BITS, name="deep")(x)
    x = q.QAveragePooling2D(3, average_quantizer="quantized_bits(4,0,alpha=1)", name="mean")(x)
    x = keras.layers.Flatten(name="flat")(x)
    kinds = {"kernel_quantizer": frozen("auto_po2", 5), "bias_quantizer": BITS, "activation": "quantized_relu(5,2)"}
    x = q.QDense(5, name="hidden", **kinds)(x)
    kinds = {"kernel_quantizer": frozen("auto", 4), "bias_quantizer": None, "activation": "quantized_tanh(6)"}
    x = q.QDense(4, name="curved", **kinds)(x)
    return keras.Model(inputs, q.QDense(3, kernel_quantizer="ternary(alpha=1.0)", name="logits")(x))


def steps(kind: Any, **functions: str) -> keras.Model:
    """Return a model of one recurrent layer."""
    inputs = keras.Input((5, 3), name="steps")
    names = ("kernel_quantizer", "recurrent_quantizer")
    kinds = dict.fromkeys(names, "quantized_bits(6,1,alpha=1)") | {"state_quantizer": "quantized_bits(8,1,alpha=1)"}
    cell = kind(4, name="cell", bias_quantizer=BITS, **kinds, **functions)
    return keras.Model(inputs, q.QDense(3, kernel_quantizer=BITS, bias_quantizer=BITS, name="logits")(cell(inputs)))


def spread(model: keras.Model) -> keras.Model:
    """Give every array values of its own, variances and scales positive ones."""
    for weight in model.weights:
        values = rng.normal(size=weight.shape) * 0.6
        weight.assign(np.abs(values) + 0.3 if "variance" in weight.path or "gamma" in weight.path else values)
    return model


def models() -> dict[str, keras.Model]:
    """Return the models by name."""
    gates = {"activation": "quantized_bits(6,1)", "recurrent_activation": "quantized_sigmoid(6)"}
    cells = {"gru": steps(q.QGRU), "lstm": steps(q.QLSTM, **gates), "simple": steps(q.QSimpleRNN)}
    return {name: spread(model) for name, model in ({"image": image()} | cells).items()}


def main() -> None:
    arrays = {}
    with (
        tempfile.TemporaryDirectory() as folder,
        zipfile.ZipFile(HERE / "qkeras3.zip", "w", zipfile.ZIP_DEFLATED) as kept,
    ):
        for name, model in models().items():
            for suffix in ("keras", "h5"):
                model.save(Path(folder) / f"{name}.{suffix}")
            features = rng.integers(-32, 32, (64, *model.input_shape[1:])).astype(np.float32) / 16
            arrays |= {f"{name}_features": features, name: np.asarray(model(features))}
        np.savez_compressed(Path(folder) / "arrays.npz", **arrays)
        for path in sorted(Path(folder).iterdir()):
            kept.write(path, path.name)


def ask(path: str, arrays: str, name: str, outputs: str) -> None:
    model = keras.models.load_model(path, compile=False)
    np.testing.assert_array_equal(np.asarray(model(np.load(arrays)[f"{name}_features"])), np.load(outputs))


if __name__ == "__main__":
    ask(*sys.argv[1:]) if len(sys.argv) > 1 else main()
