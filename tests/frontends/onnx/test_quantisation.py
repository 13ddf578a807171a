"""QONNX: exactly what its own reference computes, in and out, before and after surgery."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper

from hepprune.errors import NetworkError
from hepprune.fixed import FixedPoint
from hepprune.fixed.quantisers import Binary, FixedPoints, Scaled
from hepprune.frontends.onnx import read, write
from hepprune.frontends.onnx.quantisation import Quantisation
from hepprune.network import Conv, Dense
from hepprune.network.ranges import exact_logits
from hepprune.pruning.structure import surgery
from tests.frontends.onnx.models import N_JETS, QONNX, computed, executed_by_qonnx, model
from tests.networks import weighted

ROUNDINGS = ("ROUND", "FLOOR", "HALF_UP", "DOWN", "HALF_DOWN")


class Quantised:
    """A model built node by node."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.arrays: dict[str, Any] = {"zero": 0.0}

    def constant(self, name: str, values: Any) -> str:
        self.arrays[name] = values
        return name

    def node(self, kind: str, *inputs: str, **attributes: Any) -> str:
        name = f"{kind}_{len(self.nodes)}"
        domain = QONNX if kind in {"Quant", "BipolarQuant", "Trunc"} else ""
        self.nodes.append(helper.make_node(kind, list(inputs), [f"{name}_out"], name=name, domain=domain, **attributes))
        return f"{name}_out"

    def quant(self, x: str, scale: Any, bits: int, *, signed: int = 1, narrow: int = 0, rounding: str = "ROUND") -> str:
        number = len(self.nodes)
        inputs = self.constant(f"scale_{number}", scale), "zero", self.constant(f"bits_{number}", float(bits))
        return self.node("Quant", x, *inputs, signed=signed, narrow=narrow, rounding_mode=rounding)

    def model(self, shape: tuple[int, ...], n_out: int) -> onnx.ModelProto:
        self.nodes[-1].output[0] = "y"
        return model(self.nodes, {"x": [N_JETS, *shape]}, {"y": [N_JETS, n_out]}, arrays=self.arrays)


@st.composite
def scales(draw: st.DrawFn, *, axes: tuple[int, ...]) -> Any:
    """One power of two, or one per channel."""
    exponents = st.integers(-4, 0)
    if draw(st.booleans()):
        return 2.0 ** draw(exponents)
    n = max(axes)
    return 2.0 ** np.array(draw(st.lists(exponents, min_size=n, max_size=n))).reshape(axes)


@st.composite
def perceptrons(draw: st.DrawFn) -> onnx.ModelProto:
    """Dense layers as MatMul, Gemm or with a transposed weight, quantised throughout, with dead neurons."""
    rng, built = np.random.default_rng(draw(st.integers(0, 2**31))), Quantised()
    sizes = draw(st.lists(st.integers(1, 6), min_size=2, max_size=4))
    x = built.quant("x", 0.125, 8, rounding=draw(st.sampled_from(ROUNDINGS)))
    for number, (n_in, n_out) in enumerate(zip(sizes, sizes[1:], strict=False)):
        matrix = rng.normal(size=(n_in, n_out)) * (rng.random(n_out) < 0.7)
        shift = built.quant(built.constant(f"b{number}", rng.normal(size=n_out)), 2.0**-6, 8)
        width = {"bits": draw(st.integers(2, 6)), "narrow": draw(st.integers(0, 1))}
        form = draw(st.sampled_from(["matmul", "gemm", "transposed"]))
        if form == "transposed":
            weight = built.quant(built.constant(f"w{number}", matrix.T), draw(scales(axes=(n_out, 1))), **width)
            x = built.node("Gemm", x, weight, shift, transB=1)
        else:
            weight = built.quant(built.constant(f"w{number}", matrix), draw(scales(axes=(1, n_out))), **width)
            x = (
                built.node("Gemm", x, weight, shift)
                if form == "gemm"
                else built.node("Add", built.node("MatMul", x, weight), shift)
            )
        if number < len(sizes) - 2:
            rounding = draw(st.sampled_from(ROUNDINGS))
            x = built.node("Relu", x)
            x = built.quant(x, draw(scales(axes=(1, n_out))), draw(st.integers(2, 6)), signed=0, rounding=rounding)
    return built.model((sizes[0],), sizes[-1])


def features(proto: onnx.ModelProto) -> Any:
    shape = [size.dim_value for size in proto.graph.input[0].type.tensor_type.shape.dim]
    return (3 * np.random.default_rng(1).normal(size=shape)).astype(np.float32)


@pytest.mark.slow
@settings(max_examples=15)
@given(perceptrons())
def test_a_quantised_perceptron_is_exact_in_and_out(tmp_path: Path, proto: onnx.ModelProto) -> None:
    network, x = read(proto), features(proto)
    expected = executed_by_qonnx(proto, x)
    assert np.array_equal(computed(network, [x])[0], expected)
    assert np.array_equal(exact_logits(network, x), expected)
    written = write(network, tmp_path / "same.onnx", like=proto)
    assert read(written).structure() == network.structure()
    small = surgery.shrink(network)
    smaller = onnx.load(write(small, tmp_path / "small.onnx", like=proto))
    assert read(smaller).widths == small.widths
    assert np.array_equal(executed_by_qonnx(smaller, x), expected)
    assert np.array_equal(computed(read(smaller), [x])[0], expected)


def convolutional() -> onnx.ModelProto:
    """A convolution with a scale per filter, a pooling, a flatten with sizes of its own, and a dead filter."""
    rng, built = np.random.default_rng(3), Quantised()
    kernel = rng.normal(size=(4, 2, 3))
    kernel[1] = 0
    scale = np.array([0.5, 0.25, 0.125, 0.25])
    x = built.quant("x", 0.25, 6)
    weight = built.quant(built.constant("k", kernel), scale.reshape(4, 1, 1), 4)
    x = built.node("Conv", x, weight, pads=[1, 1])
    x = built.quant(built.node("Relu", x), 2 * scale.reshape(1, 4, 1), 4, signed=0)
    x = built.node("MaxPool", x, kernel_shape=[2], strides=[2])
    x = built.node("Reshape", x, built.constant("shape", np.array([N_JETS, 16])))
    weight = built.quant(built.constant("w", rng.normal(size=(16, 3))), 0.25, 4)
    return Quantised.model(_ending(built, x, weight), (2, 8), 3)


def _ending(built: Quantised, x: str, weight: str) -> Quantised:
    built.node("Gemm", x, weight, built.quant(built.constant("b", np.arange(3.0)), 0.125, 8))
    return built


def test_a_quantised_convolution_is_exact_and_shrinks(tmp_path: Path) -> None:
    proto = convolutional()
    network, x = read(proto), features(proto)
    expected = executed_by_qonnx(proto, x)
    assert np.array_equal(computed(network, [x])[0], expected)
    assert isinstance(network.layers["Conv_2"], Conv)
    assert isinstance(network.layers["Conv_2"].weight_type, FixedPoints)
    small = surgery.shrink(network)
    assert small.layers["Conv_2"].n_out == 3
    smaller = onnx.load(write(small, tmp_path / "small.onnx", like=proto))
    sizes = {tensor.name: tuple(tensor.dims) for tensor in smaller.graph.initializer}
    assert (sizes["k"], sizes["w"]) == ((3, 2, 3), (12, 3))
    assert np.array_equal(executed_by_qonnx(smaller, x), expected)
    assert read(smaller).structure() == small.structure()


def test_scales_that_are_no_powers_of_two_and_signs_are_kept() -> None:
    rng, built = np.random.default_rng(4), Quantised()
    x = built.quant("x", 0.3, 5)
    weight = built.quant(built.constant("w", rng.normal(size=(4, 6))), rng.uniform(0.1, 1, (1, 6)), 4)
    x = built.quant(built.node("MatMul", x, weight), 0.7, 4)
    signs = built.node("BipolarQuant", built.constant("v", rng.normal(size=(6, 2))), built.constant("unit", 0.5))
    built.node("MatMul", x, signs)
    proto = built.model((4,), 2)
    network, jets = read(proto), features(proto)
    first, second = weighted(network)
    assert isinstance(first.weight_type, Scaled)
    assert second.weight_type == Binary(0.5)
    assert np.allclose(computed(network, [jets])[0], executed_by_qonnx(proto, jets), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("rounding", ["FLOOR", "ROUND"])
def test_truncation_is_exact(rounding: str) -> None:
    built = Quantised()
    x = built.quant("x", 0.125, 8)
    inputs = [built.constant(name, value) for name, value in (("s", 0.125), ("before", 8.0), ("after", 5.0))]
    built.node("Trunc", x, inputs[0], "zero", *inputs[1:], rounding_mode=rounding)
    proto = built.model((3,), 3)
    jets = features(proto)
    assert np.array_equal(computed(read(proto), [jets])[0], executed_by_qonnx(proto, jets))


def test_a_value_that_is_also_read_unquantised_keeps_a_quantiser_of_its_own() -> None:
    built = Quantised()
    relu = built.node("Relu", "x")
    built.node("Add", built.quant(relu, 0.5, 3), relu)
    proto = built.model((3,), 3)
    network, jets = read(proto), features(proto)
    assert network["Relu_0"].result is None
    assert network["Quant_1"].result == FixedPoint(3, 2, True, "RND_CONV", "SAT")
    assert np.array_equal(computed(network, [jets])[0], executed_by_qonnx(proto, jets))


def test_quantisers_that_no_type_has_are_refused_by_name() -> None:
    cases: dict[str, dict[str, Any]] = {
        "'Quant_0' has a scale that is not positive": {"scale": -1.0},
        "is unsigned and narrow": {"signed": 0, "narrow": 1},
        "unknown rounding mode 'CEIL'": {"rounding": "CEIL"},
        "'Quant_0' has 60 bits": {"bits": 60},
    }
    for words, changes in cases.items():
        built = Quantised()
        built.quant("x", **({"scale": 0.5, "bits": 4} | changes))
        with pytest.raises(NetworkError, match=words):
            read(built.model((3,), 3))
    built = Quantised()
    built.node("Quant", "x", built.constant("s", 0.5), built.constant("z", 3.0), built.constant("n", 4.0), signed=0)
    with pytest.raises(NetworkError, match="zero point"):
        read(built.model((3,), 3))


def test_what_nodes_do_is_compared_beside_their_scales() -> None:
    one, other = (Quantisation(node="q", scale=torch.tensor(scale), bits=4) for scale in ([1.0, 2.0], [4.0, 8.0]))
    assert one == other
    assert one != Quantisation(node="q", scale=one.scale, bits=5)


def test_types_that_no_node_holds_are_not_written(tmp_path: Path) -> None:
    built = Quantised()
    built.node("Gemm", built.quant("x", 0.5, 4), built.quant(built.constant("w", np.ones((3, 2))), 0.5, 4))
    proto = built.model((3,), 2)
    network = read(proto)
    network["x"].result = FixedPoint(5, 3, True, "TRN", "SAT")
    again = read(write(network, tmp_path / "other.onnx", like=proto))
    assert again["x"].result == network["x"].result
    network["x"].result = FixedPoint(5, 3, True, "TRN", "WRAP")
    with pytest.raises(NetworkError, match="layer 'x' .* wraps around"):
        write(network, tmp_path / "wrapping.onnx", like=proto)
    assert isinstance(network.kernels[0].layer, Dense)
    assert [path.name for path in tmp_path.iterdir()] == ["other.onnx"]
