"""A file of ONNX run as it stands: by onnxruntime where that is there and knows its operators, else as it is read."""

from collections.abc import Sequence
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from hepprune.frontends.onnx.files import STANDARD, load
from hepprune.frontends.onnx.lowering import lower


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
    return list(read.ports.running(partial(_by_onnxruntime, proto))(features))


def _by_onnxruntime(proto: Any, values: list[Tensor]) -> list[Tensor]:
    import onnxruntime  # type: ignore[import-untyped]

    options = onnxruntime.SessionOptions()
    options.log_severity_level, options.intra_op_num_threads = 3, 1
    session = onnxruntime.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])
    names, fixed = [entry.name for entry in session.get_inputs()], session.get_inputs()[0].shape[0]
    pieces = _pieces([value.float().contiguous() for value in values], fixed if isinstance(fixed, int) else None)
    try:
        found = [session.run(None, {n: v.numpy() for n, v in zip(names, piece, strict=True)}) for piece in pieces]
    except Exception as problem:  # onnxruntime's own errors derive from nothing else
        raise RuntimeError(str(problem)) from problem
    joined = (torch.cat([torch.as_tensor(each) for each in own]) for own in zip(*found, strict=True))
    return [value[: len(values[0])] for value in joined]


def _pieces(values: list[Tensor], n_jets: int | None) -> list[list[Tensor]]:
    """Return values in pieces of so many jets, the last one filled up with the first jets."""
    if n_jets is None:
        return [values]
    n_pieces = -(-len(values[0]) // n_jets)
    rows = torch.arange(n_pieces * n_jets) % len(values[0])
    filled = [value[rows].reshape(n_pieces, n_jets, *value.shape[1:]) for value in values]
    return [list(piece) for piece in zip(*filled, strict=True)]
