import numpy as np
import pytest
import torch

from hepprune.errors import RecipeError
from hepprune.fixed import FixedPoint
from hepprune.network import Concatenate, Conv, Dense, Input, Network
from hepprune.studies.grid import Grid, Setting, built, variant


def dense() -> Network:
    torch.manual_seed(0)
    return Network([Input("x", 4), Dense("fc", torch.randn(8, 4), torch.zeros(8))])


def test_every_combination_comes_once_and_those_built_alike_follow_each_other() -> None:
    grid = Grid(clocks_ns=(2.5, None, 2.5), strategies=("latency", "resource"), reuse_factors=(1, 2), bits=(6, 8))
    found = list(grid.settings("a", 5.0))
    assert len(found) == len(set(found)) == 2 * 2 * 2 * 2
    assert {each.clock_ns for each in found} == {2.5, 5.0}
    assert [each.network for each in found] == sorted((each.network for each in found), key=lambda each: each[1])
    knobs = [(each.bits, each.strategy, each.reuse_factor) for each in found]
    assert knobs[::2] == knobs[1::2]  # clocks are innermost


@pytest.mark.parametrize(
    ("axes", "said"),
    [
        ({"clocks_ns": (0.0,)}, "a clock period in ns of 0 is not between"),
        ({"bits": (1,)}, "a width in bits of 1 is not between 2 and 32"),
        ({"sparsities": (1.0,)}, "a sparsity of 1 is not between 0"),
        ({"reuse_factors": ()}, "needs at least one reuse factor"),
        ({"strategies": ()}, "needs at least one strategy"),
        ({"strategies": ("latencey",)}, "unknown strategy 'latencey'; choose one of: latency"),
    ],
)
def test_values_that_no_point_can_have_are_refused(axes: dict[str, tuple[object, ...]], said: str) -> None:
    with pytest.raises(RecipeError, match=said):
        Grid(**axes)  # type: ignore[arg-type]


def test_what_is_no_point_of_its_own_is_refused_with_its_reason() -> None:
    grid, network = Grid(), dense()
    of = {"model": "a", "clock_ns": 5.0}
    graph = Setting(strategy="distributed_arithmetic", reuse_factor=2, **of)
    assert "no multipliers to share" in str(grid.refusal(graph, network))
    alike = Setting(strategy="resource", reuse_factor=1, **of)
    assert "unrolled as under latency" in str(grid.refusal(alike, network))
    assert "unrolled as under latency" in str(grid.refusal(Setting(strategy="resource", **of), network))
    twice = built(network, Setting(reuse_factor=2, **of))
    assert grid.refusal(Setting(strategy="resource", **of), twice) is None
    assert "no multipliers" in str(grid.refusal(Setting(strategy="distributed_arithmetic", **of), twice))
    assert Grid(strategies=("resource",)).refusal(alike, network) is None
    assert "no convolution" in str(grid.refusal(Setting(parallelization=2, **of), network))
    assert grid.refusal(Setting(strategy="resource", reuse_factor=2, **of), network) is None


def test_a_variant_has_the_bits_and_zeros_that_were_asked_for() -> None:
    jets = (np.random.default_rng(0).normal(size=(64, 4)),)
    network = dense()
    found = variant(network, jets, bits=5, sparsity=0.5)
    kernel = found.kernels[0]
    assert kernel.type.width == 5  # type: ignore[union-attr]
    assert found.input.result.width == 5  # type: ignore[union-attr]
    assert 16 <= int((kernel.used() == 0).sum()) < 24
    assert network.input.result is None  # the one it was given stays
    typed = Network([Input("x", 4, FixedPoint(9, 4)), network["fc"]])
    assert variant(typed, jets, bits=5, sparsity=0.0).input.result == FixedPoint(9, 4)
    assert variant(network, jets, bits=None, sparsity=0.0) is network


def test_knobs_are_set_on_the_layers_that_have_them() -> None:
    conv = Network([Input("x", (8, 2)), Conv("conv", torch.ones(4, 1, 2), torch.zeros(4))])
    found = built(conv, Setting(model="a", clock_ns=5.0, reuse_factor=2, parallelization=4))
    layer = found["conv"]
    assert isinstance(layer, Conv)
    assert (layer.reuse_factor, layer.parallelization_factor) == (2, 4)
    assert built(conv, Setting(model="a", clock_ns=5.0)) is conv


def test_a_setting_is_named_by_what_it_sets() -> None:
    each = Setting(model="t", bits=6, sparsity=0.5, strategy="resource", reuse_factor=4, clock_ns=2.5)
    assert each.name == "t 6b 50% resource r4 2.5ns"
    assert Setting(model="t", clock_ns=5.0).name == "t latency 5ns"


def test_settings_that_lie_close_have_names_of_their_own() -> None:
    grid = Grid(sparsities=(0.975, 0.98, 0.07), clocks_ns=(2.7777777, 2.7777778), strategies=("latency",))
    names = [each.name for each in grid.settings("t", 5.0)]
    assert len(set(names)) == 6
    assert names[0] == "t 97.5% latency 2.7777777ns"
    assert names[4] == "t 7% latency 2.7777777ns"


def test_every_input_keeps_its_own_type_or_gets_that_of_its_own_features() -> None:
    rng = np.random.default_rng(0)
    features = (rng.normal(size=(64, 2)), 100 * rng.normal(size=(64, 2)))
    layers = [Input("p", 2, FixedPoint(16, 6)), Input("q", 2), Concatenate("both")]
    network = Network([*layers, Dense("fc", torch.randn(3, 4), torch.zeros(3))], {"both": ("p", "q"), "fc": ("both",)})
    p, q = (layer.result for layer in variant(network, features, bits=6, sparsity=0.0).inputs)
    assert p == FixedPoint(16, 6)
    assert q is not None
    assert q.width == 6
    assert q.maximum > 100
