"""The JSON that describes a model, changed: configs of layers, and the shapes that are written beside them."""

import copy
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from hepprune.frontends.keras.files import MODELS, entries, name_of
from hepprune.network import Shape

if TYPE_CHECKING:
    from hepprune.frontends.keras.graph import LoweredModel

_BATCH = ("batch_shape", "batch_input_shape")


def _walk(model: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield (path, entry) of every layer and every model inside."""
    for entry in entries(model["config"]):
        path = prefix + name_of(entry)
        yield path, entry
        if entry.get("class_name") in MODELS:
            yield from _walk(entry, path + "/")


def with_layers(model: Mapping[str, Any], configs: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Return the description with other configs for the named layers."""
    changed = copy.deepcopy(dict(model))
    for path, entry in _walk(changed):
        if path in configs:
            entry["config"] = copy.deepcopy(dict(configs[path]))
    return changed


def resized(model: Mapping[str, Any], lowered: "LoweredModel") -> dict[str, Any]:
    """Return the description with the shapes that its layers and calls have now."""
    changed = copy.deepcopy(dict(model))
    for path, entry in _walk(changed):
        _resize(entry, lowered.arriving.get(path))
        prefix = path.rpartition("/")[0]
        for tensor in _tensors(entry.get("inbound_nodes")):
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


def _tensors(structure: Any) -> Iterator[dict[str, Any]]:
    """Yield the config of every `__keras_tensor__` in a nest of lists and dicts."""
    if isinstance(structure, dict):
        if structure.get("class_name") == "__keras_tensor__":
            yield structure["config"]
            return
        structure = list(structure.values())
    if isinstance(structure, list):
        for entry in structure:
            yield from _tensors(entry)
