import copy
import itertools

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hepprune.errors import NetworkError
from hepprune.fixed import FixedPoint
from hepprune.fixed.quantisers import FixedPoints
from hepprune.network import Argmax, BatchNorm, Dense, Input, Layer, Network, Recurrent, ReLU, exact_activations
from hepprune.network.layers import Activation, LayerNorm, PReLU
from hepprune.network.ranges import accumulators, intervals
from hepprune.network.ranges.interval import Interval, quantise
from tests.network.drawn import typed_graphs
from tests.networks import SEEDS, dense_layers, features, networks, sequence_networks


@given(st.one_of(networks(), sequence_networks(), typed_graphs()), SEEDS)
def test_every_value_lies_in_its_interval(network: Network, seed: int) -> None:
    values = exact_activations(network, features(network, seed=seed, n_jets=200))
    for name, (_, after) in intervals(network).items():
        assert (values[name] >= after.low).all()
        assert (values[name] <= after.high).all()


@pytest.mark.parametrize(
    "layer",
    [
        *(Activation("f", name) for name in ("swish", "gelu", "tanh", "thresholded_relu", "decay", "reciprocal")),
        Activation("f", "decay", {"rate": -0.5}),
        Activation("f", "reciprocal", {"epsilon": 0.3}),
        Activation("f", "gelu", {"tanh": True}),
        Activation("f", "leaky_relu", {"slope": -0.5}),
        Activation("f", "elu", {"alpha": -1.0}),
        Activation("f", "hard_sigmoid", {"slope": -0.2}),
        Activation("f", "thresholded_relu", {"theta": -1.0}),
        Activation("f", "thresholded_relu", {"theta": -1.3}),
        PReLU("f", torch.tensor([0.25, -0.5, -2.0])),
    ],
    ids=lambda layer: getattr(layer, "function", "prelu"),
)
@pytest.mark.parametrize("kind", [FixedPoint(8, 4), FixedPoint(5, 0), FixedPoint(6, 4, False)])
def test_what_is_looked_up_has_the_range_that_brute_force_finds(layer: Layer, kind: FixedPoint) -> None:
    layer = copy.deepcopy(layer)
    layer.result = FixedPoint(46, 26, True, "RND", "SAT")
    low, high = kind.integer_range
    jets = np.repeat(np.arange(low, high + 1)[:, None] * kind.step, 3, axis=1)
    network = Network([Input("x", 3, kind), layer])
    seen, (before, after) = exact_activations(network, jets)["f"], intervals(network)["f"]
    assert (after.low <= seen.min(axis=0)).all()
    assert (after.high >= seen.max(axis=0)).all()
    assert np.abs(before.low - seen.min(axis=0)).max() < 2**-5  # of the grid's step, where the function turns round
    assert np.abs(before.high - seen.max(axis=0)).max() <= layer.result.step


def test_a_leaky_slope_below_zero_turns_at_zero_and_a_pole_reaches_the_end_of_the_type() -> None:
    kind = FixedPoint(12, 5, True, "RND", "SAT")
    leaky = Activation("f", "leaky_relu", {"slope": -0.5}, kind)
    pole = Activation("p", "reciprocal", {"epsilon": 0.5}, kind)
    found = intervals(Network([Input("x", 1, FixedPoint(8, 4)), leaky]))["f"][1]
    assert (found.low.tolist(), found.high.tolist()) == ([0.0], [7.9375])
    found = intervals(Network([Input("x", 1, FixedPoint(8, 4)), pole]))["p"][1]
    assert (found.low.tolist(), found.high.tolist()) == ([kind.minimum], [kind.maximum])


def test_a_normalised_value_of_four_is_at_most_the_root_of_three_and_an_index_at_most_three() -> None:
    norm = LayerNorm("n", torch.tensor([1.0, 1.0, 2.0, -1.0]), torch.tensor([0.0, 1.0, 0.0, 0.0]))
    norm.result = FixedPoint(12, 4, True, "RND", "SAT")
    network = Network([Input("x", 4, FixedPoint(8, 4)), norm, Argmax("top"), ReLU("r", FixedPoint(4, 4, False))])
    found, root = intervals(network), 3**0.5
    assert found["n"][0].high == pytest.approx([root, 1 + root, 2 * root, root], abs=2**-8)
    assert (found["top"][0].low.tolist(), found["top"][0].high.tolist()) == ([0.0], [3.0])


@pytest.mark.parametrize("missing", ["state_type", "activation_type", "recurrent_activation_type"])
def test_a_cell_without_a_type_is_refused_by_what_it_lacks(missing: str) -> None:
    kinds = dict.fromkeys(("weight_type", "recurrent_weight_type", "bias_type"), FixedPoint(6, 2))
    kinds |= dict.fromkeys({"state_type", "activation_type", "recurrent_activation_type"} - {missing}, FixedPoint(6, 2))
    arrays = {"weight": torch.ones(4, 2), "recurrent_weight": torch.ones(4, 1)}
    arrays |= {"bias": torch.ones(4), "recurrent_bias": torch.ones(4)}
    network = Network([Input("x", (3, 2), FixedPoint(6, 2)), Recurrent("cell", "lstm", **arrays, **kinds)])
    with pytest.raises(NetworkError, match=rf"layer 'cell' \(Recurrent\) has no range without its {missing}$"):
        accumulators(network)


@given(st.one_of(networks(), sequence_networks()), SEEDS)
def test_accumulators_hold_every_value_exactly(network: Network, seed: int) -> None:
    jets = features(network, seed=seed, n_jets=200)
    open_ended = network.clone()
    for name, kind in accumulators(network).items():
        if name == network.input.name:
            continue
        open_ended[name].result, kept = None, open_ended[name].result
        assert kind.holds(exact_activations(open_ended, jets)[name]).all()
        open_ended[name].result = kept


def tiny(data: st.DataObject) -> Network:
    n_in = data.draw(st.integers(1, 3))
    kind = FixedPoint(3, 1, data.draw(st.booleans()), "TRN", data.draw(st.sampled_from(["WRAP", "SAT", "SAT_SYM"])))
    dense = data.draw(dense_layers("d", n_in=n_in, n_out=1, fraction=kind.fraction))
    return Network([Input("x", n_in, kind), dense])


@given(st.data())
def test_one_neuron_has_the_smallest_accumulator_that_brute_force_allows(data: st.DataObject) -> None:
    network = tiny(data)
    kind = network.input.result
    low, high = kind.integer_range
    jets = np.array(list(itertools.product(np.arange(low, high + 1) * kind.step, repeat=network.input.n_features)))
    seen = exact_activations(network, jets)["d"]
    before, _ = intervals(network)["d"]
    assert (before.low.min(), before.high.max()) == (seen.min(), seen.max())
    found = accumulators(network)["d"]
    assert found.holds(seen).all()
    assert found.signed == (seen.min() < 0)
    if found.width > 1:
        narrower = FixedPoint(found.width - 1, found.integer - 1, found.signed)
        assert not narrower.holds(seen).all()


@pytest.mark.parametrize("overflow", ["WRAP", "SAT", "SAT_SYM", "WRAP_SM"])
@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize(("width", "integer"), [(1, 1), (2, 1), (3, 4)])
def test_a_quantiser_gives_no_value_beyond_its_range(overflow: str, width: int, integer: int, *, signed: bool) -> None:
    arrays = {"width": np.array([width]), "integer": np.array([integer]), "signed": np.array([signed])}
    kind = FixedPoints(**arrays, rounding="RND", overflow=overflow)
    steps = np.arange(-10, 11) * float(kind.step[0]) / 2
    for begin, end in itertools.combinations_with_replacement(range(len(steps)), 2):
        found = quantise(Interval(steps[begin : begin + 1], steps[end : end + 1], 2 - integer + width), kind)
        values = kind(steps[begin : end + 1])
        assert found.low[0] <= values.min()
        assert values.max() <= found.high[0]


def test_relu_cuts_the_range_at_zero() -> None:
    kind = FixedPoint(4, 2)
    before, after = intervals(Network([Input("x", 2, kind), ReLU("r", FixedPoint(2, 1, False, "TRN", "SAT"))]))["r"]
    assert (before.low.tolist(), before.high.tolist()) == ([0, 0], [kind.maximum] * 2)
    assert (after.low.tolist(), after.high.tolist()) == ([0, 0], [1.5, 1.5])


@pytest.mark.parametrize(
    ("network", "message"),
    [
        (Network([Input("x", 2)]), "input 'x' has no fixed-point type"),
        (Network([Input("x", 2, FixedPoint(4, 2)), Dense("d", torch.ones(1, 2), torch.ones(1))]), "'d' has no fixed"),
        (Network([Input("x", 2, FixedPoint(4, 2)), BatchNorm("b", torch.ones(2), torch.ones(2))]), "'b' .*fold it"),
    ],
)
def test_what_has_no_fixed_point_form_is_refused(network: Network, message: str) -> None:
    with pytest.raises(NetworkError, match=message):
        accumulators(network)


@pytest.mark.parametrize(
    ("function", "parameters", "low"),
    [("swish", {}, -0.25), ("gelu", {}, -0.125), ("leaky_relu", {"slope": -0.5}, 0.0), ("elu", {"alpha": -1.0}, 0.0)],
)
def test_a_cell_whose_function_turns_round_has_the_values_in_between(
    function: str, parameters: dict[str, float], low: float
) -> None:
    kind = FixedPoint(6, 3, True, "RND", "SAT")
    arrays = {"weight": torch.ones(1, 1), "recurrent_weight": torch.zeros(1, 1)}
    arrays |= {"bias": torch.zeros(1), "recurrent_bias": torch.zeros(1)}
    types = dict.fromkeys(("weight_type", "recurrent_weight_type", "bias_type", "activation_type"), kind)
    cell = Recurrent("cell", "simple", **arrays, **types, activation=function, activation_parameters=parameters)
    network = Network([Input("x", (1, 1), FixedPoint(7, 2)), cell])
    jets = np.arange(-64, 64).reshape(-1, 1, 1) / 32
    seen, (_, after) = exact_activations(network, jets)["cell"], intervals(network)["cell"]
    assert (after.low.min(), after.high.max()) == (seen.min(), seen.max())
    assert seen.min() == low
