import logging

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hepprune.fixed import FixedPoint
from hepprune.network import (
    BatchNorm,
    Conv,
    Dense,
    Input,
    Layer,
    Merge,
    Network,
    ReLU,
    Reshape,
    Softmax,
    exact_logits,
    identity,
)
from hepprune.pruning import masks
from hepprune.pruning.structure import surgery
from hepprune.task.sample import Sample
from tests.networks import SEEDS, features, networks, plans, sequence_networks, weighted

INPUTS = FixedPoint(6, 3, True, "RND", "SAT")
WEIGHTS = FixedPoint(6, 3, True, "RND", "SAT")
BIASES = FixedPoint(10, 4, True, "RND", "SAT")
RESULTS = FixedPoint(6, 3, False)


@settings(max_examples=80)
@given(st.data(), SEEDS)
def test_shrunk_equals_masked_bit_for_bit(data: st.DataObject, seed: int) -> None:
    network = data.draw(networks())
    masked = masks.apply(network, data.draw(plans(network)))
    shrunk = surgery.shrink(masked)
    jets = features(network, seed=seed)
    assert np.array_equal(exact_logits(shrunk, jets), exact_logits(masked, jets))


@given(st.data())
def test_shrink_is_idempotent_and_changes_no_argument(data: st.DataObject) -> None:
    network = data.draw(networks())
    masked = masks.apply(network, data.draw(plans(network)))
    before = identity(masked)
    shrunk = surgery.shrink(masked)
    assert identity(surgery.shrink(shrunk)) == identity(shrunk)
    assert identity(masked) == before


@given(st.data())
def test_cut_neurons_are_gone_and_one_always_stays(data: st.DataObject) -> None:
    network = data.draw(networks())
    plan = data.draw(plans(network))
    shrunk = surgery.shrink(masks.apply(network, plan))
    for cut in plan:
        if cut.granularity == "neuron" and not any(cut.constants):
            assert 1 <= shrunk[cut.layer].n_out <= network[cut.layer].n_out - len(cut.units)
    assert shrunk.widths[shrunk.raw_output] == network.widths[network.raw_output]


@settings(max_examples=60)
@given(sequence_networks(), SEEDS)
def test_a_network_over_positions_loses_dead_filters_bit_for_bit(network: Network, seed: int) -> None:
    network["conv"].digit_limit[0] = 0
    jets = features(network, seed=seed)
    shrunk = surgery.shrink(network)
    assert np.array_equal(exact_logits(shrunk, jets), exact_logits(network, jets))


def test_a_filter_leaves_with_all_its_places_in_a_flatten() -> None:
    torch.manual_seed(0)
    conv = Conv("c", torch.randn(3, 2, 1), torch.zeros(3))
    conv.digit_limit[1] = 0
    norm = BatchNorm("n", torch.tensor([1.0, 2.0, 3.0]), torch.tensor([0.5, 0.0, 0.25]))
    layers = [
        Input("x", (5, 1)),
        conv,
        norm,
        ReLU("r"),
        Reshape("f", (12,)),
        Dense("d", torch.randn(2, 12), torch.zeros(2)),
    ]
    network = Network(layers)
    shrunk = surgery.shrink(network)
    assert [shrunk.shapes[name] for name in ("c", "n", "f", "d")] == [(4, 2), (4, 2), (8,), (2,)]
    jets = torch.randn(20, 5, 1)
    assert torch.allclose(shrunk(jets), network(jets), atol=1e-6)


def test_a_residual_sum_keeps_its_channels() -> None:
    layers = [
        Input("x", 2),
        Dense("a", torch.zeros(2, 2), torch.zeros(2)),
        Merge("s", "add"),
        Dense("b", torch.ones(1, 2), torch.zeros(1)),
    ]
    network = Network(layers, {"a": "x", "s": ("x", "a"), "b": "s"})
    assert surgery.shrink(network).shapes == network.shapes


def test_a_trained_tagger_shrinks_by_exactly_what_was_cut(jets: tuple[Sample, Sample], tagger: Network) -> None:
    sample = jets[1].features.numpy()
    plan = [masks.Cut("dense_1", "neuron", (0, 5, 9), (0.3, 1.1, 0.0)), masks.Cut("dense_2", "neuron", (2,), (0.7,))]
    masked = masks.apply(tagger, plan)
    shrunk = surgery.shrink(masked)
    assert [layer.n_out for layer in weighted(shrunk)] == [13, 11, 5]
    assert np.array_equal(exact_logits(shrunk, sample), exact_logits(masked, sample))
    fast = shrunk.logits(torch.tensor(sample)).detach().double().numpy()
    assert np.array_equal(fast, exact_logits(masked, sample))


def dense(name: str, weight: list[list[float]], bias: list[float], bias_type: FixedPoint = BIASES) -> Dense:
    arrays = (torch.tensor(values, dtype=torch.float32) for values in (weight, bias))
    return Dense(name, *arrays, weight_type=WEIGHTS, bias_type=bias_type)


def pair(first: Dense, second: Dense) -> Network:
    layers: list[Layer] = [Input("x", first.n_in, INPUTS), first, ReLU("r", RESULTS), second, Softmax("s")]
    return Network(layers)


def test_a_constant_goes_into_the_next_bias() -> None:
    network = pair(dense("a", [[1, 1], [0, 0]], [0, 1.5]), dense("b", [[1, 2], [1, -1]], [0.25, 0]))
    shrunk = surgery.shrink(network)
    assert shrunk["a"].weight.tolist() == [[1, 1]]
    assert shrunk["b"].weight.tolist() == [[1], [1]]
    assert shrunk["b"].bias.tolist() == [3.25, -1.5]


def test_a_neuron_that_never_fires_is_dead() -> None:
    network = pair(dense("a", [[0.5, 0.5], [1, 1]], [-7, 0]), dense("b", [[1, 1]], [0]))
    assert network.input.result.maximum < 7
    assert surgery.shrink(network)["a"].weight.tolist() == [[1, 1]]


def test_a_neuron_nobody_reads_is_dead_and_so_is_what_only_it_reads() -> None:
    layers: list[Layer] = [
        Input("x", 1, INPUTS),
        dense("a", [[1], [2]], [0, 0]),
        ReLU("ra", RESULTS),
        dense("b", [[1, 0], [0, 1]], [0, 0]),
        ReLU("rb", RESULTS),
        dense("c", [[1, 0]], [0]),
    ]
    shrunk = surgery.shrink(Network(layers))
    assert [layer.n_out for layer in weighted(shrunk)] == [1, 1, 1]
    assert shrunk["a"].weight.tolist() == [[1]]


@pytest.mark.parametrize(
    ("bias", "bias_type"),
    [
        (1.5, FixedPoint(6, 1, True, "RND", "SAT")),  # 1.5 x 3 is beyond its range
        (0.125, FixedPoint(4, 4, True, "RND", "SAT")),  # 0.125 x 3 lies between its steps
    ],
)
def test_a_constant_the_bias_cannot_hold_keeps_its_neuron(
    bias: float, bias_type: FixedPoint, caplog: pytest.LogCaptureFixture
) -> None:
    network = pair(dense("a", [[1, 1], [0, 0]], [0, bias]), dense("b", [[1, 3]], [0], bias_type))
    jets = features(network, seed=0)
    with caplog.at_level(logging.WARNING):
        shrunk = surgery.shrink(network)
    assert shrunk["a"].n_out == 2
    assert "layer 'b' cannot hold a dead neuron's constant in ap_fixed<" in caplog.text
    assert np.array_equal(exact_logits(shrunk, jets), exact_logits(network, jets))


def test_when_all_neurons_are_constant_the_biases_still_never_overflow() -> None:
    narrow = FixedPoint(4, 4, True, "RND", "SAT")  # -8 to 7: 6 - 4 + 4 fits, 6 + 4 does not
    network = pair(dense("a", [[0], [0]], [2, 2]), dense("b", [[-2, 2]], [6], narrow))
    jets = features(network, seed=0)
    shrunk = surgery.shrink(network)
    assert shrunk["a"].n_out == 1
    assert exact_logits(network, jets).tolist() == [[6.0]] * len(jets)
    assert np.array_equal(exact_logits(shrunk, jets), exact_logits(network, jets))


def test_a_constant_that_float32_cannot_add_to_the_bias_keeps_its_neuron() -> None:
    wide = FixedPoint(40, 8, True, "RND", "SAT")
    network = pair(dense("a", [[1], [0]], [0, 4]), dense("b", [[1, 3.5]], [0.1], wide))
    jets = features(network, seed=0)
    shrunk = surgery.shrink(network)
    assert np.array_equal(exact_logits(shrunk, jets), exact_logits(network, jets))


def test_every_reader_must_hold_the_constants_it_is_given() -> None:
    narrow = FixedPoint(4, 4, True, "RND", "SAT")
    layers: list[Layer] = [
        Input("x", 1, INPUTS),
        dense("a", [[0], [0], [1]], [2, 2, 0]),
        ReLU("r", RESULTS),
        dense("other", [[3.5, -1, 1]], [1], narrow),  # holds 1 + 7 - 2, not 1 + 7
        dense("last", [[-2, 2, 1]], [6], narrow),  # holds 6 - 4 + 4, not 6 + 4
    ]
    network = Network(layers, {"a": "x", "r": "a", "other": "r", "last": "r"})
    jets = features(network, seed=0)
    assert np.array_equal(exact_logits(surgery.shrink(network), jets), exact_logits(network, jets))


def test_a_float_network_loses_only_what_is_zero_or_unread() -> None:
    first = Dense("a", torch.tensor([[1.0], [0.0], [0.0], [2.0]]), torch.tensor([1.0, 0.0, 3.0, 1.0]))
    second = Dense("b", torch.tensor([[1.0, 5.0, 5.0, 0.0]]), torch.zeros(1))
    network = Network([Input("x", 1), first, ReLU("r"), second])
    shrunk = surgery.shrink(network)
    assert shrunk["a"].bias.tolist() == [1.0, 3.0]  # a constant of 3 would be rounded into the next bias
    jets = torch.randn(50, 1)
    assert torch.equal(shrunk(jets), network(jets))
