"""Models that other groups published, beside their own frameworks; run as a program it writes their table into docs.

`python -m tests.frontends.keras.published` reads, runs, shrinks, writes and loads again every one of them; a table of
all models and jets needs `../shared/reference`, which has more of them than is kept with the project.
"""

import io
import json
import os
import tempfile
import time
import warnings
import zipfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch

import hepprune
from hepprune import frontends
from hepprune.jobs import models
from hepprune.network import Network
from tests.reference import MORE, REFERENCE

ROOT = Path(hepprune.__file__).resolve().parents[1]
PAGE, BEGIN, END = ROOT / "docs" / "models.md", "<!-- published -->\n", "<!-- end of published -->"
# The interquartile ranges that the authors of the interaction networks divide their jets by.
SCALES = {8: (219, 0.2, 0.2), 16: (166, 0.24, 0.24), 32: (120, 0.27, 0.27)}


@cache
def tf() -> Any:
    """Return TensorFlow with Keras 2, QKeras loaded; on one thread, so that its sums have one order."""
    os.environ["TF_USE_LEGACY_KERAS"] = "1"
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import qkeras  # noqa: F401
        import tensorflow  # noqa: ICN001

        return tensorflow


@cache
def known() -> dict[str, Any]:
    """Return the classes that the models need: QKeras', the pruning wrapper's, and the authors' projection."""
    layers = tf().keras.layers
    from qkeras.utils import _add_supported_quantized_objects
    from tensorflow_model_optimization.python.core.sparsity.keras import pruning_wrapper

    class NodeEdgeProjection(layers.Layer):  # type: ignore[misc, name-defined]
        def __init__(self, receiving: bool = True, node_to_edge: bool = True, **options: Any) -> None:  # noqa: FBT001, FBT002
            super().__init__(**options)
            self.node_to_edge = node_to_edge

        def build(self, shape: Any) -> None:
            n = shape[-2]
            n_out = n * (n - 1) if self.node_to_edge else int((np.sqrt(4 * n + 1) + 1) / 2)
            self.matrix = self.add_weight(name="adjacency_matrix", shape=(1, n_out, n), trainable=False)

        def call(self, values: Any) -> Any:
            return tf().matmul(self.matrix, values)

    found: dict[str, Any] = {}
    _add_supported_quantized_objects(found)
    return found | {
        "NodeEdgeProjection": NodeEdgeProjection,
        "PruneLowMagnitude": pruning_wrapper.PruneLowMagnitude,
    }


def loaded(path: Path) -> Any:
    """Return the native model in a file."""
    return tf().keras.models.load_model(path, custom_objects=known(), compile=False)


def archived(path: Path) -> Any:
    """Return the model of an archive of Keras 2.14, whose places for weights later versions do not find."""
    with zipfile.ZipFile(path) as archive:
        model = tf().keras.Sequential.from_config(json.loads(archive.read("config.json"))["config"])
        with h5py.File(io.BytesIO(archive.read("model.weights.h5"))) as file:
            dense = [layer for layer in model.layers if layer.weights]
            for number, layer in enumerate(dense):
                stored = file["_layer_checkpoint_dependencies/dense" + (f"_{number}" if number else "") + "/vars"]
                layer.set_weights([stored[name][()] for name in sorted(stored)])
    return model


def native(path: Path) -> Any:
    """Return the native model in one of the published files, or in one written like it."""
    return archived(path) if path.suffix == ".keras" else loaded(path)


def files() -> dict[str, Path]:
    """Return the published models, by their place in the folder that they lie in."""
    found: dict[str, Path] = {}
    for folder in (MORE, REFERENCE):
        paths = [*folder.glob("models/*.h5"), *folder.glob("reports/**/keras_model.*")]
        found |= {path.relative_to(folder).as_posix(): path for path in paths}
    return dict(sorted(found.items()))


def jets_for(network: Network) -> np.ndarray:
    """Return the jets that a model was made for, random rows where it was made for other features."""
    shape = network.input.features_shape
    if shape[1:] == (3,):
        name = f"jets/x_test_{shape[0]}const.npy"
        jets = np.load(MORE / name if (MORE / name).is_file() else REFERENCE / name)
        return (jets / SCALES[shape[0]]).astype(np.float32)
    return np.random.default_rng(0).normal(size=(500, *shape)).astype(np.float32)


def outputs(network: Network, features: np.ndarray) -> np.ndarray:
    """Return what a network computes."""
    with torch.no_grad():
        return network(torch.as_tensor(features)).numpy()


@dataclass(frozen=True)
class Result:
    """What came of one model; `difference` is relative to the largest output, `off` counts rows beyond 1e-5 of it."""

    name: str
    rows: str
    parameters: int
    left: int
    acting: int
    difference: float
    off: int
    read_s: float
    is_identical: bool

    def row(self) -> str:
        """Return the row of the table."""
        agreement = f"{self.difference:.1e}, {self.off or 'none'} beyond"
        back = "loads, identical outputs" if self.is_identical else "loads, OTHER OUTPUTS"
        counts = f"{self.parameters:,} | {self.left:,} | {self.acting:,}"
        return f"| {self.name} | {self.rows} | {agreement} | {counts} | {back} | {self.read_s:.2f} s |"


def result(place: str, path: Path) -> Result:
    """Read a model, run it, shrink it, write it, and load what was written in its own framework."""
    start = time.process_time()
    network = frontends.read(path)
    read_s = time.process_time() - start
    features = jets_for(network)
    wanted = np.asarray(native(path).predict(features, verbose=0))
    differences = abs(outputs(network, features) - wanted).max(axis=1) / abs(wanted).max()
    with tempfile.TemporaryDirectory() as folder:
        done = models.shrink(path, Path(folder) / f"smaller{path.suffix}")
        again = np.asarray(native(done.path).predict(features, verbose=0))
    what = "jets" if network.input.features_shape[1:] == (3,) else "random rows"
    return Result(
        _title(place),
        f"{len(features):,} {what}",
        done.parameters_before,
        done.parameters,
        sum(layer.nonzero for layer in models.describe(network)),
        float(differences.max()),
        int((differences > 1e-5).sum()),
        read_s,
        np.array_equal(again, wanted),
    )


def _title(place: str) -> str:
    parts = place.split("/")
    return f"`{parts[-1]}`" if parts[0] == "models" else f"`{parts[-1]}` beside `{parts[1]}`"


def main() -> None:
    """Write the table into docs."""
    tf().config.threading.set_intra_op_parallelism_threads(1)
    rows = [result(place, path).row() for place, path in files().items()]
    head = "| file | ran on | difference, rows beyond 1e-5 | parameters | shrunk to | acting weights | written back | read in |"
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    table = "\n".join([head, "|" + "---|" * (head.count("|") - 1), *rows, ""])
    PAGE.write_text(before + BEGIN + table + END + rest.partition(END)[2], encoding="utf-8")


if __name__ == "__main__":
    main()
