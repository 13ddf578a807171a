"""Models of Keras in memory: which framework they are of, and the way between them and files."""

import tempfile
import warnings
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch

from hepprune.errors import NetworkError, explained
from hepprune.frontends.checking import RunModel
from hepprune.frontends.keras.files import KerasModel, leaves, read_model, weights_beside

_ROOTS = ("tf_keras", "keras")


def root_of(model: Any) -> str | None:
    """Return the package whose model an object is, tf_keras (Keras 2) or keras; None where it is none."""
    for kind in type(model).__mro__:
        root, _, rest = kind.__module__.partition(".")
        if kind.__name__ == "Model" and root in _ROOTS:
            return root
        if kind.__name__ == "Model" and root == "tensorflow" and ".keras." in rest:
            return "tensorflow.keras"
    return None


def read_object(model: Any) -> KerasModel:
    """Return what a model in memory holds, by way of the file its framework writes of it.

    Raises:
        NetworkError: the framework cannot write it, or it is not a Sequential or Functional model.
    """
    with tempfile.TemporaryDirectory() as folder:
        return read_model(saved(model, Path(folder)))


def saved(model: Any, folder: Path) -> Path:
    """Write a model in memory without its optimizer: `.keras` for Keras 3, `.h5` for Keras 2; return the path."""
    framework = import_module(root_of(model) or "keras")
    new = int(framework.__version__.split(".")[0]) > 2
    path = folder / ("model.keras" if new else "model.h5")
    refused, kinds = f"the model '{model.name}' cannot be saved by its framework:", (NotImplementedError, TypeError)
    with warnings.catch_warnings(action="ignore"), explained(NetworkError, refused, *kinds, ValueError):
        model.save(path, **({} if new else {"include_optimizer": False}))
    return path


def loaded(path: Path, *, like: Any) -> Any:
    """Return the native model in a file, loaded by the framework of `like`: a model in memory, or a file's model."""
    objects: dict[str, Any] = {}
    if isinstance(like, KerasModel):
        names = [str(entry.get("class_name")) for _, entry in leaves(like.config["config"])]
        root, quantised = ("keras", False) if like.keras > 2 else ("tf_keras", any(n.startswith("Q") for n in names))
    else:
        kinds = [type(layer) for layer in like._flatten_layers()]  # noqa: SLF001 -- the only way to nested layers
        objects |= {kind.__name__: kind for kind in kinds if kind.__module__.partition(".")[0] not in _ROOTS}
        root, quantised = root_of(like) or "keras", any(kind.__module__.startswith("qkeras") for kind in kinds)
    if quantised:
        import_module("qkeras.utils")._add_supported_quantized_objects(objects)  # noqa: SLF001 -- QKeras' own list
    with warnings.catch_warnings(action="ignore"):
        models = import_module(root).models
        if path.suffix != ".json":
            return models.load_model(path, custom_objects=objects, compile=False)
        model = models.model_from_json(path.read_text(encoding="utf-8"), custom_objects=objects)
        model.load_weights(weights_beside(path))
        return model


def running(model: Any) -> RunModel:
    """Return what runs a model of one input and one output on features."""
    return lambda given: [torch.as_tensor(np.asarray(model.predict(given[0].float().numpy(), verbose=0)))]
