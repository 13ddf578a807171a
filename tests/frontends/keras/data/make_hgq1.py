"""Makes `hgq1.zip` beside it: `python make_hgq1.py` with HGQ 0.2.6 and TensorFlow 2.13, whose Keras is the second.

`python make_hgq1.py MODEL FEATURES OUTPUTS` runs a model that was written elsewhere.
"""

import sys
import tempfile
import zipfile
from collections.abc import Callable
from itertools import count
from pathlib import Path

import numpy as np
from HGQ import to_proxy_model, trace_minmax
from HGQ.layers import (
    HActivation,
    HAdd,
    HConv1D,
    HConv1DBatchNorm,
    HConv2D,
    HDense,
    HDenseBatchNorm,
    HQuantize,
    PConcatenate,
    PFlatten,
    PReshape,
)
from HGQ.utils import get_default_kq_conf, get_default_paq_conf
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
        HDense(3, paq_conf={**get_default_paq_conf(), "trainable": False}, name="logits"),
    ]
    model = keras.Sequential(layers)
    features = rng.normal(size=(64, 4, 4, 2)).astype("float32")
    model(features)
    spread(model, rng)
    trace_minmax(model, features, verbose=0)
    return model, features


def moved(make: Callable[[int], tuple[keras.Model, np.ndarray]]) -> tuple[keras.Model, np.ndarray]:
    """Return the first model of those that seeds make whose outputs move, and its jets."""
    return next(each for each in map(make, count()) if moving(each[0].predict(each[1], verbose=0)))


def run(model: str, features: str, outputs: str) -> None:
    """Run a written model."""
    np.save(outputs, keras.models.load_model(model, compile=False).predict(np.load(features), verbose=0))


def varied(seed: int) -> tuple[keras.Model, np.ndarray]:
    """Return a graph whose values share widths, round as their biases allow, and half a normalisation."""
    rng = np.random.default_rng(seed)
    keras.utils.set_random_seed(seed)
    kernel, value = get_default_kq_conf(), get_default_paq_conf()
    shared = {
        "kq_conf": {**kernel, "skip_dims": [0]},
        "paq_conf": {**value, "skip_dims": "all", "rnd_strategy": "auto"},
    }
    held = {"paq_conf": {**value, "rnd_strategy": "auto", "trainable": False}}
    features = keras.Input((6, 3))
    rounded = HQuantize(paq_conf={**value, "rnd_strategy": "floor"}, name="rounded")(features)
    left = HDense(4, activation="relu", **shared, name="left")(rounded)
    right = HDense(4, use_bias=False, **held, name="right")(rounded)
    steps = HConv1DBatchNorm(5, 3, **held, name="steps")(HAdd(name="total")([left, right]))
    flat = PFlatten(name="flat")(
        PConcatenate(name="both")([steps, HConv1D(2, 3, activation="relu", name="more")(left)])
    )
    hidden = HDenseBatchNorm(6, activation="relu", use_bias=False, name="hidden")(flat)
    model = keras.Model(features, HDenseBatchNorm(3, name="logits")(hidden))
    jets = rng.normal(size=(64, 6, 3)).astype("float32")
    model(jets)
    spread(model, rng)
    trace_minmax(model, jets, verbose=0)
    return model, jets


def main() -> None:
    model, features = moved(made)
    graph, jets = moved(varied)
    proxy = to_proxy_model(model, aggressive=False)
    with tempfile.TemporaryDirectory() as folder, zipfile.ZipFile(HERE / "hgq1.zip", "w", zipfile.ZIP_DEFLATED) as kept:
        named = {"model": (model, features), "proxy": (proxy, features), "varied": (graph, jets)}
        arrays = {}
        for name, (each, given) in named.items():
            arrays |= {name: each.predict(given, verbose=0), f"{name}_features": given}
            each.save(Path(folder) / f"{name}.h5")
            if name != "varied":  # HGQ loads no archive with an HAdd, and others only of models that it has loaded
                keras.models.load_model(Path(folder) / f"{name}.h5", compile=False).save(Path(folder) / f"{name}.keras")
        np.savez_compressed(Path(folder) / "arrays.npz", **arrays)
        for path in sorted(Path(folder).iterdir()):
            kept.write(path, path.name)


if __name__ == "__main__":
    run(*sys.argv[1:]) if len(sys.argv) > 1 else main()
