"""Makes the HGQ2 files beside it; run with hgq2 0.2.0, keras 3.15 and a torch backend in an environment of their own.

hgq2 installs a package `qkeras` of its own, so it cannot live beside QKeras: `KERAS_BACKEND=torch python make_hgq.py`.
`make_hgq.py MODEL.keras FEATURES.npy OUTPUTS.npy` runs a model, which tells whether HGQ2 takes what was written.
"""

import sys
import zipfile
from collections.abc import Callable
from itertools import count
from pathlib import Path

import keras
import numpy as np
from hgq.config import LayerConfigScope, QuantizerConfigScope
from hgq.layers import (
    QAdd,
    QBatchNormalization,
    QBatchNormDense,
    QConv1D,
    QConv2D,
    QConvT1D,
    QDense,
    QDenseT,
    QEinsumDense,
    QEinsumDenseBatchnorm,
    QGlobalAveragePooling1D,
    QLinformerAttention,
    QMaxPooling1D,
    QMeanPow2,
    QMultiHeadAttention,
    QSoftmax,
    QSum,
    QUnaryFunctionLUT,
)
from hgq.quantizer import Quantizer, QuantizerConfig
from hgq.utils import trace_minmax
from moving import moving

HERE = Path(__file__).parent


def dense() -> keras.Model:
    features = keras.Input((6,), name="features")
    hidden = QDense(8, activation="relu", name="hidden")(features)
    other = QDense(8, name="other")(features)
    both = QAdd(name="both")([hidden, other])
    return keras.Model(features, QDense(3, name="logits", enable_oq=True)(both))


def convolutional() -> keras.Model:
    image = keras.Input((6, 6, 2), name="image")
    rounded = Quantizer(QuantizerConfig("default", "datalane"), name="rounded")(image)
    maps = QConv2D(3, 3, activation="relu", padding="same", strides=2, name="maps")(rounded)
    mixed = QEinsumDense("abcd,de->abce", output_shape=(3, 3, 4), bias_axes="e", name="mixed")(maps)
    return keras.Model(image, QDense(2, name="logits")(keras.layers.Flatten(name="flat")(mixed)))


def pooled() -> keras.Model:
    steps = keras.Input((8, 3), name="steps")
    maps = QConv1D(4, 3, name="maps")(steps)
    norm = QBatchNormalization(name="norm")(maps)
    curved = QUnaryFunctionLUT("tanh", name="curved")(norm)
    largest = QMaxPooling1D(2, name="largest")(curved)
    mean = QGlobalAveragePooling1D(name="mean")(largest)
    return keras.Model(steps, QDense(3, name="logits")(mean))


def wrapped() -> keras.Model:
    """Weights whose quantisers wrap around, and so keep whatever range the weights have."""
    features = keras.Input((6,), name="features")
    hidden = QDense(8, name="hidden")(features)
    norm = QBatchNormalization(name="norm")(hidden)
    return keras.Model(features, QDense(3, name="logits")(keras.layers.ReLU(name="positive")(norm)))


def fused() -> keras.Model:
    """Kernels over any axes with a normalisation folded in, and sums."""
    steps = keras.Input((6, 4), name="steps")
    mixed = QEinsumDenseBatchnorm("bnc,cC->bnC", (6, 5), activation="relu", bias_axes="C", name="mixed")(steps)
    across = QEinsumDenseBatchnorm("bnc,nN->bNc", (3, 5), bias_axes="N", name="across")(mixed)
    heads = QEinsumDense("bnc,cdh->bnhd", (3, 2, 4), bias_axes="hd", name="heads")(across)
    joined = QEinsumDense("bnhd,hdc->bnc", (3, 5), name="joined")(heads)
    own = QEinsumDense("bnc,ncC->bnC", (3, 4), bias_axes="C", name="own")(joined)
    total = QSum(axes=1, scale=0.5, name="total")(own)
    mean = QMeanPow2(axes=(1,), name="mean")(own)
    return keras.Model(steps, QBatchNormDense(3, name="logits")(QAdd(name="both")([total, mean])))


def attention() -> keras.Model:
    steps = keras.Input((5, 4), name="steps")
    attended = QMultiHeadAttention(2, 4, value_dim=3, fuse="qkv", name="attended")(steps, steps)
    mixed = QLinformerAttention(2, (3,), 4, name="mixed")(attended, steps)
    inverse = QuantizerConfig("kif", "table", i0=0, f0=8)  # of a sum over 20 values
    own = {"enable_iq": True, "enable_oq": True, "inv_oq_conf": inverse}
    weights = QSoftmax(axis=(1, 2), stable=False, **own, name="weights")(mixed)
    return keras.Model(steps, QDense(3, name="logits")(keras.layers.Flatten(name="flat")(weights)))


def tables() -> keras.Model:
    """Edges that are learned functions of one value, from a window of positions and between flat values."""
    steps = keras.Input((6, 2), name="steps")
    each = QuantizerConfig("kbi", "table", b0=6, homogeneous_axis=(0, 1))
    window = QConvT1D(3, 2, d_hl=4, strides=2, subnn_activation="tanh", toq_conf=each, name="window")(steps)
    flat = keras.layers.Flatten(name="flat")(window)
    own = QuantizerConfig("kif", "table", i0=2, f0=4, homogeneous_axis=(0,))
    hidden = QDenseT(5, n_hl=2, d_hl=3, activation="relu", batch_norm=True, toq_conf=own, name="hidden")(flat)
    return keras.Model(steps, QDenseT(3, n_hl=0, use_bias=False, name="logits")(hidden))


def spread(model: keras.Model, rng: np.random.Generator) -> None:
    """Give every weight and value a width of its own, some of them none."""
    for layer in model._flatten_layers(include_self=False):
        for name in ("kq", "bq", "iq", "oq", "toq"):
            quantizer = getattr(layer, f"_{name}", None)
            for inner in getattr(quantizer, "quantizers", [quantizer] if quantizer else []):
                bits = inner.quantizer
                target = bits._b if hasattr(bits, "_b") else bits._f
                low, high = (0, 7) if name in ("kq", "toq") and target.shape[-1] > 1 else (2, 6)
                target.assign(rng.integers(low, high, target.shape).astype("float32"))
        for weight in layer.weights:
            if weight.path.endswith("variance"):
                weight.assign(rng.uniform(0.5, 2, size=weight.shape).astype("float32"))
            elif isinstance(layer, QDenseT) and weight.path.endswith("kernel"):
                weight.assign(1.5 * rng.normal(size=weight.shape).astype("float32"))
            elif weight.path.endswith(("bias", "beta", "gamma", "mean")):
                weight.assign(rng.normal(size=weight.shape).astype("float32"))


def packed(model: keras.Model, path: Path) -> None:
    """Save the model, compressed: Keras stores its parts as they are."""
    model.save(path)
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name, content in parts.items():
            archive.writestr(name, content)


def made(build: Callable[[], keras.Model], seed: int) -> tuple[keras.Model, np.ndarray]:
    """Return a model with everything drawn by the seed, and jets that it was traced with."""
    name, overflow = build.__name__, "WRAP" if build is wrapped else "SAT_SYM"
    rng = np.random.default_rng(seed)
    keras.utils.set_random_seed(seed)
    weights = QuantizerConfigScope(default_q_type="kbi", place="weight", b0=5, overflow_mode=overflow)
    values = QuantizerConfigScope(default_q_type="kif", place="datalane", i0=3, f0=3)
    with weights, values, LayerConfigScope(enable_ebops=name == "dense"):
        model = build()
    features = rng.normal(size=(64, *model.input_shape[1:])).astype("float32")
    spread(model, rng)
    trace_minmax(model, features, verbose=0)
    return model, features


def main() -> None:
    if len(sys.argv) > 1:
        model, features = keras.models.load_model(sys.argv[1]), np.load(sys.argv[2])
        np.save(sys.argv[3], keras.ops.convert_to_numpy(model(features)))
        return
    for build in (dense, convolutional, pooled, wrapped, fused, attention, tables):
        drawn = (made(build, seed) for seed in count())
        model, features = next(each for each in drawn if moving(keras.ops.convert_to_numpy(each[0](each[1]))))
        packed(model, HERE / f"hgq_{build.__name__}.keras")
        outputs = keras.ops.convert_to_numpy(model(features))
        np.savez_compressed(HERE / f"hgq_{build.__name__}.npz", features=features, outputs=outputs)


if __name__ == "__main__":
    main()
