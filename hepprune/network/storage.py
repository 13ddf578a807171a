"""A Network in one `.npz` file: a JSON header and plain arrays, nothing that could run."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch

from hepprune import arrays
from hepprune.errors import HeppruneError, NetworkError, unknown
from hepprune.files import content_hash, replacing
from hepprune.network.graph import Network, check_depth
from hepprune.network.layers import LAYERS, Layer
from hepprune.network.settings import checked
from hepprune.quantisers import from_json

_HEADER = "structure"
_MAX_BYTES = 2**30
# What json and torch raise on foreign content.
_DAMAGE = (ArithmeticError, AttributeError, HeppruneError, LookupError, RuntimeError, TypeError, ValueError)


def save(network: Network, path: Path) -> Path:
    """Write a network whole, and return its path."""
    tensors = {name: tensor.cpu().numpy() for name, tensor in network.state_dict().items()}
    with replacing(path.with_suffix(".npz")) as temporary:
        np.savez_compressed(temporary, **{_HEADER: np.array(json.dumps(network.structure()))}, **tensors)  # type: ignore[arg-type]
    return path.with_suffix(".npz")


def load(path: Path) -> Network:
    """Read a network that `save` wrote.

    Raises:
        NetworkError: the file is missing, damaged, too large or no network.
    """
    if not path.is_file():
        raise NetworkError(f"no network file at '{path}'")
    try:
        found = arrays.read(path, max_bytes=_MAX_BYTES)
        header = json.loads(str(found.pop(_HEADER)))
        return _build(header, {name: torch.as_tensor(array) for name, array in found.items()})
    except _DAMAGE as problem:
        raise NetworkError(f"'{path}' is no network saved by hepprune: {problem}") from problem


def identity(network: Network) -> str:
    """Return the content hash that names this network: structure, weights, quantisers."""
    tensors = (tensor.cpu().numpy() for tensor in network.state_dict().values())
    return content_hash(network.structure(), *(array.tobytes() for array in tensors))


def _build(structure: dict[str, Any], tensors: dict[str, torch.Tensor]) -> Network:
    check_depth(len(structure["layers"]))
    layers = [_layer(dict(settings), tensors) for settings in structure["layers"]]
    return Network(layers, structure["sources"], structure.get("outputs"))


def _layer(settings: dict[str, Any], tensors: dict[str, torch.Tensor]) -> Layer:
    kind = settings.pop("layer" if "layer" in settings else "kind")  # the name it had in files of 0.1.0
    if kind not in LAYERS:
        raise NetworkError(unknown("layer kind", kind, LAYERS))
    quantisers = {key: from_json(of) for key, of in settings.items() if key == "result" or key.endswith("_type")}
    prefix = f"layers.{settings['name']}."
    own = {name.removeprefix(prefix): array for name, array in tensors.items() if name.startswith(prefix)}
    for key, array in own.items():
        if array.is_floating_point() and not torch.isfinite(array).all():
            raise NetworkError(f"layer '{settings['name']}' has {key} that is not finite")
    arguments: dict[str, Any] = {**checked(kind, settings), **quantisers, **own}
    return LAYERS[kind](**arguments)
