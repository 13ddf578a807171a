"""ONNX and QONNX in and out: files and models in memory, read as data and never run.

Each operator becomes a layer, channels last, as the PyTorch frontend has it: an input (n_jets, channels, positions)
that a convolution or pooling reads is an Input of shape (positions, channels), and so are outputs that come from one.
Quant, BipolarQuant and Trunc become the quantisers of the layers they follow, or of weights and biases.
"""

from pathlib import Path
from typing import Any

from hepprune.errors import NetworkError
from hepprune.frontends.checking import Reading
from hepprune.network import Network

__all__ = ["claims", "read", "read_back", "write"]


def claims(model: Any) -> bool:
    """Return whether the model is ONNX': a `.onnx` file, a ModelProto, or qonnx' wrapper of one."""
    if isinstance(model, str | Path):
        return Path(model).suffix == ".onnx"
    return type(model).__module__.split(".")[0] in {"onnx", "qonnx"} or type(model).__name__ == "ModelProto"


def read(model: Any) -> Network:
    """Return the network of an ONNX model, channels last.

    Raises:
        NetworkError: the file is damaged or too large, or an operator has no layer; the sentence names it.
    """
    from hepprune.frontends.onnx import files, lowering

    return lowering.lower(files.load(model)).network


def write(network: Network, path: Path, *, like: Any) -> Path:
    """Write the model `like` with the network's weights, sizes and quantisers; return the path.

    What the network quantises and `like` does not is written as quantised where it is a weight, and goes on in float
    where it is an activation.

    Raises:
        NetworkError: the network has another graph than `like`, or a quantiser that QONNX has no node for.
    """
    from hepprune.frontends.onnx import files, writing

    path = Path(path)
    if path.suffix != ".onnx":
        raise NetworkError(f"an ONNX model is written as .onnx, not as {path.name}")
    return writing.write_model(network, path, files.load(like))


def read_back(path: Path, *, like: Any) -> Reading:  # noqa: ARG001 -- as every frontend has it
    """Return what a written file is, with onnxruntime to run it where that is installed."""
    from hepprune.frontends.onnx import running

    return Reading(read(path), run=lambda features: running.run(path, features), advice="an .npz holds every network")
