"""Files of Keras read with h5py, zipfile and json alone: never a framework, never a pickle, nothing executed."""

import json
import re
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hepprune.errors import NetworkError, explained
from hepprune.files.arrays import DAMAGE
from hepprune.frontends.keras.hdf5 import ArrayFile, joined, opened
from hepprune.frontends.keras.registry import LAYERS, Floats, numbered

MODELS = ("Sequential", "Functional", "Model")
_MAX_BYTES = 2**30
_MAX_CONFIG = 2**24
# The weights of a `model.json`, by its stem.
_WEIGHTS = ("{}_weights.h5", "{}.weights.h5", "model.weights.h5", "model_weights.h5", "weights.h5", "{}.h5")
_OLDER = "_layer_checkpoint_dependencies"  # in files of Keras up to 2.14, whose numbers of 2.13 have gaps
_BIT_WIDTH = re.compile(r"/(fixed|float)_point_quantizer(_k[bi][if])?(_\d{1,9})?/")


@dataclass(frozen=True)
class Stored:
    """The arrays of one layer by their place below `group` in the HDF5 file.

    `order` gives the places of the weights as Keras' `get_weights()` orders them.
    """

    group: str
    order: tuple[str, ...]
    arrays: Mapping[str, Floats]

    @property
    def weights(self) -> tuple[Floats, ...]:
        """The weights in the order of Keras."""
        return tuple(self.arrays[place] for place in self.order)


@dataclass(frozen=True)
class KerasModel:
    """A model as its file has it: its JSON, the arrays of each layer by path, Keras' major version."""

    config: Mapping[str, Any]
    layers: Mapping[str, Stored]
    keras: int
    source: Path


def read_model(path: Path) -> KerasModel:
    """Return what a `.h5`, `.keras` or `model.json` (with its weights beside it) holds.

    Raises:
        NetworkError: the file is missing, damaged, too large or no model of Keras, or an array is not finite.
    """
    if not path.is_file():
        raise NetworkError(f"no model file at '{path}'")
    with explained(NetworkError, f"'{path}' cannot be read as a model of Keras:", *DAMAGE, NetworkError):
        return _read(path)


def _read(path: Path) -> KerasModel:
    if path.stat().st_size > _MAX_BYTES:
        raise NetworkError(f"it has more than {_MAX_BYTES} bytes")
    if path.suffix == ".json":
        return _json(path)
    return _archive(path) if zipfile.is_zipfile(path) else _legacy(path)


def entries(config: Any) -> list[dict[str, Any]]:
    """Return the layers of a model's config; before Keras 2.2.3 a Sequential's config is their list."""
    layers = config.get("layers") if isinstance(config, dict) else config
    if not isinstance(layers, list) or not all(isinstance(layer, dict) for layer in layers):
        raise NetworkError("its config lists no layers")
    return layers


def name_of(entry: Mapping[str, Any]) -> str:
    """Return the name of a layer in a model's config."""
    config = entry.get("config")
    name = entry.get("name") or (config.get("name") if isinstance(config, dict) else None)
    if not isinstance(name, str):
        raise NetworkError(f"a layer of class {str(entry.get('class_name'))[:60]} has no name")
    return name


def walk(config: Any, prefix: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield (path, entry) of every layer and every model inside, in order; a path is outer/inner."""
    for entry in entries(config):
        path = prefix + name_of(entry)
        yield path, entry
        if entry.get("class_name") in MODELS:
            yield from walk(entry.get("config"), path + "/")


def leaves(config: Any, prefix: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Return (path, entry) of every layer that is not a model itself, in order."""
    return ((path, entry) for path, entry in walk(config, prefix) if entry.get("class_name") not in MODELS)


def weights_beside(path: Path) -> Path:
    """Return the weights file of a `model.json`.

    Raises:
        NetworkError: none of the usual names exists.
    """
    names = list(dict.fromkeys(pattern.format(path.stem) for pattern in _WEIGHTS))
    for name in names:
        if (path.parent / name).is_file():
            return path.parent / name
    raise NetworkError(f"no weights lie beside it; looked for {', '.join(names)}")


def beside(weights: Path, described: Path, path: Path) -> Path:
    """Return the name, beside another `model.json`, of weights that lie beside this one."""
    pattern = next(p for p in _WEIGHTS if p.format(described.stem) == weights.name)
    return path.parent / pattern.format(path.stem)


def _described(text: str | bytes) -> dict[str, Any]:
    if len(text) > _MAX_CONFIG:
        raise NetworkError(f"its config has more than {_MAX_CONFIG} bytes")
    described = json.loads(text)
    if not isinstance(described, dict) or described.get("class_name") not in MODELS:
        kind = described.get("class_name") if isinstance(described, dict) else None
        raise NetworkError(f"it describes a {str(kind)[:60]}, no Sequential or Functional model")
    return described


def _major(version: Any) -> int:
    found = re.match(r"(\d{1,3})\.", str(version))
    if found is None or int(found[1]) not in {2, 3}:
        raise NetworkError(f"it was written by Keras {str(version)[:20]}; 2 and 3 are known")
    return int(found[1])


def _legacy(path: Path) -> KerasModel:
    with opened(path) as file:
        if "model_config" not in file.attrs:
            raise NetworkError("it holds no model_config; a file of weights alone needs its model.json")
        config = _described(file.attrs["model_config"])
        keras = _major(file.attrs.get("keras_version", config.get("keras_version")))
        return KerasModel(config, _legacy_layers(ArrayFile(file), "model_weights", config["config"]), keras, path)


def _archive(path: Path) -> KerasModel:
    with zipfile.ZipFile(path) as archive:
        sizes = {entry.filename: entry.file_size for entry in archive.infolist()}
        if sum(sizes.values()) > _MAX_BYTES:
            raise NetworkError(f"it unpacks to more than {_MAX_BYTES} bytes")
        if sizes.get("config.json", 0) > _MAX_CONFIG:
            raise NetworkError(f"its config has more than {_MAX_CONFIG} bytes")
        config = _described(archive.read("config.json"))
        keras = _major(json.loads(archive.read("metadata.json"))["keras_version"])
        with opened(archive.read("model.weights.h5")) as file:
            return KerasModel(config, _layers(ArrayFile(file), "", config["config"]), keras, path)


def _json(path: Path) -> KerasModel:
    config = _described(path.read_text(encoding="utf-8"))
    keras = _major(config.get("keras_version", "3."))  # Keras 3 writes no version
    with opened(weights_beside(path)) as file:
        store, listed = ArrayFile(file), "layer_names" in file.attrs or "layer_names0" in file.attrs
        root = "model_weights" if "model_weights" in file and not listed else ""
        layers = (_legacy_layers if listed or root else _layers)(store, root, config["config"])
        return KerasModel(config, layers, keras, path)


def _legacy_layers(store: ArrayFile, root: str, config: Any) -> dict[str, Stored]:
    """Return the arrays of a file that groups them by layer, a nested model's together under its name."""
    found: dict[str, Stored] = {}
    for entry in entries(config):
        name = name_of(entry)
        group = joined(root, name)
        places = store.names(group, "weight_names")
        arrays = {place: store.array(joined(group, place), name) for place in places}
        if entry.get("class_name") in MODELS:
            found |= _nested(group, arrays, leaves(entry.get("config"), name + "/"))
        else:
            # a `.h5` lists HGQ2's bit widths among the weights
            found[name] = Stored(group, tuple(place for place in places if not _BIT_WIDTH.search(place)), arrays)
    return found


def _nested(group: str, arrays: Mapping[str, Floats], inner: Iterable[tuple[str, dict[str, Any]]]) -> dict[str, Stored]:
    """Share a nested model's arrays among its layers: the first component of a weight's name that names one decides.

    A wrapper of tensorflow_model_optimization keeps the name of the layer that it wraps.
    """
    places: dict[str, list[str]] = {}
    by_name: dict[str, str] = {}
    for path, entry in inner:
        places[path] = []
        by_name |= {name: path for name in (path.rsplit("/", 1)[-1], _wrapped_name(entry)) if name}
    for place in arrays:
        owner = next((part for part in place.split("/") if part in by_name), None)
        if owner is None:
            raise NetworkError(f"the weight '{place}' of the nested model '{group}' belongs to none of its layers")
        places[by_name[owner]].append(place)
    return {path: Stored(group, tuple(own), {place: arrays[place] for place in own}) for path, own in places.items()}


def _wrapped_name(entry: Mapping[str, Any]) -> str | None:
    config = entry.get("config")
    wrapped = config.get("layer") if isinstance(config, dict) else None
    return name_of(wrapped) if isinstance(wrapped, dict) else None


def _layers(store: ArrayFile, root: str, config: Any, prefix: str = "") -> dict[str, Stored]:
    """Return the arrays of a Keras 3 weights file, whose groups are named after classes and counted."""
    found: dict[str, Stored] = {}
    container = next((c for c in ("layers", _OLDER) if store.has(joined(root, c))), "layers")
    named, counts = store.named(joined(root, container)), dict[str, int]()
    for entry in entries(config):
        name, kind = name_of(entry), str(entry.get("class_name")).rpartition(">")[2]  # behind the package's name
        plain = snake_case("Functional" if kind == "Model" else kind)
        counts[plain] = counts.get(plain, -1) + 1
        counted = plain if counts[plain] == 0 else f"{plain}_{counts[plain]}"
        if container == _OLDER:
            counted = dict(enumerate(store.numbered(joined(root, container), plain))).get(counts[plain], counted)
        group = joined(root, container, named.get(name, counted))
        if kind in MODELS:
            found |= _layers(store, group, entry.get("config"), f"{prefix}{name}/")
        else:
            found[prefix + name] = _own(store, group, kind)
    return found


def _own(store: ArrayFile, group: str, kind: str) -> Stored:
    arrays = {place: store.array(joined(group, place), group) for place in store.places(group)}
    order: list[str] = []
    for sub in LAYERS[kind].groups if kind in LAYERS else ("",):
        spelt = sub if store.has(joined(group, sub)) else f"_{sub}"  # Keras 2 keeps sublayers under private names
        order += numbered(arrays, joined(spelt, "vars/"))
    return Stored(group, tuple(order), arrays)


def snake_case(name: str) -> str:
    """Return a class name as Keras spells it in a weights file."""
    plain = re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", re.sub(r"\W+", "", name))
    return re.sub(r"([a-z])([A-Z])", r"\1_\2", plain).lower()
