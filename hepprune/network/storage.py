"""A Network in one `.npz` file: a JSON header and plain arrays, nothing that could run."""

import json
from functools import cache
from pathlib import Path
from typing import Any, get_type_hints

import numpy as np
import torch
from pydantic import ConfigDict, TypeAdapter, ValidationError
from torch import Tensor

from hepprune.errors import HeppruneError, NetworkError, check_known, explained
from hepprune.files import arrays, content_hash, replacing
from hepprune.fixed import Quantiser
from hepprune.fixed.quantisers import from_json
from hepprune.network.graph import Network
from hepprune.network.layers import LAYERS, Layer
from hepprune.network.node import check_depth

_HEADER = "structure"
_MAX_BYTES = 2**30
# What json and torch raise on foreign content.
_DAMAGE = (ArithmeticError, AttributeError, HeppruneError, LookupError, RuntimeError, TypeError, ValueError)
_LARGEST = 2**31  # of a size, a place or a factor, of which torch takes no larger ones everywhere
_NO_JSON = {Tensor, Tensor | None, Quantiser, Quantiser | None, Any}


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
    with explained(NetworkError, f"'{path}' is not a network saved by hepprune:", *_DAMAGE):
        found = arrays.read(path, max_bytes=_MAX_BYTES)
        header = json.loads(str(found.pop(_HEADER)))
        check_depth(len(header["layers"]))
        tensors = {name: torch.as_tensor(array) for name, array in found.items()}
        layers = [_layer(dict(settings), tensors) for settings in header["layers"]]
        return Network(layers, header["sources"], header.get("outputs"))


def identity(network: Network) -> str:
    """Return the content hash that names this network: structure, weights, quantisers."""
    tensors = (tensor.cpu().numpy() for tensor in network.state_dict().values())
    return content_hash(network.structure(), *(array.tobytes() for array in tensors))


def _layer(settings: dict[str, Any], tensors: dict[str, torch.Tensor]) -> Layer:
    kind = settings.pop("layer" if "layer" in settings else "kind")  # the name it had in files of 0.1.0
    check_known("layer kind", kind, LAYERS, NetworkError)
    quantisers = {key: from_json(of) for key, of in settings.items() if key == "result" or key.endswith("_type")}
    prefix = f"layers.{settings['name']}."
    own = {name.removeprefix(prefix): array for name, array in tensors.items() if name.startswith(prefix)}
    for key, array in own.items():
        if array.is_floating_point() and not torch.isfinite(array).all():
            raise NetworkError(f"layer '{settings['name']}' has {key} that is not finite")
    arguments: dict[str, Any] = {**checked(kind, settings), **quantisers, **own}
    return LAYERS[kind](**arguments)


def checked(kind: str, settings: dict[str, Any]) -> dict[str, Any]:
    """Return the settings of a layer of that kind as its constructor takes them, lists as tuples.

    Raises:
        NetworkError: one is of another kind, not finite or absurdly large.
    """
    found, known = dict(settings), _kinds(kind)
    for key in (key for key in settings if key in known):
        try:
            found[key] = known[key].validate_json(json.dumps(settings[key]))
        except ValidationError as problem:
            said = problem.errors(include_url=False, include_input=False)[0]["msg"]
            raise _refusal(settings, key, said[:1].lower() + said[1:]) from problem
        if not _is_sensible(found[key]):
            raise _refusal(settings, key, f"numbers are below {_LARGEST}")
    return found


def _refusal(settings: dict[str, Any], key: str, why: str) -> NetworkError:
    return NetworkError(f"layer '{settings.get('name')!s:.80}' has {key} = {json.dumps(settings[key])[:80]}: {why}")


def _is_sensible(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return all(map(_is_sensible, value))
    return not isinstance(value, int) or abs(value) < _LARGEST


@cache
def _kinds(name: str) -> "dict[str, TypeAdapter[Any]]":
    """Return what checks each setting that is a plain value, those of the constructors of its bases too."""
    strict = ConfigDict(strict=True, allow_inf_nan=False)
    found: dict[str, TypeAdapter[Any]] = {}
    for base in reversed(LAYERS[name].__mro__):
        if issubclass(base, Layer) and "__init__" in vars(base):
            hints = get_type_hints(base.__init__)
            plain = {name for name in hints if name != "return" and hints[name] not in _NO_JSON}
            found |= {name: TypeAdapter(hints[name], config=strict) for name in plain}
    return found
