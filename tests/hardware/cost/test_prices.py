"""Prices of the hls4ml strategies: laws over random layers, and rules against what public reports say."""

import csv
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hepprune.errors import NetworkError, RecipeError
from hepprune.fixed import FixedPoint
from hepprune.hardware import cost
from hepprune.hardware.cost import hls, kernels, prices, reuse
from hepprune.hardware.cost.operations import Operation
from hepprune.hardware.cost.prices import price
from hepprune.hardware.cost.timing import Clock
from hepprune.hardware.resources import RESOURCES
from hepprune.hardware.targets import Target
from hepprune.network import (
    Activation,
    Argmax,
    Conv,
    Dense,
    Einsum,
    GlobalPool,
    Input,
    Layer,
    LayerNorm,
    Merge,
    Network,
    Pool,
    PReLU,
    Recurrent,
    ReLU,
    Reshape,
    Softmax,
)
from hepprune.network.layers import TopK
from hepprune.network.parts import parts
from tests.reference import REFERENCE

TARGET = Target(name="test", clock_ns=5.0)
KIND, WIDE = FixedPoint(8, 2), FixedPoint(16, 6)


def _dense(name: str, n_in: int, n_out: int, **options: object) -> Dense:
    weight = torch.randn(n_out, n_in, generator=torch.Generator().manual_seed(n_in + n_out))
    types = {"weight_type": KIND, "bias_type": WIDE, "result": WIDE}
    return Dense(name, weight, torch.zeros(n_out), **(types | options))


def _mlp(**options: object) -> Network:
    layers = [Input("x", 16, WIDE), _dense("a", 16, 24, **options), ReLU("r", FixedPoint(8, 2, False))]
    return Network([*layers, _dense("b", 24, 8, **options), _dense("c", 8, 5, **options)])


@settings(max_examples=20, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    strategy=st.sampled_from(["latency", "resource", "resource_unrolled"]),
    factor=st.sampled_from([1, 2, 4, 8, 16, 48]),
    io_type=st.sampled_from(["io_parallel", "io_stream"]),
)
def test_more_zeros_never_cost_more(seed: int, strategy: str, factor: int, io_type: str) -> None:
    generator = torch.Generator().manual_seed(seed)
    weight, order = torch.randn(12, 16, generator=generator), torch.randperm(12 * 16, generator=generator)
    costs = []
    for n_zeros in (0, 40, 100, 160, 192):
        weight.view(-1)[order[:n_zeros]] = 0
        layer = Dense("fc", weight.clone(), torch.zeros(12), weight_type=KIND, bias_type=WIDE, result=WIDE)
        found = hls.estimate(
            Network([Input("x", 16, WIDE), layer]), TARGET, strategy=strategy, io_type=io_type, reuse_factor=factor
        )
        costs.append([*found.resources.known().values(), found.latency_cycles, found.interval_cycles])
    for before, after in zip(costs, costs[1:], strict=False):
        assert all(b >= a for b, a in zip(before, after, strict=True))


@pytest.mark.parametrize("strategy", ["latency", "resource"])
def test_one_changed_layer_is_priced_alone_and_totals_stay_the_sum(strategy: str) -> None:
    network = _mlp()
    priced = hls.priced(network, TARGET, strategy=strategy, reuse_factor=1 if strategy == "latency" else 8)
    thinner = network.replacing({"b": _dense("b", 24, 8, digit_limit=torch.zeros(8, 24, dtype=torch.uint8))})
    again = hls.priced(thinner, TARGET, strategy=strategy, reuse_factor=1 if strategy == "latency" else 8)
    changed = priced.changed(again.operations["b"])
    assert changed.layers["a"] is priced.layers["a"]
    assert changed.layers["b"] == again.layers["b"]
    found = changed.estimate()
    for cell in RESOURCES:
        assert getattr(found.resources, cell) == pytest.approx(sum(getattr(la.resources, cell) for la in found.layers))
        assert getattr(found.uncertainty, cell) >= 0
    assert found.latency_error_cycles is not None


def _operation(n_in: int, n_out: int, bits: int, factor: int, **facts: object) -> Operation:
    kernel = kernels.count(np.ones((n_out, n_in), dtype=np.int64), bits, reuse_factor=factor)
    known = {"strategy": "resource", "reuse_factor": factor, "asked_reuse_factor": factor, "kernels": (kernel,)}
    return Operation(
        name="fc",
        kind="matrix",
        n_in=n_in,
        n_out=n_out,
        in_width=16,
        out_width=16,
        accumulator_width=16,
        **(known | facts),
    )  # type: ignore[arg-type]


def _rows(name: str) -> list[dict[str, str]]:
    with (REFERENCE / "tables" / name).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_single_layers_with_shared_multipliers() -> None:
    """wa-hls4ml: the interval is exact, latency within one cycle, DSP within one, LUT and FF near in the median."""
    finished = [row for row in _rows("wa_dense_single_layer.csv") if row["hls_synth_success"] == "True"]
    shared = [row for row in finished if row["strategy"] == "resource" and int(row["rf"]) > 1][::7]
    errors = []
    for row in shared:
        n_in, n_out, bits, factor = (int(row[key]) for key in ("d_in", "d_out", "prec", "rf"))
        assert reuse.is_legal(n_in, n_out, factor)
        found = price(_operation(n_in, n_out, bits, factor), clock=Clock(3.65))
        assert found.interval_cycles == float(row["IntervalMax_hls"])
        assert abs(found.depth - float(row["BestLatency_hls"])) <= 1  # one less without any DSP
        assert abs(found.resources.dsp - float(row["DSP_hls"])) <= 1  # type: ignore[operator]
        errors.append([abs(getattr(found.resources, c) / float(row[f"{c.upper()}_hls"]) - 1) for c in ("lut", "ff")])
    assert len(errors) > 100
    lut, ff = np.median(errors, axis=0)
    assert lut < 0.1
    assert ff < 0.1


def test_streamed_layers_take_the_multipliers_and_memories_of_their_reuse_factor() -> None:
    """N-TORC dense: DSP within one, BRAM within one in nine of ten."""
    close = []
    for row in _rows("ntorc_dense_distinct.csv"):
        n_in, n_out, asked = (int(row[key]) for key in ("n_in", "n_out", "rf"))
        if not row["dsp48e_mean"] or asked == 1:
            continue
        factor = reuse.taken(n_in, n_out, asked)
        found = price(_operation(n_in, n_out, 16, factor, streams=True), clock=Clock(3.65))
        assert abs(found.resources.dsp - float(row["dsp48e_mean"])) <= 1  # type: ignore[operator]
        close.append(abs(found.resources.bram18 - float(row["bram_18k_mean"])) <= 1)  # type: ignore[operator]
    assert np.mean(close) > 0.9


@pytest.mark.parametrize(("n_in", "n_out"), [(16, 64), (30, 7), (17, 1)])
def test_legal_reuse_factors_are_those_of_hls4ml(n_in: int, n_out: int) -> None:
    backends = pytest.importorskip("hls4ml.backends")
    backend = backends.get_backend("Vitis")
    known = backend.get_valid_reuse_factors(n_in, n_out)
    assert list(reuse.legal(n_in, n_out)) == known
    unrolled = known[:-1]  # hls4ml leaves out a single multiplier
    for asked in range(1, n_in * n_out + 5):
        assert reuse.taken(n_in, n_out, asked) == backend.get_closest_reuse_factor(known, asked)
        closest = backend.get_closest_reuse_factor(unrolled, asked)
        assert reuse.taken(n_in, n_out, asked, strategy="resource_unrolled") == closest


def _networks() -> list[Network]:
    image = [Input("x", (8, 8, 3), WIDE)]
    conv = Conv("conv", torch.randn(4, 3, 3, 3), torch.zeros(4), weight_type=KIND, bias_type=WIDE, result=KIND)
    gru = Recurrent(
        "gru",
        "gru",
        weight=torch.randn(12, 3),
        recurrent_weight=torch.randn(12, 4),
        bias=torch.zeros(12),
        recurrent_bias=torch.zeros(12),
        weight_type=KIND,
        recurrent_weight_type=KIND,
        bias_type=WIDE,
        state_type=KIND,
        reuse_factor=4,
    )
    steps = Input("x", (6, 3), WIDE)
    tail: list[Layer] = [LayerNorm("norm", torch.ones(3), torch.zeros(3)), PReLU("p", torch.ones(3)), gru]
    sides = [
        steps,
        Activation("t", "tanh", result=KIND),
        Merge("sum", "add"),
        Einsum("dot", "ij,kj->ik"),
        TopK("top", 2),
        Argmax("best"),
    ]
    edges = {"t": "x", "sum": ("x", "t"), "dot": ("sum", "t"), "top": "dot", "best": "top"}
    return [
        Network([*image, conv, ReLU("r"), Pool("pool", "max", (2, 2)), GlobalPool("mean", "average"), Softmax("s")]),
        Network([*image, conv, Reshape("flat", (-1,)), Dense("fc", torch.randn(2, 144), torch.zeros(2))]),
        Network([steps, *tail]),
        Network(sides, edges),
    ]


@pytest.mark.parametrize("io_type", ["io_parallel", "io_stream"])
@pytest.mark.parametrize("strategy", ["latency", "resource", "resource_unrolled"])
def test_every_kind_of_layer_has_a_finite_price(strategy: str, io_type: str) -> None:
    for network in _networks():
        found = hls.estimate(network, TARGET, strategy=strategy, io_type=io_type)
        numbers = [*found.resources.known().values(), *found.uncertainty.known().values(), found.latency_ns]
        assert all(math.isfinite(number) and number >= 0 for number in numbers)
        assert found.interval_cycles >= 1


@pytest.mark.parametrize(("n", "bits"), [(4, 8), (8, 8), (16, 8), (16, 12)])
def test_a_top_k_costs_about_what_the_steps_do_that_hls4ml_builds_it_of(n: int, bits: int) -> None:
    kind, layer = FixedPoint(bits, 4), TopK("top", n // 4)
    steps = parts(layer, (n,))
    steps.input.result = kind
    found, built = (
        hls.estimate(network, TARGET, strategy="latency")
        for network in (Network([Input("x", n, kind), layer]), steps.float())
    )
    assert found.resources.lut == pytest.approx(built.resources.lut, rel=0.35)
    assert found.latency_cycles <= built.latency_cycles


def test_positions_at_once_multiply_the_hardware_and_divide_the_interval() -> None:
    network = _networks()[0]
    conv = network["conv"]
    wide = network.replacing({"conv": conv.rebuilt(parallelization_factor=36)})
    one, all_ = (hls.priced(each, TARGET, strategy="latency") for each in (network, wide))
    assert (one.layers["conv"].interval_cycles, all_.layers["conv"].interval_cycles) == (36, 1)
    fifos = prices.fifos(one.operations["conv"]).lut  # in turns, the layers run side by side with FIFOs in between
    assert fifos > 0  # type: ignore[operator]
    assert prices.fifos(all_.operations["conv"]).lut == 0
    each = one.layers["conv"].resources.lut - fifos  # type: ignore[operator]
    assert all_.layers["conv"].resources.lut == pytest.approx(36 * each)


def test_bad_input_gets_one_sentence_with_the_choices() -> None:
    network = _mlp()
    with pytest.raises(RecipeError, match="unknown io_type 'io_serial'; choose one of: io_"):
        cost.estimate(network, TARGET, strategy="latency", io_type="io_serial")
    with pytest.raises(RecipeError, match="reuse factor of 0"):
        cost.estimate(network, TARGET, strategy="resource", reuse_factor=0)
    with pytest.raises(RecipeError, match="no reuse factor but 1; for others choose one of: latency"):
        cost.estimate(network, TARGET, reuse_factor=2)
    with pytest.raises(RecipeError, match="no known clock"):
        cost.estimate(network, Target(name="bare"), strategy="resource")
    with pytest.raises(NetworkError, match=r"layer 'odd' \(Odd\) has no price; layers with one: Activation"):
        cost.estimate(Network([Input("x", 2, WIDE), Odd("odd")]), TARGET, strategy="latency")


class Odd(Layer):
    """A layer that nobody knows."""


def test_a_later_stage_widens_the_uncertainty() -> None:
    own, later = (cost.estimate(_mlp(), TARGET, strategy="latency", stage=stage) for stage in (None, "vsynth"))
    assert later.resources.lut == pytest.approx(own.resources.lut / 2.1)  # type: ignore[operator]
    relative = [
        {cell: n / each.resources.known()[cell] for cell, n in each.uncertainty.known().items() if n}
        for each in (own, later)
    ]
    assert all(relative[1][cell] > relative[0][cell] for cell in ("lut", "ff", "dsp"))
    assert replace(later.uncertainty, lut=None, ff=None, dsp=None) == replace(
        own.uncertainty, lut=None, ff=None, dsp=None
    )


def test_adder_graphs_price_every_layer_without_a_dsp_for_its_weights() -> None:
    for network in _networks():
        for io_type in ("io_parallel", "io_stream"):
            options = {"strategy": "distributed_arithmetic", "io_type": io_type, "stage": "csynth"}
            found = cost.estimate(network, TARGET, **options)  # type: ignore[arg-type]
            assert found.stage == "csynth"
            matrices = [la for la in found.layers if isinstance(network[la.layer], Dense | Conv)]
            assert all(la.resources.dsp == 0 and la.resources.lut > 0 for la in matrices)  # type: ignore[operator]


def test_layer_by_layer_an_adder_graph_costs_about_what_the_whole_one_does() -> None:
    bits, bias = FixedPoint(8, 3, False, "RND", "SAT"), FixedPoint(16, 4, True, "RND", "SAT")
    types = {"weight_type": FixedPoint(6, 1), "bias_type": bias, "result": None}
    layers: list[Layer] = [Input("x", 16, FixedPoint(8, 3, True)), _dense("a", 16, 64, **types), ReLU("r", bits)]
    network = Network([*layers, _dense("b", 64, 32, **types)])
    whole = cost.estimate(network, TARGET)
    apart = hls.estimate(network, TARGET, strategy="distributed_arithmetic")
    sums = [la.resources.lut for la in apart.layers if la.layer in "ab"]
    assert whole.stage == "da4ml"
    assert sum(sums) == pytest.approx(whole.resources.lut, rel=0.25)  # type: ignore[arg-type]


def test_a_changed_layer_and_those_that_read_it_are_priced_as_in_the_whole() -> None:
    network = _mlp(result=None)
    options = {"strategy": "latency"}
    priced = hls.priced(network, TARGET, **options)  # type: ignore[arg-type]
    for name, layer in (
        ("b", network["b"].rebuilt(digit_limit=torch.zeros(8, 24, dtype=torch.uint8))),
        ("r", ReLU("r", FixedPoint(4, 2, False))),
    ):
        changed = network.replacing({name: layer})
        assert hls.reprice(priced, changed, name) == hls.priced(changed, TARGET, **options)  # type: ignore[arg-type]
    shared = network.replacing({"b": network["b"].rebuilt(strategy="resource", reuse_factor=8)})
    own = hls.reprice(hls.priced(network, TARGET), shared, "b")
    assert own == hls.priced(shared, TARGET)
    assert own.operations["a"].dataflow  # one layer under resource puts FIFOs after all


def test_the_wider_a_stream_the_more_its_fifos_take() -> None:
    """MNIST stream (Vivado HLS 2020.1): each FIFO that the report lists."""
    listed = {(1, 4): 0, (1, 19): 0, (25, 4): 0, (121, 4): 0, (169, 4): 1, (676, 4): 1, (121, 18): 1, (676, 25): 2}
    assert {each: prices.fifo_bram18(*each) for each in listed} == listed


def test_a_faster_clock_holds_more_sums() -> None:
    held = [
        cost.estimate(_mlp(), Target(name="t", clock_ns=ns), strategy="latency").resources.ff for ns in (20.0, 5.0, 2.5)
    ]
    assert held == sorted(held)  # type: ignore[type-var]
    assert held[0] < held[2]  # type: ignore[operator]
