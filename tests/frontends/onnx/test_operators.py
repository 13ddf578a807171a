"""Each operator by itself, with onnxruntime as the oracle."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import helper

from hepprune.errors import NetworkError
from hepprune.frontends.onnx import read, write
from hepprune.network import Recurrent
from tests.frontends.onnx.models import disagreement, model

rng = np.random.default_rng(5)


def normal(*shape: int) -> Any:
    return rng.normal(size=shape)


# Operator, input shape without the jets, further inputs in order, attributes, opset.
ONE: dict[str, tuple[str, tuple[int, ...], dict[str, Any], dict[str, Any], int]] = {
    "gemm": ("Gemm", (4,), {"w": normal(4, 3), "b": normal(3)}, {"alpha": 0.5, "beta": 2.0}, 17),
    "gemm_transposed": ("Gemm", (4,), {"w": normal(3, 4), "b": normal(1, 3)}, {"transB": 1}, 17),
    "matmul_of_positions": ("MatMul", (5, 4), {"w": normal(4, 3)}, {}, 17),
    "conv_asymmetric": (
        "Conv",
        (3, 8),
        {"w": normal(5, 3, 3), "b": normal(5)},
        {"pads": [2, 1], "strides": [2], "dilations": [2]},
        17,
    ),
    "conv_same_lower": ("Conv", (2, 6, 7), {"w": normal(3, 2, 2, 4)}, {"auto_pad": "SAME_LOWER"}, 17),
    "conv_same_upper": (
        "Conv",
        (2, 6, 7),
        {"w": normal(3, 2, 2, 4)},
        {"auto_pad": "SAME_UPPER", "strides": [2, 2]},
        17,
    ),
    "conv_depthwise": ("Conv", (3, 9), {"w": normal(6, 1, 3)}, {"group": 3, "auto_pad": "VALID"}, 17),
    "batch_norm": (
        "BatchNormalization",
        (3, 4),
        {"s": normal(3), "b": normal(3), "m": normal(3), "v": rng.uniform(1, 2, 3)},
        {},
        17,
    ),
    "layer_norm": ("LayerNormalization", (3, 4), {"s": normal(4), "b": normal(4)}, {"epsilon": 1e-3}, 17),
    "clip": ("Clip", (4,), {"low": -0.5, "high": 0.25}, {}, 17),
    "clip_old": ("Clip", (4,), {}, {"max": 0.25, "min": 0.0}, 9),
    "prelu": ("PRelu", (3, 4), {"s": normal(3, 1)}, {}, 17),
    "prelu_last": ("PRelu", (3, 4), {"s": normal(4)}, {}, 17),
    "elu": ("Elu", (4,), {}, {"alpha": 0.7}, 17),
    "leaky": ("LeakyRelu", (4,), {}, {}, 17),
    "hard_sigmoid": ("HardSigmoid", (4,), {}, {"alpha": 0.3}, 17),
    "hard_swish": ("HardSwish", (4,), {}, {}, 17),
    "softsign": ("Softsign", (4,), {}, {}, 17),
    "thresholded": ("ThresholdedRelu", (4,), {}, {"alpha": 0.3}, 17),
    "square": ("Pow", (4,), {"two": 2.0}, {}, 17),
    "gelu": ("Gelu", (4,), {}, {"approximate": "tanh"}, 20),
    "softmax": ("Softmax", (3, 4), {}, {"axis": 1}, 17),
    "softmax_old": ("Softmax", (3, 4), {}, {}, 11),
    "max_pool": ("MaxPool", (2, 7), {}, {"kernel_shape": [3], "strides": [2], "pads": [0, 1]}, 17),
    "max_pool_ceil": ("MaxPool", (2, 8), {}, {"kernel_shape": [3], "strides": [2], "ceil_mode": 1}, 17),
    "mean_pool": ("AveragePool", (2, 6, 7), {}, {"kernel_shape": [2, 3], "pads": [1, 0, 0, 1]}, 17),
    "mean_pool_counted": ("AveragePool", (2, 7), {}, {"kernel_shape": [3], "pads": [1, 1], "count_include_pad": 1}, 17),
    "mean_pool_same": ("AveragePool", (2, 7), {}, {"kernel_shape": [2], "strides": [2], "auto_pad": "SAME_UPPER"}, 17),
    "global_mean": ("GlobalAveragePool", (2, 3, 4), {}, {}, 17),
    "global_max": ("GlobalMaxPool", (2, 5), {}, {}, 17),
    "reduce_mean": ("ReduceMean", (3, 4), {}, {"axes": [-1], "keepdims": 0}, 17),
    "reduce_sum": ("ReduceSum", (3, 4), {"axes": np.array([1])}, {}, 17),
    "flatten": ("Flatten", (3, 4), {}, {}, 17),
    "reshape": ("Reshape", (3, 4), {"shape": np.array([0, 2, -1])}, {}, 17),
    "transpose": ("Transpose", (3, 4), {}, {"perm": [0, 2, 1]}, 17),
    "slice": (
        "Slice",
        (3, 8),
        dict(zip("sead", map(np.array, ([1, -5], [3, 9], [1, 2], [1, 2])), strict=True)),
        {},
        17,
    ),
    "gather": ("Gather", (3, 4), {"at": np.array([2, 0, -1])}, {"axis": 2}, 17),
    "gather_one": ("Gather", (3, 4), {"at": np.array(-1)}, {"axis": 1}, 17),
    "tile": ("Tile", (3, 4), {"n": np.array([1, 2, 1])}, {}, 17),
    "pad": ("Pad", (3, 4), {"pads": np.array([0, 0, 1, 0, 0, 2])}, {}, 17),
    "pad_axes": ("Pad", (3, 4), {"pads": np.array([1, 2]), "v": 0.0, "axes": np.array([1])}, {}, 18),
    "resize": ("Resize", (2, 3), {"roi": normal(0), "s": np.array([1.0, 1.0, 2.0])}, {"mode": "nearest"}, 17),
    "resize_asymmetric": (
        "Resize",
        (2, 3, 2),
        {"roi": normal(0), "s": np.array([1.0, 1.0, 3.0, 2.0])},
        {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"},
        17,
    ),
    "upsample": ("Upsample", (2, 3), {"s": np.array([1.0, 1.0, 2.0])}, {}, 9),
    "add": ("Add", (3, 4), {"c": normal(3, 1)}, {}, 17),
    "multiply": ("Mul", (3, 4), {"c": normal(1, 3, 4)}, {}, 17),
    "divide": ("Div", (4,), {"c": 3.0}, {}, 17),
    "maximum": ("Max", (4,), {}, {}, 17),
    "einsum": ("Einsum", (3, 4), {"c": normal(5, 4)}, {"equation": "bnf,ef->bne"}, 17),
    "expand": ("Expand", (1, 4), {"n": np.array([1, 3, 1])}, {}, 17),
}
_UNSHAPED = {"roi": ""}


@pytest.mark.parametrize("name", ONE)
def test_an_operator_agrees_with_onnxruntime(name: str) -> None:
    kind, shape, arrays, attributes, opset = ONE[name]
    arrays = {key: value for key, value in arrays.items() if key not in _UNSHAPED}
    names = [_UNSHAPED.get(key, key) for key in ONE[name][2]]
    node = helper.make_node(kind, ["x", *names], ["y"], name=f"the.{kind}", **attributes)
    proto = model([node], {"x": ["n", *shape]}, arrays=arrays, opset=opset)
    x = rng.normal(size=(5, *shape)).astype(np.float32)
    assert disagreement(read(proto), proto, [x]) < 1e-5


TWO = {
    "difference": ("Sub", (3, 4), (3, 4), {}),
    "spread": ("Mul", (3, 4), (1, 4), {}),
    "product": ("MatMul", (3, 4), (4, 2), {}),
    "contraction": ("Einsum", (3, 4), (5, 4), {"equation": "bnf,bmf->bnm"}),
    "joined": ("Concat", (3, 4), (2, 4), {"axis": 1}),
    "smaller": ("Min", (4,), (4,), {}),
}


@pytest.mark.parametrize("name", TWO)
def test_an_operator_of_two_values_agrees_with_onnxruntime(name: str) -> None:
    kind, first, second, attributes = TWO[name]
    proto = model([helper.make_node(kind, ["a", "b"], ["y"], **attributes)], {"a": ["n", *first], "b": ["n", *second]})
    inputs = [rng.normal(size=(5, *shape)).astype(np.float32) for shape in (first, second)]
    assert disagreement(read(proto), proto, inputs) < 1e-5


def test_parts_and_several_outputs_agree_with_onnxruntime() -> None:
    nodes = [
        helper.make_node("Split", ["x", "sizes"], ["a", "b"], axis=2),
        helper.make_node("Relu", ["a"], ["y"]),
        helper.make_node("Sigmoid", ["b"], ["z"]),
    ]
    proto = model(nodes, {"x": ["n", 3, 5]}, {"y": None, "z": None}, arrays={"sizes": np.array([2, 3])})
    assert disagreement(read(proto), proto, [rng.normal(size=(4, 3, 5)).astype(np.float32)]) < 1e-5


@pytest.mark.parametrize(
    ("last", "words"),
    [
        (helper.make_node("Relu", ["b"], ["y"]), "'y' uses Relu in a way that is not known: 'b'"),
        (helper.make_node("Relu", ["a"], ["z"]), "a node does not give what the graph puts out: 'y'"),
    ],
)
def test_a_part_that_a_split_does_not_give_is_refused(last: onnx.NodeProto, words: str) -> None:
    nodes = [helper.make_node("Split", ["x", "sizes"], ["a", "b" if "y" in last.output else "y"], axis=1), last]
    proto = model(nodes, {"x": ["n", 4]}, {"y": ["n", 4]}, arrays={"sizes": np.array([4])})
    with pytest.raises(NetworkError, match=words):
        read(proto)


GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}


@pytest.mark.parametrize("kind", GATES)
@pytest.mark.parametrize("what", ["all", "last", "backwards"])
def test_a_recurrent_layer_agrees_with_onnxruntime(kind: str, what: str) -> None:
    rows = 3 * GATES[kind]
    arrays = {"w": normal(1, rows, 2), "r": normal(1, rows, 3), "b": normal(1, 2 * rows)}
    options: dict[str, Any] = {"linear_before_reset": int(what != "last")} if kind == "GRU" else {}
    options |= {"direction": "reverse"} if what == "backwards" else {}
    outputs = ["s"] if what == "all" else ["", "s"]
    nodes = [
        helper.make_node("Transpose", ["x"], ["t"], perm=[1, 0, 2]),
        helper.make_node(kind, ["t", "w", "r", "b"], outputs, name="cell", hidden_size=3, **options),
        helper.make_node("Squeeze", ["s", "axis"], ["q"]),
        helper.make_node("Transpose", ["q"], ["y"], perm=[1, 0, 2]) if what == "all" else _same("q"),
    ]
    arrays["axis"] = np.array([1 if what == "all" else 0])
    proto = model(nodes, {"x": ["n", 6, 2]}, arrays=arrays)
    network = read(proto)
    assert disagreement(network, proto, [rng.normal(size=(4, 6, 2)).astype(np.float32)]) < 1e-5
    assert isinstance(network["cell"], Recurrent)
    assert network["cell"].return_sequences == (what == "all")


@pytest.mark.parametrize("kind", GATES)
def test_a_layer_of_both_directions_agrees_with_onnxruntime_and_is_written_back(kind: str, tmp_path: Path) -> None:
    rows = 3 * GATES[kind]
    arrays = {"w": normal(2, rows, 2), "r": normal(2, rows, 3), "b": normal(2, 2 * rows)}
    options: dict[str, Any] = {"linear_before_reset": 1} if kind == "GRU" else {}
    nodes = [
        helper.make_node("Transpose", ["x"], ["t"], perm=[1, 0, 2]),
        helper.make_node(
            kind, ["t", "w", "r", "b"], ["s", "z"], name="cell", hidden_size=3, direction="bidirectional", **options
        ),
        helper.make_node("Transpose", ["s"], ["y"], perm=[2, 0, 1, 3]),
        helper.make_node("Transpose", ["z"], ["v"], perm=[1, 0, 2]),
    ]
    proto = model(nodes, {"x": ["n", 6, 2]}, {"y": None, "v": None}, arrays=arrays)
    network, features = read(proto), [rng.normal(size=(4, 6, 2)).astype(np.float32)]
    assert disagreement(network, proto, features) < 1e-5
    back = network["cell_back"]
    assert isinstance(back, Recurrent)
    assert back.backwards
    with torch.no_grad():
        back.weight.mul_(0.5)
    written = onnx.load(write(network, tmp_path / "cell.onnx", like=proto))
    assert disagreement(network, written, features) < 1e-5


def _same(name: str) -> Any:
    return helper.make_node("Identity", [name], ["y"])


@pytest.mark.parametrize(
    ("operator", "own"), [("Selu", {"alpha": 2.0}), ("Selu", {"gamma": 1.5}), ("Swish", {"alpha": 2.0})]
)
def test_a_function_whose_parameters_no_network_holds_is_refused(operator: str, own: dict[str, float]) -> None:
    for attributes in (own, {}):
        proto = model([helper.make_node(operator, ["x"], ["y"], **attributes)], {"x": ["n", 4]}, opset=24)
        if attributes:
            with pytest.raises(NetworkError, match=rf"'y' \({operator}\) has parameters of its own"):
                read(proto)
        else:
            assert len(list(read(proto))) == 2


@pytest.mark.parametrize(
    ("operator", "attributes", "words"),
    [
        ("MatMul", {}, r"cannot contract values of the shapes \(2, 4\) and \(2, 4\)"),
        ("Einsum", {"equation": "ni,in->n"}, r"cannot contract values of the shapes \(2, 4\) and \(2, 4\)"),
        ("Einsum", {"equation": "ii,ij->ij"}, "is not a contraction of two values"),
        ("Einsum", {"equation": "ni,nj,nk->ni"}, "is not a contraction of two values"),
        ("Einsum", {"equation": "n,nj->nj"}, "is not a contraction of two values"),
        ("Einsum", {"equation": "...i,...i->..."}, "is not a contraction of two values"),
        ("Einsum", {"equation": "ni,mj->nj"}, "combines the values of different jets"),
    ],
)
def test_contractions_that_mean_nothing_of_one_jet_are_refused(
    operator: str, attributes: dict[str, Any], words: str, tmp_path: Path
) -> None:
    nodes = [helper.make_node("Relu", ["x"], ["r"]), helper.make_node(operator, ["x", "r"], ["y"], **attributes)]
    onnx.save(model(nodes, {"x": ["n", 4]}, {"y": ["n", 4]}), tmp_path / "m.onnx")
    with pytest.raises(NetworkError, match=words):
        read(tmp_path / "m.onnx")
