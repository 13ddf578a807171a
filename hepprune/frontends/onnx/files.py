"""ONNX files as data: size limits, external data confined to the file's own folder, and the format's own checks."""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from hepprune.errors import NetworkError, explained

MAX_BYTES = 2**30
MAX_NODES = 2**14
OPSETS = range(9, 25)
QONNX_DOMAINS = ("qonnx.custom_op.general", "finn.custom_op.general", "onnx.brevitas")
STANDARD = ("", "ai.onnx")
CONSTANT = "constant"  # the note of an initialiser that is not a weight
_WIDEST = 8  # bytes of a number


def load(model: Any) -> Any:
    """Return an independent `onnx.ModelProto`, all its data inside, of a file or of a model in memory.

    Raises:
        NetworkError: the file is damaged or too large, or its data lies outside its folder.
    """
    if isinstance(model, str | Path):
        path = Path(model)
        proto, title, folder = _parsed(path), path.name, path.parent
    else:
        given = getattr(model, "model", model)  # qonnx wraps a ModelProto in an object of its own
        if not isinstance(given, onnx.ModelProto):
            raise NetworkError(f"an object of type {type(model).__name__} is not an ONNX model")
        proto, title, folder = onnx.ModelProto(), given.graph.name or "the ONNX model", None
        proto.CopyFrom(given)
    with explained(NetworkError, f"{title}:", NetworkError):
        _check_plain(proto)
        _check_sizes(proto.graph)
        for tensor in _tensors(proto.graph):
            if tensor.data_location == onnx.TensorProto.EXTERNAL:
                _embed(tensor, folder)
        _check_format(proto)
        _gather_constants(proto)
    return proto


def _parsed(path: Path) -> Any:
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

    with explained(NetworkError, f"{path.name} cannot be read:", OSError):
        if path.stat().st_size > MAX_BYTES:
            raise NetworkError(f"{path.name} is larger than 2**30 bytes")
        content = path.read_bytes()
    proto = onnx.ModelProto()
    with explained(NetworkError, f"{path.name} is not an ONNX model, or is truncated", DecodeError):
        proto.ParseFromString(content)
    return proto


def _check_plain(proto: Any) -> None:
    """Refuse what no model of a trigger network needs, and versions that are not known."""
    if not proto.graph.node:
        raise NetworkError("the file holds no graph of operators")
    if len(proto.graph.node) > MAX_NODES:
        raise NetworkError(f"the graph has {len(proto.graph.node)} operators; up to {MAX_NODES} are read")
    if proto.functions:
        raise NetworkError(f"the model defines its own operator '{proto.functions[0].name}'; inline it first")
    if proto.graph.sparse_initializer:
        raise NetworkError("the model stores sparse tensors, which are not read")
    if opset(proto) not in OPSETS:
        raise NetworkError(f"opset {opset(proto)} is not known; {OPSETS[0]} to {OPSETS[-1]} are")
    known = {entry.domain for entry in proto.opset_import}
    for domain in {node.domain for node in proto.graph.node} & set(QONNX_DOMAINS) - known:
        proto.opset_import.add(domain=domain, version=1)


def opset(proto: Any) -> int:
    """Return the version of the standard operators, 0 where the model names none."""
    return max((entry.version for entry in proto.opset_import if entry.domain in STANDARD), default=0)


def _tensors(graph: Any) -> Iterator[Any]:
    """Yield every tensor of the graph; those of subgraphs belong to operators that are refused anyway."""
    yield from graph.initializer
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
            yield from attribute.tensors


def _check_sizes(graph: Any) -> None:
    total = 0
    for tensor in _tensors(graph):
        total += _WIDEST * math.prod(tensor.dims)
        if any(size < 0 for size in tensor.dims) or total > MAX_BYTES:
            raise NetworkError(f"tensor '{tensor.name}' has the shape {tuple(tensor.dims)}, beyond 2**30 bytes in all")


def _embed(tensor: Any, folder: Path | None) -> None:
    """Bring a tensor's data in from its file, which must lie below the folder of the model."""
    if folder is None:
        raise NetworkError(f"tensor '{tensor.name}' lies in another file; load the model with its external data")
    entries = {entry.key: entry.value for entry in tensor.external_data}
    location, root = entries.get("location", ""), folder.resolve()
    path = (root / location).resolve()
    if not location or Path(location).is_absolute() or ".." in Path(location).parts or not path.is_relative_to(root):
        raise NetworkError(f"tensor '{tensor.name}' asks for the file '{location[:80]}' outside the model's folder")
    with explained(NetworkError, f"tensor '{tensor.name}' cannot be read from '{location[:80]}'", OSError, ValueError):
        start, length = int(entries.get("offset", 0)), int(entries.get("length", -1))
        with path.open("rb") as file:
            size = path.stat().st_size
            length = size - start if length < 0 else length
            if start < 0 or start + length > size or length > _WIDEST * math.prod(tensor.dims):
                raise NetworkError(f"tensor '{tensor.name}' is not whole in '{location}'")
            file.seek(start)
            tensor.raw_data = file.read(length)
    tensor.data_location = 0
    del tensor.external_data[:]


def _check_format(proto: Any) -> None:
    """Let the format's own checker look at attributes, types and tensors; order is checked where nodes are named."""
    nameless = next((node.op_type for node in proto.graph.node if not node.output), None)
    if nameless is not None:
        raise NetworkError(f"a node ({nameless}) gives nothing")
    made = {entry.name for entry in (*proto.graph.input, *proto.graph.initializer)} | {""}
    for node in proto.graph.node:
        lacks = [name for name in node.input if name not in made]
        if lacks:
            later = any(lacks[0] in other.output for other in proto.graph.node)
            why = "comes only after it (a cycle, or a wrong order)" if later else "nothing makes"
            raise NetworkError(f"node '{node.name or node.output[0]}' ({node.op_type}) reads '{lacks[0]}', which {why}")
        made.update(node.output)
    for entry in proto.graph.output:
        if entry.name not in made:
            raise NetworkError(f"output '{entry.name}' is made by no node")
    unsound = (onnx.checker.ValidationError, ValueError)  # ValueError: text that is not UTF-8
    with explained(NetworkError, "the model is malformed:", *unsound):
        onnx.checker.check_model(proto)


def _gather_constants(proto: Any) -> None:
    """Turn nodes that hold a tensor into initialisers, which are read and written in one way only.

    A note tells them from those that were initialisers before, which are weights, unless there are none.
    """
    nodes = [node for node in proto.graph.node if node.op_type == "Constant" and node.domain in STANDARD]
    has_weights = any(len(tensor.dims) > 1 for tensor in proto.graph.initializer)
    for node in nodes:
        (attribute,) = node.attribute
        tensor = proto.graph.initializer.add()
        if attribute.name == "value":
            tensor.CopyFrom(attribute.t)
        elif attribute.name in {"value_float", "value_floats", "value_int", "value_ints"}:
            kind = "float32" if "float" in attribute.name else "int64"
            tensor.CopyFrom(onnx.numpy_helper.from_array(np.asarray(onnx.helper.get_attribute_value(attribute), kind)))
        else:
            raise NetworkError(f"node '{node.name or node.output[0]}' is a constant of a kind that is not read")
        tensor.name, tensor.doc_string = node.output[0], CONSTANT if has_weights else ""
        proto.graph.node.remove(node)
    proto.ir_version = max(proto.ir_version, 4)  # from which on initialisers need not be inputs too
