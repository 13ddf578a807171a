"""From a Network back to the ONNX model it was read from: the same nodes, the sizes and numbers of now."""

import copy
import math
from collections import Counter
from collections.abc import Mapping
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from torch import Tensor

from hepprune.errors import refused
from hepprune.files import replacing
from hepprune.fixed.quantisers import to_json
from hepprune.frontends.onnx.building import Site
from hepprune.frontends.onnx.fitting import SettingPlace
from hepprune.frontends.onnx.lowering import LoweredGraph, lower
from hepprune.frontends.onnx.quantisation import settings
from hepprune.frontends.pytorch.writing import filled_model
from hepprune.network import Layer, Network


def write_model(network: Network, path: Path, like: Any) -> Path:
    """Write a checked model's nodes with the network's tensors, sizes and quantisers; return the path.

    Raises:
        NetworkError: the network has another graph than the model, or quantisers that it has no node for.
    """
    written = _filled(network, like)
    onnx.checker.check_model(written)
    with replacing(path) as temporary:
        temporary.write_bytes(written.SerializeToString(deterministic=True))
    return path


def _filled(network: Network, like: Any) -> Any:
    like = _unshared(like)
    known = lower(like)
    _check_quantisers(network, known)
    state = [known]

    def made(tensors: Mapping[str, Tensor]) -> tuple[Any, LoweredGraph]:
        proto = copy.deepcopy(like)
        _replace(proto, tensors)
        for site in state[-1].sites:
            _requantise(proto, site, network, known)
        read = lower(proto, known.fit(network))
        state.append(read)
        _apply(proto, read.changes)
        for entry in (*proto.graph.value_info, *proto.graph.output):
            if entry.name in read.values:
                _set_sizes(entry, read.values[entry.name].shape)
        return proto, read

    found, _ = filled_model(network, known, made)
    _check_quantisers(network, state[-1], same=True)
    written = state[-1].network
    for layer in network:
        mine, own = ((sorted(net.shapes[layer.name]), _plain(net[layer.name])) for net in (network, written))
        if mine != own:
            raise refused(layer.name, "has sizes or settings that the model's nodes cannot hold")
    return found


def _unshared(like: Any) -> Any:
    """Return a copy in which tensors that others are called identical to, as exporters do with equal ones, are free."""
    proto = copy.deepcopy(like)
    tensors = {entry.name: entry for entry in like.graph.initializer}
    outputs = {entry.name for entry in like.graph.output}
    for node in [n for n in proto.graph.node if n.op_type == "Identity" and n.input[0] in tensors]:
        if node.output[0] not in outputs:
            own = proto.graph.initializer.add()
            own.CopyFrom(tensors[node.input[0]])
            own.name = node.output[0]
            proto.graph.node.remove(node)
    return proto


def _replace(proto: Any, tensors: Mapping[str, Tensor]) -> None:
    """Give initialisers other values, in their own types."""
    for entry in proto.graph.initializer:
        if entry.name in tensors:
            kind = onnx.helper.tensor_dtype_to_np_dtype(entry.data_type)
            values = tensors[entry.name].detach().numpy().astype(kind)
            entry.CopyFrom(onnx.numpy_helper.from_array(np.ascontiguousarray(values), entry.name))
    for entry in proto.graph.input:  # where initialisers are listed too
        if entry.name in tensors:
            _set_sizes(entry, tuple(tensors[entry.name].shape))


def _requantise(proto: Any, site: Site, network: Network, before: LoweredGraph) -> None:
    """Give a quantiser's node another scale, width and rounding where the network's own is another."""
    layer = network[site.layer]
    wanted = getattr(layer, site.kind)
    shape, shape_before = (_shape(net, site) for net in (network, before.network))
    several = any(known.node == site.node and math.prod(known.scale_shape) > 1 for known in before.sites)
    same = to_json(wanted) == to_json(getattr(before.network[site.layer], site.kind))
    if same and (shape == shape_before or not several):
        return
    found = settings(wanted, f"layer '{layer.name}' ({site.kind.removesuffix('_type')})")
    scale = site.native(layer, found.scale.expand(shape).contiguous())
    sizes = (1,) * (scale.ndim - len(site.scale_shape)) + site.scale_shape
    for axis in (axis for axis, size in enumerate(sizes) if size == 1):
        scale = scale.narrow(axis, 0, 1)
    scale = scale.reshape(scale.shape[scale.ndim - len(site.scale_shape) :])
    node = next(node for node in proto.graph.node if site.node in node.output)
    if node.op_type == "BipolarQuant" and found.bits != 1:
        raise refused(layer.name, f"has {found.bits} bits, where the model has a BipolarQuant")
    values = {1: scale.detach().numpy().astype(np.float32), 3: np.asarray(found.bits, np.float32)}
    for place, array in values.items():
        if place < len(node.input):
            name = f"{site.node}_{'scale' if place == 1 else 'bits'}"
            kept = [entry for entry in proto.graph.initializer if entry.name != name]
            del proto.graph.initializer[:]
            proto.graph.initializer.extend([*kept, onnx.numpy_helper.from_array(array, name)])
            node.input[place] = name
    if node.op_type != "BipolarQuant":
        modes = {"signed": int(found.signed), "narrow": int(found.narrow), "rounding_mode": found.rounding}
        for name, value in modes.items():
            _set_attribute(node, name, value)


def _shape(network: Network, site: Site) -> tuple[int, ...]:
    if site.kind == "result":
        return network.shapes[site.layer]
    return tuple(getattr(network[site.layer], site.kind.removesuffix("_type")).shape)


def _set_sizes(entry: Any, shape: tuple[int, ...]) -> None:
    sizes = entry.type.tensor_type.shape.dim
    if len(sizes) == len(shape):
        for size, now in zip(sizes, shape, strict=True):
            if size.HasField("dim_value"):
                size.dim_value = now


def _check_quantisers(network: Network, read: LoweredGraph, *, same: bool = False) -> None:
    """Refuse quantisers of values that the model has no node for, and such as it has and the network has not."""
    placed = {(site.layer, site.kind) for site in read.sites}
    for layer, kind in placed:
        if layer in network.layers and getattr(network[layer], kind, None) is None:
            raise refused(layer, f"has no {kind}, which the model quantises")
    if not same:
        return
    for layer, kind in placed:
        mine, own = (settings(getattr(net[layer], kind), f"layer '{layer}'") for net in (network, read.network))
        if mine != own or (mine.scale != own.scale).any():  # one scale for all is the same as equal ones
            raise refused(layer, f"has a {kind} that the model's node cannot hold")


def _plain(layer: Layer) -> dict[str, Any]:
    """Return a layer's settings but for types, knobs of hardware, and axes: one of size 1 may lie anywhere."""
    left_out = {"result", "target", "order", "equation", "axis", "strategy", "reuse_factor", "parallelization_factor"}
    settings = layer.settings().items()
    return {key: value for key, value in settings if key not in left_out and not key.endswith("_type")}


def _apply(proto: Any, changes: Mapping[SettingPlace, Any]) -> None:
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
    kept = [attribute for attribute in node.attribute if attribute.name != name]
    if setting is not None:
        kept.append(onnx.helper.make_attribute(name, setting.tolist() if isinstance(setting, np.ndarray) else setting))
    del node.attribute[:]
    node.attribute.extend(kept)


def _set_input(proto: Any, node: Any, place: int, setting: Any) -> None:
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
    taken = {made for node in graph.node for made in node.output}
    taken |= {entry.name for entry in (*graph.initializer, *graph.input)}
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
