import itertools

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hepprune.errors import NetworkError
from hepprune.fixed import FixedPoint
from hepprune.network import BatchNorm, Dense, Input, Network, ReLU, exact_activations
from hepprune.network.ranges import accumulators, intervals
from tests.networks import SEEDS, dense_layers, features, networks, sequence_networks


@given(st.one_of(networks(), sequence_networks()), SEEDS)
def test_every_value_lies_in_its_interval(network: Network, seed: int) -> None:
    values = exact_activations(network, features(network, seed=seed, n_jets=200))
    for name, (_, after) in intervals(network).items():
        assert (values[name] >= after.low).all()
        assert (values[name] <= after.high).all()


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
