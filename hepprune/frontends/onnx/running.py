"""Written files run by onnxruntime, where it is installed; without it hepprune's own reader has to do."""

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import Tensor

from hepprune.frontends.checking import Reading
from hepprune.frontends.onnx import files, lowering
from hepprune.frontends.onnx.files import STANDARD


def read_back(path: Path) -> Reading:
    """Return what a written file is: its network, and what runs it if anything here can."""
    proto = files.load(path)
    read = lowering.lower(proto)
    known = find_spec("onnxruntime") is not None and all(node.domain in STANDARD for node in proto.graph.node)
    run = read.ports.running(lambda values: _outputs(path, values)) if known else None
    return Reading(read.network, run, read.ports.batches, advice="an .npz holds every network")


def _outputs(path: Path, values: Sequence[Tensor]) -> list[Tensor]:
    import onnxruntime  # type: ignore[import-untyped]

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 3
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        kinds = {"tensor(double)": torch.float64, "tensor(float16)": torch.float16}
        taken = {
            entry.name: value.to(kinds.get(entry.type, torch.float32)).contiguous().numpy()
            for entry, value in zip(session.get_inputs(), values, strict=True)
        }
        return [torch.as_tensor(found) for found in session.run(None, taken)]
    except Exception as problem:  # its errors derive from nothing else
        raise RuntimeError(str(problem)) from problem
