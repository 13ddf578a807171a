"""The adder graph is the network: da4ml's own interpreter against `exact_logits`, for every rounding and overflow."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hepprune.errors import NetworkError
from hepprune.firmware import rtl
from hepprune.fixed import OVERFLOW, ROUNDING, FixedPoint
from hepprune.network import BatchNorm, Dense, Input, Network, ReLU, exact_activations, exact_logits
from tests.networks import SEEDS, by_value, features, networks

TYPES = st.builds(
    FixedPoint,
    st.integers(1, 9),
    st.integers(-1, 3),
    st.booleans(),
    st.sampled_from(sorted(ROUNDING)),
    st.sampled_from(OVERFLOW),
)


def assert_exact(network: Network, seed: int) -> rtl.Solution:
    inputs = features(network, seed=seed, n_jets=200)
    solution = rtl.solve(network)
    quantised = np.ascontiguousarray(network.input.result(inputs))
    assert solution.logic.shape == (network.input.n_features, inputs_of_logits(network))
    assert np.array_equal(solution.logic.predict(quantised), exact_logits(network, inputs))
    return solution


def inputs_of_logits(network: Network) -> int:
    return network.widths[network.raw_output]


@given(networks(max_layers=3, max_width=8), SEEDS)
def test_graph_computes_the_logits(network: Network, seed: int) -> None:
    assert_exact(network, seed)


@given(st.data(), networks(max_layers=3, max_width=6), SEEDS)
def test_every_value_may_have_a_type_of_its_own(data: st.DataObject, network: Network, seed: int) -> None:
    assert_exact(data.draw(by_value(network)), seed)


@given(TYPES, TYPES | st.none(), TYPES | st.none(), TYPES | st.none(), SEEDS)
def test_every_rounding_and_overflow_is_exact(
    inputs: FixedPoint, hidden: FixedPoint | None, relu: FixedPoint | None, logits: FixedPoint | None, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    n_in, n_hidden, n_out = (int(n) for n in rng.integers(1, 5, 3))
    layers = [
        Input("features", n_in, inputs),
        dense("hidden", rng, n_in=n_in, n_out=n_hidden, result=hidden),
        ReLU("relu", relu),
        dense("logits", rng, n_in=n_hidden, n_out=n_out, result=logits),
    ]
    assert_exact(Network(layers), seed)


def dense(name: str, rng: np.random.Generator, *, n_in: int, n_out: int, result: FixedPoint | None = None) -> Dense:
    return Dense(
        name,
        torch.tensor(rng.normal(size=(n_out, n_in)), dtype=torch.float32),
        torch.tensor(rng.normal(size=n_out), dtype=torch.float32),
        weight_type=FixedPoint(5, 2, True, "RND", "SAT"),
        bias_type=FixedPoint(10, 4, True, "RND", "SAT"),
        digit_limit=torch.tensor(rng.choice([0, 1, 99], (n_out, n_in)), dtype=torch.uint8),
        result=result,
    )


@given(networks(max_layers=3, max_width=6), SEEDS)
def test_the_probe_shows_every_layer(network: Network, seed: int) -> None:
    inputs = features(network, seed=seed, n_jets=100)
    want = np.hstack(list(exact_activations(network, inputs).values())[1:])
    quantised = np.ascontiguousarray(network.input.result(inputs))
    assert np.array_equal(rtl.probe(network).logic.predict(quantised), want)


def test_dead_inputs_keep_their_ports_and_constants_cost_nothing() -> None:
    rng = np.random.default_rng(0)
    first, last = dense("first", rng, n_in=4, n_out=3), dense("last", rng, n_in=3, n_out=2)
    first.digit_limit[:, 1] = 0  # nobody reads feature 1
    first.digit_limit[0] = 0  # neuron 0 is its bias
    last.digit_limit[1] = 0  # so is logit 1
    network = Network([Input("features", 4, FixedPoint(6, 2)), first, ReLU("relu", FixedPoint(5, 2, False)), last])
    solution = assert_exact(network, 3)
    assert all(port.max > port.min for port in solution.logic.inp_qint)
    assert solution.logic.out_latency[1] == 0


def test_an_all_zero_network_is_its_last_bias() -> None:
    rng = np.random.default_rng(1)
    layer = dense("only", rng, n_in=3, n_out=2)
    layer.digit_limit[:] = 0
    solution = assert_exact(Network([Input("features", 3, FixedPoint(6, 2)), layer]), 0)
    assert solution.cost == 0


@pytest.mark.parametrize(
    ("layers", "culprit"),
    [
        ([Input("features", 2)], "features"),
        ([Input("features", 2, FixedPoint(4, 2)), BatchNorm("norm", torch.ones(2), torch.ones(2))], "norm"),
        ([Input("features", 2, FixedPoint(4, 2)), Dense("raw", torch.ones(2, 2), torch.ones(2))], "raw"),
        (
            [
                Input("features", 2, FixedPoint(4, 2)),
                Dense(
                    "wide", torch.ones(2, 2), torch.ones(2), weight_type=FixedPoint(30, 2), bias_type=FixedPoint(8, 4)
                ),
            ],
            "wide",
        ),
    ],
)
def test_a_layer_without_fixed_point_form_is_named(layers: list, culprit: str) -> None:
    with pytest.raises(NetworkError, match=f"'{culprit}'"):
        rtl.solve(Network(layers))
