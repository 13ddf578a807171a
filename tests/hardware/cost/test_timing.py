"""Cycles by path delay: what a period holds on each family, and how a softmax and a tree of additions fill periods."""

from dataclasses import replace

import numpy as np
import pytest

from hepprune.hardware.cost import kernels, prices, timing, trees
from hepprune.hardware.cost.constants import shipped
from hepprune.hardware.cost.operations import Operation
from hepprune.hardware.cost.timing import Clock

SLOW, FAST = Clock(3.33 * 0.875, "7-series"), Clock(5 * 0.875, "7-series")


@pytest.mark.parametrize(
    ("clock", "n", "in_lut", "cycles"),
    [
        (FAST, 2, False, 8),  # each as Vitis HLS 2021.1 reports it for xc7z007s-2
        (SLOW, 3, False, 13),
        (SLOW, 5, False, 16),
        (FAST, 2, True, 6),
        (Clock(3.65, "UltraScale+"), 5, False, 5),  # jet MLP, Vitis HLS 2022.2
        (Clock(4.375, "UltraScale+"), 5, False, 4),  # DeepSets, Vivado HLS 2020.1
    ],
)
def test_a_softmax_fills_as_many_periods_as_reported(clock: Clock, n: int, *, in_lut: bool, cycles: int) -> None:
    assert clock.cycles(timing.softmax(n, in_lut=in_lut)) == cycles


def _matrix(n_in: int, n_out: int, **facts: object) -> Operation:
    kernel = kernels.count(np.full((n_out, n_in), 53, dtype=np.int64), 8)
    common = {"n_in": n_in, "n_out": n_out, "in_width": 8, "out_width": 16, "accumulator_width": 16}
    return Operation(name="fc", kind="matrix", kernels=(kernel,), **(common | facts))  # type: ignore[arg-type]


@pytest.mark.parametrize(("n_in", "cycles"), [(12, 6), (40, 8), (28, 7)])
def test_products_in_dsp_that_do_not_fit_take_periods_of_their_own(n_in: int, cycles: int) -> None:
    """The jet tagger of the 7-series MLPs at 3.33 ns, its layers' inputs as many as are left."""
    assert trees.cycles(_matrix(n_in, 32, multipliers="dsp"), SLOW) == cycles
    assert trees.cycles(_matrix(n_in, 32, multipliers="lut"), SLOW) == cycles - 2


def test_a_sum_of_more_products_than_hls_unrolls_is_added_in_a_row() -> None:
    tree, row = (trees.cycles(_matrix(n_in, 16), FAST) for n_in in (256, 257))
    assert tree < 10
    assert row > 100


def test_cycles_never_fall_as_the_clock_is_tightened_nor_on_a_slower_family() -> None:
    operation = _matrix(48, 20, multipliers="dsp")
    for of in (lambda clock: trees.cycles(operation, clock), lambda clock: clock.cycles(timing.softmax(10))):
        for family in ("7-series", "UltraScale", "UltraScale+"):
            cycles = [of(Clock(ns, family)) for ns in np.linspace(0.5, 25, 60)]
            assert cycles == sorted(cycles, reverse=True)
        for ns in (1.0, 2.5, 5.0, 10.0):
            cycles = [of(Clock(ns, family)) for family in ("7-series", "UltraScale", "UltraScale+")]
            assert cycles == sorted(cycles, reverse=True)
    assert Clock(4.0).levels == Clock(4.0, "UltraScale+").levels == Clock(4.0, "Versal").levels


def test_fewer_registers_hold_what_waits_where_a_jet_comes_every_few_cycles() -> None:
    often, seldom = (trees.waiting(_matrix(32, 8, asked_reuse_factor=factor), SLOW) for factor in (1, 8))
    assert often.digits > seldom.digits > 0
    assert often.products > seldom.products > 0
    assert trees.waiting(_matrix(4, 8), Clock(25.0)) == trees.Waiting()


def test_a_period_of_one_level_adds_three_at_once_where_a_longer_one_has_adders_of_their_own() -> None:
    """The 7-series MLPs report as many LUT as bits for every adder; in longer periods adders take more."""
    matrix = _matrix(32, 8)
    slow, fast = (prices.terms(matrix, clock)[0] for clock in (SLOW, Clock(4.375)))
    assert slow["tree_bits"] == fast["tree_bits"] == 32 * 8 * matrix.accumulator_width
    assert slow["tree_terms"] == 0
    assert fast["tree_terms"] == 31 * 8


def test_a_layer_that_takes_a_jet_every_other_cycle_is_done_a_cycle_earlier() -> None:
    """The 7-series MLPs, each a cycle or two a layer; one that is done within a period cannot be."""
    every, other = (_matrix(274, 8, asked_reuse_factor=factor) for factor in (1, 2))
    assert prices.price(every, clock=SLOW).depth == prices.price(other, clock=SLOW).depth + 1
    every, other = (_matrix(4, 8, asked_reuse_factor=factor) for factor in (1, 2))
    assert prices.price(every, clock=Clock(25.0)).depth == prices.price(other, clock=Clock(25.0)).depth == 0


def test_registers_are_less_certain_where_a_period_may_end_at_another_level() -> None:
    matrix = _matrix(32, 8)
    for clock, certain in ((SLOW, True), (Clock(2.8), False)):
        found = prices.price(matrix, clock=clock)
        assert found.uncertainty.ff is not None
        assert found.resources.ff is not None
        fitted = shipped().error("latency_ff") * found.resources.ff
        assert (found.uncertainty.ff == pytest.approx(fitted)) == certain
        assert found.uncertainty.ff >= fitted * (1 - 1e-9)


def test_a_softmax_multiplies_in_lut_where_products_are_to_be_built_of_them() -> None:
    """Of 16 outputs, 7-series MLP: 8,327 LUT with products in LUT, 2,471 with them in DSP."""
    softmax = Operation(name="s", kind="softmax", n_in=16, n_out=16, in_width=16, out_width=16, accumulator_width=16)
    in_dsp, in_lut = (
        prices.price(replace(softmax, multipliers=built), clock=SLOW).resources for built in ("dsp", "lut")
    )
    assert (in_dsp.dsp, in_lut.dsp) == (16, 0)
    assert in_dsp.lut == pytest.approx(2471, rel=0.1)
    assert in_lut.lut == pytest.approx(8327, rel=0.1)


def test_neurons_without_weights_hold_nothing() -> None:
    weight = np.ones((8, 4), dtype=np.int64)
    weight[2:5] = 0
    matrix = replace(_matrix(4, 8), kernels=(kernels.count(weight, 8),))
    assert prices.waiting_bits(matrix) == 5 * matrix.out_width
