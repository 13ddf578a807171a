import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hepprune.errors import NetworkError
from hepprune.fixed import digits
from hepprune.network import Dense, Input, Network, ReLU, exact_activations, identity
from hepprune.network.quantise import weight_integers
from hepprune.pruning import masks
from hepprune.pruning.masks import Cut
from tests.networks import SEEDS, features, networks, plans, weighted


@given(st.data())
def test_the_original_is_left_as_it_was(data: st.DataObject) -> None:
    network = data.draw(networks())
    before = identity(network)
    masks.apply(network, data.draw(plans(network)))
    assert identity(network) == before


@given(st.data())
def test_exactly_the_named_weights_are_removed(data: st.DataObject) -> None:
    network = data.draw(networks())
    layer = data.draw(st.sampled_from(weighted(network)))
    units = data.draw(st.sets(st.integers(0, layer.weight.numel() - 1)))
    after = masks.apply(network, [Cut(layer.name, "weight", tuple(units))])[layer.name].used_weight().flatten()
    before = layer.used_weight().flatten()
    named = torch.tensor([index in units for index in range(len(before))])
    assert not after[named].any()
    assert torch.equal(after[~named], before[~named])


def test_weights_that_came_as_a_transposed_view_are_cut_too() -> None:
    """As Keras' kernels do."""
    layer = Dense("a", torch.arange(1.0, 7.0).reshape(2, 3).T, torch.zeros(3))
    after = masks.apply(Network([Input("x", 2), layer]), [Cut("a", "weight", (1,))])["a"].used_weight()
    assert after.tolist() == [[1, 0], [2, 5], [3, 6]]


@given(st.data())
def test_a_digit_cut_takes_one_digit_or_more_from_exactly_the_named_weights(data: st.DataObject) -> None:
    network = data.draw(networks())
    layer = data.draw(st.sampled_from(weighted(network)))
    units = data.draw(st.sets(st.integers(0, layer.weight.numel() - 1)))
    masked = masks.apply(network, [Cut(layer.name, "digit", tuple(units))])[layer.name]
    before, after = (one.kernels[0].digit_counts().flatten() for one in (layer, masked))
    named = torch.tensor([index in units for index in range(len(before))])
    assert (after[named] == (before[named] - 1).clamp(min=0)).all()
    assert torch.equal(after[~named], before[~named])


@given(st.data(), SEEDS)
def test_a_cut_neuron_goes_on_as_its_constant(data: st.DataObject, seed: int) -> None:
    network = data.draw(networks(max_layers=2).filter(lambda n: n.kernels[0].layer.n_out > 1))
    layer = network.kernels[0].layer
    constant = data.draw(st.floats(0, 3))
    masked = masks.apply(network, [Cut(layer.name, "neuron", (1,), (constant,))])
    values = exact_activations(masked, features(network, seed=seed))[layer.name][:, 1]
    expected = layer.bias_type(torch.tensor([constant], dtype=torch.float32))
    assert (values == (layer.result(expected) if layer.result else expected).item()).all()


def chain() -> Network:
    layers = [
        Input("x", 2),
        Dense("a", torch.ones(3, 2), torch.ones(3)),
        ReLU("r"),
        Dense("b", torch.ones(2, 3), torch.ones(2)),
    ]
    return Network(layers)


@pytest.mark.parametrize(
    ("cut", "message"),
    [
        (Cut("a", "neuron", (3,)), "'a' has 3 units, none has index 3"),
        (Cut("a", "weight", (0, 6)), "'a' has 6 units, none has index 6"),
        (Cut("a", "weight", (-1, 2)), "'a' has 6 units, none has index -1"),
        (Cut("a", "neuron", (0, 1, 2)), "'a' would be left with no neuron"),
        (Cut("r", "weight", (0,)), "'r' has no weights to cut"),
        (Cut("c", "weight", (0,)), "unknown kernel 'c'"),
        (Cut("a", "digit", (0,)), "'a' is not in fixed point"),
    ],
)
def test_impossible_cuts_are_refused(cut: Cut, message: str) -> None:
    with pytest.raises(NetworkError, match=message):
        masks.apply(chain(), [cut])


def test_an_unknown_granularity_lists_the_known_ones() -> None:
    with pytest.raises(NetworkError, match="unknown granularity 'neurons'; choose one of: neuron"):
        Cut("a", "neurons", ())


def test_each_neuron_has_one_constant_or_none_has() -> None:
    with pytest.raises(NetworkError, match="2 units and 1 constants"):
        Cut("a", "neuron", (0, 1), (0.5,))


def test_an_empty_plan_changes_nothing() -> None:
    network = chain()
    assert (
        identity(masks.apply(network, []))
        == identity(masks.apply(network, [Cut("a", "weight", ())]))
        == identity(network)
    )


@given(networks())
def test_counts_are_of_the_quantised_weights(network: Network) -> None:
    used = [layer.used_weight() for layer in weighted(network)]
    assert masks.nonzero_weights(network) == sum(int((weight != 0).sum()) for weight in used)
    for layer in weighted(network):
        integers = weight_integers(layer.weight, layer.weight_type, layer.digit_limit).detach().numpy()
        assert layer.kernels[0].digit_counts().tolist() == digits.count(integers).tolist()
        assert ((layer.kernels[0].digit_counts() > 0) == (layer.used_weight() != 0)).all()
