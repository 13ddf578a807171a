"""Every kind of layer as an adder graph: in da4ml's own interpreter, bit for bit what the Network computes."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from hepprune import frontends
from hepprune.errors import NetworkError
from hepprune.firmware import rtl
from hepprune.fixed import OVERFLOW, ROUNDING, FixedPoint
from hepprune.network import Argmax, BatchNorm, Input, Layer, Network
from hepprune.network.layers import Einsum, GlobalPool, Merge, Pool, Recurrent, Reshape, Shared, TopK, UpSample
from hepprune.network.precision import Precision, quantise
from tests.firmware.layers import test_projects
from tests.firmware.layers.test_projects import random_features
from tests.firmware.networks import FEATURES, NARROW, POSITIVE, Maker
from tests.networks import SEEDS, sequence_networks
from tests.pruning import graphs

STAGES = sorted(graphs.STAGES)
UNTYPED = {"attention", "one_head", "layer_norm"}  # whose steps have types only where `quantise` chooses them
TYPES = st.builds(
    FixedPoint,
    st.integers(2, 7),
    st.integers(0, 3),
    st.booleans(),
    st.sampled_from(sorted(ROUNDING)),
    st.sampled_from(OVERFLOW),
)


def assert_exact(network: Network, n_jets: int = 100) -> rtl.Solution:
    """Compare the value of every layer before any head."""
    solution, values = rtl.probe(network), activations(network, n_jets)
    inputs = [values.pop(layer.name) for layer in network.inputs]
    got = solution.logic.predict(np.ascontiguousarray(np.hstack(inputs)))
    ends = np.cumsum([value.shape[1] for value in values.values()])
    for (name, value), part in zip(values.items(), np.split(got, ends[:-1], axis=1), strict=True):
        assert np.array_equal(part, value), name
    return solution


@torch.no_grad()
def activations(network: Network, n_jets: int) -> dict[str, np.ndarray]:
    features = [torch.as_tensor(values) for values in random_features(network, n_jets)]
    values = network.clone().double().activations(features, until=network.raw_outputs)
    return {name: value.numpy().reshape(n_jets, -1) for name, value in values.items()}


@pytest.mark.slow
@pytest.mark.parametrize("build", [*test_projects.EXACT, *test_projects.PARALLEL])
def test_every_layer_of_the_networks_that_hls4ml_builds_is_exact(build: Callable[[str], Network]) -> None:
    assert_exact(build("io_parallel"))


@pytest.mark.slow
def test_every_layer_that_hls4ml_computes_from_tables_is_exact_with_types() -> None:
    network = test_projects.tables("io_parallel", n_steps=2)
    (features,) = random_features(network, 300)
    assert_exact(quantise(network, features.astype(np.float32), Precision(inputs=FEATURES, activation_bits=5)))


@pytest.mark.slow
@settings(max_examples=10)
@given(sequence_networks())
def test_drawn_networks_over_positions_are_exact(network: Network) -> None:
    assert_exact(network)


def drawn(stages: list[str], seed: int, *, flat: bool) -> Network:
    network = graphs.build(stages, seed=seed, fixed=True, flat=flat)
    network["flat"].result = graphs.RESULTS  # means of other than powers of two
    for layer in network:
        if isinstance(layer, Recurrent):
            layer.act.result, layer.gate.result = graphs.RESULTS, FixedPoint(7, 0, False, "RND", "SAT")
    return network


@pytest.mark.slow
@settings(max_examples=10)
@given(st.lists(st.sampled_from(sorted({*STAGES} - UNTYPED)), min_size=1, max_size=3), SEEDS, st.booleans())
def test_drawn_graphs_are_exact(stages: list[str], seed: int, flat: bool) -> None:  # noqa: FBT001
    assert_exact(drawn(stages, seed, flat=flat))


@pytest.mark.slow
@settings(max_examples=10)
@given(st.lists(st.sampled_from(STAGES), min_size=1, max_size=3), SEEDS, st.booleans())
def test_drawn_graphs_with_types_chosen_for_them_are_exact(stages: list[str], seed: int, flat: bool) -> None:  # noqa: FBT001
    network = graphs.build(stages, seed=seed, fixed=False, flat=flat)
    (features,) = random_features(network, 300)
    assert_exact(quantise(network, features.astype(np.float32), Precision(inputs=FEATURES)))


@given(st.integers(2, 13), TYPES, TYPES)
def test_means_round_as_their_type_says(n_steps: int, inputs: FixedPoint, result: FixedPoint) -> None:
    assert_exact(Network([Input("x", (n_steps, 2), inputs), GlobalPool("mean", "average", result=result)]))


def test_the_units_of_a_deep_network_stay_within_what_da4ml_counts() -> None:
    make, kind = Maker(2), FixedPoint(6, 5, True, "RND", "SAT")
    layers = [make.dense(f"dense_{depth}", 3, 3, result=kind, weight_type=FixedPoint(10, 3)) for depth in range(9)]
    for layer in layers:
        layer.weight.data *= 5
    wide = [
        make.dense("wide", 3, 3, result=None),
        GlobalPool("mean", "average", result=FixedPoint(6, 4, overflow="SAT")),
    ]
    wide[0].weight.data *= 9
    assert_exact(Network([Input("x", (6, 3), FEATURES), *layers, *wide]), 300)


def test_padded_places_count_in_no_mean_and_no_maximum() -> None:
    layers = [Input("x", (5, 2), FEATURES), Pool("mean", "average", (3,), strides=(1,), padding=((1, 1),))]
    layers[1].result = NARROW
    assert_exact(Network([*layers, Pool("most", "max", (2,), strides=(2,), padding=((1, 0),))]))


@pytest.mark.parametrize("operation", ["add", "subtract", "multiply", "maximum", "minimum", "average"])
@settings(max_examples=10)
@given(TYPES, TYPES, TYPES)
def test_merges_broadcast(operation: str, left: FixedPoint, right: FixedPoint, result: FixedPoint) -> None:
    layers = [Input("x", (3, 2), left), Input("y", (1, 2), right), Merge("merge", operation, result)]
    assert_exact(Network(layers, {"merge": ("x", "y")}))


def test_a_value_merged_with_itself() -> None:
    layers: list[Layer] = [Input("x", 3, FEATURES)]
    operations = ("add", "subtract", "multiply", "maximum", "minimum")
    layers += [Merge(name, name) for name in operations]
    network = Network(layers, dict.fromkeys(operations, ("x", "x")), operations)
    assert_exact(network)


@pytest.mark.parametrize("equation", ["ij,jk->ik", "ij,kj->ikj"])
def test_contractions(equation: str) -> None:
    shapes = {"ij,jk->ik": ((3, 2), (2, 4)), "ij,kj->ikj": ((3, 2), (2, 2))}[equation]
    layers = [Input("x", shapes[0], FEATURES), Input("y", shapes[1], NARROW), Einsum("e", equation)]
    assert_exact(Network(layers, {"e": ("x", "y")}))


@given(st.integers(1, 5), TYPES, SEEDS)
def test_the_largest_channels_pass_and_the_first_of_equals(k: int, inputs: FixedPoint, seed: int) -> None:
    dense = Maker(seed).dense("dense", 5, 5, result=FixedPoint(3, 2, True, "RND", "SAT"))
    assert_exact(Network([Input("x", 5, inputs), dense, TopK("top", k)]))


@given(st.integers(1, 7), SEEDS)
def test_an_argmax_that_others_read_is_the_first_of_equals(n_classes: int, seed: int) -> None:
    make = Maker(seed)
    dense = make.dense("dense", 4, n_classes, result=FixedPoint(3, 2, True, "RND", "SAT"))
    assert_exact(Network([Input("x", 4, FEATURES), dense, Argmax("class_"), make.dense("out", 1, 2)]))


def test_a_variable_at_several_places_is_rounded_once() -> None:
    kind = FixedPoint(3, 2, True, "RND", "SAT")
    once = rtl.solve(Network([Input("x", (2, 1), FEATURES), Reshape("same", (2, 1), result=kind)]))
    often = rtl.solve(Network([Input("x", (2, 1), FEATURES), UpSample("four", (4,), result=kind)]))
    assert once.cost == often.cost > 0


def test_a_kernel_at_many_places_is_solved_once(monkeypatch: pytest.MonkeyPatch) -> None:
    solved = []
    monkeypatch.setattr(rtl.adders, "cheapest_graph", counting(solved, rtl.adders.cheapest_graph))
    make = Maker(3)
    layers = [Input("x", (12, 4), FEATURES), make.dense("phi", 4, 5, result=POSITIVE), make.conv("conv", 3, 2, 5)]
    network = Network([*layers, Shared("again", "phi")], {"phi": "x", "conv": "phi", "again": "x"}, ["conv", "again"])
    assert_exact(network)
    assert len(solved) == 2


def counting(seen: list[object], function: Callable[..., object]) -> Callable[..., object]:
    def run(*given: object, **options: object) -> object:
        seen.append(given)
        return function(*given, **options)

    return run


def test_what_has_no_exact_form_is_named() -> None:
    x = Input("x", (3, 2), FEATURES)
    cases = {
        "'mean' .GlobalPool.* result type": GlobalPool("mean", "average"),
        "'norm' .BatchNorm.*fold it": BatchNorm("norm", torch.ones(2), torch.zeros(2)),
    }
    for said, layer in cases.items():
        with pytest.raises(NetworkError, match=said):
            rtl.solve(Network([x, layer]))


class Block(nn.Module):
    """Self-attention of two heads as torch has it, a residual, and a layer norm."""

    def __init__(self) -> None:
        super().__init__()
        self.attention, self.norm = nn.MultiheadAttention(4, 2, batch_first=True), nn.LayerNorm(4)

    def forward(self, x: Tensor) -> Tensor:
        attended, _ = self.attention(x, x, x, need_weights=False)
        return self.norm(x + attended)


@pytest.mark.slow
def test_attention_of_a_torch_module_is_exact_with_types() -> None:
    torch.manual_seed(0)
    network = frontends.read(torch.export.export(Block().eval(), (torch.zeros(2, 4, 4),)))
    (features,) = random_features(network, 300)
    found = quantise(network, features, Precision(inputs=FEATURES, activation_bits=8))
    solution, values = assert_exact(found), activations(found, 300)
    float_ = network.logits(torch.as_tensor(features).float(), quantised=False).detach().numpy().reshape(300, -1)
    off = values[found.raw_output] - float_
    assert np.sqrt(np.mean(off**2)) < 0.1 * float_.std()
    assert rtl.refusals(found) == {}
    assert solution.cost > 0
