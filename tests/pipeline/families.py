"""Recipes and jets of noise for models of other packages, whatever they take and put out."""

import io
import math
import zipfile
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import uproot
import yaml

import hepprune
from hepprune import frontends, recipe
from hepprune.hardware import targets
from hepprune.network import Network
from hepprune.pipeline.context import Context

FRONTENDS = Path(hepprune.__file__).parents[1] / "tests" / "frontends"
KERAS = FRONTENDS / "keras" / "data"


def unpacked(name: str, folder: Path) -> Path:
    """Return the file of a model of the tests: of HGQ2, or of PQuantML or Brevitas, which are kept in archives."""
    path = folder / name
    if (KERAS / name).is_file():
        path.write_bytes((KERAS / name).read_bytes())
    elif path.suffix == ".onnx":
        with np.load(FRONTENDS / "onnx" / "data" / "brevitas.npz") as kept:
            path.write_bytes(kept[f"{path.stem}.model"].tobytes())
    else:
        for archive in ("pquant.zip", "pquant_composed.zip"):
            with zipfile.ZipFile(io.BytesIO((KERAS / archive).read_bytes())) as kept:
                if name in kept.namelist():
                    path.write_bytes(kept.read(name))
    return path


def job(folder: Path, file: Path, *, n_jets: int = 50, **changes: Any) -> Context:
    """Write jets and a recipe that a model takes, with some of its sections changed, and return the run of both."""
    network, rng = frontends.read(str(file)), np.random.default_rng(1)
    columns: dict[str, Any] = {"event": np.arange(n_jets)}
    for layer in network.inputs:
        *places, n_features = layer.features_shape
        for index in range(n_features):
            values = rng.normal(size=(n_jets, math.prod(places))).astype(np.float32)
            columns[f"{layer.name}_{index}"] = ak.from_regular(values) if places else values[:, 0]
        for name, place in zip("xy", np.indices(places), strict=False) if len(places) == 2 else ():
            columns[f"{layer.name}_{name}"] = ak.from_regular(np.tile(place.ravel(), (n_jets, 1)).astype(np.float32))
    (n_out,) = (network.widths[name] for name in network.raw_outputs)
    told = sum(np.asarray(columns[name]).reshape(n_jets, -1).sum(axis=1) for name in [*columns][1:3])
    told = np.argsort(np.argsort(told)) * max(n_out, 2) // n_jets
    columns["label"] = told.astype(np.int32)
    with uproot.recreate(folder / "jets.root") as root:
        kinds = {name: ak.type(ak.Array(values)).content for name, values in columns.items()}
        root.mktree("Jets", kinds).extend(columns)
    content = {"name": "family", "data": _data(network, n_out), "model": {"file": str(file)}}
    lost = {"max_loss": {"mean_squared_error": 1.0}} if n_out == 1 else {}
    content |= {"budget": {"lut_of_baseline": 0.7} | lost} | ({"task": "regression"} if lost else {}) | changes
    (folder / "recipe.yaml").write_text(yaml.safe_dump(content))
    found = recipe.load(folder / "recipe.yaml")
    return Context(recipe=found, target=targets.load(found.target), build=folder / "build")


def _data(network: Network, n_out: int) -> dict[str, Any]:
    data: dict[str, Any] = {"file": "jets.root:Jets", "isfilled": False, "scaler": "none"}
    names = {layer.name: [f"{layer.name}_{i}" for i in range(layer.features_shape[-1])] for layer in network.inputs}
    places = {layer.name: layer.features_shape[0] for layer in network.inputs if len(layer.features_shape) == 2}
    if len((shape := network.input.features_shape) if len(names) == 1 else ()) == 3:
        (given,), bins = names.items(), list(shape[:2])
        image = {"x": f"{given[0]}_x", "y": f"{given[0]}_y", "weight": given[1], "bins": bins}
        data["image"] = image | {"range": [[0, size] for size in bins]}
    else:
        data |= {"inputs": names} if len(names) > 1 else {"features": names[network.input.name]}
    if places:
        data["n_constituents"] = places if len(names) > 1 else places[network.input.name]
    return data | ({"classes": [f"c{i}" for i in range(n_out)]} if n_out > 1 else {"targets": "label"})
