"""Damaged and hostile files end in one sentence, with nothing run and nothing written."""

import contextlib
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from hepprune import frontends
from hepprune.errors import NetworkError
from hepprune.frontends.onnx import read
from tests.frontends.onnx.models import executed, model


def perceptron(**changes: Any) -> onnx.ModelProto:
    arrays = {"w": np.ones((3, 2)), "b": np.zeros(2)} | changes
    nodes = [helper.make_node("Gemm", ["x", "w", "b"], ["h"], name="first"), helper.make_node("Relu", ["h"], ["y"])]
    return model(nodes, {"x": ["n", 3]}, {"y": ["n", 2]}, arrays=arrays)


def refused(given: Any, words: str) -> None:
    with pytest.raises(NetworkError, match=words) as caught:
        read(given)
    assert "\n" not in str(caught.value)


def test_damaged_files_are_refused(tmp_path: Path) -> None:
    whole = perceptron().SerializeToString()
    contents = {
        "cut": whole[: len(whole) // 2],
        "empty": b"",
        "text": b"not a model at all",
        "odd": whole + b"\xff" * 9,
    }
    for name, content in contents.items():
        (tmp_path / f"{name}.onnx").write_bytes(content)
        with pytest.raises(NetworkError, match=f"{name}.onnx"):
            frontends.read(tmp_path / f"{name}.onnx")
    with pytest.raises(NetworkError, match="no model at"):
        frontends.read(tmp_path / "absent.onnx")
    rng = np.random.default_rng(0)
    for place in rng.integers(0, len(whole), 60):
        broken = bytearray(whole)
        broken[place] ^= int(rng.integers(1, 256))
        (tmp_path / "flipped.onnx").write_bytes(bytes(broken))
        with contextlib.suppress(NetworkError):  # some bits are names, or weights
            read(tmp_path / "flipped.onnx")


def test_numbers_and_shapes_that_do_not_fit_are_refused_by_the_layers_name() -> None:
    refused(perceptron(w=np.full((3, 2), np.nan)), "'first' has weight that is not finite")
    refused(perceptron(b=np.array([0, np.inf])), "'first' has bias that is not finite")
    refused(perceptron(w=np.ones((4, 2))), "'first' takes 4 values and is given 3")
    refused(perceptron(b=np.zeros(5)), "2 values are expected")
    huge = perceptron()
    huge.graph.initializer[0].dims[0] = 2**40
    refused(huge, "tensor 'w' has the shape")
    negative = perceptron()
    negative.graph.initializer[0].dims[0] = -3
    refused(negative, "tensor 'w' has the shape")
    wide = perceptron()
    wide.graph.input[0].type.tensor_type.shape.dim[1].dim_value = 2**40
    refused(wide, "input 'x' has the shape")
    short = perceptron()
    short.graph.initializer[0].raw_data = b"\0" * 8
    refused(short, "malformed|damaged")
    free = perceptron()
    free.graph.input[0].type.tensor_type.shape.dim[1].dim_param = "m"
    refused(free, "only the number of jets can be free")


def test_graphs_that_no_network_is_are_refused() -> None:
    unknown = perceptron()
    unknown.graph.node[1].op_type = "LogSoftmax"
    refused(unknown, "uses LogSoftmax, which no layer")
    foreign = perceptron()
    foreign.graph.node[1].domain = "evil.ops"
    foreign.opset_import.add(domain="evil.ops", version=1)
    refused(foreign, "of evil.ops")
    cyclic = perceptron()
    cyclic.graph.node[0].input[0] = "y"
    refused(cyclic, "comes only after it")
    loose = perceptron()
    loose.graph.node[0].input[0] = "nowhere"
    refused(loose, "nothing makes")
    unmade = perceptron()
    unmade.graph.output[0].name = "other"
    refused(unmade, "output 'other' is made by no node")
    future = perceptron()
    future.opset_import[0].version = 99
    refused(future, "opset 99")
    refused(onnx.ModelProto(), "no graph of operators")
    looping = perceptron()
    looping.graph.node[1].CopyFrom(helper.make_node("If", ["x"], ["y"], then_branch=unknown.graph))
    refused(looping, "If|malformed")


def test_constants_that_grow_without_end_are_refused() -> None:
    def grown(*nodes: Any, **arrays: Any) -> onnx.ModelProto:
        adding = helper.make_node("Add", ["x", "c"], ["y"])
        return model([*nodes, adding], {"x": ["n", 3]}, {"y": ["n", 3]}, arrays=arrays)

    filled = helper.make_node("ConstantOfShape", ["s"], ["c"], name="fill")
    refused(grown(filled, s=np.array([2**20, 2**20])), "'fill' .*makes a constant")
    outer = helper.make_node("Mul", ["u", "v"], ["c"], name="outer")
    refused(grown(outer, u=np.ones((2**14, 1)), v=np.ones((1, 2**14))), "'outer' .*makes a constant")
    many = helper.make_node("Range", ["a", "b", "d"], ["c"], name="many")
    refused(grown(many, a=0.0, b=1e12, d=1.0), "'many' .*makes a constant")
    tiled = helper.make_node("Tile", ["x", "n"], ["y"], name="tiled")
    refused(model([tiled], {"x": ["n", 3]}, {"y": ["n", 3]}, arrays={"n": np.array([1, 2**40])}), "tiled")


def outside(folder: Path, location: str) -> Path:
    proto = perceptron()
    tensor = proto.graph.initializer[0]
    (folder / "model").mkdir(exist_ok=True)
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=location)
    path = folder / "model" / "tagger.onnx"
    path.write_bytes(proto.SerializeToString())
    return path


def test_external_data_is_read_from_the_models_folder_only(tmp_path: Path) -> None:
    values = np.arange(6, dtype=np.float32).reshape(3, 2)
    (tmp_path / "secret.bin").write_bytes(values.tobytes())
    for location in ("../secret.bin", str(tmp_path / "secret.bin"), "", "link.bin"):
        path = outside(tmp_path, location)
        link = tmp_path / "model" / "link.bin"
        link.unlink(missing_ok=True)
        link.symlink_to(tmp_path / "secret.bin")
        refused(path, "tagger.onnx: tensor 'w' asks for the file .* outside")
    path = outside(tmp_path, "weights.bin")
    refused(path, "cannot be read from 'weights.bin'")
    (tmp_path / "model" / "weights.bin").write_bytes(values.tobytes())
    assert read(path)["first"].weight.tolist() == values.T.tolist()
    (tmp_path / "model" / "weights.bin").write_bytes(values.tobytes()[:8])
    refused(path, "malformed|damaged|not whole")


def test_constants_inside_nodes_are_written_as_initialisers(tmp_path: Path) -> None:
    weight = numpy_helper.from_array(np.full((3, 2), 0.5, np.float32))
    nodes = [helper.make_node("Constant", [], ["w"], value=weight), helper.make_node("MatMul", ["x", "w"], ["y"])]
    proto = model(nodes, {"x": ["n", 3]})
    network = frontends.read(proto)
    network.kernels[0].layer.weight.data += 1
    written = onnx.load(frontends.write(network, tmp_path / "more.onnx", like=proto))
    x = np.ones((2, 3), np.float32)
    assert np.array_equal(executed(written, x)[0], executed(proto, x)[0] + 3)
