"""Bounds, places, shapes and counts that nodes hold move when units leave, with onnxruntime as the oracle."""

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from hypothesis import event, given, settings
from hypothesis import strategies as st
from onnx import helper, numpy_helper

from hepprune.errors import NetworkError
from hepprune.frontends.onnx import read, write
from hepprune.frontends.onnx.running import run
from hepprune.network import Network
from hepprune.pruning.structure import coupling, surgery
from tests.frontends.onnx.drawing import drawn, graphs
from tests.frontends.onnx.models import model

rng = np.random.default_rng(3)


@torch.no_grad()
def off(path: Path, network: Network, n_jets: int) -> float:
    """Return the largest difference of a file from a network, relative to the largest output."""
    generator = torch.Generator().manual_seed(n_jets)
    features = [torch.randn(n_jets, *layer.features_shape, generator=generator) for layer in network.inputs]
    wanted = network.activations(features)
    pairs = list(zip(run(path, features), (wanted[name] for name in network.outputs), strict=True))
    assert all(found.shape == want.shape for found, want in pairs)
    return max(float((found - want).abs().max() / want.abs().max().clamp(min=1e-2)) for found, want in pairs)


def pruned(network: Network, seed: int) -> Network:
    """Return the network without a random share of the units of each of its groups."""
    draws, plan = np.random.default_rng(seed), []
    for group in (group for group in coupling.groups(network) if not group.kept):
        gone = draws.choice(len(group), size=int(draws.integers(len(group))), replace=False)
        plan += coupling.cuts(group, sorted(gone.tolist()))
    return surgery.shrink(network, plan, warn=False)


def without(network: Network, layer: str, *units: int) -> Network:
    """Return the network without some units of a layer."""
    (group,) = (group for group in coupling.groups(network) if layer in {m.layer for m in group.of("made")})
    return surgery.shrink(network, coupling.cuts(group, units), warn=False)


def dead(proto: onnx.ModelProto, *units: int, weight: str = "w", bias: str = "b") -> onnx.ModelProto:
    """Return the model with dead neurons of a layer (n_in, n_out)."""
    for entry in proto.graph.initializer:
        if entry.name in {weight, bias}:
            values = numpy_helper.to_array(entry).copy()
            values[..., list(units)] = 0
            entry.CopyFrom(numpy_helper.from_array(values, entry.name))
    return proto


def hidden(nodes: list[Any], width: int, *, opset: int = 17, **more: Any) -> onnx.ModelProto:
    """Return a tagger of a dense layer to "h", eight neurons, and nodes that make "c" of it, `width` values."""
    first = [helper.make_node("Gemm", ["x", "w", "b"], ["t"], name="first"), helper.make_node("Relu", ["t"], ["h"])]
    last = helper.make_node("MatMul", ["c", "v"], ["y"], name="last")
    arrays = {"w": rng.normal(size=(3, 8)), "b": rng.normal(size=8), "v": rng.normal(size=(width, 2)), **more}
    return model([*first, *nodes, last], {"x": ["n", 3]}, {"y": ["n", 2]}, arrays=arrays, opset=opset)


WHOLE: dict[str, Any] = {name: np.array([n]) for name, n in {"zero": 0, "four": 4, "eight": 8, "one": 1}.items()}
# Nodes that make "c", its width, further tensors, opset, the node that is looked at, and what it has to hold.
CASES: dict[str, tuple[list[Any], int, Mapping[str, Any], int, str, list[list[int]]]] = {
    "slices_that_share_a_bound": (
        [
            helper.make_node("Slice", ["h", "zero", "four", "one"], ["p"]),
            helper.make_node("Slice", ["h", "four", "eight", "one"], ["q"]),
            helper.make_node("Concat", ["q", "p"], ["c"], axis=1),
        ],
        8, WHOLE, 17, "q", [[3], [6], [1]],
    ),
    "slice_by_attributes": (
        [helper.make_node("Slice", ["h"], ["c"], starts=[1], ends=[8], axes=[1])], 7, {}, 9, "c", [[0], [6]],
    ),
    "gather": (
        [
            helper.make_node("Gather", ["h", "at"], ["p"], axis=1),
            helper.make_node("Concat", ["h", "p"], ["c"], axis=1),
        ],
        12, {"at": np.array([1, 7, -2, 1])}, 17, "p", [[0, 5, 4, 0]],
    ),
    "split_in_equal_parts": (
        [
            helper.make_node("Split", ["h"], ["p", "q"], axis=1),
            helper.make_node("Concat", ["q", "p"], ["c"], axis=1),
        ],
        8, {}, 17, "p", [],
    ),
    "split_by_attribute": (
        [
            helper.make_node("Split", ["h"], ["p", "q"], axis=1, split=[3, 5]),
            helper.make_node("Concat", ["q", "p"], ["c"], axis=1),
        ],
        8, {}, 11, "p", [[2, 4]],
    ),
    "reshape": (
        [
            helper.make_node("Reshape", ["h", "wide"], ["p"]),
            helper.make_node("Reshape", ["p", "flat"], ["c"]),
        ],
        8, {"wide": np.array([0, 8, 1]), "flat": np.array([0, 8])}, 17, "p", [[-1, 6, 1]],
    ),
    "expand": (
        [
            helper.make_node("Unsqueeze", ["h", "one"], ["u"]),
            helper.make_node("Expand", ["u", "wide"], ["p"]),
            helper.make_node("Flatten", ["p"], ["c"]),
        ],
        24, {"one": np.array([1]), "wide": np.array([1, 3, 8])}, 17, "p", [[1, 3, 1]],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_what_a_node_holds_is_moved_and_runs_on_any_number_of_jets(name: str, tmp_path: Path) -> None:
    """Neurons 0 and 5 of eight leave."""
    nodes, width, more, opset, looked_at, wanted = CASES[name]
    proto = dead(hidden(nodes, width, opset=opset, **more), 0, 5)
    network = read(proto)
    small = surgery.shrink(network)
    assert small.shapes["first"] == (6,)
    path = write(small, tmp_path / "small.onnx", like=proto)
    assert max(off(path, small, n_jets) for n_jets in (1, 3, 5)) < 1e-5
    graph = onnx.load(path).graph
    tensors = {entry.name: numpy_helper.to_array(entry).tolist() for entry in graph.initializer}
    (node,) = (node for node in graph.node if looked_at in node.output)
    held = [list(entry.ints) for entry in node.attribute if entry.name in {"starts", "ends", "split"}]
    assert sorted(held + [tensors[name] for name in node.input[1:]]) == sorted(wanted)
    read_by_some = {name for node in graph.node for name in node.input}
    assert set(tensors) <= read_by_some


@pytest.mark.parametrize("opset", [11, 17, 18])
def test_equal_parts_are_told_their_sizes_once_they_differ(opset: int, tmp_path: Path) -> None:
    counted = {"num_outputs": 2} if opset >= 18 else {}
    nodes = [
        helper.make_node("Split", ["h"], ["p", "q"], axis=1, **counted),
        helper.make_node("Concat", ["q", "p"], ["c"], axis=1),
    ]
    proto = hidden(nodes, 8, opset=opset)
    small = without(read(proto), "first", 0, 1, 6)
    path = write(small, tmp_path / "small.onnx", like=proto)
    assert max(off(path, small, n_jets) for n_jets in (1, 4)) < 1e-5


def test_what_no_node_reads_of_a_split_need_not_stay(tmp_path: Path) -> None:
    nodes = [helper.make_node("Split", ["h", "sizes"], ["p", "q", "r"], axis=1), helper.make_node("Relu", ["r"], ["c"])]
    proto = hidden(nodes, 3, sizes=np.array([2, 3, 3]))
    small = surgery.shrink(read(proto))
    assert small.shapes["first"] == (3,)
    path = write(small, tmp_path / "small.onnx", like=proto)
    assert max(off(path, small, n_jets) for n_jets in (1, 4)) < 1e-5
    assert off(path, read(path), 2) < 1e-5


def test_channels_of_a_depthwise_convolution_leave_with_its_groups_and_a_resize_with_its_sizes(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Conv", ["x", "w", "b"], ["a"], name="wide"),
        helper.make_node("Relu", ["a"], ["r"]),
        helper.make_node("Conv", ["r", "k"], ["d"], name="deep", group=6, pads=[1, 1]),
        helper.make_node("Resize", ["d", "", "", "sizes"], ["e"], mode="nearest", name="twice",
                         coordinate_transformation_mode="asymmetric", nearest_mode="floor"),
        helper.make_node("ReduceMean", ["e"], ["m"], axes=[2], keepdims=0),
        helper.make_node("MatMul", ["m", "v"], ["y"], name="last"),
    ]  # fmt: skip
    sizes = {"w": (6, 3, 1), "b": (6,), "k": (6, 1, 3), "v": (6, 2)}
    arrays = {name: rng.normal(size=shape) for name, shape in sizes.items()} | {"sizes": np.array([4, 6, 10])}
    proto = model(nodes, {"x": [4, 3, 5]}, {"y": [4, 2]}, arrays=arrays)
    small = without(read(proto), "wide", 1, 4)
    path = write(small, tmp_path / "small.onnx", like=proto)
    assert max(off(path, small, n_jets) for n_jets in (3, 4, 9)) < 1e-5
    (deep,) = (node for node in onnx.load(path).graph.node if node.name == "deep")
    assert {entry.name: entry.i for entry in deep.attribute}["group"] == 4


@pytest.mark.parametrize("kind", ["LSTM", "GRU", "RNN"])
def test_states_of_both_directions_leave_together_and_with_the_hidden_size(kind: str, tmp_path: Path) -> None:
    rows = 5 * {"LSTM": 4, "GRU": 3, "RNN": 1}[kind]
    sizes = {"w": (2, rows, 3), "r": (2, rows, 5), "b": (2, 2 * rows), "v": (10, 2)}
    arrays = {name: rng.normal(size=shape) for name, shape in sizes.items()}
    arrays |= {"lead": np.array([2]), "states": np.array([5]), "flat": np.array([0, 10]), "one": np.array([1])}
    options: dict[str, Any] = {"linear_before_reset": 1} if kind == "GRU" else {}
    nodes = [
        helper.make_node("Transpose", ["x"], ["t"], perm=[1, 0, 2]),
        helper.make_node("Shape", ["x"], ["s"]),
        helper.make_node("Slice", ["s", "zero", "one"], ["n"]),
        helper.make_node("Concat", ["lead", "n", "states"], ["sizes"], axis=0),
        helper.make_node("ConstantOfShape", ["sizes"], ["start"]),
        helper.make_node(kind, ["t", "w", "r", "b", "", "start"], ["", "z"], name="cell", hidden_size=5,
                         direction="bidirectional", **options),
        helper.make_node("Transpose", ["z"], ["q"], perm=[1, 0, 2]),
        helper.make_node("Reshape", ["q", "flat"], ["c"]),
        helper.make_node("MatMul", ["c", "v"], ["y"], name="last"),
    ]  # fmt: skip
    proto = model(nodes, {"x": ["n", 4, 3]}, {"y": ["n", 2]}, arrays=arrays | {"zero": np.array([0])})
    network = read(proto)
    assert off(write(network, tmp_path / "same.onnx", like=proto), network, 3) < 1e-5
    small = without(network, "cell", 0, 3)
    assert {small[name].n_out for name in ("cell", "cell_back")} == {3}
    path = write(small, tmp_path / "small.onnx", like=proto)
    assert max(off(path, small, n_jets) for n_jets in (1, 3)) < 1e-5


@pytest.mark.slow
@settings(max_examples=60)
@given(graphs(), st.integers(0, 2**16))
def test_a_written_graph_computes_the_pruned_network_or_is_refused_by_name(
    tmp_path: Path, proto: onnx.ModelProto, seed: int
) -> None:
    small, path = pruned(read(proto), seed), tmp_path / "small.onnx"
    path.unlink(missing_ok=True)
    with contextlib.suppress(NetworkError):
        write(small, path, like=proto)
    event(f"written: {path.exists()}")
    assert not path.exists() or max(off(path, small, n_jets) for n_jets in (1, 3)) < 1e-4


@pytest.mark.parametrize("step", ["attended", "computed", "expanded", "rows"])
def test_shapes_move_with_what_they_are_of(step: str, tmp_path: Path) -> None:
    """Half of the heads, of the channels that a shape computes or says, of those that are merged with steps."""
    proto = drawn([step], 0)
    network = read(proto)
    plan = [
        cut
        for group in coupling.groups(network)
        if not group.kept
        for cut in coupling.cuts(group, range(0, len(group), 2))
    ]
    small = surgery.shrink(network, plan, warn=False)
    path = write(small, tmp_path / "small.onnx", like=proto)
    assert max(off(path, small, n_jets) for n_jets in (1, 3, 5)) < 1e-5
