"""Makes hgq_floats.keras, hgq_folded.keras and hgq_cubes.keras with features and outputs; run as make_hgq.py says.

`make_hgq_floats.py MODEL.keras FEATURES.npy OUTPUTS.npy` runs a model, with floats too.
"""

import sys
import zipfile
from pathlib import Path
from typing import Any

import keras
import numpy as np
from hgq.config import QuantizerConfigScope
from hgq.layers import QConv3D, QDense, QGlobalAveragePooling3D, QMaxPooling3D, QSum, QUnaryFunctionLUT
from hgq.quantizer import QuantizerConfig
from hgq.quantizer.internal import FloatPointQuantizer
from hgq.utils import trace_minmax

HERE = Path(__file__).parent
rng = np.random.default_rng(11)


made_floats = FloatPointQuantizer.__init__


def _made(self: FloatPointQuantizer, *arguments: Any, is_weight: bool = False, **options: Any) -> None:  # noqa: ARG001
    """Take the `is_weight` that HGQ2 0.1.0 to 0.2.0 give every quantiser, and for which they can make no float."""
    made_floats(self, *arguments, **options)


FloatPointQuantizer.__init__ = _made


def floats() -> keras.Model:
    """Floats of a few bits for weights, biases and values, one of each or one for all."""
    features = keras.Input((6,), name="features")
    each = {"heterogeneous_axis": None, "homogeneous_axis": (0,)}
    own, one = (QuantizerConfig("float", "datalane", m0=3, e0=2, **axes) for axes in (each, {}))
    kernel, bias = (QuantizerConfig("float", "weight", m0=2, e0=3, e00=-1) for _ in range(2))
    plain = QuantizerConfig("float", "weight", heterogeneous_axis=(), homogeneous_axis=None)
    hidden = QDense(7, activation="relu", iq_conf=own, kq_conf=kernel, bq_conf=bias, name="hidden")(features)
    curved = QUnaryFunctionLUT("tanh", iq_conf=own, oq_conf=one, enable_oq=True, name="curved")(hidden)
    ends = {"iq_conf": one, "oq_conf": own, "enable_oq": True}
    return keras.Model(features, QDense(3, kq_conf=plain, bq_conf=bias, **ends, name="logits")(curved))


def folded() -> keras.Model:
    """Fixed-point numbers that go back where they leave their range."""
    features = keras.Input((6,), name="features")
    hidden = QDense(8, activation="relu", name="hidden")(features)
    return keras.Model(features, QDense(3, enable_oq=True, name="logits")(hidden))


def cubes() -> keras.Model:
    """Convolution and pooling along three axes."""
    cells = keras.Input((4, 5, 4, 2), name="cells")
    maps = QConv3D(3, 2, activation="relu", padding="same", strides=(1, 2, 1), name="maps")(cells)
    mean = QGlobalAveragePooling3D(name="mean")(QMaxPooling3D((2, 1, 2), name="largest")(maps))
    total = QSum(axes=(1, 2, 3), scale=0.25, name="total")(maps)
    return keras.Model(cells, QDense(3, name="logits")(keras.layers.Concatenate(name="both")([mean, total])))


def spread(model: keras.Model) -> None:
    """Give every weight and value a width of its own, some of them none."""
    ranges = {"_m": (1, 4), "_e": (0, 4), "_e0": (-2, 2), "_b": (0, 6), "_f": (1, 5)}
    for layer in model._flatten_layers():
        for name, ends in ranges.items():
            target = getattr(layer, name, None)
            if hasattr(target, "assign"):
                target.assign(rng.integers(*ends, tuple(target.shape)).astype("float32"))
        for weight in layer.weights:
            if weight.name == "bias":
                weight.assign(rng.normal(size=tuple(weight.shape)).astype("float32"))


def keep(name: str, made: keras.Model) -> None:
    features = rng.normal(0, 1.5, (64, *made.input_shape[1:])).astype("float32")
    spread(made)
    if name == "cubes":
        trace_minmax(made, features, verbose=0)
    made.save(HERE / f"hgq_{name}.keras")
    with zipfile.ZipFile(HERE / f"hgq_{name}.keras") as archive:
        parts = {part: archive.read(part) for part in archive.namelist()}
    with zipfile.ZipFile(HERE / f"hgq_{name}.keras", "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for part, content in parts.items():
            archive.writestr(part, content)
    outputs = keras.ops.convert_to_numpy(made(features))
    np.savez_compressed(HERE / f"hgq_{name}.npz", features=features, outputs=outputs)


def main() -> None:
    if len(sys.argv) > 1:
        model, features = keras.models.load_model(sys.argv[1]), np.load(sys.argv[2])
        np.save(sys.argv[3], keras.ops.convert_to_numpy(model(features)))
        return
    keras.utils.set_random_seed(5)
    keep("floats", floats())
    folding = {"overflow_mode": "WRAP_SM", "i0": 1}
    weights = QuantizerConfigScope(default_q_type="kbi", place="weight", b0=4, **folding)
    with weights, QuantizerConfigScope(default_q_type="kif", place="datalane", f0=3, **folding):
        keep("folded", folded())
    with QuantizerConfigScope(default_q_type="kbi", place="weight", b0=5, overflow_mode="SAT_SYM"):
        keep("cubes", cubes())


if __name__ == "__main__":
    main()
