"""Calls of layers in a functional model, as Keras 2 and Keras 3 write them."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from hepprune.errors import NetworkError
from hepprune.frontends.keras.registry import Native

_CONSTANT = "_CONSTANT_VALUE"  # what Keras 2 writes in the place of a layer's name where the first value is a constant
_HARMLESS = {"training", "need_weights"}  # which say nothing of the first value that a layer puts out at inference


@dataclass(frozen=True)
class Reference:
    """A value in the graph: output `output` of call number `call` of a layer."""

    layer: str
    call: int
    output: int


@dataclass(frozen=True)
class LayerCall:
    """One call: the values it reads, the keyword each is passed by (None by position), and its other arguments.

    A constant that is passed by position is among `settings` under its place, "1" for the second.
    """

    references: tuple[Reference, ...] = ()
    arguments: tuple[str | None, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    arriving: tuple[str, ...] = ()

    def check(self, native: Native) -> None:
        """Refuse keyword arguments that change what a layer computes."""
        for key, value in self.settings.items():
            if key.isdecimal():
                raise native.refuse(f"is called on the constant {str(value)[:40]}, which cannot be taken over")
            if value not in (None, False) and key not in _HARMLESS:
                raise native.refuse(f"is called with {key} = {str(value)[:40]}, which cannot be taken over")
        named = {name for name in self.arguments if name is not None}
        if named - {"inputs", "x"} and not native.kind.endswith("Attention"):
            raise native.refuse(f"is called with a value as {', '.join(sorted(named))}, which cannot be taken over")


def calls(nodes: Any) -> list[LayerCall]:
    """Return the calls among `inbound_nodes`."""
    if not isinstance(nodes, list):
        raise NetworkError("its graph is not a list of calls")
    return [_new(node) if isinstance(node, dict) else _old(node) for node in nodes]


def references(structure: Any) -> list[Reference]:
    """Return the values that a nest of lists and dicts names, [layer, call, output] each, in order."""
    return [reference for reference, _ in _references(structure)]


def _references(structure: Any) -> Iterator[tuple[Reference, Mapping[str, Any]]]:
    """Yield each value and the keyword arguments written beside it."""
    if isinstance(structure, dict):
        for entry in structure.values():
            yield from _references(entry)
    elif _names_value(structure):
        beside = structure[3] if len(structure) > 3 and isinstance(structure[3], dict) else {}
        yield Reference(*structure[:3]), beside
    elif isinstance(structure, list):
        for entry in structure:
            yield from _references(entry)
    else:
        raise NetworkError(f"its graph has {str(structure)[:60]} in the place of a value")


def _names_value(structure: Any) -> bool:
    if not isinstance(structure, list) or len(structure) not in {3, 4} or not isinstance(structure[0], str):
        return False
    return structure[0] == _CONSTANT or all(isinstance(number, int) for number in structure[1:3])


def _old(node: Any) -> LayerCall:
    """Return a call as Keras 2 writes it: values with keyword arguments beside the first, among them more values."""
    found = list(_references(node))
    read: list[Reference] = [reference for reference, _ in found]
    settings = {"0": read.pop(0).output} if read and read[0].layer == _CONSTANT else dict[str, Any]()
    names: list[str | None] = [None] * len(read)
    for key, value in (item for _, beside in found for item in beside.items()):
        if _names_value(value):
            read.append(Reference(*value[:3]))
            names.append(key)
        else:
            settings[key] = value
    return LayerCall(tuple(read), tuple(names), settings)


def _new(node: Mapping[str, Any]) -> LayerCall:
    """Return a call as Keras 3 writes it: args and kwargs, values marked as tensors."""
    read: list[Reference] = []
    names: list[str | None] = []
    settings: dict[str, Any] = {}
    by_place = [(None, str(place), value) for place, value in enumerate(node.get("args", [])) if value is not None]
    by_name = [(key, key, value) for key, value in node.get("kwargs", {}).items()]
    for name, key, value in (*by_place, *by_name):
        found = references([tensor["keras_history"] for tensor in tensors(value)])
        read += found
        names += [name] * len(found)
        settings |= {} if found else {key: value}
    return LayerCall(tuple(read), tuple(names), settings)


def tensors(structure: Any) -> Iterator[dict[str, Any]]:
    """Yield the config of every `__keras_tensor__` in a nest of lists; those in a dict go by name, not in order."""
    if isinstance(structure, dict) and structure.get("class_name") == "__keras_tensor__":
        yield structure["config"]
    elif isinstance(structure, list):
        for entry in structure:
            yield from tensors(entry)
