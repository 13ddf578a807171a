"""Outputs of hls4ml's graph: each a value of its own, where a network puts one out twice, or an input."""

from collections.abc import Iterable, Mapping
from dataclasses import replace

from hepprune.firmware.layers.base import HlsLayer
from hepprune.firmware.names import PART


def distinct(nodes: Iterable[HlsLayer], outputs: Iterable[str]) -> tuple[list[HlsLayer], tuple[str, ...]]:
    """Return the nodes, with a copy of each output that is an input or an earlier output too, and outputs by node."""
    known = {node.name: node for node in nodes}
    taken = {name for name, node in known.items() if node.attributes["class_name"] == "InputLayer"}
    ends: list[str] = []
    for name in outputs:
        # past what hls4ml drops: it only calls a value by another shape or name
        maker = known[name]
        while maker.attributes["class_name"] == "Reshape" or _changes_nothing(known, maker):
            maker = known[maker.attributes["inputs"][0]]
        made_by = maker.name
        if made_by in taken:
            copied = _copy(known[name], f"{name}{PART}out{len(ends)}")
            known[copied.name] = copied
            name = copied.name  # noqa: PLW2901
        taken.add(made_by)
        ends.append(name)
    return list(known.values()), tuple(ends)


def _changes_nothing(known: Mapping[str, HlsLayer], node: HlsLayer) -> bool:
    if node.attributes.get("activation") != "linear":
        return False
    return node.precision["result"] == known[node.attributes["inputs"][0]].precision["result"]


def _copy(node: HlsLayer, name: str) -> HlsLayer:
    """Return a node that hands a value on; hls4ml would drop one of function linear, but not if it is Linear."""
    attributes = {"class_name": "Activation", "name": name, "inputs": [node.name], "activation": "Linear"}
    return replace(node, name=name, attributes=attributes, precision={"result": node.precision["result"]}, knobs={})
