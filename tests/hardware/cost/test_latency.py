"""The `latency` price against what Vitis HLS reported for a published jet tagger."""

import io
import re
import zipfile

import numpy as np
import pytest
import torch

from hepprune.errors import RecipeError
from hepprune.fixed import FixedPoint, digits
from hepprune.hardware import cost
from hepprune.hardware.cost import kernels
from hepprune.hardware.resources import LayerEstimate
from hepprune.hardware.targets import Target
from hepprune.network import Dense, Input, Layer, Network, ReLU, Softmax
from tests.reference import REPORTS

JET_MLP = REPORTS / "jet-mlp-2022.2" / "hls4ml_prj"
TARGET = Target(name="test", clock_ns=5.0, clock_uncertainty=0.27)
ROW = re.compile(
    r"\+ (dense|softmax|myproject)\S*\s*\|[^|]*\|[^|]*\|\s*(\d+)\|"
    + r"[^|]*\|" * 5
    + r"([^|]*)\|([^|]*)\|([^|]*)\|([^|]*)\|"
)


def _jet_mlp() -> Network:
    h5py = pytest.importorskip("h5py")
    with zipfile.ZipFile(JET_MLP / "keras_model.keras") as archive:
        weights = h5py.File(io.BytesIO(archive.read("model.weights.h5")))["_layer_checkpoint_dependencies"]
    kind = FixedPoint(16, 6)
    layers: list[Layer] = [Input("x", 16, kind)]
    for i, name in enumerate(("dense", "dense_1", "dense_2", "dense_3")):
        weight, bias = (torch.tensor(np.array(weights[name]["vars"][part])) for part in "01")
        layers.append(Dense(f"fc{i}", weight.T, bias, weight_type=kind, bias_type=kind, result=kind))
        if i < 3:
            layers.append(ReLU(f"relu{i}", kind))
    return Network([*layers, Softmax("softmax")])


def _count(cell: str) -> float:
    return float(cell.partition("(")[0]) if cell.strip() != "-" else 0.0


def test_a_published_jet_tagger(capsys: pytest.CaptureFixture[str]) -> None:
    report = (JET_MLP / "myproject_prj/solution1/syn/report/csynth.rpt").read_text(encoding="utf-8")
    rows = [(m[1], int(m[2]), *map(_count, m.groups()[2:])) for m in ROW.finditer(report)]
    price = cost.estimate(_jet_mlp(), TARGET, strategy="latency")
    total, modules = rows[0], rows[1:]
    matrices = [layer for layer in price.layers if layer.resources.dsp]
    assert len(modules) == len(matrices) == 5
    assert price.latency_cycles == total[1] == 15
    assert price.resources.dsp == total[3] == 2557
    table = ["jet tagger 16-64-32-32-5, 16 bits, Vitis HLS 2022.2: predicted over reported"]
    for (name, cycles, _, dsp, ff, lut), layer in zip(modules, matrices, strict=True):
        ratios = [_over(layer, cell, value) for cell, value in (("lut", lut), ("ff", ff))]
        table.append(f"  {name:8} LUT {ratios[0]:.2f}  FF {ratios[1]:.2f}  DSP {layer.resources.dsp:.0f} / {dsp:.0f}")
        assert layer.resources.dsp == dsp
        assert layer.depth == cycles
        assert ratios == pytest.approx([1.0, 1.0], abs=0.4)
    lut_ratio, ff_ratio = price.resources.lut / total[5], price.resources.ff / total[4]  # type: ignore[operator]
    table.append(f"  total    LUT {lut_ratio:.2f}  FF {ff_ratio:.2f}")
    with capsys.disabled():
        print("\n" + "\n".join(table))  # noqa: T201
    assert lut_ratio == pytest.approx(1.0, abs=0.05)
    assert ff_ratio == pytest.approx(1.0, abs=0.30)


def _over(layer: LayerEstimate, cell: str, reported: float) -> float:
    return float(getattr(layer.resources, cell)) / reported


@pytest.mark.parametrize(("bits", "lut", "dsp"), [(4, 25009, 0), (6, 32553, 133)])
def test_a_narrow_dense_layer_of_another_tool(bits: int, lut: int, dsp: int) -> None:
    """The 32 x 32 layer `rho` of the l1-jet-id DeepSets, Vivado HLS 2020.1."""
    h5py = pytest.importorskip("h5py")
    path = REPORTS / f"l1-jet-id-deepsets-{bits}bit/kfold_0/synthesis_final/keras_model.h5"
    kernel = torch.tensor(np.array(h5py.File(path)["model_weights/rho/rho/kernel:0"]))
    kind, wide = FixedPoint(bits, 1, True, "RND", "SAT"), FixedPoint(16, 6)
    rho = Dense("rho", kernel.T, torch.zeros(32), weight_type=kind, bias_type=wide, result=wide)
    price = cost.estimate(Network([Input("x", 32, FixedPoint(12, 4)), rho]), TARGET, strategy="latency")
    assert price.resources.lut == pytest.approx(lut, rel=0.15)
    assert price.layers[-1].depth == 1
    assert price.resources.dsp == dsp


def _layer(weight: torch.Tensor, bits: int = 16) -> Network:
    kind = FixedPoint(bits, 2)
    dense = Dense("fc", weight, torch.zeros(len(weight)), weight_type=kind, bias_type=FixedPoint(24, 6))
    return Network([Input("x", weight.shape[1], FixedPoint(12, 2)), dense])


def test_each_zero_saves_its_product_and_weights_of_few_digits_use_no_dsp() -> None:
    weight = torch.rand(8, 8, generator=torch.Generator().manual_seed(0)) * 1.5
    prices = []
    for n_zeros in (0, 16, 32, 64):
        weight.view(-1)[:n_zeros] = 0
        prices.append(cost.estimate(_layer(weight), TARGET, strategy="latency").resources)
    for cell in ("lut", "dsp"):
        counts = [getattr(price, cell) for price in prices]
        assert counts == sorted(counts, reverse=True)
        assert counts[0] > counts[1] > counts[2] > counts[3] == 0
    few_digits = torch.full((8, 8), 0.75)
    assert cost.estimate(_layer(few_digits), TARGET, strategy="latency").resources.dsp == 0


@pytest.mark.parametrize(("in_width", "bits"), [(6, 11), (8, 11), (10, 11), (11, 6), (12, 5), (16, 1), (30, 0)])
def test_a_product_reaches_a_dsp_by_its_bits_and_those_of_its_wider_operand(in_width: int, bits: int) -> None:
    weights = np.array([[n] for n in (0, 1, 6, 11, 13, -11, 21, -21, 43, -43, 683, 1365, -683, 21845)])
    kernel = kernels.count(weights, 16)
    hard = {11: 4, 13: 4, -11: 5, 21: 5, -21: 6, 43: 6, -43: 7, 683: 10, 1365: 11, -683: 11, 21845: 15}
    assert kernel.in_dsp(in_width).distinct == sum(own >= bits for own in hard.values())
    both = kernel.in_dsp(in_width) + kernel.in_lut(in_width)
    assert both.n == kernel.n_products == 13
    assert both.n_digits == int(digits.count(weights).sum())


def test_operands_beyond_one_dsp_take_two() -> None:
    weight = torch.full((1, 1), 1.337)
    narrow, wide = (cost.estimate(_layer(weight, bits=b), TARGET, strategy="latency").resources.dsp for b in (16, 30))
    assert (narrow, wide) == (1, 2)


def test_unknown_strategies_and_stages_list_the_choices() -> None:
    network = _layer(torch.ones(1, 2))
    with pytest.raises(RecipeError, match="unknown strategy 'latncy'; choose one of: latency, distributed_arithmetic"):
        cost.estimate(network, TARGET, strategy="latncy")
    with pytest.raises(RecipeError, match="stage for strategy 'latency' 'yosys'; choose one of"):
        cost.estimate(network, TARGET, strategy="latency", stage="yosys")
    later = cost.estimate(network, TARGET, stage="yosys")
    assert later.stage == "yosys"
    assert later.resources.lut == pytest.approx(1.01 * cost.estimate(network, TARGET).resources.lut)
