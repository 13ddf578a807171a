"""Models of every framework: `read(model)` gives a Network, `write(network, path, like=model)` takes it back."""

from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

from hepprune.errors import NetworkError
from hepprune.network import Network, load, save

# Each module has `claims(model)`, `read(model)` and `write(network, path, like=model)`, and imports its framework only
# inside functions; the first that claims a model reads it.
FRONTENDS = ("keras", "onnx", "pytorch")


def read(model: Any) -> Network:
    """Return the network of a model: a file of any framework, or an object of one.

    Files are `.npz` (hepprune's own), `.h5`, `.keras`, `model.json` beside its weights, `.pt2` (torch.export),
    `.onnx` (ONNX and QONNX), or `package.module:factory` with an optional `@weights.pt` for torch. Nothing in a file
    is executed.

    Raises:
        NetworkError: the file is missing, damaged or of an unknown kind, or a layer cannot be taken over; the sentence
            names it.
    """
    if _is_own(model):
        return load(Path(model))
    return _frontend(model).read(model)  # type: ignore[no-any-return]


def write(network: Network, path: Path, *, like: Any) -> Path:
    """Write the network as the kind of file that `like` is, with the shapes and weights it has now; return the path.

    `like` is the model the network was read from: names, settings and everything that no Network holds come from it.

    Raises:
        NetworkError: the network has another graph than `like`, or a value that the format cannot hold.
    """
    if _is_own(like):
        return save(network, path)
    return _frontend(like).write(network, path, like=like)  # type: ignore[no-any-return]


def _is_own(model: Any) -> bool:
    return isinstance(model, str | Path) and Path(model).suffix == ".npz"


def _frontend(model: Any) -> ModuleType:
    if isinstance(model, str | Path) and ":" not in str(model) and not Path(model).exists():
        raise NetworkError(f"no model at '{model}'")
    for name in FRONTENDS:
        module = import_module(f"hepprune.frontends.{name}")
        if module.claims(model):
            return module
    what = f"'{model}'" if isinstance(model, str | Path) else f"an object of type {type(model).__name__}"
    raise NetworkError(
        f"{what} is no model that can be read; known are .h5, .keras, model.json, .onnx, .pt2, .npz, "
        "module:factory, and models of torch, Keras and ONNX in memory"
    )
