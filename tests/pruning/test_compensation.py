"""Optimal Brain Surgeon against the brute-force optimum of the quadratic, solved by least squares on the jets."""

import numpy as np
import pytest
import torch

from hepprune.errors import NetworkError
from hepprune.network import Dense, Input, Network, Weighted
from hepprune.pruning import compensation, masks, taps
from hepprune.pruning.masks import Cut
from tests.pruning import smooth

NAMES = ("dense_relu", "conv_relu", "conv_tanh", "shared")


def arriving(network: Network, layer: Weighted) -> np.ndarray:
    """Return what the first group's weights multiply and a final 1, (n_rows, n_weights + 1)."""
    found = taps.run(network, smooth.jets(network)[0]).arriving(layer)[:, :, 0].flatten(0, 1).detach().numpy()
    return np.hstack([found, np.ones((len(found), 1))])


def best_loss(x: np.ndarray, target: np.ndarray, keep: np.ndarray) -> float:
    """Return the least half mean squared error of the target with the kept columns, by numpy's least squares."""
    solved = np.linalg.lstsq(x[:, keep], target, rcond=None)[0]
    return float(np.mean((x[:, keep] @ solved - target) ** 2) / 2)


def first_row(layer: Weighted) -> np.ndarray:
    return torch.cat([layer.weight[0].flatten(), layer.bias[:1]]).detach().numpy()


@pytest.mark.parametrize("name", NAMES)
def test_removing_one_weight_costs_what_the_brute_force_optimum_says(name: str) -> None:
    network = smooth.network(name)
    layer = network["first"]
    x, row = arriving(network, layer), first_row(layer)
    moments = compensation.moments(network, *smooth.jets(network))["first"]
    weight = compensation._by_group(layer.weight.detach().flatten(1), moments)[0]
    ours = compensation._first_turn(weight, weight == 0, compensation._damped(moments)[0])[0]
    brute = [best_loss(x, x @ row, np.arange(len(row)) != q) for q in range(len(row) - 1)]
    assert ours.numpy() == pytest.approx(np.array(brute), rel=1e-5)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("n_cut", [1, 2, 3])
def test_after_a_removal_the_network_stands_at_the_brute_force_optimum(name: str, n_cut: int) -> None:
    network = smooth.network(name)
    layer = network["first"]
    x, row = arriving(network, layer), first_row(layer)
    moments = compensation.moments(network, *smooth.jets(network))
    after = compensation.compensate(network, [Cut("first", "weight", tuple(range(n_cut)))], moments)["first"]
    assert isinstance(after, Weighted)
    new = torch.cat([after.used_weight()[0].flatten(), after.bias[:1]]).detach().numpy()
    assert not new[:n_cut].any()
    reached = float(np.mean((x @ new - x @ row) ** 2) / 2)
    assert reached == pytest.approx(best_loss(x, x @ row, np.arange(len(row)) >= n_cut), rel=1e-5)
    plain = np.where(np.arange(len(row)) < n_cut, 0, row)
    assert reached < np.mean((x @ plain - x @ row) ** 2) / 2


def test_scores_follow_the_greedy_order_of_brute_force() -> None:
    network = smooth.network("conv_tanh")
    layer = network["first"]
    x, row = arriving(network, layer), first_row(layer)
    found = compensation.scores(layer, compensation.moments(network, *smooth.jets(network))["first"])[0].flatten()
    keep, lost, order = np.ones(len(row), dtype=bool), 0.0, []
    for _ in range(len(row) - 1):
        costs = {q: best_loss(x, x @ row, keep & (np.arange(len(row)) != q)) for q in np.flatnonzero(keep[:-1])}
        order.append(min(costs, key=costs.__getitem__))
        keep[order[-1]] = False
        rise, lost = costs[order[-1]] - lost, costs[order[-1]]
        assert found[order[-1]].item() == pytest.approx(max(rise, *found[order[:-1]].tolist(), 0.0), rel=1e-4)
    assert found[order].diff().min() >= 0


def test_a_sweep_over_a_large_layer_lies_between_the_optimum_and_no_compensation() -> None:
    generator = torch.Generator().manual_seed(1)
    mixed = torch.randn(600, 40, generator=generator) @ torch.randn(40, 300, generator=generator)
    x = mixed + torch.randn(600, 300, generator=generator)
    layer = Dense("d", torch.randn(6, 300, generator=generator), torch.zeros(6))
    network = Network([Input("x", 300), layer])
    moments = compensation.moments(network, x)
    plan = [Cut("d", "weight", tuple(range(0, 1800, 2)))]
    swept, plain = compensation.compensate(network, plan, moments), masks.apply(network, plan)
    before, keep = layer.weight.detach().double(), torch.ones(6, 301)
    keep[:, :-1] = plain["d"].digit_limit > 0
    best = compensation._optimum(torch.cat([before, torch.zeros(6, 1)], 1), keep, compensation._damped(moments["d"])[0])

    def error(weight: torch.Tensor, bias: torch.Tensor) -> float:
        return float(((x.double() @ (weight.double() - before).T + bias.double()) ** 2).mean())

    with torch.no_grad():
        errors = [error(best[:, :-1], best[:, -1])]
        errors += [error(net["d"].used_weight(), net["d"].bias) for net in (swept, plain)]
    assert errors[0] < errors[1] < 0.5 * errors[2]
    assert torch.equal(swept["d"].used_weight() == 0, plain["d"].used_weight() == 0)


def test_neurons_are_not_compensated() -> None:
    network = smooth.network("dense_relu")
    with pytest.raises(NetworkError, match="only cuts of weights"):
        compensation.compensate(network, [Cut("first", "neuron", (0,))], {})
