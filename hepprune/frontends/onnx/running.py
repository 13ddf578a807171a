"""A file of ONNX run as it stands: by onnxruntime where that is there and knows its operators, else as it is read."""

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from hepprune.frontends.onnx.files import STANDARD, load
from hepprune.frontends.onnx.lowering import LoweredGraph, lower


@torch.no_grad()
def run(path: Path, features: Sequence[Tensor]) -> list[Tensor]:
    """Return the outputs (n_jets, *shape) of a file for features (n_jets, *shape), one tensor per input.

    Features and outputs have their axes as the network has them that is read from the file. A file for a fixed number
    of jets is run on that many at a time.

    Raises:
        NetworkError: the file cannot be read.
        RuntimeError: onnxruntime cannot run it.
    """
    proto = load(path)
    read = lower(proto)
    if find_spec("onnxruntime") is None or any(node.domain not in STANDARD for node in proto.graph.node):
        values = read.network.double().activations([given.double() for given in features])
        return [values[name] for name in read.network.outputs]
    return _by_onnxruntime(proto, read, features)


def _by_onnxruntime(proto: Any, read: LoweredGraph, features: Sequence[Tensor]) -> list[Tensor]:
    import onnxruntime  # type: ignore[import-untyped]

    options = onnxruntime.SessionOptions()
    options.log_severity_level, options.intra_op_num_threads = 3, 1
    session = onnxruntime.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])
    names = [layer for layer in read.values if layer in {entry.name for entry in session.get_inputs()}]
    given = {name: _as_in_file(name, value, read) for name, value in zip(names, features, strict=True)}
    outputs = [entry.name for entry in session.get_outputs()]
    fixed = session.get_inputs()[0].shape[0]
    pieces = _pieces(list(given.values()), fixed if isinstance(fixed, int) else None)
    try:
        found = [session.run(outputs, {n: v.numpy() for n, v in zip(given, piece, strict=True)}) for piece in pieces]
    except Exception as problem:  # onnxruntime's own errors derive from nothing else
        raise RuntimeError(str(problem)) from problem
    n_jets = len(features[0])
    joined = [torch.cat([torch.as_tensor(each) for each in own])[:n_jets] for own in zip(*found, strict=True)]
    return [_as_in_network(name, value, read) for name, value in zip(outputs, joined, strict=True)]


def _pieces(values: list[Tensor], n_jets: int | None) -> list[list[Tensor]]:
    """Return values in pieces of so many jets, the last one filled up with the first jets."""
    if n_jets is None:
        return [values]
    n_pieces = -(-len(values[0]) // n_jets)
    rows = torch.arange(n_pieces * n_jets) % len(values[0])
    filled = [value[rows].reshape(n_pieces, n_jets, *value.shape[1:]) for value in values]
    return [list(piece) for piece in zip(*filled, strict=True)]


def _as_in_file(name: str, value: Tensor, read: LoweredGraph) -> Tensor:
    return (value.movedim(-1, 1) if name in read.channels_last else value).float().contiguous()


def _as_in_network(name: str, value: Tensor, read: LoweredGraph) -> Tensor:
    value = value.unsqueeze(1) if value.ndim == 1 else value
    return value.movedim(1, -1) if name in read.channels_last else value
