import pytest
import torch

from hepprune.network import Conv, Network
from hepprune.pruning.statistics import recorded
from hepprune.task.sample import Sample
from tests.networks import weighted
from tests.pruning import smooth


@pytest.mark.parametrize("name", smooth.NAMES)
def test_totals_are_weights_times_what_arrives(name: str) -> None:
    network = smooth.network(name)
    seen = recorded.run(network, smooth.jets(network)[0])
    for layer in weighted(network):
        groups = layer.groups if isinstance(layer, Conv) else 1
        weight = layer.weight.reshape(groups, layer.n_out // groups, -1)
        again = torch.einsum("npgk,gfk->npgf", seen.arriving(layer), weight) + layer.bias.view(groups, -1)
        assert torch.allclose(again, recorded.rows(seen.outputs(layer), groups))


def test_values_are_those_of_the_network(tagger: Network, jets: tuple[Sample, Sample]) -> None:
    seen, values = recorded.run(tagger, jets[0].features[:100]), tagger.activations(jets[0].features[:100])
    assert all(torch.equal(seen.values[name], values[name]) for name in seen.values)
