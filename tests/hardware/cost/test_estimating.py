"""The price of whole networks of any layers against the adder graph that da4ml solves of them."""

import time

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hepprune.errors import NetworkError
from hepprune.fixed import FixedPoint
from hepprune.hardware import cost
from hepprune.hardware.cost import circuits, distributed_arithmetic
from hepprune.hardware.cost.circuits import estimating
from hepprune.hardware.cost.circuits.wires import Wires
from hepprune.hardware.targets import Target
from hepprune.network import Argmax, Dense, Einsum, GlobalPool, Input, Layer, Network, ReLU, Softmax
from hepprune.network.layers import LayerNorm, TopK
from tests.network.drawn import typed, typed_graphs
from tests.pruning import graphs
from tests.search.architectures import ARCHITECTURES

TARGET = Target(name="test", clock_ns=5.0)
SEEDS = st.integers(0, 10_000)
FAMILIES = {
    "convolution": ("convolution", "relu", "pool", "convolution"),
    "deep_sets": ("dense", "relu", "dense"),
    "recurrent": ("recurrent",),
    "attention": ("attention",),
}
NAMES = ("residual", "shared", "convolution", "deep_sets", "recurrent", "attention")


def cut(network: Network, sparsity: float, seed: int) -> Network:
    """Return a copy without a random share of the weights of each kernel."""
    smaller, generator = network.clone(), torch.Generator().manual_seed(seed)
    for kernel in smaller.kernels:
        gone = torch.rand(kernel.weight.shape, generator=generator) < sparsity
        kernel.digit_limit[gone] = 0
    return smaller


def lut(network: Network, *, stage: str = "da4ml") -> float:
    found = cost.estimate(network, TARGET, stage=stage).resources.lut
    assert found is not None
    return found


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_the_price_of_every_architecture_is_close_to_the_solved_graph(name: str) -> None:
    rtl = pytest.importorskip("hepprune.firmware.rtl")
    pytest.importorskip("da4ml")
    errors = []
    for seed, (bits, sparsity) in enumerate([(6, 0.0), (5, 0.5), (4, 0.6), (7, 0.7)]):
        network = cut(typed(ARCHITECTURES[name](), bits=bits), sparsity, seed)
        solved, found = rtl.solve(network), cost.estimate(network, TARGET, stage="da4ml")
        assert abs(found.latency_cycles - rtl.cycles(solved.depth, TARGET.levels_per_cycle)) <= 2
        errors.append(abs(found.resources.lut / solved.cost - 1))
    assert np.median(errors) < 0.07
    assert max(errors) < 0.3


@pytest.mark.slow
@pytest.mark.parametrize("stages", FAMILIES.values(), ids=FAMILIES)
def test_the_median_of_a_drawn_family_is_priced_within_a_tenth(stages: tuple[str, ...]) -> None:
    rtl = pytest.importorskip("hepprune.firmware.rtl")
    pytest.importorskip("da4ml")
    errors = []
    for seed in range(6):
        network = typed(graphs.build(list(stages), seed=seed, fixed=False, flat=False), bits=5)
        errors.append(abs(lut(network) / rtl.solve(network).cost - 1))
    assert np.median(errors) <= 0.1


@pytest.mark.slow
@settings(max_examples=8, deadline=None)
@given(st.lists(st.sampled_from(sorted(graphs.STAGES)), max_size=4), st.integers(0, 10_000))
def test_drawn_graphs_are_priced_close_to_the_solved_graph(stages: list[str], seed: int) -> None:
    rtl = pytest.importorskip("hepprune.firmware.rtl")
    pytest.importorskip("da4ml")
    network = typed(graphs.build(stages, seed=seed, fixed=False, flat=False), bits=6)
    solved = rtl.solve(network)
    assert lut(network) == pytest.approx(solved.cost, rel=0.35, abs=40)


def test_a_chain_of_dense_layers_costs_about_the_same_either_way() -> None:
    generator = torch.Generator().manual_seed(1)
    kind, wide = FixedPoint(6, 2, False), FixedPoint(14, 4, True, "RND", "SAT")
    types = {"weight_type": FixedPoint(6, 1), "bias_type": wide}
    layers: list[Layer] = [
        Input("x", 16, FixedPoint(8, 3)),
        Dense("a", torch.randn(24, 16, generator=generator) / 4, torch.zeros(24), **types),
        ReLU("r", kind),
        Dense("b", torch.randn(5, 24, generator=generator) / 4, torch.zeros(5), **types),
    ]
    chain = Network(layers)
    one, other = distributed_arithmetic.estimate(chain, TARGET), circuits.estimate(chain, TARGET)
    assert other.resources.lut == pytest.approx(one.resources.lut, rel=0.03)
    assert other.resources.ff == pytest.approx(one.resources.ff, rel=0.5)
    assert cost.estimate(chain, TARGET) == one


@pytest.mark.parametrize("name", NAMES)
def test_neurons_that_nothing_reads_cost_nothing(name: str) -> None:
    network = typed(ARCHITECTURES[name](), bits=6)
    last = network.kernels[-1]
    none_left = network.clone()
    none_left.kernel(last.name).digit_limit.zero_()
    assert lut(none_left) == 0
    assert cost.estimate(none_left, TARGET).latency_cycles == 1


@settings(max_examples=25, deadline=None)
@given(st.sampled_from(NAMES), st.integers(0, 10_000), st.data())
def test_a_neuron_that_goes_never_raises_the_price(name: str, seed: int, data: st.DataObject) -> None:
    network = cut(typed(ARCHITECTURES[name](), bits=5), 0.5, seed)
    kernel = data.draw(st.sampled_from(network.kernels))
    smaller = network.clone()
    smaller.kernel(kernel.name).digit_limit[data.draw(st.integers(0, kernel.n_rows - 1))] = 0
    assert lut(smaller) <= lut(network) * (1 + 1e-9)


def test_a_price_is_the_same_where_no_gradients_are_kept() -> None:
    network = typed(ARCHITECTURES["convolution"](), bits=5)
    with torch.no_grad():
        inside = cost.estimate(network, TARGET)
    assert cost.estimate(network, TARGET) == inside


def test_a_layer_at_n_places_costs_n_times_and_its_copies_are_priced_once() -> None:
    types = {"weight_type": FixedPoint(6, 1), "bias_type": FixedPoint(10, 3)}
    weight = torch.randn(6, 4, generator=torch.Generator().manual_seed(0))

    def at(places: int) -> float:
        dense = Dense("a", weight, torch.zeros(6), **types)
        layers: list[Layer] = [Input("x", (places, 4), FixedPoint(8, 3)), dense]
        return lut(Network(layers))

    assert at(8) == pytest.approx(8 * at(1))


@settings(max_examples=15, deadline=None)
@given(typed_graphs() | st.sampled_from(NAMES).map(lambda name: typed(ARCHITECTURES[name](), bits=6)), SEEDS)
def test_a_changed_network_is_priced_as_if_none_had_been_before(network: Network, seed: int) -> None:
    changed = network.clone()
    for kernel in changed.kernels[seed % 2 :: 2]:
        kernel.digit_limit[torch.rand(kernel.weight.shape, generator=torch.Generator().manual_seed(seed)) < 0.3] = 0
    circuits.forget()
    afresh = circuits.estimate(changed, TARGET)
    circuits.forget()
    circuits.estimate(network, TARGET)
    assert circuits.estimate(changed, TARGET) == afresh


@given(SEEDS, st.lists(st.integers(0, 40), max_size=5).map(sorted))
def test_bits_in_registers_are_counted_at_every_boundary(seed: int, boundaries: list[int]) -> None:
    rng = np.random.default_rng(seed)
    low = rng.integers(-8, 8, (3, 4)).astype(float)
    high, level = low + rng.integers(0, 4, low.shape), rng.integers(0, 20, low.shape) / 2
    found = Wires.of(low, high, 1, level)
    bits = [float(found.width[found.moving & (level <= boundary)].sum()) for boundary in boundaries]
    assert estimating._bits_there(found, boundaries) == bits
    assert estimating._there(level, boundaries).tolist() == [(level <= boundary).sum() for boundary in boundaries]


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_a_network_with_one_changed_layer_is_priced_in_milliseconds(name: str) -> None:
    network = typed(ARCHITECTURES[name](), bits=6)
    lut(network)
    taken = []
    for seed in range(8):
        other = network.clone()
        kernel = other.kernels[seed % len(other.kernels)]
        kernel.digit_limit[torch.rand(kernel.weight.shape, generator=torch.Generator().manual_seed(seed)) < 0.2] = 0
        started = time.perf_counter()
        lut(other)
        taken.append(time.perf_counter() - started)
    assert np.median(taken) < 0.25  # a few milliseconds where nothing else runs


@settings(max_examples=20, deadline=None)
@given(typed_graphs())
def test_every_drawn_graph_has_a_finite_price(network: Network) -> None:
    found = cost.estimate(network, TARGET)
    assert found.resources.lut is not None
    assert np.isfinite([found.resources.lut, found.resources.ff, found.latency_ns]).all()
    assert sum(layer.resources.lut or 0 for layer in found.layers) == pytest.approx(found.resources.lut)


def test_what_has_no_price_as_an_adder_graph_is_named() -> None:
    layers: list[Layer] = [Input("x", (2, 4), FixedPoint(6, 3)), LayerNorm("norm", torch.ones(4), torch.zeros(4))]
    network = Network([*layers, GlobalPool("mean", "max")])
    assert cost.estimate(network, TARGET).stage == "csynth"
    with pytest.raises(NetworkError, match="layer 'norm' \\(LayerNorm\\) has no types for its tables"):
        cost.estimate(network, TARGET, stage="da4ml")


def test_several_outputs_are_priced_up_to_before_their_heads() -> None:
    network = typed(two_heads(), bits=6)
    alone = [Network(list(network), network.sources, outputs=(name,)) for name in network.outputs]
    assert max(map(lut, alone)) < lut(network) < sum(map(lut, alone))


def two_heads() -> Network:
    generator = torch.Generator().manual_seed(3)

    def dense(name: str, n_in: int, n_out: int) -> Dense:
        return Dense(name, torch.randn(n_out, n_in, generator=generator) / n_in**0.5, torch.zeros(n_out))

    layers: list[Layer] = [
        *(Input("x", 6), dense("trunk", 6, 12), ReLU("relu"), dense("classes", 12, 4), Softmax("probabilities")),
        dense("momentum", 12, 1),
    ]
    edges = {"trunk": "x", "relu": "trunk", "classes": "relu", "probabilities": "classes", "momentum": "relu"}
    return Network(layers, edges, outputs=("probabilities", "momentum"))


def test_choices_are_priced() -> None:
    rtl = pytest.importorskip("hepprune.firmware.rtl")
    pytest.importorskip("da4ml")
    kind = FixedPoint(5, 2)
    layers: list[Layer] = [Input("x", (3, 6), kind), TopK("top", 3), Einsum("dot", "ij,kj->ik", result=kind)]
    chosen = Network([*layers, Argmax("best"), GlobalPool("mean", "average", result=kind)], EDGES)
    assert lut(chosen) == pytest.approx(rtl.solve(chosen).cost, rel=0.1)


EDGES = {"top": "x", "dot": ("top", "x"), "best": "dot", "mean": "best"}
