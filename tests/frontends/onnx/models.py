"""ONNX models to read: built node by node, or exported by torch; and onnxruntime and qonnx as oracles."""

import io
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from hepprune.network import Network

QONNX = "qonnx.custom_op.general"
N_JETS = 5


def constants(**arrays: Any) -> list[onnx.TensorProto]:
    """Return initialisers; whole numbers stay int64, all others become float32."""
    each = {name: np.asarray(array) for name, array in arrays.items()}
    kinds = {name: np.int64 if a.dtype.kind in "iu" else np.float32 for name, a in each.items()}
    return [numpy_helper.from_array(array.astype(kinds[name]), name) for name, array in each.items()]


def model(
    nodes: Sequence[onnx.NodeProto],
    inputs: Mapping[str, Sequence[int | str]],
    outputs: Mapping[str, Sequence[int | str] | None] | None = None,
    *,
    arrays: Mapping[str, Any] | None = None,
    opset: int = 17,
) -> onnx.ModelProto:
    """Return a model of nodes whose inputs have a first axis of jets; outputs without a shape get the inferred one."""
    made = {"y": None} if outputs is None else outputs
    infos = [
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in each.items()]
        for each in (inputs, made)
    ]
    graph = helper.make_graph(nodes, "drawn", *infos, constants(**(arrays or {})))
    domains = [helper.make_opsetid("", opset), helper.make_opsetid(QONNX, 1)]
    return onnx.shape_inference.infer_shapes(helper.make_model(graph, opset_imports=domains, ir_version=8))


def exported(module: nn.Module, *shapes: Sequence[int], opset: int = 17) -> onnx.ModelProto:
    """Return what torch exports, its number of jets left open."""
    names = [f"x{i}" for i in range(len(shapes))]
    content = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module.eval(),
            tuple(torch.zeros(2, *shape) for shape in shapes),
            content,
            dynamo=False,
            opset_version=opset,
            input_names=names,
            dynamic_axes={name: {0: "n_jets"} for name in names},
        )
    return onnx.load_from_string(content.getvalue())


def executed(proto: onnx.ModelProto, *inputs: NDArray[np.float32]) -> list[NDArray[np.float32]]:
    """Return the outputs that onnxruntime computes."""
    import onnxruntime

    session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    names = [entry.name for entry in session.get_inputs()]
    return session.run(None, dict(zip(names, inputs, strict=True)))  # type: ignore[no-any-return]


def executed_by_qonnx(proto: onnx.ModelProto, x: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the output that qonnx computes, node by node."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from qonnx.core.modelwrapper import ModelWrapper
        from qonnx.core.onnx_exec import execute_onnx
        from qonnx.transformation.infer_shapes import InferShapes

        wrapped = ModelWrapper(onnx.load_from_string(proto.SerializeToString())).transform(InferShapes())
        (found,) = execute_onnx(wrapped, {proto.graph.input[0].name: x}).values()
    return found  # type: ignore[no-any-return]


@torch.no_grad()
def computed(network: Network, inputs: Sequence[NDArray[np.float32]], *, quantised: bool = True) -> list[Any]:
    """Return the network's outputs for inputs as ONNX has them, channels last where it keeps them so."""
    tensors = [torch.tensor(x) for x in inputs]
    arranged = [
        x if layer.features_shape == tuple(x.shape[1:]) else x.movedim(1, -1)
        for layer, x in zip(network.inputs, tensors, strict=True)
    ]
    values = network.activations(arranged, quantised=quantised)
    return [values[name].numpy() for name in network.outputs]


def disagreement(network: Network, proto: onnx.ModelProto, inputs: Sequence[NDArray[np.float32]]) -> float:
    """Return the largest difference from onnxruntime, relative to the largest value."""
    worst = 0.0
    for found, want in zip(computed(network, inputs), executed(proto, *inputs), strict=True):
        seen = want.reshape(found.shape) if want.ndim == 1 else want
        seen = seen if seen.shape == found.shape else np.moveaxis(seen, 1, -1)
        assert found.shape == seen.shape
        worst = max(worst, float(np.abs(found - seen).max() / max(np.abs(seen).max(), 1e-3)))
    return worst
