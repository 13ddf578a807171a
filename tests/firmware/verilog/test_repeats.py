"""Graphs parted into what repeats and the rest: together they compute what they did, and each part once."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hepprune.firmware import rtl
from hepprune.firmware.verilog import adders, repeats
from hepprune.network import GlobalPool, Input, Layer, Network, ReLU
from hepprune.network.layers import Recurrent, Shared
from tests.firmware.layers import test_projects
from tests.firmware.layers.test_projects import random_features
from tests.firmware.networks import FEATURES, NARROW, POSITIVE, Maker
from tests.firmware.test_tracing_layers import STAGES, UNTYPED, drawn
from tests.firmware.test_tracing_verilog import two_sided
from tests.networks import SEEDS


def deep_sets(n_places: int) -> Network:
    make = Maker(4)
    layers: list[Layer] = [Input("x", (n_places, 4), FEATURES)]
    for name, n_in in (("phi_1", 4), ("phi_2", 6)):
        layers += [make.dense(name, n_in, 6, result=None), ReLU(f"{name}_relu", POSITIVE)]
    return Network([*layers, GlobalPool("mean", "average", result=NARROW), make.dense("out", 6, 3, result=None)])


def assert_same(network: Network, levels: int) -> list[repeats.Partition]:
    """Compare every stage with its parts, as da4ml runs them, on values that can be there."""
    found, solution = [], rtl.solve(network)
    places = solution.places or (None,) * solution.logic.shape[0]
    values = np.hstack([values.reshape(len(values), -1) for values in random_features(network, 50)])
    for stage in adders.stages(solution.logic, levels):
        parts = repeats.split(stage, places)
        given = [computed(each.graph, values[:, each.reads]) for each in parts.instances]
        want = computed(stage, values)
        assert np.array_equal(computed(parts.rest, np.hstack([values, *given])), want)
        assert _cost(parts) == pytest.approx(sum(op.cost for op in stage.ops))
        found.append(parts)
        values, places = want, parts.places
    return found


def computed(graph: Any, values: np.ndarray) -> np.ndarray:
    """Return what da4ml's interpreter makes of values; it takes numbers of 64 bits with their sign."""
    ops = [op._replace(data=int(np.uint64(op.data % 2**64).astype(np.int64))) for op in graph.ops]
    outputs: np.ndarray = graph._replace(ops=ops, lookup_tables=graph.lookup_tables or None).predict(
        np.ascontiguousarray(values)
    )
    return outputs


def _cost(parts: repeats.Partition) -> float:
    graphs = [*(instance.graph for instance in parts.instances), parts.rest]
    return sum(op.cost for graph in graphs for op in graph.ops)


@pytest.mark.parametrize("levels", [1, 3, 100])
def test_a_chain_at_each_place_is_one_part(levels: int) -> None:
    few, many = (assert_same(deep_sets(n_places), levels) for n_places in (4, 8))
    assert [len(parts.instances) for parts in few][:1] == [4]
    assert [len(parts.instances) for parts in many][:1] == [8]
    first = [parts[0].instances for parts in (few, many)]
    assert len({repeats.contents(instance.graph) for instances in first for instance in instances}) == 1


def test_weights_that_act_again_are_parts_too() -> None:
    make = Maker(5)
    layers = [Input("x", 5, FEATURES), Input("y", 5, FEATURES), make.dense("phi", 5, 8), Shared("again", "phi")]
    network = Network(layers, {"phi": "x", "again": "y"}, ["phi", "again"])
    (parts,) = assert_same(network, 100)
    assert len(parts.instances) == 2
    assert rtl.solve(network).places == (None,) * 10


def test_overlapping_windows_are_parts() -> None:
    make = Maker(6)
    (parts,) = assert_same(Network([Input("x", (12, 3), FEATURES), make.conv("conv", 6, 3, 3)]), 100)
    assert len(parts.instances) == 10
    assert not [op for op in parts.rest.ops if op.cost]


@pytest.mark.slow
@pytest.mark.parametrize("levels", [1, 4])
@pytest.mark.parametrize("name", ["convolutions_1d", "convolutions_2d", "moves", "merges", "functions"])
def test_every_layer_of_the_networks_that_hls4ml_builds_is_the_same(name: str, levels: int) -> None:
    assert_same(getattr(test_projects, name)("io_parallel"), levels)


@pytest.mark.slow
@pytest.mark.parametrize("levels", [1, 4])
@pytest.mark.parametrize("cell", ["simple", "gru", "lstm"])
def test_recurrent_layers_are_the_same(cell: str, levels: int) -> None:
    layer = Maker(7).recurrent("cell", cell, 3, 2, state_type=NARROW)
    assert isinstance(layer, Recurrent)
    layer.act.result = layer.gate.result = POSITIVE
    assert_same(Network([Input("x", (4, 3), FEATURES), layer]), levels)


@pytest.mark.slow
@settings(max_examples=10)
@given(
    st.lists(st.sampled_from(sorted({*STAGES} - UNTYPED)), min_size=1, max_size=3),
    SEEDS,
    st.booleans(),
    st.sampled_from([1, 3, 100]),
)
def test_drawn_graphs_are_the_same(stages: list[str], seed: int, flat: bool, levels: int) -> None:  # noqa: FBT001
    assert_same(drawn(stages, seed, flat=flat), levels)


def test_several_inputs_and_outputs_are_the_same() -> None:
    assert_same(two_sided(), 3)
