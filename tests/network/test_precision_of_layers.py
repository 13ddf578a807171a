"""The types that layers of every kind get."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings

from hepprune.fixed import FixedPoint
from hepprune.network import BatchNorm, Dense, Input, Layer, Network, Recurrent, ReLU, Shared, exact_activations
from hepprune.network.layers import Activation, Concatenate, GlobalPool, LayerNorm, Merge, Pool, PReLU, Softmax
from hepprune.network.layers.recurrent import GATES
from hepprune.network.precision import Precision, is_quantised, quantise
from hepprune.network.ranges import accumulators
from tests.network.drawn import jets, typed, typed_graphs
from tests.pruning import graphs

INPUTS = FixedPoint(12, 4, True, "RND", "SAT")
ASKED = Precision(inputs=INPUTS, weight_bits=7, activation_bits=9)


def dense(name: str, n_out: int = 4, n_in: int = 4, *, scale: float = 0.5) -> Dense:
    generator = torch.Generator().manual_seed(n_out)
    return Dense(name, scale * torch.randn(n_out, n_in, generator=generator), torch.zeros(n_out))


def after_quantise(*layers: Layer, shape: tuple[int, ...] = (4,), **edges: object) -> Network:
    network = Network([Input("x", shape), *layers], **edges)  # type: ignore[arg-type]
    return quantise(network, jets(network, seed=0, n_jets=500), ASKED)


@pytest.mark.slow
@settings(max_examples=60)
@given(typed_graphs())
def test_every_value_and_kernel_of_a_drawn_graph_has_a_type(network: Network) -> None:
    assert set(accumulators(network)) == {layer.name for layer in network.body}
    assert all(isinstance(kernel.type, FixedPoint) for kernel in network.kernels)


@pytest.mark.slow
@settings(max_examples=60)
@given(graphs.graphs(fixed=False))
def test_types_of_sixteen_bits_lose_little_on_the_data_they_are_chosen_from(network: Network) -> None:
    """Rounding at 2**-16 of a range, through sums and slopes that amplify it by 2**11 at most, stays below 1/32."""
    x = jets(network, seed=1)
    with torch.no_grad():
        exact = network.logits(torch.tensor(x), quantised=False).numpy()
    found = exact_activations(typed(network, bits=16), x)[network.raw_output]
    assert np.sqrt(np.mean((found - exact) ** 2)) < exact.std() / 32 + 1e-6


def test_what_a_table_or_a_kernel_reads_is_narrow_and_what_a_relu_reads_is_exact() -> None:
    found = after_quantise(dense("a"), ReLU("r"), dense("b"), Activation("t", "tanh"), dense("c"), dense("d"))
    assert found["a"].result is None
    assert found["d"].result is None
    assert [found[name].result.width for name in "rbtc"] == [9, 9, 9, 9]
    assert (found["t"].result.rounding, found["t"].result.overflow) == ("RND", "SAT")


def test_only_the_sum_of_a_residual_branch_is_narrow() -> None:
    found = after_quantise(
        *(dense("a"), dense("b"), Merge("sum", "add"), dense("c")),
        sources={"a": "x", "b": "x", "sum": ("a", "b"), "c": "sum"},
    )
    assert (found["a"].result, found["b"].result, found["sum"].result.width) == (None, None, 9)
    assert accumulators(found)["sum"].fraction == max(accumulators(found)[name].fraction for name in "ab")


def test_values_that_move_keep_the_types_of_what_made_them() -> None:
    found = after_quantise(
        *(dense("a"), dense("b", scale=8.0), Concatenate("join"), dense("c", 2, 8)),
        sources={"a": "x", "b": "x", "join": ("a", "b"), "c": "join"},
    )
    assert found["join"].result is None
    assert found["a"].result.integer < found["b"].result.integer


@pytest.mark.parametrize(
    ("layer", "fraction"),
    [
        (Pool("p", "average", (2,)), INPUTS.fraction + 1),
        (GlobalPool("p", "average"), INPUTS.fraction + 3),
        (GlobalPool("p", "max"), INPUTS.fraction),
        (Pool("p", "average", (3,)), None),
        (Pool("p", "average", (2,), padding=((1, 0),)), None),
    ],
)
def test_a_mean_over_a_power_of_two_is_exact_and_another_has_a_type(layer: Layer, fraction: int | None) -> None:
    found = after_quantise(layer, shape=(8, 4))
    if fraction is None:
        assert found["p"].result.width == 9
    else:
        assert (found["p"].result, accumulators(found)["p"].fraction) == (None, fraction)


@pytest.mark.parametrize("operation", ["add", "average"])
def test_a_mean_of_three_has_a_type_and_a_sum_of_them_none(operation: str) -> None:
    sources = {"a": "x", "b": "x", "m": ("a", "b", "x")}
    found = after_quantise(dense("a"), dense("b"), Merge("m", operation), sources=sources)
    assert (found["m"].result is None) == (operation == "add")


def test_a_batch_norm_has_a_type_of_weights_and_one_of_biases() -> None:
    found = after_quantise(BatchNorm("n", torch.tensor([1.0, 2.0, -3.0, 0.5]), torch.ones(4)))["n"]
    assert (found.scale_type.width, found.scale_type.integer) == (7, 3)
    assert found.shift_type.fraction == found.scale_type.fraction + INPUTS.fraction


@pytest.mark.parametrize("layer", [PReLU("t", torch.ones(4)), LayerNorm("t", torch.ones(4), torch.zeros(4))])
def test_what_has_no_exact_sum_has_a_type(layer: Layer) -> None:
    found = after_quantise(dense("a"), layer)
    assert (found["a"].result.width, found["t"].result.width) == (9, 9)


def test_a_softmax_between_layers_has_a_type_and_one_at_the_end_none() -> None:
    found = after_quantise(dense("a"), Softmax("inside"), dense("b"), Softmax("head"))
    assert not found["inside"].result.signed
    assert (found["b"].result, found["head"].result) == (None, None)


def test_a_softmax_between_typed_layers_still_lacks_the_types_of_its_steps() -> None:
    typed = after_quantise(dense("a"), Softmax("inside"), dense("b"), Softmax("head"))
    model = typed.replacing({"inside": Softmax("inside", typed["inside"].result)})
    assert (is_quantised(typed), is_quantised(model)) == (True, False)
    found = quantise(model, jets(model, seed=0, n_jets=500), ASKED, keep=True)
    assert found["inside"].types == typed["inside"].types
    assert found["a"].weight_type == typed["a"].weight_type


def test_what_a_typed_model_lacks_is_all_that_it_is_given() -> None:
    """As in models of HGQ2 and PQuantML, whose values are rounded before a layer reads them, and nowhere else."""
    own, finer = FixedPoint(7, 3, True, "RND", "SAT"), FixedPoint(9, 3, True, "RND", "SAT")
    types = {"weight_type": own, "bias_type": finer}
    fixed = [dense(name).rebuilt(**types) for name in "abc"]
    rounded = {name: Activation(name, "linear", result=own) for name in ("a_out", "r_out")}
    model = Network(
        [
            *(Input("x", 4, own), fixed[0], rounded["a_out"]),
            *(BatchNorm("norm", torch.ones(4), torch.ones(4)), ReLU("r"), rounded["r_out"]),
            *(fixed[1], Activation("t", "tanh"), Activation("t_out", "linear", result=finer), fixed[2]),
        ]
    )
    assert not is_quantised(model)
    found = quantise(model, jets(model, seed=0, n_jets=500), ASKED, keep=True)
    assert is_quantised(found)
    before, after = (network.structure()["layers"] for network in (model, found))
    changed = [new["name"] for old, new in zip(before, after, strict=True) if old != new]
    assert changed == ["norm", "r", "b", "t"]
    assert found["norm"].result is None
    assert found["b"].result.width == 9  # a table reads it
    assert (found["r"].result, found["t"].result) == (own, finer)  # so that they are rounded once, as before


@pytest.mark.slow
@settings(max_examples=20)
@given(graphs.graphs(fixed=False))
def test_a_float_network_has_nothing_that_could_stay(network: Network) -> None:
    x = jets(network, seed=1)
    kept, chosen = (quantise(network, x, ASKED, keep=keep) for keep in (True, False))
    assert kept.structure() == chosen.structure()


def test_a_shared_layer_holds_what_it_puts_out_at_all_its_places() -> None:
    found = after_quantise(
        *(
            dense("a", scale=30.0),
            dense("b"),
            Activation("t", "linear"),
            Shared("again", "b"),
            Merge("sum", "multiply"),
        ),
        sources={"a": "x", "b": "x", "t": "a", "again": "t", "sum": ("b", "again")},
    )
    x = jets(found, seed=3)
    with torch.no_grad():
        assert found["b"].result.maximum > found.activations(torch.tensor(x), quantised=False)["again"].std()


@pytest.mark.parametrize("cell", GATES)
@pytest.mark.parametrize("function", ["tanh", "relu"])
def test_a_cell_has_types_of_its_kernels_states_and_functions(cell: str, function: str) -> None:
    rng = np.random.default_rng(0)
    shapes = {"weight": (4,), "recurrent_weight": (3,), "bias": (), "recurrent_bias": ()}
    arrays = {n: torch.tensor(rng.normal(size=(GATES[cell] * 3, *s)) * 0.4).float() for n, s in shapes.items()}
    found = after_quantise(Recurrent("cell", cell, activation=function, **arrays), shape=(5, 4))["cell"]
    assert {found.weight_type.width, found.recurrent_weight_type.width} == {7}
    assert {found.state_type.width, found.act.result.width} == {9}
    assert (found.gate.result is None) == (cell == "simple")
    assert (found.argument_type is None) == (cell == "simple" and function == "relu")
    assert found.argument_type is None or found.argument_type.width == 11
    reads = (
        found.weight_type.fraction + INPUTS.fraction,
        found.recurrent_weight_type.fraction + found.state_type.fraction,
    )
    assert found.bias_type.fraction == max(reads)


def test_arguments_are_as_wide_as_the_functions_of_a_cell_tell_them_apart() -> None:
    arrays = {"weight": torch.eye(4) * 32, "recurrent_weight": torch.zeros(4, 4)}
    cell = Recurrent("cell", "simple", **arrays, bias=torch.zeros(4), recurrent_bias=torch.zeros(4))
    assert after_quantise(cell, shape=(5, 4))["cell"].argument_type.maximum < 16  # of arguments of up to 100


def test_several_inputs_and_outputs_have_types() -> None:
    network = Network(
        [
            Input("x", 4),
            Input("y", (3, 4)),
            dense("a"),
            GlobalPool("mean", "average"),
            Merge("both", "multiply"),
            dense("b"),
        ],
        {"a": "x", "mean": "y", "both": ("a", "mean"), "b": "both"},
        ["a", "b"],
    )
    rng = np.random.default_rng(0)
    features = [rng.normal(size=(50, *layer.features_shape)) for layer in network.inputs]
    found = quantise(network, tuple(features), ASKED)
    assert [found[name].result for name in "xy"] == [INPUTS, INPUTS]
    assert [found[name].result.width for name in ("a", "mean", "both")] == [9, 9, 9]
    assert set(exact_activations(found, features)) == {layer.name for layer in found}
