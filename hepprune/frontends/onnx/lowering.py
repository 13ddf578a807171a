"""From an ONNX graph to a Network."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
import torch

from hepprune.errors import NetworkError, explained
from hepprune.frontends.onnx.arrays import FileConstant
from hepprune.frontends.onnx.building import Graph, OnnxNode, Site
from hepprune.frontends.onnx.files import CONSTANT, QONNX_DOMAINS, STANDARD, opset
from hepprune.frontends.onnx.fitting import GraphFit, SettingPlace
from hepprune.frontends.onnx.folding import FOLDED, folded, shape_of
from hepprune.frontends.onnx.operators import OPERATORS, QUANTISERS
from hepprune.frontends.pytorch import lowering
from hepprune.frontends.pytorch.lowering import Lowered
from hepprune.frontends.pytorch.ports import ports
from hepprune.frontends.pytorch.program import Ref
from hepprune.frontends.pytorch.values import Value
from hepprune.network import Network

_CHANNELS_FIRST = {
    "AveragePool", "BatchNormalization", "Conv", "GlobalAveragePool", "GlobalMaxPool", "MaxPool", "PRelu", "Resize",
    "Upsample",
}  # fmt: skip
_ELEMENTWISE = {
    "Add", "Cast", "Clip", "Div", "Dropout", "Elu", "HardSigmoid", "Identity", "LeakyRelu", "Mul", "Pad", "Relu",
    "Sigmoid", "Sub", "Tanh", *QUANTISERS,
}  # fmt: skip
# Those that keep the way back to the file for a constant that they move.
_MOVING = {"Transpose", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Identity", "Dropout", "Cast"}


@dataclass(frozen=True, kw_only=True)
class LoweredGraph(Lowered):
    """The network, and what of the file it came from: `changes` are settings that its nodes need to compute it."""

    n_jets: int
    sites: tuple[Site, ...]
    changes: Mapping[SettingPlace, Any]
    values: Mapping[str, Any]

    def fit(self, network: Network) -> GraphFit:
        """Return what brings the graph's settings to those of another network of the same layers."""
        before, known = self.traces, self.network
        return GraphFit(network=network, before=before, known=known, n_jets=self.n_jets, values=self.values)


def lower(proto: Any, fit: GraphFit | None = None) -> LoweredGraph:
    """Return the network that computes what a checked model does, with the settings of its nodes that `fit` tells.

    Raises:
        NetworkError: an operator has no layer; the sentence names it.
    """
    nodes = [_node(entry) for entry in proto.graph.node]
    constants = {tensor.name: _array(tensor) for tensor in proto.graph.initializer}
    inputs = {entry.name: _sizes(entry) for entry in proto.graph.input if entry.name not in constants}
    outputs = tuple(entry.name for entry in proto.graph.output)
    built = Graph(n_jets=lowering.n_jets(inputs), opset=opset(proto), fitting=fit, outputs=outputs)
    built.values.update(constants)
    needed = _constants_first(_needed(nodes, outputs), set(inputs))
    for node in needed:
        for name in filter(None, node.inputs):
            built.readers_of.setdefault(name, []).append(node)
    steps = [(set(n.inputs), n.outputs, n.kind in _CHANNELS_FIRST, n.kind in _ELEMENTWISE) for n in needed]
    for name, shape in inputs.items():
        built.values[name] = lowering.add_input(built, name, shape, steps)
    for node in needed:
        found = _run(built, node)
        built.values.update(zip(node.outputs, found if isinstance(found, list) else [found], strict=False))
    with explained(NetworkError, "a node does not give what the graph puts out:", KeyError):
        leaving = [built.values[name] for name in outputs]
    last = [lowering.output_layer(built, *each) for each in zip(leaving, map(Ref, outputs), strict=True)]
    lying = ports(built, inputs, [built.values[name] for name in inputs], leaving)
    network = lowering.network_of(built, built.merge_quantisers(last))
    return LoweredGraph(
        network=network,
        slots=tuple(slot for slot in built.slots if slot.layer in network.layers),
        ports=lying,
        traces=built.traces,
        n_jets=built.n_jets,
        sites=tuple(site for site in built.sites if site.layer in network.layers),
        changes=built.changes,
        values={name: value for name, value in built.values.items() if value is not None},
    )


def _node(entry: Any) -> OnnxNode:
    name = entry.name or next(filter(None, entry.output), entry.op_type)
    known = (*STANDARD, *QONNX_DOMAINS) if entry.op_type in QUANTISERS else STANDARD
    if entry.domain not in known or entry.op_type not in {*OPERATORS, *QUANTISERS, *FOLDED}:
        where = f" of {entry.domain}" if entry.domain else ""
        raise NetworkError(f"'{name}' uses {entry.op_type}{where}, which no layer of a Network computes")
    attributes = {}
    for attribute in entry.attribute:
        if attribute.type in {onnx.AttributeProto.GRAPH, onnx.AttributeProto.GRAPHS}:
            raise NetworkError(f"'{name}' ({entry.op_type}) holds a graph of its own, which no Network does")
        attributes[attribute.name] = _plain(onnx.helper.get_attribute_value(attribute))
    inputs, outputs = tuple(entry.input), tuple(entry.output)
    return OnnxNode(name=name, kind=entry.op_type, inputs=inputs, outputs=outputs, attributes=attributes)


def _plain(value: Any) -> Any:
    if isinstance(value, onnx.TensorProto):
        return onnx.numpy_helper.to_array(value)
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    return value if isinstance(value, str | int | float) else tuple(map(_plain, value))


def _array(tensor: Any) -> FileConstant:
    damage = (ValueError, TypeError, RuntimeError, LookupError)
    with explained(NetworkError, f"tensor '{tensor.name}' is damaged or holds no numbers", *damage):
        values = onnx.numpy_helper.to_array(tensor)
        return FileConstant(
            tensor=torch.from_numpy(np.array(values, dtype=values.dtype.newbyteorder("="))),
            origin=tensor.name,
            # Exporters put numbers of the code here too, and places to take values at.
            fixed=tensor.doc_string == CONSTANT or not tensor.dims or values.dtype.kind != "f",
        )


def _sizes(entry: Any) -> tuple[int | None, ...]:
    kind = entry.type.tensor_type
    if kind.elem_type not in {1, 10, 11}:  # TensorProto's floating types
        raise NetworkError(f"input '{entry.name}' holds no floating-point numbers")
    return tuple(size.dim_value or None for size in kind.shape.dim)


def _needed(nodes: list[OnnxNode], outputs: tuple[str, ...]) -> list[OnnxNode]:
    wanted, kept = set(outputs), []
    for node in reversed(nodes):
        if wanted.intersection(node.outputs):
            wanted.update(node.inputs)
            kept.append(node)
    return kept[::-1]


def _constants_first(nodes: list[OnnxNode], inputs: set[str]) -> list[OnnxNode]:
    """Return nodes in an order in which what depends on no input is known before the rest."""
    reached = set(inputs)
    for node in nodes:
        if reached.intersection(node.inputs):
            reached.update(node.outputs)
    return sorted(nodes, key=lambda node: bool(reached.intersection(node.inputs)))


def _run(built: Graph, node: OnnxNode) -> Any:
    # the file is damaged, or the format has learned more
    with explained(NetworkError, f"'{node.name}' uses {node.kind} in a way that is not known:", *lowering.UNFIT):
        given = [built.values[name] if name else None for name in node.inputs]
        if node.kind == "Shape":
            return shape_of(node, given[0])
        constant = not any(isinstance(entry, Value) for entry in given)
        if node.kind in QUANTISERS:
            return QUANTISERS[node.kind](built, node, *given)
        if constant and node.kind not in _MOVING:
            return folded(node, given)
        if node.kind not in OPERATORS:
            raise NetworkError(f"'{node.name}' uses {node.kind}, which no layer of a Network computes")
        return OPERATORS[node.kind](built, node, *given)
