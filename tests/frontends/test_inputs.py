"""An input has the type of what reads it first, and a tagger of HGQ2 becomes an adder graph with it."""

from pathlib import Path

import numpy as np
import pytest
import torch

import hepprune
from hepprune.firmware import rtl
from hepprune.fixed import FixedPoint
from hepprune.frontends import keras as frontend
from hepprune.frontends.inputs import type_inputs
from hepprune.hardware import cost, targets
from hepprune.network import Activation, Input, Merge, Network, exact_logits

DATA = Path(hepprune.__file__).parents[1] / "tests" / "frontends" / "keras" / "data"
FINE, COARSE = FixedPoint(6, 3, True, "RND", "SAT"), FixedPoint(4, 3, True, "RND", "SAT")


def typed(*readers: FixedPoint | None) -> object:
    named = {f"r{n}": Activation(f"r{n}", "linear", result=kind) for n, kind in enumerate(readers)}
    layers = {"x": Input("x", 2), **named}
    type_inputs(layers, dict.fromkeys(named, ("x",)), ["r0"])
    return layers["x"].result


def test_an_input_has_the_one_type_of_all_that_read_it() -> None:
    assert typed(FINE) == typed(FINE, FINE) == FINE
    assert typed(FINE, COARSE) is None  # rounded twice, a value may be another
    assert typed(FINE, None) is None


def test_an_input_that_is_put_out_or_read_in_float_has_none() -> None:
    layers = {"x": Input("x", 2), "both": Merge("both", "add"), "r": Activation("r", "linear", result=FINE)}
    type_inputs(layers, {"both": ("x", "r"), "r": ("x",)}, ["both"])
    assert layers["x"].result is None
    layers = {"x": Input("x", 2), "r": Activation("r", "linear", result=FINE)}
    type_inputs(layers, {"r": ("x",)}, ["r", "x"])
    assert layers["x"].result is None


@pytest.mark.parametrize("name", ["dense", "wrapped", pytest.param("convolutional", marks=pytest.mark.slow)])
def test_a_tagger_of_hgq_becomes_an_adder_graph_bit_for_bit(name: str) -> None:
    network = frontend.read(DATA / f"hgq_{name}.keras")
    jets = np.load(DATA / f"hgq_{name}.npz")["features"].astype(np.float64)
    if network.input.result is None:
        network = _on_a_grid(network, FixedPoint(12, 5))
    quantised = np.ascontiguousarray(network.input.result(jets)).reshape(len(jets), -1)
    found = rtl.solve(network).logic.predict(quantised)
    np.testing.assert_array_equal(found, exact_logits(network, jets))


def test_the_price_of_a_tagger_of_hgq_is_near_what_its_graph_costs() -> None:
    network = _on_a_grid(frontend.read(DATA / "hgq_dense.keras"), FixedPoint(8, 4))
    solved = rtl.solve(network).cost
    assert cost.adder_graph(network, targets.load("generic_vu13p")).resources.lut == pytest.approx(solved, rel=0.15)


def _on_a_grid(network: Network, kind: FixedPoint) -> Network:
    changed = network.clone()
    changed.input.result = kind
    return changed


def test_zeros_that_stand_in_for_a_bias_have_a_type() -> None:
    joined = frontend.read(DATA / "hgq_fused.keras")["joined"]
    assert not joined.bias.any()
    assert isinstance(joined.bias_type, FixedPoint)
    assert torch.equal(joined.used_bias(), joined.bias)
