"""Makes `hgq1.zip` beside it: `python make_hgq1.py` with HGQ 0.2.6 and TensorFlow 2.13, whose Keras is the second."""

import tempfile
import zipfile
from itertools import count
from pathlib import Path

import numpy as np
from HGQ import to_proxy_model, trace_minmax
from HGQ.layers import (
    HActivation,
    HConv1D,
    HConv1DBatchNorm,
    HConv2D,
    HDense,
    HDenseBatchNorm,
    HQuantize,
    PFlatten,
    PReshape,
)
from moving import moving
from tensorflow import keras

HERE = Path(__file__).parent


def spread(model: keras.Model, rng: np.random.Generator) -> None:
    """Give every weight and value bits of its own, some of them few, and every normalisation something to do."""
    for weight in model.weights:
        if "_bw" in weight.name:
            weight.assign(weight + rng.integers(-3, 4, weight.shape).astype("float32"))
        elif "gamma" in weight.name:
            weight.assign(rng.uniform(0.7, 1.5, weight.shape))
        elif "variance" in weight.name:
            weight.assign(rng.uniform(0.5, 2, weight.shape))
        elif any(name in weight.name for name in ("mean", "bn_beta", "bias")):
            weight.assign(rng.normal(size=weight.shape) * 0.3)


def made(seed: int) -> tuple[keras.Model, np.ndarray]:
    """Return a model with everything drawn by the seed, and jets that it was traced with."""
    rng = np.random.default_rng(seed)
    keras.utils.set_random_seed(seed)
    layers = [
        HQuantize(input_shape=(4, 4, 2), name="rounded"),
        HConv2D(3, 2, activation="relu", name="maps"),
        PReshape((9, 3), name="row"),
        HConv1D(3, 3, name="steps"),
        HConv1DBatchNorm(2, 2, activation="relu", name="normal"),
        PFlatten(name="flat"),
        HDenseBatchNorm(5, name="hidden"),
        HActivation("tanh", name="curved"),
        HDense(3, name="logits"),
    ]
    model = keras.Sequential(layers)
    features = rng.normal(size=(64, 4, 4, 2)).astype("float32")
    model(features)
    spread(model, rng)
    trace_minmax(model, features, verbose=0)
    return model, features


def main() -> None:
    drawn = (made(seed) for seed in count())
    model, features = next(each for each in drawn if moving(each[0].predict(each[1], verbose=0)))
    proxy = to_proxy_model(model, aggressive=False)
    with tempfile.TemporaryDirectory() as folder, zipfile.ZipFile(HERE / "hgq1.zip", "w", zipfile.ZIP_DEFLATED) as kept:
        model.save(Path(folder) / "model.h5")
        for suffix in ("h5", "keras"):
            proxy.save(Path(folder) / f"proxy.{suffix}")
        outputs = {"model": model.predict(features, verbose=0), "proxy": proxy.predict(features, verbose=0)}
        np.savez_compressed(Path(folder) / "arrays.npz", features=features, **outputs)
        for path in sorted(Path(folder).iterdir()):
            kept.write(path, path.name)


if __name__ == "__main__":
    main()
