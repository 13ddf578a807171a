"""What hls4ml cannot take is refused in one sentence that names layer, kind and fix, before anything is written."""

from pathlib import Path

import pytest
import torch

from hepprune.errors import NetworkError
from hepprune.firmware import hls, layers, modelgraph, names
from hepprune.firmware.names import Names
from hepprune.fixed import FixedPoint
from hepprune.fixed.quantisers import Binary
from hepprune.network import Argmax, Input, Layer, Network, ReLU, Softmax
from hepprune.network.layers import (
    LAYERS,
    Activation,
    Concatenate,
    Einsum,
    LayerNorm,
    Lookup,
    Merge,
    Pool,
    Reshape,
    Shared,
    Slice,
    TopK,
)
from tests.firmware.networks import FEATURES, NARROW, POSITIVE, Maker, each

MAKE = Maker(9)
WIDE = FixedPoint(20, 8)
IMAGE = (6, 8, 4)


def chain(shape: tuple[int, ...], *rest: Layer) -> Network:
    return Network([Input("features", shape, FEATURES), *rest])


def both(operation: Layer, left: tuple[int, ...], right: tuple[int, ...]) -> Network:
    inputs = [Input("left", left, FEATURES), Input("right", right, FEATURES)]
    return Network([*inputs, operation], {operation.name: ("left", "right")})


STATES = {"state_type": NARROW, "activation_type": NARROW, "recurrent_activation_type": POSITIVE}
ONES, ZEROS = torch.ones(4), torch.zeros(4)
REFUSED = {
    "dilated in resource": (
        chain((8, 4), MAKE.conv("it", 2, 3, 4, dilation=(2,), strategy="resource")),
        "Conv",
        "strategy latency or distributed_arithmetic",
    ),
    "grouped at a reuse factor": (chain((8, 4), MAKE.conv("it", 4, 3, 2, groups=2, reuse_factor=2)), "Conv", "reuse"),
    "depthwise in resource": (
        chain((8, 4), MAKE.conv("it", 4, 3, 1, groups=4, strategy="resource")),
        "Conv",
        "strategy latency",
    ),
    "strided pointwise": (
        chain((8, 4), MAKE.conv("it", 2, 1, 4, strides=(2,), parallelization_factor=4)),
        "Conv",
        "parallelization",
    ),
    "dense on three axes": (chain((2, 2, 2, 4), MAKE.dense("it", 4, 2)), "Dense", "reshape"),
    "epsilon": (chain((3, 4), LayerNorm("it", ONES, ZEROS, 3e-4, NARROW)), "LayerNorm", "train it"),
    "simple cell": (chain((3, 4), MAKE.recurrent("it", "simple", 4, 2)), "Recurrent", "GRU"),
    "reset before": (chain((3, 4), MAKE.recurrent("it", "gru", 4, 2, reset_after=False)), "Recurrent", "reset_after"),
    "wide arguments": (chain((3, 4), MAKE.recurrent("it", "gru", 4, 2, **STATES)), "Recurrent", "at most 12 bits"),
    "shared steps": (
        chain((3, 4), MAKE.recurrent("it", "gru", 4, 2, **STATES, argument_type=NARROW, reuse_factor=2)),
        "Recurrent",
        "reuse factor 1",
    ),
    "elu gates": (chain((3, 4), MAKE.recurrent("it", "gru", 4, 2, activation="elu")), "Recurrent", "tanh"),
    "wide swish": (
        chain((4,), MAKE.dense("d", 4, 4, result=WIDE), Activation("it", "swish", None, NARROW)),
        "Act",
        "12",
    ),
    "wide end": (chain((4,), MAKE.dense("d", 4, 4, result=WIDE), ReLU("it", NARROW, maximum=1.25)), "ReLU", "12 bits"),
    "binary result": (chain((4,), MAKE.dense("it", 4, 4, result=Binary())), "Dense", "linear Activation"),
    "rounded to even": (Network([Input("it", 4, each(4, rounding="RND_CONV"))]), "Input", "AP_RND"),
    "every other": (chain((8, 4), Slice("it", 0, 4, axis=1, step=2)), "Slice", "step 1"),
    "mean of three": (
        Network([Input("a", 4, FEATURES), Merge("it", "average", NARROW)], {"it": ("a", "a", "a")}),
        "Merge",
        "scale",
    ),
    "broadcast": (both(Merge("it", "add"), (3, 4), (3, 1)), "Merge", "repeat"),
    "sum of one": (both(Einsum("it", "ij,jk->k"), (3, 4), (4, 2)), "Einsum", "sum it before"),
    "join of four axes": (both(Concatenate("it"), (2, 2, 2, 3), (2, 2, 2, 3)), "Concatenate", "reshape"),
    "argmax read and put out": (
        Network([Input("x", 4, FEATURES), Argmax("it"), Activation("a", "linear")], outputs=["it", "a"]),
        "Argmax",
        "put it out only",
    ),
}
STREAMS = {
    "types of values": (chain((4,), MAKE.dense("it", 4, 4, result=each(4))), "Dense", "io_parallel"),
    "layer norm": (chain((3, 4), LayerNorm("it", ONES, ZEROS, 1e-3, NARROW)), "LayerNorm", "io_parallel"),
    "einsum": (both(Einsum("it", "ij,jk->ik"), (3, 4), (4, 2)), "Einsum", "io_parallel"),
    "softmax over positions": (chain((3, 4), Softmax("it", NARROW, axis=0)), "Softmax", "permute"),
    "argmax inside": (chain((4,), Argmax("it"), Activation("a", "linear")), "Argmax", "io_parallel"),
    "top": (chain((3, 4), TopK("it", 2)), "TopK", "io_parallel"),
    "typed cell": (
        chain((3, 4), MAKE.recurrent("it", "gru", 4, 2, **STATES, argument_type=NARROW)),
        "Recurrent",
        "io_parallel",
    ),
    "padded mean": (chain((8, 4), Pool("it", "average", (2,), padding=((1, 1),), result=NARROW)), "Pool", "pad before"),
    "padded maximum": (chain((8, 4), Pool("it", "max", (2,), padding=((1, 1),))), "Pool", "pad before"),
    "overlapping windows": (chain(IMAGE, Pool("it", "max", (3, 3), strides=(2, 2))), "Pool", "io_parallel"),
    "other words": (chain((4, 3), Reshape("it", (6, 2))), "Reshape", "io_parallel"),
    "broadcast": (both(Merge("it", "add"), (3, 4), (1, 4)), "Merge", "repeat"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_layer_that_hls4ml_cannot_take_is_refused(case: str) -> None:
    network, kind, fix = REFUSED[case]
    with pytest.raises(NetworkError) as caught:
        layers.described(network, io_type="io_parallel")
    message = str(caught.value)
    assert "layer 'it'" in message
    assert kind in message
    assert fix in message


@pytest.mark.parametrize("case", STREAMS)
def test_a_layer_that_no_stream_feeds_is_refused(case: str) -> None:
    network, kind, fix = STREAMS[case]
    with pytest.raises(NetworkError, match=rf"layer 'it' \({kind}\) .*; .*{fix}"):
        layers.described(network, io_type="io_stream")


def test_every_kind_of_layer_has_a_description_but_tables_of_single_values() -> None:
    known = {kind.__name__ for kind in layers.DESCRIPTIONS.table}
    assert known | {Shared.__name__, Lookup.__name__} == set(LAYERS)
    network = chain((4, 2), Lookup("it", torch.zeros(4, 2, 2**FEATURES.width), FEATURES, NARROW))
    with pytest.raises(NetworkError, match=r"layer 'it' \(Lookup\) has no hls4ml form"):
        layers.described(network, io_type="io_parallel")


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"io_type": "io_serial"}, "unknown io_type 'io_serial'; choose one of: io_"),
        ({"strategy": "unrolled"}, "unknown strategy 'unrolled'"),
        ({"strategy": "distributed_arithmetic"}, "'conv' has reuse factor 2; distributed_arithmetic knows only 1"),
        ({}, "'conv': hls4ml would build resource at reuse factor 2 .* parallelization factor 6 where"),
    ],
)
def test_what_hls4ml_would_change_is_refused(options: dict[str, str], reason: str, tmp_path: Path) -> None:
    conv = MAKE.conv("conv", 4, 3, 4, strategy="resource", reuse_factor=2, parallelization_factor=5)
    with pytest.raises(NetworkError, match=reason):
        hls.export(
            chain((8, 4), conv),
            tmp_path / "hls",
            part="xcvu13p-flga2577-2-e",
            clock_ns=5.0,
            clock_uncertainty=0.27,
            **options,  # type: ignore[arg-type]
        )
    assert list(tmp_path.iterdir()) == []


def test_types_follow_from_the_values_where_a_quantiser_is_none() -> None:
    network = chain((4,), MAKE.dense("fc", 4, 2, weight_type=Binary(0.25)), ReLU("relu", POSITIVE))
    node = layers.described(network, io_type="io_parallel")[1]
    assert str(node.precision["weight"]) == "ap_fixed<2,0>"
    assert node.precision["accum"] == layers.types(network)["fc"]


def test_a_stream_is_copied_seven_times_at_most() -> None:
    casts = [Activation(f"cast{index}", "linear", None, NARROW) for index in range(8)]
    sources = {cast.name: "features" for cast in casts}
    network = Network([Input("features", 4, FEATURES), *casts], sources, [cast.name for cast in casts])
    assert len(layers.described(network, io_type="io_parallel")) == 9
    with pytest.raises(NetworkError, match=r"'features' \(Input\) is read 8 times"):
        layers.described(network, io_type="io_stream")


def test_what_hls4ml_itself_refuses_is_one_sentence_with_the_users_names(tmp_path: Path) -> None:
    layers_ = [Input("features", (4, 3), FEATURES), MAKE.dense("dense", 3, 2), Reshape("signal", (-1,))]
    network = Network(layers_, outputs=("dense", "signal"))
    nodes = layers.described(network, io_type="io_parallel")
    table = Names({"it": "it"}, names.safe(node.name for node in nodes))
    options = {"project_name": "it", "part": "xcvu13p", "io_type": "io_parallel", "clock_period": 5.0}
    with pytest.raises(NetworkError, match="hls4ml refuses the network: Remove leaf node signal will"):
        modelgraph.build(nodes, network.outputs, table, tmp_path, options)


@pytest.mark.parametrize(
    ("outputs", "nodes"),
    [
        (["dense", "dense"], ("dense", "dense.out1")),
        (["features", "dense"], ("features.out0", "dense")),
        (["flat", "dense", "same"], ("flat", "dense.out1", "same.out2")),
        (["other", "same"], ("other", "same")),
    ],
)
def test_a_value_that_is_put_out_already_is_copied(outputs: list[str], nodes: tuple[str, ...]) -> None:
    casts = [Activation("same", "linear", None, POSITIVE), Activation("other", "linear", None, NARROW)]
    made = [MAKE.dense("dense", 3, 2, result=POSITIVE), Reshape("flat", (-1,)), *casts]
    sources = {"dense": "features", "flat": "dense", "same": "dense", "other": "dense"}
    network = Network([Input("features", (4, 3), FEATURES), *made], sources, outputs)
    assert not layers.refusals(network, io_type="io_parallel")
    found, ends = layers.distinct(layers.described(network, io_type="io_parallel"), outputs)
    assert ends == nodes
    assert len(found) == 5 + sum(".out" in name for name in nodes)
