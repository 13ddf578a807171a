"""Models of every framework: `read(model)` gives a Network, `write(network, path, like=model)` takes it back."""

from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

from hepprune.errors import NetworkError
from hepprune.files import staged
from hepprune.frontends.checking import Reading, check
from hepprune.network import Network, load, save

# Each module has `claims(model)`, `read(model)`, `write(network, path, like=model)` and `read_back(path, like=model)`,
# and imports its framework only inside functions; the first that claims a model reads it.
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
    A path that ends in `.npz` is hepprune's own format, which holds any network. The file is there only once it has
    been read back, and run by its own framework where that is at hand, with the network's own outputs.

    Raises:
        NetworkError: the network has another graph than `like`, a value or setting that the format cannot hold, or
            what was written computes something else; the sentence names the layer.
    """
    path = Path(path)
    with staged(path.parent) as folder:
        if path.suffix == ".npz" or _is_own(like):
            made = save(network, folder / path.name)
            check(network, Reading(load(made)))
        else:
            frontend = _frontend(like)
            made = frontend.write(network, folder / path.name, like=like)
            check(network, frontend.read_back(made, like=like))
    return path.parent / made.name


def suffix(model: Any) -> str:
    """Return the ending of the file that `write` makes of a model, `.npz` for one in memory."""
    if not isinstance(model, str | Path):
        return ".npz"
    return ".pt" if ":" in str(model) else Path(model).suffix


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
    known = ".h5, .keras, model.json, .onnx, .pt2, .npz, module:factory, and models of torch, Keras and ONNX in memory"
    raise NetworkError(f"{what} is not a model that can be read; known are {known}")
