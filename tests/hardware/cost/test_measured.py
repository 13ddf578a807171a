import pytest
import torch

from hepprune.errors import RecipeError, ToolMissingError
from hepprune.hardware import cost, targets
from hepprune.hardware.cost import COST_MODELS, measured
from hepprune.hardware.cost.measured import Meter
from hepprune.network import Dense, Input, Network, ReLU
from hepprune.training import multilayer_perceptron


def test_the_table_is_measured_once_for_each_shape() -> None:
    meter = Meter("torch:cpu", 64)
    network = multilayer_perceptron(16, (32, 32, 32), 5, seed=1)
    found = meter.estimate(network)
    assert len(meter.table) == 4  # two of the dense layers, and all ReLUs, have the same shapes
    before = dict(meter.table)
    assert meter.estimate(network) == found
    assert meter.table == before
    assert found.latency_ns == pytest.approx(sum(layer.depth for layer in found.layers), abs=1)
    assert (found.stage, found.strategy) == ("torch:cpu", "torch:cpu")
    assert all(timing.median_ns > 0 <= timing.error_ns for timing in meter.table.values())


def test_more_work_takes_longer() -> None:
    meter = Meter("torch:cpu", 256)
    small, large = (multilayer_perceptron(64, (width, width), 5, seed=1) for width in (16, 1024))
    assert meter.estimate(large).latency_ns > 3 * meter.estimate(small).latency_ns
    assert meter.whole(large).median_ns > 3 * meter.whole(small).median_ns


def test_what_is_timed_is_what_the_network_computes() -> None:
    network = Network([Input("x", 3), Dense("d", torch.randn(4, 3), torch.randn(4)), ReLU("r")])
    network["d"].digit_limit[1, 2] = 0
    value = x = torch.randn(7, 3)
    for layer in list(network)[1:]:
        value = measured._step(layer, "cpu")(value)
    assert torch.equal(value, network(x))


def test_a_device_is_a_cost_model_by_name() -> None:
    network = multilayer_perceptron(4, (4,), 2, seed=1)
    found = cost.estimate(network, targets.load("generic_vu13p"), strategy="torch:cpu")
    assert found.latency_ns > 0
    assert set(measured.DEVICES) <= set(COST_MODELS)


def test_a_device_that_is_not_there_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(RecipeError, match="unknown device 'torch:cuda:9'; choose one of: torch:cuda"):
        Meter("torch:cuda:9")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ToolMissingError, match="finds none"):
        Meter("torch:cuda")
    assert ToolMissingError.exit_code == 3
