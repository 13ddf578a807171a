"""Functions of one variable as tables, and recurrent layers, whose functions they are."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hepprune import synthesis
from hepprune.errors import NetworkError
from hepprune.firmware import rtl
from hepprune.firmware.verilog import verilator
from hepprune.fixed import OVERFLOW, ROUNDING, FixedPoint
from hepprune.network import Input, Layer, Network, ReLU
from hepprune.network.layers import Activation, LayerNorm, PReLU, Reshape, Shared, Softmax
from hepprune.network.layers.activation import FUNCTIONS
from hepprune.network.layers.recurrent import GATES
from hepprune.synthesis import Job
from tests.firmware.layers.test_projects import PART
from tests.firmware.networks import FEATURES, NARROW, Maker
from tests.firmware.test_tracing_layers import activations, assert_exact

RESULTS = st.builds(
    FixedPoint,
    st.integers(1, 9),
    st.integers(-1, 4),
    st.booleans(),
    st.sampled_from(sorted(ROUNDING)),
    st.sampled_from(OVERFLOW),
)
UNIT = FixedPoint(7, 0, False, "RND", "SAT")


def through(layer: Layer, inputs: FixedPoint, n_values: int = 2) -> Network:
    return Network([Input("x", n_values, inputs), layer])


@pytest.mark.parametrize("function", sorted(FUNCTIONS))
@settings(max_examples=10)
@given(st.integers(1, 11), st.integers(-1, 5), st.booleans(), RESULTS)
def test_every_function_is_exact(function: str, width: int, integer: int, signed: bool, result: FixedPoint) -> None:  # noqa: FBT001
    assert_exact(through(Activation("f", function, result=result), FixedPoint(width, integer, signed)), 300)


@pytest.mark.parametrize("function", sorted(FUNCTIONS))
def test_a_function_of_a_wide_argument_is_exact_and_small(function: str) -> None:
    result = FixedPoint(6, 2, True, "RND", "SAT")
    solution = assert_exact(through(Activation("f", function, result=result), FixedPoint(20, 5)), 2000)
    assert solution.cost < 2 * 1000  # one table of 2**20 entries would take 2**14 LUT a bit


@pytest.mark.parametrize(
    ("function", "parameters"),
    [
        ("leaky_relu", {"slope": -0.3}),
        ("hard_sigmoid", {"slope": -0.2}),
        ("hard_tanh", {"slope": -0.2}),
        ("elu", {"alpha": -1.0}),
        ("thresholded_relu", {"theta": -1.3}),
        ("decay", {"rate": -0.5}),
    ],
)
def test_a_function_that_falls_by_its_parameters_is_exact_at_wide_arguments(
    function: str, parameters: dict[str, float]
) -> None:
    layer = Activation("f", function, parameters, FixedPoint(8, 4, True, "RND", "SAT"))
    assert_exact(through(layer, FixedPoint(14, 4)), 2000)


@given(RESULTS, st.integers(1, 8), st.lists(st.integers(-8, 8), min_size=2, max_size=2))
def test_each_value_has_its_own_slope(result: FixedPoint, width: int, slopes: list[int]) -> None:
    slope = torch.tensor(slopes, dtype=torch.float32) / 4
    assert_exact(through(PReLU("f", slope, result), FixedPoint(width, 2)), 300)


@pytest.mark.parametrize(
    "layer",
    [
        Activation("f", "leaky_relu", {"slope": 0.25}),
        Activation("f", "leaky_relu", {"slope": 0.4375}),
        Activation("f", "thresholded_relu", {"theta": 1.25}),
        Activation("f", "thresholded_relu", {"theta": -0.5}),
        PReLU("f", torch.tensor([-0.5, 0.3125])),
    ],
)
@settings(max_examples=10)
@given(st.integers(9, 14), st.integers(0, 5), st.booleans(), RESULTS | st.none())
def test_straight_lines_need_no_table(
    layer: Layer,
    width: int,
    integer: int,
    signed: bool,  # noqa: FBT001
    result: FixedPoint | None,
) -> None:
    layer.result = result
    solution = assert_exact(through(layer, FixedPoint(width, integer, signed)), 300)
    assert not solution.logic.lookup_tables


@given(RESULTS | st.none(), st.integers(1, 40))
def test_a_relu_with_a_maximum_of_its_own(result: FixedPoint | None, eighths: int) -> None:
    assert_exact(through(ReLU("f", result, maximum=eighths / 8), FixedPoint(9, 4)), 300)


def test_a_function_of_what_never_changes_is_a_constant() -> None:
    make = Maker(0)
    dense = make.dense("dense", 2, 2)
    dense.digit_limit[:] = 0
    solution = assert_exact(Network([Input("x", 2, FEATURES), dense, Activation("f", "tanh", result=NARROW)]))
    assert solution.cost == 0


def recurrent(cell: str, n_steps: int = 4, **options: object) -> Network:
    make = Maker(4)
    types = {"state_type": NARROW, "activation_type": NARROW, "recurrent_activation_type": UNIT, "result": NARROW}
    layer = make.recurrent("cell", cell, 3, 3, **(types | options))
    return Network([Input("x", (n_steps, 3), FEATURES), layer, Reshape("flat", (-1,)), make.dense("out", 3, 2)][:2])


WAYS = (
    {},
    {"return_sequences": True, "backwards": True, "in_order": True},
    {"return_sequences": True, "backwards": True, "reset_after": False},
    {"activation": "relu", "recurrent_activation": "hard_sigmoid", "result": None},
)


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("cell", GATES)
def test_recurrent_layers_are_exact(cell: str, way: dict[str, object]) -> None:
    assert_exact(recurrent(cell, **way))


def test_a_recurrent_layer_that_runs_twice() -> None:
    once = recurrent("gru", 2)
    layers = [*once, Input("y", (2, 3), FEATURES), Shared("again", "cell")]
    assert_exact(Network(layers, {"cell": "x", "again": "y"}, ["cell", "again"]))


def norm(result: FixedPoint | None) -> LayerNorm:
    return LayerNorm("mine", torch.ones(3), torch.zeros(3), result=result)


@pytest.mark.parametrize(
    ("layer", "said"),
    [
        (Activation("mine", "tanh"), "result type"),
        (Activation("mine", "exponential", result=FixedPoint(40, 36)), "more bits than da4ml takes"),
        (norm(NARROW), "no types for its tables; .*quantise.*hls4ml"),
    ],
)
def test_what_no_table_holds_is_named(layer: Layer, said: str) -> None:
    with pytest.raises(NetworkError, match=rf"^layer 'mine' \({type(layer).__name__}\) .*{said}"):
        rtl.solve(through(layer, FixedPoint(8, 6), 3))


def test_a_softmax_inside_needs_types_for_its_tables_and_one_at_the_end_is_left_out() -> None:
    make = Maker(0)
    layers = [Input("x", 3, FEATURES), Softmax("mine", NARROW)]
    rtl.solve(Network(layers))
    with pytest.raises(NetworkError, match=r"^layer 'mine' \(Softmax\) .*no types for its tables; .*quantise"):
        rtl.solve(Network([*layers, make.dense("out", 3, 2)]))


@pytest.mark.parametrize(
    ("cell", "missing", "said"),
    [
        ("gru", "state_type", "set its state_type"),
        ("lstm", "activation_type", "set its activation_type"),
        ("gru", "recurrent_activation_type", "set its recurrent_activation_type"),
        ("simple", "bias_type", "no fixed-point types for its biases"),
        ("simple", "recurrent_weight_type", "no fixed-point types for its weights"),
    ],
)
def test_a_recurrent_layer_without_a_type_is_named(cell: str, missing: str, said: str) -> None:
    with pytest.raises(NetworkError, match=rf"^layer 'cell.*{said}"):
        rtl.solve(recurrent(cell, **{missing: None}))


def tables() -> Network:
    make = Maker(5)
    layers = [Input("x", (3, 2), FEATURES), make.recurrent("cell", "simple", 2, 2, activation_type=NARROW, result=None)]
    layers += [make.dense("dense", 2, 3, result=FixedPoint(12, 4)), Activation("sigmoid", "sigmoid", result=UNIT)]
    return Network([*layers, PReLU("prelu", torch.tensor([0.5, -0.25, 1.5]), NARROW), make.dense("out", 3, 2)])


@pytest.mark.slow
def test_tables_are_modules_that_verilator_and_yosys_read(tmp_path: Path) -> None:
    solution, values = rtl.solve(tables()), activations(tables(), 300)
    design = rtl.write_verilog(solution, tmp_path / "rtl", name="tagger", levels_per_cycle=3, part=PART, clock_ns=5.0)
    assert np.array_equal(verilator.simulate(verilator.build(design), values["x"]), values["out"])
    assert any(source.name.startswith("table_") for source in design.sources)
    assert not list(design.folder.rglob("*.mem"))
    (tmp_path / "synthesis").mkdir()
    found = synthesis.choose("yosys").run(Job.of(design, tmp_path / "synthesis"))
    assert 0.5 < (found.resources.lut or 0) / solution.cost < 1.5
