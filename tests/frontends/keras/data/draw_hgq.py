"""Builds and runs HGQ2 models that a test draws: one JSON request a line, one answer a line.

`python draw_hgq.py` runs where hgq2 is installed, beside `make_hgq.py`. A request for a model has its `shape`, `steps`,
`ending`, `seed` and the quantisers of `weights` and `values`; it leaves `model.keras` and the arrays in `folder`.
"""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
from hgq import layers
from hgq.config import LayerConfigScope, QuantizerConfigScope
from hgq.utils import trace_minmax
from make_hgq import spread

N_JETS = 32


def rank(value: Any) -> int:
    return len(value.shape) - 2


def conv(value: Any, width: int) -> Any:
    kind = (layers.QConv1D, layers.QConv2D)[rank(value) - 1]
    sides = {"padding": "same", "strides": 2} if width % 2 else {"padding": "valid"}
    return kind(width, 2, activation="relu", **sides)(value) if min(value.shape[1:-1]) > 1 else value


def pool(value: Any, kind: str) -> Any:
    return getattr(layers, f"Q{kind}Pooling{rank(value)}D")(2)(value) if min(value.shape[1:-1]) > 1 else value


def merge(value: Any, operation: str) -> Any:
    """Join a dense layer of the value with the value itself."""
    return getattr(layers, operation)()([layers.QDense(value.shape[-1], activation="relu")(value), value])


STEPS: dict[str, Callable[[Any, int], Any]] = {
    "dense": lambda value, n: layers.QDense(n, activation="relu")(value),
    "linear": lambda value, n: layers.QDense(n)(value),
    "norm": lambda value, _: layers.QBatchNormalization()(value),
    "curved": lambda value, _: layers.QUnaryFunctionLUT("tanh")(value),
    "add": lambda value, _: merge(value, "QAdd"),
    "subtract": lambda value, _: merge(value, "QSubtract"),
    "multiply": lambda value, _: merge(value, "QMultiply"),
    "maximum": lambda value, _: merge(value, "QMaximum"),
    "average": lambda value, _: merge(value, "QAveragePow2"),
    "affine": lambda value, _: layers.QAffinedUnaryFunctionLUT("sigmoid")(value),
    "summed": lambda value, n: layers.QSum(axes=1, scale=2.0 ** (2 - n), keepdims=True)(value),
    "conv": conv,
    "max": lambda value, _: pool(value, "Max"),
    "mean": lambda value, _: pool(value, "Average"),
}


def build(request: dict[str, Any]) -> keras.Model:
    value = features = keras.Input(request["shape"])
    for step, width in request["steps"]:
        value = STEPS[step](value, width)
    if rank(value) and request["ending"] == "largest":
        value = getattr(layers, f"QGlobalMaxPooling{rank(value)}D")()(value)
    elif rank(value):
        value = keras.layers.Flatten()(value)
    return keras.Model(features, layers.QDense(3, enable_oq=True)(value))


def drawn(request: dict[str, Any]) -> dict[str, Any]:
    rng, folder = np.random.default_rng(request["seed"]), Path(request["folder"])
    keras.utils.set_random_seed(request["seed"])
    weights = QuantizerConfigScope(place="weight", **request["weights"])
    values = QuantizerConfigScope(place="datalane", **request["values"])
    with weights, values, LayerConfigScope(enable_ebops=False):
        model = build(request)
    features = rng.normal(size=(N_JETS, *request["shape"])).astype("float32")
    spread(model, rng)
    trace_minmax(model, features, verbose=0)
    model.save(folder / "model.keras")
    np.save(folder / "features.npy", features)
    return ran({"model": folder / "model.keras", "folder": folder, "outputs": "outputs"})


def ran(request: dict[str, Any]) -> dict[str, Any]:
    """Run a model on the features in the folder, one array or one for each input."""
    folder = Path(request["folder"])
    model = keras.models.load_model(request["model"], compile=False)
    several = folder / "features.npz"
    given = list(np.load(several).values()) if several.is_file() else np.load(folder / "features.npy")
    outputs = keras.ops.convert_to_numpy(model(given))
    np.save(folder / f"{request['outputs']}.npy", outputs)
    return {"layers": len(model.layers), "loaded": True}


def main() -> None:
    answers, sys.stdout = sys.stdout, sys.stderr  # whatever the framework prints is not an answer
    for line in sys.stdin:
        request = json.loads(line)
        answer = drawn(request) if "steps" in request else ran(request)
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()
