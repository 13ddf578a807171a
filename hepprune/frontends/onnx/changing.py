"""Settings of nodes written into a graph: each node gets its own, whatever it shared with others before."""

from collections import Counter
from collections.abc import Mapping
from itertools import count
from typing import Any

import numpy as np

from hepprune.frontends.onnx.fitting import Place


def apply(proto: Any, changes: Mapping[Place, Any]) -> None:
    """Give nodes other inputs and attributes, None to leave one out, and drop the constants that nothing reads then."""
    nodes = {next(filter(None, node.output)): node for node in proto.graph.node}
    for (output, place), setting in changes.items():
        if isinstance(place, str):
            _set_attribute(nodes[output], place, setting)
        else:
            _set_input(proto, nodes[output], place, setting)
    while changes and _dropped(proto):
        pass


def _set_attribute(node: Any, name: str, setting: Any) -> None:
    import onnx

    kept = [attribute for attribute in node.attribute if attribute.name != name]
    if setting is not None:
        kept.append(onnx.helper.make_attribute(name, setting.tolist() if isinstance(setting, np.ndarray) else setting))
    del node.attribute[:]
    node.attribute.extend(kept)


def _set_input(proto: Any, node: Any, place: int, setting: Any) -> None:
    import onnx

    name = "" if setting is None else _free(proto, f"{next(filter(None, node.output))}_{place}")
    if setting is not None:
        proto.graph.initializer.append(onnx.numpy_helper.from_array(setting, name))
    names = [*node.input, *[""] * (place + 1 - len(node.input))]
    names[place] = name
    while names and not names[-1]:
        names.pop()
    del node.input[:]
    node.input.extend(names)


def _free(proto: Any, name: str) -> str:
    graph = proto.graph
    taken = {entry.name for entry in (*graph.initializer, *graph.input)} | {
        n for node in graph.node for n in node.output
    }
    tries = (f"{name}_{number}" for number in count(2))
    return name if name not in taken else next(tried for tried in tries if tried not in taken)


def _dropped(proto: Any) -> bool:
    """Drop nodes and initialisers that nothing reads, and return whether there were any nodes."""
    graph = proto.graph
    read = Counter(name for node in graph.node for name in node.input) + Counter(entry.name for entry in graph.output)
    listed = {entry.name for entry in graph.input}
    kept = [node for node in graph.node if any(read[name] for name in node.output)]
    found = len(kept) < len(graph.node)
    tensors = [entry for entry in graph.initializer if read[entry.name] or entry.name in listed]
    for field, entries in ((graph.node, kept), (graph.initializer, tensors)):
        copies = [type(entry).FromString(entry.SerializeToString()) for entry in entries]
        del field[:]
        field.extend(copies)
    return found
