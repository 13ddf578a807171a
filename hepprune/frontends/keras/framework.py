"""Models of Keras in memory: their framework, the way between them and files, and pruned weights held at zero."""

import tempfile
import warnings
from functools import reduce
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch

from hepprune.errors import NetworkError, explained, refused
from hepprune.frontends.checking import RunModel
from hepprune.frontends.keras.files import KerasModel, leaves, read_model, weights_beside
from hepprune.frontends.keras.graph import lower
from hepprune.frontends.keras.registry import LAYERS, Floats
from hepprune.frontends.keras.writing import same_graph
from hepprune.network import Network

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
    new = int(import_module(root_of(model) or "keras").__version__.split(".")[0]) > 2
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


def hold_masks(network: Network, model: Any) -> Any:
    """Return a callback for `model.fit` that sets the network's zero weights to zero again after every batch.

    The model is the native one with the network's shapes, as `native(network, like=...)` returns it.

    Raises:
        NetworkError: the model is none of Keras, or has other layers or shapes than the network.
    """
    root = root_of(model)
    if root is None:
        raise NetworkError(f"an object of type {type(model).__name__} is not a model of Keras")
    held = [
        (variable, np.asarray(mask, dtype=np.float32))
        for path, masks in native_masks(network, model).items()
        for layer in [reduce(lambda inside, name: inside.get_layer(name), path.split("/"), model)]
        for variable, mask in zip(layer.weights, masks, strict=True)
        if not mask.all()
    ]

    class HoldMasks(import_module(root).callbacks.Callback):  # type: ignore[misc]
        """Multiplies every pruned array by its mask after each batch."""

        def on_train_begin(self, logs: Any = None) -> None:
            for variable, mask in held:
                variable.assign(variable * mask)

        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            self.on_train_begin(logs)

    return HoldMasks()


@torch.no_grad()
def native_masks(network: Network, model: Any) -> dict[str, tuple[Floats, ...]]:
    """Return for each native layer with a kernel its arrays' masks, 0 where the network's weight is zero, else 1.

    They are found where the layer's own way of writing ones, once all of them and once without the zero weights, gives
    a zero for the second only: what else a layer keeps, such as the statistics of a folded normalisation, is free.
    """
    lowered = lower(read_object(model))
    same_graph(network, lowered.network)
    ones, kept = lowered.network.clone(), lowered.network.clone()
    for whole, layer in zip(ones, kept, strict=True):
        for name, array in layer.named_parameters():
            acting = next((kernel.used() for kernel in network[layer.name].kernels if kernel.array == name), None)
            whole.get_parameter(name).fill_(1.0)
            if acting is not None and acting.shape != array.shape:
                raise refused(layer.name, f"has the shape {tuple(array.shape)}, not {tuple(acting.shape)}")
            array.copy_(torch.ones_like(array) if acting is None else (acting != 0).to(array.dtype))
    found = {}
    for path, native in lowered.natives.items():
        names = lowered.parts[path]
        if any(ones[name].kernels for name in names):
            each = (LAYERS[native.kind].fill(native, {name: of[name] for name in names}).weights for of in (ones, kept))
            found[path] = tuple(np.where((full != 0) & (cut == 0), 0.0, 1.0) for full, cut in zip(*each, strict=True))
    return found
