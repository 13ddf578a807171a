"""Models of Keras, QKeras, HGQ and PQuantML, in and out; files are read and written without their frameworks."""

import tempfile
from importlib import import_module
from pathlib import Path
from typing import Any

from hepprune.errors import NetworkError
from hepprune.frontends.checking import Reading
from hepprune.frontends.keras.files import KerasModel, read_model
from hepprune.frontends.keras.framework import hold_masks, loaded, read_object, root_of, running, saved
from hepprune.frontends.keras.graph import lower
from hepprune.frontends.keras.storing import store
from hepprune.frontends.keras.writing import filled
from hepprune.network import Network

__all__ = ["claims", "hold_masks", "native", "read", "read_back", "write"]

# Each of these enters the layer classes it knows in `registry.LAYERS`.
_LAYERS = (
    "layers.activations", "layers.attention", "layers.einsum", "layers.normalisation", "layers.operations",
    "layers.parts", "layers.recurrent", "layers.shaping", "layers.weighted", "qkeras.layers", "qkeras.recurrent",
    "qkeras.folding", "hgq.layers", "hgq.first", "pquant.layers", "pquant.composed", "qkeras.wrapped",
)  # fmt: skip
for _name in _LAYERS:
    import_module(f"{__name__}.{_name}")


def claims(model: Any) -> bool:
    """Return whether a model is one of Keras: a `.h5`, `.keras` or `.json` file, or an object of the framework."""
    if isinstance(model, str | Path):
        return Path(model).suffix in {".h5", ".hdf5", ".keras", ".json"}
    return root_of(model) is not None


def read(model: Any) -> Network:
    """Return the network of a file or of a model in memory.

    Raises:
        NetworkError: the file is damaged, or a layer cannot be taken over; the sentence names it.
    """
    return lower(_model(model)).network


def write(network: Network, path: Path, *, like: Any) -> Path:
    """Write the network as the file that `like` is, or as the native file of a model in memory; return the path.

    Raises:
        NetworkError: the network has another graph than `like`, or a value that the format cannot hold.
    """
    with tempfile.TemporaryDirectory() as folder:
        source = Path(like) if isinstance(like, str | Path) else saved(like, Path(folder))
        return store(filled(network, read_model(source)), Path(path))


def read_back(path: Path, *, like: Any) -> Reading:
    """Return what a written file is; a model in memory has its framework at hand, which then runs it."""
    network = read(path)
    plain = len(network.inputs) == len(network.outputs) == 1  # others may come in an order of the framework's own
    here = plain and not isinstance(like, str | Path)
    return Reading(network, running(loaded(path, like=like)) if here else None)


def native(network: Network, *, like: Any) -> Any:
    """Return the network as a model of `like`'s framework in memory, not compiled, for the user's own training loop.

    Raises:
        NetworkError: as for `write`.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = write(network, Path(folder) / "native", like=like)
        return loaded(path, like=_model(like) if isinstance(like, str | Path) else like)


def _model(model: Any) -> KerasModel:
    if isinstance(model, str | Path):
        return read_model(Path(model))
    if root_of(model) is None:
        raise NetworkError(f"an object of type {type(model).__name__} is not a model of Keras")
    return read_object(model)
