"""Every kind of layer, compiled with g++ for io_parallel and io_stream, computes what the Network does."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from hepprune.firmware import equivalence, hls
from hepprune.firmware import layers as layers_of_hls4ml
from hepprune.fixed import FixedPoint
from hepprune.network import Argmax, BatchNorm, Dense, Input, Layer, Network, ReLU, Softmax
from hepprune.network.layers import (
    Activation,
    Concatenate,
    Crop,
    Einsum,
    GlobalPool,
    LayerNorm,
    Merge,
    Pad,
    Permute,
    Pool,
    PReLU,
    Reshape,
    Shared,
    Slice,
    UpSample,
)
from tests.firmware.layers.stepwise import attention, cells
from tests.firmware.networks import FEATURES, NARROW, POSITIVE, Maker, each, together

PART = "xcvu13p-flga2577-2-e"
WIDE = FixedPoint(16, 5, True, "RND", "SAT")
STEPS = FixedPoint(9, 4, True, "RND_CONV", "SAT")
DA = {"strategy": "distributed_arithmetic"}


def convolutions_1d(io_type: str, *, n_steps: int = 12) -> Network:
    """Every strategy, strides, padding, depthwise, pointwise and dense on positions, pooling, an argmax."""
    make = Maker(1)
    layers: list[Layer] = [
        Input("features", (n_steps, 3), FEATURES),
        make.conv("padded", 4, 3, 3, padding=((1, 1),), **DA),
        ReLU("relu", POSITIVE),
        make.conv("strided", 5, 2, 4, strides=(2,), strategy="resource", reuse_factor=2),
        make.conv("pointwise", 6, 1, 5, parallelization_factor=6),
        make.conv("depthwise", 6, 3, 1, groups=6, padding=((1, 1),), strategy="distributed_arithmetic"),
        ReLU("positive", POSITIVE),
        make.conv("grouped", 6, 2, 3, groups=2, dilation=(2,)),
        ReLU("after_grouped", POSITIVE),
        Pool("max", "max", (3,), strides=(2,), padding=((1, 1),)),
        make.dense("positions", 6, 4, **DA),
    ]
    if io_type == "io_parallel":
        layers += [
            Pool("mean", "average", (3,), strides=(1,), padding=((1, 1),), result=NARROW),
            Pool("signed", "max", (2,), strides=(1,), padding=((1, 0),)),
        ]
    layers += [GlobalPool("top", "max"), make.dense("logits", 4, 3, result=None), Argmax("argmax")]
    return Network(layers)


def convolutions_2d(io_type: str, *, image: tuple[int, int] = (8, 9)) -> Network:
    make = Maker(2)
    size = (3, 3) if io_type == "io_stream" else (3, 2)
    strides = (3, 3) if io_type == "io_stream" else (2, 1)
    layers: list[Layer] = [
        Input("features", (*image, 2), FEATURES),
        make.conv("padded", 4, 3, 3, 2, padding=((1, 1), (0, 2))),
        ReLU("relu", POSITIVE),
        make.conv("strided", 3, 2, 2, 4, strides=(1, 2), strategy="resource", reuse_factor=4),
        make.conv("pointwise", 3, 1, 1, 3),
        make.batch_norm("norm", 3),
        make.conv("depthwise", 6, 2, 1, 1, groups=3, padding=((1, 0), (0, 0)), dilation=(2, 1)),
        make.dense("positions", 6, 4),
        Pool("thirds", "average", size, strides=strides, padding=((1, 1), (1, 1)), result=NARROW),
        GlobalPool("mean", "average", keep_axes=True, result=STEPS),
        Reshape("flat", (-1,)),
        make.dense("logits", 4, 3, result=None),
    ]
    if io_type == "io_stream":
        layers[8:9] = [Pad("border", ((1, 1), (1, 1))), Pool("thirds", "average", size, strides=strides, result=NARROW)]
    return Network(layers)


def moves(_io_type: str) -> Network:
    make = Maker(3)
    layers: list[Layer] = [
        Input("features", (4, 6), FEATURES),
        Permute("turned", (1, 0)),
        Reshape("flat", (24,)),
        make.dense("first", 24, 12),
        Reshape("image", (2, 3, 2)),
        Permute("swapped", (1, 0, 2)),
        Pad("padded", ((1, 0), (0, 2))),
        UpSample("doubled", (2, 1)),
        Crop("cropped", ((1, 1), (0, 1)), result=FixedPoint(6, 3, True, "RND", "SAT")),
        Slice("rows", 1, 3, axis=1),
        Slice("channel", 1, 2, axis=-1),
        Permute("again", (2, 0, 1)),
        Reshape("long", (-1,)),
    ]
    return Network([*layers, make.dense("logits", Network(layers).widths["long"], 4, result=None)])


def merges(io_type: str, *, n_steps: int = 5) -> Network:
    """Two inputs, a shared layer, every operation, and two or three outputs."""
    make = Maker(4)
    layers: list[Layer] = [
        Input("left", (n_steps, 4), FEATURES),
        Input("right", (n_steps, 4), FixedPoint(6, 2, False)),
        make.dense("dense", 4, 4),
        Shared("shared", "dense", FixedPoint(6, 3, True, "RND", "SAT")),
        Merge("sum", "add"),
        Merge("difference", "subtract", NARROW),
        Merge("product", "multiply", NARROW),
        Merge("largest", "maximum"),
        Merge("smallest", "minimum"),
        Merge("mean", "average"),
        Merge("mean_of_four", "average", NARROW),
        Merge("sum_of_three", "add", NARROW),
        Concatenate("channels", -1),
        Concatenate("positions", 1, NARROW),
        Reshape("flat", (-1,)),
        make.dense("logits", 24 * n_steps, 3, result=None),
        make.dense("per_position", 4, 2),
    ]
    sources: dict[str, str | tuple[str, ...]] = {
        "dense": "left",
        "shared": "right",
        "sum": ("dense", "shared"),
        "difference": ("sum", "right"),
        "product": ("difference", "dense"),
        "largest": ("product", "left"),
        "smallest": ("largest", "dense"),
        "mean": ("smallest", "difference"),
        "mean_of_four": ("mean", "left", "right", "dense"),
        "sum_of_three": ("mean_of_four", "right", "left"),
        "channels": ("sum_of_three", "largest", "product"),
        "positions": ("channels", "channels"),
        "flat": "positions",
        "logits": "flat",
        "per_position": "sum_of_three",
    }
    outputs = ["logits", "per_position"]
    if io_type == "io_parallel":
        layers += [Permute("turned", (1, 0)), Einsum("gram", "ij,jk->ik", NARROW), make.dense("pairs", n_steps, 2)]
        sources |= {"turned": "sum_of_three", "gram": ("sum_of_three", "turned"), "pairs": "gram"}
        outputs.append("pairs")
    return Network(layers, sources, outputs)


NARROW_FUNCTIONS = (
    "sigmoid",
    "tanh",
    "hard_sigmoid",
    "hard_tanh",
    "leaky_relu",
    "elu",
    "selu",
    "softplus",
    "softsign",
    "thresholded_relu",
    "swish",
    "gelu",
    "exponential",
    "binary_tanh",
    "linear",
)


def functions(_io_type: str) -> Network:
    """Functions of narrow arguments, each on top of the other, exact from tables of our own."""
    make = Maker(5)
    result = FixedPoint(8, 3, True, "RND", "SAT")
    slopes = torch.tensor([0.25, -0.5, 1.125, 0, 0.3125, 2.0])
    return Network(
        [
            Input("features", 8, FEATURES),
            make.dense("first", 8, 6, result=result),
            *(Activation(f"{name}_of", name, result=result) for name in NARROW_FUNCTIONS),
            PReLU("prelu", slopes, result),
            ReLU("relu", result, maximum=2.25),
            make.dense("logits", 6, 4, result=None),
        ]
    )


def tables(io_type: str, *, n_steps: int = 6, functions: Sequence[str] = NARROW_FUNCTIONS[:10]) -> Network:
    """What hls4ml computes from tables: functions of wide arguments, recurrent layers, layer norm, softmax inside."""
    make = Maker(6)
    layers: list[Layer] = [
        Input("features", (n_steps, 4), FEATURES),
        make.recurrent("lstm", "lstm", 4, 5, return_sequences=True),
        make.dense("between", 5, 5),
        make.recurrent("gru", "gru", 5, 4, return_sequences=True),
        make.recurrent("backwards", "gru", 4, 4, return_sequences=True, backwards=True, in_order=True),
        Softmax("attention", FixedPoint(10, 0, False, "RND", "SAT")),
    ]
    if io_type == "io_parallel":
        norm = LayerNorm("norm", torch.tensor([1.0, 0.5, 2.0, 1.5]), torch.tensor([0.0, 0.25, -0.5, 0]), 1e-3, WIDE)
        layers += [Permute("other", (1, 0)), Permute("back", (1, 0)), norm]
    layers += [GlobalPool("mean", "average", result=NARROW), make.dense("wide", 4, 6, result=WIDE)]
    dyadic = {"leaky_relu": {"slope": 0.25}, "hard_sigmoid": {"slope": 0.25}, "hard_tanh": {"slope": 0.25}}
    for name in functions:
        layers += [
            Activation(f"{name}_of", name, dyadic.get(name), WIDE),
            make.dense(f"after_{name}", 6, 6, result=WIDE),
        ]
    return Network([*layers, Softmax("softmax")])


def vanishing(_: str) -> Network:
    """Values that are always below half a step of the layers that read them, in every kind that rounds."""
    coarse, none = FixedPoint(6, 3, True, "RND", "SAT"), torch.zeros(4)
    scale = {"scale_type": WIDE, "shift_type": WIDE, "result": coarse}
    faint = {"result": coarse, "weight_type": FixedPoint(4, -4), "bias_type": FixedPoint(4, -4)}
    read: list[Layer] = [
        Activation("cast", "linear", None, coarse),
        ReLU("relu", FixedPoint(6, 3, False, "RND_CONV", "SAT")),
        Reshape("same", (4, 1), result=coarse),
        Pool("mean", "average", (2,), result=coarse),
        Pool("top", "max", (2,), result=coarse),
        BatchNorm("norm", torch.full((1,), 2.0**-4), torch.zeros(1), **scale),
        Dense("dense", torch.full((4, 4), 2.0**-6), none, strategy="latency", **faint),
    ]
    merged: list[Layer] = [
        Merge("sum", "add", result=coarse),
        Merge("product", "multiply", result=coarse),
        Merge("largest", "maximum", result=coarse),
        Concatenate("both", result=coarse),
    ]
    layers: list[Layer] = [Input("features", (4,), FEATURES), Activation("tiny", "linear", None, FixedPoint(3, -6))]
    layers += [Reshape("column", (4, 1)), *read[:-1], Reshape("row", (4,)), read[-1]]
    layers += [Activation("other", "linear", None, FixedPoint(2, -7)), *merged, Shared("again", "tiny", coarse)]
    sources = {layer.name: ("column",) for layer in read[2:-1]}
    sources |= {"cast": ("tiny",), "relu": ("tiny",), "other": ("features",), "column": ("tiny",), "row": ("column",)}
    sources |= {
        "dense": ("row",),
        "sum": ("tiny", "other"),
        "product": ("other", "tiny"),
        "same": ("tiny",),
        "tiny": ("features",),
        "largest": ("features", "other"),
        "both": ("tiny", "other"),
        "again": ("other",),
    }
    outputs = [layer.name for layer in (*read, *merged)]
    return Network(layers, sources=sources, outputs=[*outputs, "again"])


def by_value(io_type: str) -> Network:
    """Types of their own for every value: features, neurons, filters, read by adder graphs and by multipliers."""
    make = Maker(8)
    layers: list[Layer] = [
        Input("features", (3, 2), each(3, 2, rounding="RND", overflow="SAT")),
        make.conv("conv", 4, 2, 2, result=None, **DA),
        ReLU("relu", each(2, 4, signed=False)),
        Reshape("flat", (8,)),
        make.dense("signed", 8, 5, result=each(5, rounding="RND", overflow="SAT"), strategy="latency"),
        make.dense("latency", 5, 4, result=None, strategy="latency"),
        ReLU("after", each(4, signed=False, overflow="SAT")),
        make.dense("logits", 4, 3, result=None, **DA),
    ]
    assert io_type == "io_parallel"
    return Network(layers)


def random_features(network: Network, n_jets: int) -> list[NDArray[np.float64]]:
    rng = np.random.default_rng(5)
    return [rng.normal(size=(n_jets, *layer.features_shape)) * 1.5 for layer in network.inputs]


# What hls4ml computes from tables of its own is in `tables` alone.
TABLES = {"lstm", "gru", "backwards", "attention", "tanh_of", "softmax"}
EXACT = (convolutions_1d, convolutions_2d, moves, merges, vanishing, functions)
EVERYWHERE = (*EXACT, tables)
PARALLEL = (attention, cells, by_value)


def checked(network: Network, io_type: str, folder: Path) -> equivalence.Check:
    project = hls.export(
        network, folder, part=PART, clock_ns=5.0, clock_uncertainty=0.27, io_type=io_type, name="tagger"
    )
    assert project.io_type == io_type
    hls.compile(project, n_jets=300)
    check = equivalence.against_csim(network, project, random_features(network, 300))
    assert (check.vectors, check.mismatches, check.first_layer) == (300, 0, None)
    return check


# Side by side: g++ takes as long to read Xilinx' types once as to compile a small network, but longer for many as one.
TOGETHER = (
    (EXACT, "io_stream"),
    ((convolutions_1d, convolutions_2d), "io_parallel"),
    ((moves, merges, vanishing, functions, by_value), "io_parallel"),
    ((attention,), "io_parallel"),
    ((cells,), "io_parallel"),
)


@pytest.mark.slow
@pytest.mark.parametrize(("builds", "io_type"), TOGETHER)
def test_the_compiled_project_computes_its_networks(
    builds: tuple[Callable[[str], Network], ...], io_type: str, tmp_path: Path
) -> None:
    check = checked(together(build(io_type) for build in builds), io_type, tmp_path / "hls")
    assert (check.tables, check.agreement) == ((), 1)


def test_every_network_is_compiled() -> None:
    compiled = [(build, io_type) for builds, io_type in TOGETHER for build in builds]
    assert {*compiled} == {(each, "io_parallel") for each in (*EXACT, *PARALLEL)} | {(e, "io_stream") for e in EXACT}


@pytest.mark.slow
@pytest.mark.parametrize("io_type", hls.IO_TYPES)
def test_the_compiled_project_computes_what_is_around_tables(io_type: str, tmp_path: Path) -> None:
    found = {name for name, _ in checked(tables(io_type), io_type, tmp_path / "hls").tables}
    assert found >= TABLES
    assert found.isdisjoint({"leaky_relu_of", "thresholded_relu_of", "hard_sigmoid_of", "hard_tanh_of"})


@pytest.mark.slow
def test_an_output_that_is_always_below_half_a_step_stops_no_simulation(tmp_path: Path) -> None:
    make = Maker(9)
    dense = make.dense("tiny", 4, 3, result=FixedPoint(6, 5, True, "RND", "SAT"), **DA)
    dense.weight.data[0], dense.bias.data[0] = torch.tensor([2.0**-5, 0, 0, 0]), 0
    network = Network([Input("features", 4, FEATURES), dense, make.dense("logits", 3, 2, result=None, **DA)])
    nodes = layers_of_hls4ml.described(network, io_type="io_parallel")
    assert [node.name for node in nodes] == ["features", "tiny.exact", "tiny", "logits"]
    project = hls.export(network, tmp_path / "hls", part=PART, clock_ns=5.0, clock_uncertainty=0.27, name="tagger")
    hls.compile(project, n_jets=300)
    assert equivalence.against_csim(network, project, random_features(network, 100)).mismatches == 0
