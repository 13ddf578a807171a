"""Pruned weights held at zero while a native model is trained."""

from importlib import import_module
from typing import Any

import numpy as np
import torch

from hepprune.errors import NetworkError
from hepprune.frontends.keras.framework import read_object, root_of
from hepprune.frontends.keras.graph import lower
from hepprune.frontends.keras.registry import LAYERS, Floats
from hepprune.frontends.keras.writing import same_graph
from hepprune.network import Network, Recurrent, Weighted


def hold_masks(network: Network, model: Any) -> Any:
    """Return a callback for `model.fit` that sets the network's zero weights to zero again after every batch.

    The model is the native one with the network's shapes, as `native(network, like=...)` returns it.

    Raises:
        NetworkError: the model is none of Keras, or has other layers or shapes than the network.
    """
    root = root_of(model)
    if root is None:
        raise NetworkError(f"an object of type {type(model).__name__} is no model of Keras")
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
    """Return for each native layer with a kernel its arrays' masks, 0 where the network's weight is zero, else 1."""
    lowered = lower(read_object(model))
    same_graph(network, lowered.network)
    ones = lowered.network.clone()
    for layer in ones:
        for name, array in layer.named_parameters():
            array.fill_(1.0)
            acting = _acting(network, layer.name, name)
            if acting is None:
                continue
            if acting.shape != array.shape:
                raise NetworkError(
                    f"layer '{layer.name}' has the shape {tuple(array.shape)}, not {tuple(acting.shape)}"
                )
            array.copy_((acting != 0).to(array.dtype))
    return {
        path: LAYERS[native.kind].fill(native, {name: ones[name] for name in lowered.parts[path]}).weights
        for path, native in lowered.natives.items()
        if any(isinstance(ones[name], Weighted | Recurrent) for name in lowered.parts[path])
    }


def _acting(network: Network, layer: str, name: str) -> torch.Tensor | None:
    """Return the kernel that acts under a parameter's name, None for biases and the like."""
    found = network[layer]
    if isinstance(found, Weighted) and name == "weight":
        return found.used_weight()
    if isinstance(found, Recurrent) and name in {"weight", "recurrent_weight"}:
        return found.used(name)
    return None


def _layer(model: Any, path: str) -> Any:
    for name in path.split("/"):
        model = model.get_layer(name)
    return model
