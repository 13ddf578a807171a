from collections.abc import Callable
from fractions import Fraction
from math import floor

import numpy as np
import pytest
import torch
from hypothesis import assume, given

from hepprune.errors import NetworkError
from hepprune.fixed import FixedPoint, Quantiser, digits
from hepprune.fixed.quantisers import Minifloat
from hepprune.network import (
    Argmax,
    BatchNorm,
    Dense,
    Input,
    Layer,
    Merge,
    Network,
    Pool,
    ReLU,
    Reshape,
    Shared,
    Softmax,
    UpSample,
    exact_activations,
    exact_logits,
)
from hepprune.network.ranges import accumulators
from tests.networks import SEEDS, features, networks, weighted

HALF = Fraction(1, 2)


def fixed(value: Fraction, kind: FixedPoint) -> Fraction:
    """Round and overflow by the words of the ap_fixed manual, in exact fractions."""
    steps = value * Fraction(2) ** kind.fraction
    whole = floor(steps)
    if kind.rounding == "RND":
        whole += steps - whole >= HALF
    elif kind.rounding == "RND_CONV":
        whole += steps - whole > HALF or (steps - whole == HALF and whole % 2 == 1)
    low = -(2 ** (kind.width - 1)) if kind.signed else 0
    high = low + 2**kind.width - 1
    whole = min(max(whole, low), high) if kind.overflow == "SAT" else (whole - low) % 2**kind.width + low
    return whole / Fraction(2) ** kind.fraction


def fewer_digits(value: Fraction, kind: FixedPoint, limit: int) -> Fraction:
    whole = int(value * Fraction(2) ** kind.fraction)
    allowed = [n for n in range(-(2 ** (kind.width - 1)), 2 ** (kind.width - 1)) if digits.count(np.array(n)) <= limit]
    return min(allowed, key=lambda n: (abs(n - whole), abs(n))) / Fraction(2) ** kind.fraction


def by_hand(layer: Dense, arriving: list[Fraction]) -> list[Fraction]:
    outputs = []
    for row, bias, limits in zip(layer.weight.tolist(), layer.bias.tolist(), layer.digit_limit.tolist(), strict=True):
        total = fixed(Fraction(bias), layer.bias_type)
        for weight, limit, value in zip(row, limits, arriving, strict=True):
            used = fixed(Fraction(weight), layer.weight_type)
            total += (fewer_digits(used, layer.weight_type, limit) if limit < 9 else used) * value
        outputs.append(total)
    return outputs


def logits_by_hand(network: Network, jet: list[float]) -> list[Fraction]:
    """Run a chain on one jet in exact fractions."""
    values = [Fraction(x) for x in jet]
    for layer in network:
        if layer.is_head:
            break
        if isinstance(layer, Dense):
            values = by_hand(layer, values)
        elif isinstance(layer, ReLU):
            values = [max(v, Fraction(0)) for v in values]
        values = [fixed(v, layer.result) for v in values] if layer.result else values
    return values


@given(networks(max_width=5), SEEDS)
def test_exact_logits_equal_the_same_sums_in_fractions(network: Network, seed: int) -> None:
    jets = features(network, seed=seed, n_jets=2)
    expected = [logits_by_hand(network, jet) for jet in jets.tolist()]
    assert exact_logits(network, jets).tolist() == expected


@given(networks(), SEEDS)
def test_float32_forward_is_exact_for_narrow_networks(network: Network, seed: int) -> None:
    assume(max(kind.width for kind in accumulators(network).values()) <= 23)
    jets = features(network, seed=seed)
    fast = network.logits(torch.tensor(jets, dtype=torch.float32)).detach().double().numpy()
    assert np.array_equal(fast, exact_logits(network, jets))


def test_float32_forward_is_exact_just_below_half_a_step() -> None:
    below = float(np.nextafter(np.float32(0.5), np.float32(0)))
    kind = FixedPoint(8, 8, True, "RND", "SAT")
    network = Network([Input("x", 1, kind), dense("d", 1, 1, weight=below, kinds=(kind, kind))])
    jets = np.array([[below], [2.0], [-0.5], [-np.nextafter(np.float32(0.5), np.float32(0))]])
    fast = network.logits(torch.tensor(jets, dtype=torch.float32)).detach().double().numpy()
    assert np.array_equal(fast, exact_logits(network, jets))


def dense(
    name: str, n_in: int, n_out: int, *, weight: float = 1.0, kinds: tuple[FixedPoint, FixedPoint] | None = None
) -> Dense:
    weight_type, bias_type = kinds or (None, None)
    weights = torch.full((n_out, n_in), weight)
    return Dense(name, weights, torch.zeros(n_out), weight_type=weight_type, bias_type=bias_type)


@pytest.mark.parametrize(
    ("layers", "sources", "message"),
    [
        ([], None, "starts with an Input"),
        ([ReLU("r")], None, "starts with an Input"),
        ([Input("x", 2), dense("a", 2, 2), dense("a", 2, 2)], None, "share the name 'a'"),
        ([Input("x", 2), dense("a", 3, 2)], None, "'a' takes 3 values and is given 2"),
        ([Input("x", 2), dense("a", 2, 3), ReLU("r"), dense("b", 2, 1)], None, "'b' takes 2 values and is given 3"),
        ([Input("x", 2), ReLU("r"), ReLU("s")], {"r": "s", "s": "x"}, "'r' reads unknown layer 's'"),
        ([Input("x", 2), ReLU("r")], {"r": "r"}, "'r' reads unknown layer 'r'"),
        ([Input("x", 2), ReLU("r")], {}, "'r' reads unknown layer"),
    ],
)
def test_malformed_graphs_are_refused(layers: list[Layer], sources: dict[str, str] | None, message: str) -> None:
    with pytest.raises(NetworkError, match=message):
        Network(layers, sources)


@pytest.mark.parametrize("name", ["values", "items", "forward", "type"])
def test_a_layer_may_have_any_identifier_or_is_refused_in_words(name: str) -> None:
    try:
        network = Network([Input("x", 2), ReLU(name)])
    except NetworkError as problem:
        assert name in str(problem)  # noqa: PT017 -- either end is allowed
    else:
        assert network[name].name == name


def test_an_unknown_layer_lists_the_known_ones() -> None:
    network = Network([Input("x", 2), ReLU("relu_1")])
    with pytest.raises(NetworkError, match="unknown layer 'relu1'; choose one of: relu_1, x"):
        network["relu1"]


def test_the_graph_tells_its_neighbours() -> None:
    network = Network([Input("x", 2), dense("a", 2, 3), ReLU("r"), dense("b", 3, 4), Softmax("s")])
    assert network.widths == {"x": 2, "a": 3, "r": 3, "b": 4, "s": 4}
    assert network.source(network["r"]) is network["a"]
    assert network.readers(network["r"]) == [network["b"]]
    assert network.raw_output == "b"
    assert network.output is network["s"]
    assert [layer.name for layer in weighted(network)] == ["a", "b"]


def test_two_readers_of_one_layer_run_side_by_side() -> None:
    chain = [Input("x", 1), dense("a", 1, 1, weight=2.0), dense("b", 1, 1, weight=3.0), dense("c", 1, 1, weight=5.0)]
    network = Network(chain, {"a": "x", "b": "a", "c": "a"})
    values = network.activations(torch.ones(1, 1))
    assert [values[name].item() for name in ("a", "b", "c")] == [2.0, 6.0, 10.0]


@given(networks(), SEEDS)
def test_known_activations_change_nothing(network: Network, seed: int) -> None:
    jets = torch.tensor(features(network, seed=seed), dtype=torch.float32)
    values = network.activations(jets)
    for until in network.widths:
        known = {name: values[name] for name in list(network.widths)[:2]}
        again = network.activations(jets, until=until, known=known)
        assert all(torch.equal(again[name], values[name]) for name in again)
        assert list(again)[-1] == until


def test_a_clone_is_independent() -> None:
    network = Network([Input("x", 2), dense("a", 2, 3)])
    other = network.clone()
    with torch.no_grad():
        other["a"].weight.zero_()
    assert network["a"].weight.sum() == 6


def test_replacing_checks_widths_again_and_copies() -> None:
    network = Network([Input("x", 2), dense("a", 2, 3), dense("b", 3, 1)])
    with pytest.raises(NetworkError, match="'b' takes 3 values and is given 4"):
        network.replacing({"a": dense("a", 2, 4)})
    other = network.replacing({"a": dense("a", 2, 3, weight=7.0)})
    assert other["b"] is not network["b"]
    assert other["a"].weight.mean() == 7


def test_a_head_is_no_part_of_the_logits() -> None:
    for head in (Softmax("head"), Argmax("head")):
        network = Network([Input("x", 2), head])
        jets = torch.tensor([[1.0, 3.0]])
        assert torch.equal(network.logits(jets), jets)
        assert not torch.equal(network(jets), jets)


def test_no_head_of_several_outputs_is_run_for_the_logits() -> None:
    layers = [Input("x", 2), dense("first", 2, 3), Softmax("a"), Argmax("largest"), dense("second", 2, 3), Softmax("b")]
    sources = {"first": "x", "a": "first", "largest": "a", "second": "x", "b": "second"}
    network = Network(layers, sources, ["largest", "b"])
    assert network.raw_outputs == ("first", "second")
    assert [layer.name for layer in network.body] == ["x", "first", "second"]
    ran = network.interpret(lambda node, *_: node.name, until=network.raw_outputs)
    assert list(ran) == ["x", "first", "second"]
    assert list(network.interpret(lambda node, *_: node.name, until="largest")) == ["x", "first", "a", "largest"]


def test_exact_values_need_types_everywhere() -> None:
    kind = FixedPoint(8, 3)
    with pytest.raises(NetworkError, match="'x' has no fixed-point type"):
        exact_logits(Network([Input("x", 2), dense("a", 2, 3)]), np.zeros((1, 2)))
    with pytest.raises(NetworkError, match="'a' has no fixed-point types"):
        exact_logits(Network([Input("x", 2, kind), dense("a", 2, 3)]), np.zeros((1, 2)))


def test_an_accumulator_too_wide_for_float64_is_refused() -> None:
    kind = FixedPoint(26, 1, True, "RND", "SAT")
    network = Network([Input("x", 40, kind), dense("a", 40, 1, kinds=(kind, kind))])
    with pytest.raises(NetworkError, match="layer 'a' accumulates more bits .* width of 57 bits"):
        exact_activations(network, np.zeros((1, 40)))


def _dense(n_out: int, n_in: int, weight_type: Quantiser | None = None) -> Dense:
    return Dense("d", torch.ones(n_out, n_in), torch.zeros(n_out), weight_type=weight_type)


def _seven() -> Minifloat:
    """Return types of seven values."""
    return Minifloat(mantissa=np.full(7, 2), exponent=np.full(7, 2), offset=np.zeros(7, int))


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        (lambda: [Input("x", 2**24)], "needs 1 to 8 axes and 1 to 8388608 values"),
        (lambda: [Input("x", (1,) * 9)], "needs 1 to 8 axes"),
        (lambda: [Input("x", (2**16, 2)), UpSample("u", (2**7,))], "there are up to 8 axes and 8388608 values"),
        (lambda: [Input("x", 2**22), *(ReLU(f"r{n}") for n in range(9))], "'r1' a jet has 12582912 values, more than"),
        (lambda: [Input("x", 4), Reshape("r", (1,) * 8 + (4,))], "there are up to 8 axes"),
        (lambda: [Input("x", (2**20, 1)), Pool("p", "average", (2**19,), strides=(1,))], "operations, more than"),
        (lambda: [Input("x", 4), *(ReLU(f"r{n}") for n in range(2000))], "a network of 2001 layers"),
        (lambda: [Input("x", 6, _seven())], r"'x' has types of shape \(7,\) for values of \(6,\)"),
        (lambda: [Input("x", 6), _dense(3, 6, _seven())], r"'d' has types of shape \(7,\) for values of \(3, 6\)"),
        (lambda: [Input("x", 4), Shared("d", "d")], "shares 'd', which is not a layer that ran before it"),
        (lambda: [Input("x", 4), Shared("d", "x")], "shares 'x', which is not a layer that ran before it"),
        (
            lambda: [Input("x", 4), _dense(4, 4).double(), BatchNorm("n", *torch.ones(2, 4))],
            "here d.weight is torch.flo",
        ),
    ],
)
def test_what_is_no_trigger_network_is_refused(layers: Callable[[], list[Layer]], message: str) -> None:
    with pytest.raises(NetworkError, match=message):
        Network(layers())


def test_readers_are_those_of_every_edge() -> None:
    layers = [Input("x", 4), _dense(4, 4), ReLU("r"), Merge("twice", "add"), Merge("sum", "add")]
    sources = {"d": "x", "r": "d", "twice": ("d", "d"), "sum": ("r", "twice")}
    network = Network(layers, sources)
    assert [[reader.name for reader in network.readers(layer)] for layer in network] == [
        ["d"],
        ["r", "twice"],
        ["sum"],
        ["sum"],
        [],
    ]
