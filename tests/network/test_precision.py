from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hepprune.errors import DataError, NetworkError
from hepprune.fixed import FixedPoint
from hepprune.network import BatchNorm, Dense, Input, Network, ReLU, Reshape, Softmax, exact_logits
from hepprune.network.precision import Precision, activation_type, bias_type, is_quantised, quantise, weight_type
from hepprune.network.precision.tables import constant_type
from hepprune.task.sample import Sample
from hepprune.training import multilayer_perceptron
from tests.networks import SEEDS, weighted

INPUTS = FixedPoint(8, 3, True, "RND", "SAT")
JETS = np.random.default_rng(0).normal(size=(500, 4)).astype(np.float32)


@given(st.integers(2, 10), st.integers(1, 10), st.sampled_from(["SAT", "WRAP"]))
def test_widths_are_as_asked(weight_bits: int, activation_bits: int, overflow: str) -> None:
    network = multilayer_perceptron(4, (6, 5), 3, seed=0)
    asked = Precision(
        inputs=INPUTS,
        weight_bits=weight_bits,
        activation_bits=activation_bits,
        overflow=overflow,
        layer_bits={"dense_2": 3, "relu_1": 9},
    )
    types = quantise(network, JETS, asked)
    assert types.input.result == INPUTS
    assert [d.weight_type.width for d in weighted(types)] == [weight_bits, 3, weight_bits]
    assert [types[f"relu_{n}"].result.width for n in (1, 2)] == [9, activation_bits]
    assert types["relu_1"].result.overflow == overflow
    assert (
        types["dense_2"].bias_type.fraction == types["dense_2"].weight_type.fraction + types["relu_1"].result.fraction
    )


def test_types_that_a_network_has_stay_if_asked() -> None:
    own = FixedPoint(5, 1, True, "RND_CONV", "SAT")
    network = multilayer_perceptron(4, (6, 5), 3, seed=0)
    network = network.replacing({"dense_1": network["dense_1"].rebuilt(weight_type=own)})
    assert not is_quantised(network)
    for keep in (True, False):
        found = quantise(network, JETS, Precision(inputs=INPUTS, weight_bits=6, activation_bits=7), keep=keep)
        assert is_quantised(found)
        assert [d.weight_type.width for d in weighted(found)] == [5 if keep else 6, 6, 6]
        assert (weighted(found)[0].weight_type == own) == keep
        assert [found[f"relu_{n}"].result.width for n in (1, 2)] == [7, 7]


def test_quantise_leaves_its_argument_float_and_keeps_the_weights() -> None:
    network = multilayer_perceptron(4, (6,), 3, seed=0)
    types = quantise(network, JETS, Precision(inputs=INPUTS))
    assert network["dense_1"].weight_type is None
    assert torch.equal(types["dense_1"].weight, network["dense_1"].weight)


def test_many_bits_come_close_to_float() -> None:
    network = multilayer_perceptron(4, (6,), 3, seed=0)
    wide = quantise(
        network,
        JETS,
        Precision(inputs=FixedPoint(18, 4, True, "RND", "SAT"), weight_bits=14, activation_bits=16, overflow="WRAP"),
    )
    exact = network.logits(torch.tensor(JETS), quantised=False).detach().numpy()
    assert np.abs(exact_logits(wide, JETS) - exact).max() < 5e-3


def test_a_width_for_what_has_none_is_refused() -> None:
    network = Network([Input("x", (2, 2)), Reshape("flat", (-1,)), Dense("d", torch.ones(2, 4), torch.zeros(2))])
    with pytest.raises(NetworkError, match=r"layer 'flat' \(Reshape\) has no width of its own"):
        quantise(network, np.ones((9, 2, 2)), Precision(inputs=INPUTS, layer_bits={"flat": 3}))


def test_an_unknown_layer_is_refused() -> None:
    with pytest.raises(NetworkError, match="unknown layer 'dense_9'; choose one of: dense_"):
        quantise(multilayer_perceptron(4, (6,), 3, seed=0), JETS, Precision(inputs=INPUTS, layer_bits={"dense_9": 3}))


@given(SEEDS, st.integers(2, 8), st.floats(1e-3, 50))
def test_weight_type_has_the_least_squared_error_of_all_integer_bits(seed: int, width: int, scale: float) -> None:
    weight = torch.randn(50, generator=torch.Generator().manual_seed(seed)) * scale
    errors = {
        integer: ((FixedPoint(width, integer, True, "RND", "SAT")(weight) - weight) ** 2).sum().item()
        for integer in range(-14, 12)
    }
    found = weight_type(weight, width)
    assert errors[found.integer] <= 1.001 * min(errors.values())


@given(SEEDS, st.floats(0, 100), st.integers(-2, 12))
def test_bias_type_has_two_bits_of_headroom(seed: int, scale: float, fraction: int) -> None:
    bias = torch.randn(20, generator=torch.Generator().manual_seed(seed)) * scale
    kind = bias_type(bias, fraction)
    assert kind.fraction == fraction
    assert kind.maximum + kind.step >= 4 * max(1.0, bias.abs().max().item())


@given(SEEDS, st.integers(1, 10), st.floats(0.5, 3))
def test_activation_type_wraps_beyond_all_values_or_saturates_with_the_least_squared_error(
    seed: int, width: int, tail: float
) -> None:
    values = (torch.randn(5_000, generator=torch.Generator().manual_seed(seed)) * tail).exp() - 1
    values = values.clamp(min=0)
    wrap, saturate = (activation_type(values, width, overflow) for overflow in ("WRAP", "SAT"))
    assert 2.0**wrap.integer >= values.max()
    assert wrap.rounding == saturate.rounding == "TRN"
    errors = {
        integer: ((FixedPoint(width, integer, False, "TRN", "SAT")(values) - values) ** 2).sum().item()
        for integer in range(-8, wrap.integer + 1)
    }
    assert errors[saturate.integer] <= 1.001 * min(errors.values())


@given(SEEDS, st.integers(2, 10), st.floats(0.5, 3))
def test_values_of_both_signs_round_in_the_signed_type_of_least_squared_error(
    seed: int, width: int, scale: float
) -> None:
    values = torch.randn(5_000, generator=torch.Generator().manual_seed(seed)) * scale
    found = activation_type(values, width, "SAT")
    assert (found.signed, found.rounding) == (True, "RND")
    errors = [
        ((FixedPoint(width, integer, True, "RND", "SAT")(values) - values) ** 2).sum().item()
        for integer in range(-8, 9)
    ]
    assert ((found(values) - values) ** 2).sum().item() <= 1.001 * min(errors)


@pytest.mark.parametrize("largest", [1.0, 4.0, 0.25, 3.0])
@pytest.mark.parametrize("sign", [0.0, -1.0])
def test_what_wraps_holds_powers_of_two_as_well(largest: float, sign: float) -> None:
    values = torch.tensor([largest, sign * largest])
    kind = activation_type(values, 12, "WRAP")
    assert torch.equal(kind(values), values)


@pytest.mark.parametrize("n_jets", [1000])
def test_a_dead_relu_and_zero_weights_still_get_types(n_jets: int) -> None:
    dense = Dense("d", torch.zeros(2, 4), torch.full((2,), -1.0))
    types = quantise(Network([Input("x", 4), dense, ReLU("r")]), JETS[:n_jets], Precision(inputs=INPUTS))
    assert not exact_logits(types, JETS).any()


def test_a_trained_tagger_keeps_its_accuracy_at_eight_bits(jets: tuple[Sample, Sample], tagger: Network) -> None:
    train, validation = jets
    eight = quantise(
        tagger,
        train.features.numpy(),
        Precision(inputs=FixedPoint(10, 4, True, "RND", "SAT"), weight_bits=8, activation_bits=8),
    )
    hits = [
        (exact_logits(n, validation.features.numpy()).argmax(1) == validation.y.numpy()).mean() for n in (tagger, eight)
    ]
    assert abs(hits[1] - hits[0]) < 0.02


@pytest.mark.parametrize("features", [np.ones((5, 16)), np.ones((0, 4, 4)), np.ones((5, 4, 4)) + 1j, np.float32(1)])
def test_features_of_another_shape_are_refused(features: Any) -> None:
    network = Network([Input("x", (4, 4)), Dense("d", torch.ones(2, 4), torch.zeros(2))])
    with pytest.raises(DataError, match=r"the network takes jets of \(4, 4\) numbers and is given an array of shape"):
        quantise(network, features, Precision(inputs=FixedPoint(12, 4)))


def test_a_softmax_at_the_end_has_types_where_they_are_asked_for() -> None:
    network = multilayer_perceptron(4, (6,), 3, seed=0)
    network = Network([*network, Softmax("head")])
    plain = quantise(network, JETS, Precision(inputs=INPUTS))
    asked = quantise(network, JETS, Precision(inputs=INPUTS, layer_bits={"head": 8}))
    assert (plain["head"].types, plain["head"].result) == ({}, None)
    assert asked["head"].result.width == 8
    assert torch.equal(asked.logits(torch.tensor(JETS)), plain.logits(torch.tensor(JETS)))
    off = (asked(torch.tensor(JETS)) - plain(torch.tensor(JETS))).detach().abs().max()
    assert 0 < float(off) < 0.02


@given(st.lists(st.integers(-(2**10), 2**10), min_size=1, max_size=5), st.integers(0, 4))
def test_constants_have_the_narrowest_type_that_holds_them_all(integers: list[int], fraction: int) -> None:
    values = torch.tensor(integers) * 2.0**-fraction
    found = constant_type(values, 6)
    assert torch.equal(found(values), values)
    narrower = [FixedPoint(found.width - 1, integer, True, "RND", "SAT") for integer in range(-4, found.width)]
    assert found.width == 2 or not any(torch.equal(kind(values), values) for kind in narrower if kind.fraction >= 0)


def test_constants_that_take_many_bits_are_rounded_to_the_width_and_not_cut_off() -> None:
    values = torch.tensor([1 / 3, -1.0, 1.0])
    found = constant_type(values, 6)
    assert found == FixedPoint(6, 2, True, "RND", "SAT")
    assert (found(values) - values).abs().max() <= found.step / 2


@pytest.mark.parametrize("bits", [3, 6, 10])
def test_constants_of_a_model_are_left_alone(bits: int) -> None:
    """Constants that the model multiplies by or adds; what is trained of a sum alone has the width as asked."""
    fixed = {
        "projection": Dense("projection", torch.tensor([[0.0, 1, 1, 0], [1, 0, 0, -1]]), torch.zeros(2), fixed=True),
        "counts": Dense("counts", torch.tensor([[3.0, 40], [0, 1]]), torch.tensor([0.6875, 1.0]), fixed=True),
        "twice": BatchNorm("twice", torch.tensor([2.0, 1]), torch.tensor([0.0, -1.5]), fixed=True),
    }
    added = BatchNorm("added", torch.ones(2), torch.tensor([0.3, -0.3]), held="scale")
    network = Network([Input("x", 4), *fixed.values(), added, Dense("out", torch.ones(1, 2), torch.zeros(1))])
    found = quantise(network, JETS, Precision(inputs=INPUTS, weight_bits=bits))
    for name in ("projection", "counts"):
        layer, own = found[name], fixed[name]
        assert torch.equal(layer.used_weight(), own.weight)
        assert torch.equal(layer.used_bias(), own.bias)
    for name in ("twice", "added"):
        assert torch.equal(found[name].used_scale(), network[name].scale)
    assert torch.equal(found["twice"].used_shift(), fixed["twice"].shift)
    assert found["added"].scale_type.width == bits
