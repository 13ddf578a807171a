import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hepprune.errors import NetworkError
from hepprune.network import Dense, Network
from hepprune.pruning import importance, masks, statistics
from hepprune.training import Sample
from tests.networks import dense_layers

LAYERS = st.builds(tuple, st.tuples(st.integers(1, 8), st.integers(1, 8))).flatmap(
    lambda shape: dense_layers("d", n_in=shape[0], n_out=shape[1], fraction=3)
)


@pytest.fixture
def gathered(tagger: Network, jets: tuple[Sample, Sample]) -> dict[str, statistics.LayerStatistics]:
    return statistics.gather(tagger, jets[0].x[:500], jets[0].y[:500])


def test_fisher_is_half_the_curvature_times_the_squared_change(
    tagger: Network, gathered: dict[str, statistics.LayerStatistics]
) -> None:
    for layer in tagger.dense_layers:
        curvature = gathered[layer.name].weight_fisher
        shorter = layer.used_weight() - importance.weight_change(layer, "digit")
        scores = {g: importance.fisher(layer, g, gathered[layer.name]) for g in masks.GRANULARITIES}
        assert torch.allclose(scores["weight"], (curvature * layer.used_weight() ** 2 / 2).flatten())
        assert torch.allclose(scores["digit"], (curvature * (layer.used_weight() - shorter) ** 2 / 2).flatten())
        assert torch.allclose(scores["neuron"], gathered[layer.name].neuron_fisher / 2)


def test_fisher_needs_statistics(tagger: Network) -> None:
    with pytest.raises(NetworkError, match="'fisher' needs jets"):
        importance.fisher(tagger["dense_1"], "weight", None)


def test_fisher_ranks_neurons_as_the_measured_loss_does(
    tagger: Network, jets: tuple[Sample, Sample], gathered: dict[str, statistics.LayerStatistics]
) -> None:
    sample, found = jets[1], gathered["dense_2"]
    scores = importance.fisher(tagger["dense_2"], "neuron", found)

    def loss(network: Network) -> float:
        return torch.nn.functional.cross_entropy(network.logits(sample.x), sample.y).item()

    measured = [
        loss(masks.apply(tagger, [masks.Cut("dense_2", "neuron", (unit,), (found.mean[unit].item(),))]))
        for unit in range(tagger["dense_2"].n_out)
    ]
    ranks = torch.stack([scores.argsort().argsort(), torch.tensor(measured).argsort().argsort()]).double()
    assert torch.corrcoef(ranks)[0, 1] > 0.6


@given(LAYERS)
def test_magnitude_is_the_size_of_what_is_lost(layer: Dense) -> None:
    used = layer.used_weight().detach()
    assert torch.equal(importance.magnitude(layer, "weight"), used.abs().flatten())
    assert torch.allclose(importance.magnitude(layer, "neuron"), used.norm(dim=1))
    assert torch.equal(importance.magnitude(layer, "digit"), importance.weight_change(layer, "digit").abs().flatten())


@given(LAYERS)
def test_a_digit_is_never_more_than_its_weight(layer: Dense) -> None:
    digit, weight = (importance.weight_change(layer, granularity).abs() for granularity in ("digit", "weight"))
    assert (digit <= weight).all()
    assert ((digit > 0) == (weight > 0)).all()


@given(LAYERS)
def test_a_digit_change_is_what_a_digit_cut_does(layer: Dense) -> None:
    before, change = layer.used_weight().detach(), importance.weight_change(layer, "digit")
    masks.apply_to(layer, masks.Cut("d", "digit", tuple(range(before.numel()))))
    assert torch.equal(before - layer.used_weight(), change)


def test_an_unknown_criterion_lists_the_known_ones() -> None:
    with pytest.raises(NetworkError, match="unknown criterion 'fischer'; choose one of: fisher, magnitude"):
        importance.find("fischer")
    assert importance.find("fisher") is importance.fisher
