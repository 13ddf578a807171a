"""Files of Keras written with h5py, zipfile and json alone: what a like model holds, its config, and what changed."""

import copy
import io
import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5py  # type: ignore[import-untyped]
import numpy as np

from hepprune.files import replacing, write_text
from hepprune.frontends.keras.calls import tensors
from hepprune.frontends.keras.files import KerasModel, Stored, beside, walk, weights_beside
from hepprune.frontends.keras.hdf5 import ArrayFile, joined
from hepprune.frontends.keras.registry import Floats
from hepprune.network import Shape

if TYPE_CHECKING:
    from hepprune.frontends.keras.graph import LoweredModel

# State of an optimizer belongs to weights of the old sizes.
_LEFT_OUT = frozenset({"optimizer_weights", "optimizer", "_optimizer"})
_BATCH = ("batch_shape", "batch_input_shape")


def store(model: KerasModel, path: Path) -> Path:
    """Write a model as the kind of file it was read from, and return the path, with that file's suffix."""
    path = path if path.suffix == model.source.suffix else path.with_suffix(model.source.suffix)
    if path.suffix == ".json":
        # The weights first: a description without its weights is worse than weights without a description.
        source = weights_beside(model.source)
        _hdf5(model, source, beside(source, model.source, path))
        return write_text(path, json.dumps(model.config))
    if zipfile.is_zipfile(model.source):
        with zipfile.ZipFile(model.source) as archive:
            metadata, weights = archive.read("metadata.json"), archive.read("model.weights.h5")
        changed = io.BytesIO()
        with h5py.File(io.BytesIO(weights), "r") as old, h5py.File(changed, "w") as new:
            _copy(old, new, model)
        with replacing(path) as temporary, zipfile.ZipFile(temporary, "w") as archive:
            archive.writestr("metadata.json", metadata)
            archive.writestr("config.json", json.dumps(model.config))
            archive.writestr("model.weights.h5", changed.getvalue())
        return path
    _hdf5(model, model.source, path)
    return path


def _hdf5(model: KerasModel, source: Path, path: Path) -> None:
    with h5py.File(source, "r") as old, replacing(path) as temporary, h5py.File(temporary, "w") as new:
        _copy(old, new, model)


def _copy(old: h5py.File, new: h5py.File, model: KerasModel) -> None:
    """Copy a file but for its links, its optimizer and the layers, whose arrays are written as they are now."""
    groups: dict[str, list[Stored]] = {}
    arrays: dict[str, Floats] = {}
    known: set[str] = set()
    for stored in model.layers.values():
        group = stored.group
        groups.setdefault(group, []).append(stored)
        arrays |= {joined(group, place): values for place, values in stored.arrays.items()}
        if "layers" in old:  # a file of Keras 3, where a group belongs to one layer, which may have lost some arrays
            known |= {joined(group, place) for place in ArrayFile(old).places(group)}
    _copy_group(old, new, arrays, left_out=frozenset(known - arrays.keys()))
    for place, values in arrays.items():
        if place not in new:
            new.create_dataset(place, data=values.astype(np.float32))
    _list_names(new, groups)
    if "model_config" in new.attrs:
        new.attrs["model_config"] = json.dumps(model.config)


def _copy_group(
    old: h5py.Group, new: h5py.Group, arrays: Mapping[str, Any], prefix: str = "", *, left_out: frozenset[str]
) -> None:
    for key, value in old.attrs.items():
        # older Keras declares names as ASCII whatever they are
        is_text = isinstance(value, np.ndarray) and h5py.check_string_dtype(value.dtype) and value.dtype.kind == "O"
        new.attrs[key] = value.astype(h5py.string_dtype("utf-8")) if is_text else value
    for key in old:
        place = joined(prefix, key)
        if (key in _LEFT_OUT and not prefix) or not isinstance(old.get(key, getlink=True), h5py.HardLink):
            continue
        item = old[key]
        if isinstance(item, h5py.Group):
            _copy_group(item, new.create_group(key), arrays, place, left_out=left_out)
        elif place in arrays:
            new.create_dataset(key, data=arrays[place].astype(item.dtype))
            for name, value in item.attrs.items():
                new[key].attrs[name] = value
        elif place not in left_out:
            old.copy(key, new)


def _list_names(new: h5py.File, groups: Mapping[str, list[Stored]]) -> None:
    """Enter added weights in the list that older files keep at a group, each after the one before it in its layer."""
    for place, members in groups.items():
        if place not in new or "weight_names" not in new[place].attrs:
            continue
        raw = np.ravel(new[place].attrs["weight_names"]).tolist()
        listed = [name.decode() if isinstance(name, bytes) else str(name) for name in raw]
        count = len(listed)
        for before, name in (pair for stored in members for pair in zip(stored.order, stored.order[1:], strict=False)):
            if name not in listed:
                listed.insert(listed.index(before) + 1, name)
        if len(listed) != count:
            new[place].attrs["weight_names"] = np.array([name.encode() for name in listed])


def with_layers(model: Mapping[str, Any], configs: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Return the description with other configs for the named layers."""
    changed = copy.deepcopy(dict(model))
    for path, entry in walk(changed["config"]):
        if path in configs:
            entry["config"] = copy.deepcopy(dict(configs[path]))
    return changed


def resized(model: Mapping[str, Any], lowered: "LoweredModel") -> dict[str, Any]:
    """Return the description with the shapes that its layers and calls have now."""
    changed = copy.deepcopy(dict(model))
    for path, entry in walk(changed["config"]):
        _resize(entry, lowered.arriving.get(path))
        prefix = path.rpartition("/")[0]
        nodes = [node for node in entry.get("inbound_nodes") or () if isinstance(node, dict)]  # of Keras 3
        for tensor in tensors([[*node.get("args", ()), *node.get("kwargs", {}).values()] for node in nodes]):
            name, call, output = tensor["keras_history"]
            tensor["shape"] = [None, *lowered.values[f"{prefix}/{name}" if prefix else name, call, output]]
    _resize(changed, lowered.arriving.get(""))
    return changed


def _resize(entry: dict[str, Any], arriving: tuple[Shape, ...] | None) -> None:
    """Give one entry the shapes it is called on, and leave out what Keras works out again."""
    config, built = entry.get("config"), entry.get("build_config")
    if arriving is None or not isinstance(config, dict):
        entry.pop("build_config", None)
        return
    shapes = [[None, *shape] for shape in arriving]
    for key in _BATCH:
        if key in config:
            config[key] = shapes[0]
    if config.get("build_input_shape") is not None:
        config["build_input_shape"] = shapes[0]
    if isinstance(built, dict) and set(built) == {"input_shape"} and built["input_shape"] is not None:
        built["input_shape"] = shapes[0] if len(shapes) == 1 else shapes
    elif built is not None and built != {"input_shape": None}:
        del entry["build_config"]
