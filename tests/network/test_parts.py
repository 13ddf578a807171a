"""A layer with types for its steps computes what the network of its steps does, bit for bit."""

from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hepprune.errors import NetworkError
from hepprune.fixed import FixedPoint
from hepprune.network import Input, Layer, Network, load, save
from hepprune.network.layers import Activation, Argmax, LayerNorm, Recurrent, Softmax, TopK
from hepprune.network.layers.recurrent import GATES
from hepprune.network.parts import parts
from hepprune.network.precision import Precision, quantise
from hepprune.network.ranges import intervals
from tests.networks import SEEDS

INPUTS = FixedPoint(9, 4, True, "RND", "SAT")
SHAPES = st.lists(st.integers(1, 6), min_size=1, max_size=3).map(tuple)


def jets(shape: tuple[int, ...], seed: int) -> torch.Tensor:
    return INPUTS(torch.randn(200, *shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64))


def typed(layer: Layer, shape: tuple[int, ...], bits: int, seed: int = 0) -> Network:
    network = Network([Input("x", shape), layer, Activation("copy", "linear")])
    asked = Precision(inputs=INPUTS, weight_bits=bits, activation_bits=bits)
    return quantise(network, jets(shape, seed).numpy(), asked)


def layer_norm(n_channels: int, seed: int = 0) -> LayerNorm:
    scale, shift = torch.randn(2, n_channels, generator=torch.Generator().manual_seed(seed))
    return LayerNorm("it", scale, shift, 1e-3)


@st.composite
def cells(draw: st.DrawFn) -> tuple[Layer, tuple[int, ...]]:
    """Draw a recurrent layer of any kind, either way, and a shape for it."""
    cell, generator = draw(st.sampled_from(sorted(GATES))), torch.Generator().manual_seed(draw(st.integers(0, 9)))
    n_in, n_out, flags = draw(st.integers(1, 3)), draw(st.integers(1, 3)), st.booleans()
    shapes = {"weight": (n_in,), "recurrent_weight": (n_out,), "bias": (), "recurrent_bias": ()}
    arrays = {n: torch.randn(GATES[cell] * n_out, *s, generator=generator) for n, s in shapes.items()}
    ways = {key: draw(flags) for key in ("return_sequences", "backwards", "in_order", "reset_after")}
    functions = {"activation": st.sampled_from(["tanh", "relu"]), "recurrent_activation": st.just("hard_sigmoid")}
    options = {key: draw(function) for key, function in functions.items()}
    return Recurrent("it", cell, **arrays, **ways, **options), (draw(st.integers(1, 4)), n_in)


@st.composite
def layers(draw: st.DrawFn) -> tuple[Layer, tuple[int, ...]]:
    """Draw a softmax along any axis, a layer norm, a top-k or an argmax, and a shape for it."""
    shape = draw(SHAPES)
    softmax = Softmax("it", axis=draw(st.integers(-len(shape), len(shape) - 1)))
    norm, top = layer_norm(shape[-1], seed=draw(st.integers(0, 9))), TopK("it", draw(st.integers(1, shape[-1])))
    return draw(st.sampled_from([softmax, norm, top, Argmax("it")])), shape


@given(layers() | cells(), st.integers(3, 12), SEEDS)
@torch.no_grad()
def test_the_steps_of_a_layer_compute_the_layer_within_its_range(
    drawn: tuple[Layer, tuple[int, ...]], bits: int, seed: int
) -> None:
    network, x = typed(*drawn, bits, seed).double(), jets(drawn[1], seed + 1)
    wanted = network["it"].compute(x, quantised=True)
    steps = parts(network["it"], drawn[1])
    steps.input.result = INPUTS
    found = steps.activations(x)[steps.output.name]
    assert torch.equal(found, wanted)
    before, _ = intervals(network)["it"]
    assert bool((wanted >= torch.as_tensor(before.low)).all() and (wanted <= torch.as_tensor(before.high)).all())


@pytest.mark.parametrize("bits", [6, 8, 12])
@pytest.mark.parametrize(("layer", "shape"), [(Softmax("it"), (3, 5)), (layer_norm(8), (3, 8)), (layer_norm(6), (6,))])
@torch.no_grad()
def test_types_of_steps_lose_less_than_two_last_places(layer: Layer, shape: tuple[int, ...], bits: int) -> None:
    network, x = typed(layer, shape, bits).double(), jets(shape, 1)
    wanted, found = (network["it"](x, quantised=quantised) for quantised in (False, True))
    inside = (wanted > network["it"].result.minimum) & (wanted < network["it"].result.maximum)
    off = torch.where(inside, (found - wanted).abs(), 0.0)
    assert off.square().mean().sqrt() < 2 * network["it"].result.step


@pytest.mark.parametrize(("layer", "shape"), [(Softmax("it", axis=0), (4, 2)), (layer_norm(4), (2, 4))])
def test_gradients_pass_straight_through_the_tables(layer: Layer, shape: tuple[int, ...]) -> None:
    network, weights = typed(layer, shape, 12).double(), torch.randn(shape, dtype=torch.float64)
    found = []
    for quantised in (False, True):
        x = jets(shape, 1).requires_grad_()
        (network["it"](x, quantised=quantised) * weights).sum().backward()
        found.append(x.grad)
    assert torch.nn.functional.cosine_similarity(*(each.flatten() for each in found), dim=0) > 0.999


def test_types_of_steps_are_saved_with_the_network(tmp_path: Path) -> None:
    layers_ = [Input("x", (3, 4), INPUTS), typed(Softmax("it"), (3, 4), 6)["it"].rebuilt(name="softmax")]
    layers_ += [typed(layer_norm(4), (3, 4), 6)["it"], Activation("copy", "linear")]
    found = load(save(Network(layers_), tmp_path / "network.npz"))
    assert [found[name].types for name in ("softmax", "it")] == [layer.types for layer in layers_[1:3]]
    assert [len(layer.types) for layer in layers_[1:3]] == [4, 6]


def test_some_types_without_the_others_are_refused() -> None:
    with pytest.raises(NetworkError, match="'s' has types of some steps and lacks its exponential_type and total_type"):
        Softmax("s", distance_type=INPUTS, inverse_type=INPUTS)


def test_what_lacks_types_of_its_steps_is_told_what_chooses_them() -> None:
    with pytest.raises(NetworkError, match=r"'s' \(Softmax\) has no types for its tables; .*quantise"):
        parts(Softmax("s"), (3,))


def test_a_layer_norm_over_a_power_of_two_has_a_share_of_one() -> None:
    shares = {n_channels: layer_norm(n_channels).share for n_channels in (1, 2, 3, 8, 9)}
    assert shares == {1: 1.0, 2: 1.0, 3: 0.75, 8: 1.0, 9: 9 / 16}


@torch.no_grad()
def test_a_layer_norm_that_nothing_varies_in_is_its_shift() -> None:
    network = typed(layer_norm(4), (2, 4), 8)
    shift = network["it"].result(network["it"].typed(network["it"].shift, "shift_type"))
    assert torch.equal(network["it"](torch.ones(1, 2, 4)), shift.expand(1, 2, 4))
