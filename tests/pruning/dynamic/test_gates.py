from dataclasses import replace
from pathlib import Path

import pytest
import torch

from hepprune import training
from hepprune.errors import NetworkError
from hepprune.network import Network, TopK, load, save
from hepprune.pruning import dynamic
from hepprune.pruning.dynamic import Gated
from hepprune.task.sample import Sample
from hepprune.training import Fit, multilayer_perceptron
from tests.pruning import smooth

LAYERS = ["dense_1", "dense_2"]


def gated(k: int | None) -> Gated:
    return dynamic.with_gates(multilayer_perceptron(8, (16, 12), 5, seed=1), LAYERS, k=k, seed=2)


def by_hand(network: Network, x: torch.Tensor) -> torch.Tensor:
    """Return the logits of jets one by one, computing open channels only."""
    found = []
    for jet in x:
        value = jet
        for name in LAYERS:
            layer, saliency = network[name], network.activations(jet[None])[f"saliency_{name}"][0]
            after = torch.zeros(layer.n_out)
            for channel in torch.nonzero(saliency).flatten().tolist():
                total = layer.weight[channel] @ value + layer.bias[channel]
                after[channel] = torch.relu(total) * saliency[channel]
            value = after
        found.append(network["dense_3"].weight @ value + network["dense_3"].bias)
    return torch.stack(found).detach()


@pytest.mark.parametrize("k", [None, 4])
def test_closed_channels_need_not_be_computed(k: int | None, jets: tuple[Sample, Sample]) -> None:
    found, x = gated(k), jets[1].features[:20]
    if k is None:
        found = dynamic.opened(found, threshold=1.0)
    assert torch.allclose(found.network.logits(x), by_hand(found.network, x), atol=1e-5)


@pytest.mark.parametrize("k", [None, 4])
def test_work_is_what_open_channels_cost(k: int | None, jets: tuple[Sample, Sample]) -> None:
    network, x = gated(k), jets[1].features[:50]
    network = network if k else dynamic.opened(network, threshold=1.0)
    found, values = dynamic.gated_work(network, x), network.network.activations(x)
    first, second = ((values[f"saliency_{name}"] > 0).sum(dim=1) for name in LAYERS)
    gates = 8 * 16 + 8 * 12
    each = gates + 8 * first + first * second + second * 5
    assert found.mean == pytest.approx(each.double().mean().item())
    assert found.largest == each.max()
    most = (4, 4) if k else (16, 12)
    assert found.worst_case == gates + 8 * most[0] + most[0] * most[1] + most[1] * 5
    if k:
        assert found.mean == found.largest == found.worst_case  # so many channels for every jet


def test_a_higher_threshold_never_opens_a_channel(jets: tuple[Sample, Sample]) -> None:
    means = [
        dynamic.gated_work(dynamic.opened(gated(None), threshold=t), jets[1].features).mean for t in (0, 0.8, 1.0, 1.2)
    ]
    assert means == sorted(means, reverse=True)
    assert means[0] > means[-1]


@pytest.mark.slow
def test_a_penalty_closes_gates_and_the_network_still_learns(jets: tuple[Sample, Sample]) -> None:
    works, accuracies = [], []
    for strength in (0.0, 1.0):
        start = gated(None)
        fit = Fit(epochs=8, batch_size=256, learning_rate=1e-2, quantised=False)
        network, _ = training.fit(start.network, *jets, settings=fit, seed=1, penalty=dynamic.penalty(start, strength))
        works.append(dynamic.gated_work(replace(start, network=network), jets[1].features))
        accuracies.append((network.logits(jets[1].features).argmax(1) == jets[1].y).double().mean().item())
    assert works[1].mean < 0.9 * works[0].mean
    assert works[1].worst_case == works[0].worst_case
    assert min(accuracies) > 0.6


def test_what_cannot_have_gates_is_refused(tagger: Network) -> None:
    with pytest.raises(NetworkError, match="before it is quantised"):
        dynamic.with_gates(tagger, ["dense_1"], seed=1)
    with pytest.raises(NetworkError, match="'dense_3' cannot be gated"):
        dynamic.with_gates(multilayer_perceptron(8, (16, 12), 5, seed=1), ["dense_3"], seed=1)
    with pytest.raises(NetworkError, match="'first' cannot be gated"):
        dynamic.with_gates(smooth.network("conv_relu").float(), ["first"], seed=1)


def test_top_k_lets_the_largest_through_and_is_stored(tmp_path: Path) -> None:
    layer = TopK("top", 2)
    assert layer(torch.tensor([[1.0, 3.0, 2.0, 3.0], [0.0, 0.0, -1.0, -2.0]])).tolist() == [[0, 3, 0, 3], [0, 0, 0, 0]]
    network = gated(4).network
    again, x = load(save(network, tmp_path / "gated")), torch.randn(9, 8)
    assert torch.equal(again.logits(x), network.logits(x))
    with pytest.raises(NetworkError, match="lets 0 channels through"):
        TopK("top", 0)
    with pytest.raises(NetworkError, match="lets 17 channels through and is given 16"):
        gated(17)
