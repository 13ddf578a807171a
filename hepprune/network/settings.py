"""The settings of layers in files of strangers: of the kinds that the constructors say, of sensible size."""

import json
from collections.abc import Mapping
from functools import cache
from typing import Any, get_type_hints

from pydantic import ConfigDict, TypeAdapter, ValidationError
from torch import Tensor

from hepprune.errors import NetworkError
from hepprune.fixed import Quantiser
from hepprune.network.layers import LAYERS, Layer

_LARGEST = 2**31  # of a size, a place or a factor, of which torch takes no larger ones everywhere
_NO_JSON = {Tensor, Tensor | None, Quantiser | None, Mapping[str, Quantiser | None], Any}


def checked(kind: str, settings: dict[str, Any]) -> dict[str, Any]:
    """Return the settings of a layer of that kind as its constructor takes them, lists as tuples.

    Raises:
        NetworkError: one is of another kind, not finite or absurdly large.
    """
    known = _kinds(kind)
    return {key: _value(settings, key, known[key]) if key in known else value for key, value in settings.items()}


def _value(settings: dict[str, Any], key: str, kind: "TypeAdapter[Any]") -> Any:
    try:
        value = kind.validate_json(json.dumps(settings[key]))
    except ValidationError as problem:
        said = problem.errors(include_url=False, include_input=False)[0]["msg"]
        raise _refusal(settings, key, said[:1].lower() + said[1:]) from problem
    if not _is_sensible(value):
        raise _refusal(settings, key, f"numbers are below {_LARGEST}")
    return value


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
