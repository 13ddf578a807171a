"""Pruned weights held at zero while a native model is trained."""

from importlib import import_module
from typing import Any

import numpy as np
import torch

from hepprune.errors import NetworkError, refused
from hepprune.frontends.keras.framework import read_object, root_of
from hepprune.frontends.keras.graph import lower
from hepprune.frontends.keras.registry import LAYERS, Floats
from hepprune.frontends.keras.writing import same_graph
from hepprune.network import Network


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
        for variable, mask in zip(_layer(model, path).weights, masks, strict=True)
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


def _layer(model: Any, path: str) -> Any:
    for name in path.split("/"):
        model = model.get_layer(name)
    return model
