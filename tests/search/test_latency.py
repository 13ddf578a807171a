"""The search is tested on a meter that counts multiplications, so that it does not depend on what else the machine does."""

import math

import pytest

from hepprune.errors import BudgetMissedError
from hepprune.hardware.cost.measured import Meter, Timing
from hepprune.network import Layer, Network
from hepprune.search import greedy
from hepprune.task.sample import Sample
from hepprune.training import Fit, multilayer_perceptron
from tests.networks import weighted
from tests.search.architectures import ARCHITECTURES

FIT = Fit(epochs=1, batch_size=512, learning_rate=3e-3, quantised=False)


class Counting(Meter):
    """A device on which a multiplication takes a nanosecond, and starting a network 50."""

    def layer(self, network: Network, layer: Layer) -> Timing:
        """Return the multiplications of a layer, by its shape alone."""
        return Timing(float(sum(kernel.weight.numel() for kernel in layer.kernels)) or 1.0, 0.0)

    def whole(self, network: Network) -> Timing:
        """Return what all layers take, and the start."""
        return Timing(50 + sum(self.layer(network, layer).median_ns for layer in network), 0.0)


def test_neurons_really_go_until_the_limit_holds(jets: tuple[Sample, Sample]) -> None:
    network = multilayer_perceptron(8, (32, 24), 5, seed=1)
    meter = Counting("torch:cpu")
    limit = meter.whole(network).median_ns / 2
    outcome = greedy.reach(network, *jets, meter=meter, limit_ns=limit, fine_tune=FIT, stages=2, step=0.2)
    assert outcome.after.median_ns == meter.whole(outcome.network).median_ns <= limit
    sizes = [layer.n_out for layer in weighted(outcome.network)]
    assert sizes[0] < 32
    assert sizes[1] < 24
    assert sizes[2] == 5
    assert outcome.after.median_ns > 0.6 * limit  # and no more than that
    assert network.kernels[0].layer.n_out == 32


@pytest.mark.slow
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_filters_states_and_heads_of_any_graph_go_too(name: str, jets: tuple[Sample, Sample]) -> None:
    network, meter = ARCHITECTURES[name](), Counting("torch:cpu")
    shape = network.input.features_shape
    train, validation = (Sample(part.first(600).features.reshape(-1, *shape), part.first(600).y) for part in jets)
    limit = 0.6 * meter.whole(network).median_ns
    outcome = greedy.reach(network, train, validation, meter=meter, limit_ns=limit, fine_tune=FIT, stages=2, step=0.2)
    assert outcome.after.median_ns == meter.whole(outcome.network).median_ns <= limit
    assert sum(outcome.network.sizes.values()) < sum(network.sizes.values())


def test_a_limit_out_of_reach_is_refused(jets: tuple[Sample, Sample]) -> None:
    network, meter = multilayer_perceptron(8, (6,), 5, seed=1), Counting("torch:cpu")
    with pytest.raises(BudgetMissedError, match=r"the latency|the budget cannot be reached"):
        greedy.reach(network, *jets, meter=meter, limit_ns=20, fine_tune=FIT, stages=1)
    assert math.isfinite(meter.whole(network).median_ns)
