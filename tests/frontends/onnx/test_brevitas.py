"""Taggers that Brevitas exports as QONNX: `data/make_brevitas.py` kept them, and what Brevitas itself puts out."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import numpy_helper

from hepprune.errors import NetworkError
from hepprune.firmware import rtl
from hepprune.fixed.quantisers import Binary, Scaled
from hepprune.frontends.onnx import read, write
from hepprune.network.ranges import exact_logits
from hepprune.pruning.structure import surgery
from tests.frontends import interpreters
from tests.frontends.onnx.models import computed

DATA = Path(__file__).parent / "data"
EXACT = ("perceptron", "image", "steps", "functions", "residual", "attention")  # scales that are powers of two
IN_FLOAT = ("scaled", "signs")


@pytest.fixture(scope="module")
def kept() -> Mapping[str, NDArray[Any]]:
    with np.load(DATA / "brevitas.npz") as found:
        return dict(found)


def exported(kept: Mapping[str, NDArray[Any]], name: str) -> onnx.ModelProto:
    return onnx.load_from_string(kept[f"{name}.model"].tobytes())


def check(kept: Mapping[str, NDArray[Any]], name: str, folder: Path) -> None:
    """Compare a network, and what is written of its shrunk one, with the outputs of Brevitas."""
    proto, features, wanted = exported(kept, name), kept[f"{name}.features"], kept[f"{name}.outputs"]
    network = read(proto)
    small = surgery.shrink(network)
    smaller = read(write(small, folder / f"{name}.onnx", like=proto))
    rounding = 0.0 if name in EXACT else 2.0**-22  # what the order of additions, the processor's, makes of other scales
    for found in (network, small, smaller):
        np.testing.assert_allclose(computed(found, [features])[0], wanted, rtol=0, atol=rounding)
    assert smaller.widths == small.widths


@pytest.mark.parametrize("name", EXACT + IN_FLOAT)
def test_an_export_computes_what_brevitas_computes_and_shrinks(
    name: str, kept: Mapping[str, NDArray[Any]], tmp_path: Path
) -> None:
    check(kept, name, tmp_path)


@pytest.mark.slow
def test_other_exports_compute_what_brevitas_computes(tmp_path: Path) -> None:
    made = tmp_path / "brevitas.npz"
    interpreters.run("brevitas", DATA / "make_brevitas.py", made, "2")
    with np.load(made) as found:
        for name in EXACT + IN_FLOAT:
            check(found, name, tmp_path)


@pytest.mark.parametrize(
    ("name", "layer", "n_before", "n_after"),
    [("perceptron", "layer_1", 8, 7), ("image", "layer_1", 64, 48)],
)
def test_rows_that_put_out_nothing_leave(
    name: str, layer: str, n_before: int, n_after: int, kept: Mapping[str, NDArray[Any]]
) -> None:
    network = read(exported(kept, name))
    assert (network.widths[layer], surgery.shrink(network).widths[layer]) == (n_before, n_after)


@pytest.mark.slow
def test_scales_of_powers_of_two_are_types_that_firmware_computes_exactly(kept: Mapping[str, NDArray[Any]]) -> None:
    network = read(exported(kept, "perceptron"))
    assert rtl.refusals(network) == {}
    found = exact_logits(network, kept["perceptron.features"])
    np.testing.assert_array_equal(found, kept["perceptron.outputs"])


def test_other_scales_are_kept_and_no_verilog_is_promised(kept: Mapping[str, NDArray[Any]]) -> None:
    network = read(exported(kept, "scaled"))
    first, last = (kernel.type for kernel in network.kernels)
    assert isinstance(first, Scaled)
    assert isinstance(last, Scaled)
    assert np.shape(last.scale) == (5, 1)
    assert "has a Scaled result" in " ".join(rtl.refusals(network).values())
    first, last = (kernel.type for kernel in read(exported(kept, "signs")).kernels)
    assert isinstance(first, Binary)
    assert isinstance(last, Scaled)


def test_zero_points_and_cells_are_refused_in_one_sentence(kept: Mapping[str, NDArray[Any]]) -> None:
    with pytest.raises(NetworkError, match=r"quantiser '/0/act_quant/.*' has a zero point, which no fixed-point type"):
        read(exported(kept, "shifted"))
    with pytest.raises(NetworkError, match=r"uses QuantLSTMCell of qonnx.custom_op.general, which no layer"):
        read(exported(kept, "cells"))


@pytest.mark.parametrize(
    ("place", "number", "sentence"),
    [
        (1, np.nan, "has a scale that is not positive and finite"),
        (1, -1.0, "has a scale that is not positive and finite"),
        (1, np.full((7, 7), 0.5), "uses Quant in a way that is not known"),
        (2, np.nan, "has a zero point"),
        (3, np.nan, "has several bit widths, or half bits"),
        (3, 4.5, "has several bit widths, or half bits"),
        (3, -3.0, "has -3 bits, where a type has 1 to 52"),
        (3, 1e30, "has 1e\\+30 bits, where a type has 1 to 52"),
    ],
)
def test_damaged_quantisers_are_refused_in_one_sentence(
    place: int, number: Any, sentence: str, kept: Mapping[str, NDArray[Any]]
) -> None:
    for at, name in enumerate(("/0/act_quant", "/1/weight_quant", "/1/bias_quant", "/2/act_quant")):
        proto = exported(kept, "perceptron")
        node = [each for each in proto.graph.node if each.op_type == "Quant"][at]
        proto.graph.initializer.append(numpy_helper.from_array(np.asarray(number, np.float32), "other"))
        node.input[place] = "other"
        with pytest.raises(NetworkError, match=f"'{name}/.*' {sentence}"):
            read(proto)
