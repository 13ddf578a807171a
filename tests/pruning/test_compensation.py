"""Optimal Brain Surgeon against the brute-force optimum of the quadratic, solved by least squares on the jets."""

import math

import numpy as np
import pytest
import torch
from scipy import linalg

from hepprune.errors import NetworkError
from hepprune.network import Dense, Input, Network, Weighted
from hepprune.pruning import compensation, masks, plan
from hepprune.pruning.masks import Cut
from hepprune.pruning.statistics import recorded
from hepprune.task.sample import Sample
from tests.networks import unlabelled
from tests.pruning import smooth

NAMES = ("dense_relu", "conv_relu", "conv_tanh", "shared")


def arriving(network: Network, layer: Weighted) -> np.ndarray:
    """Return what the first group's weights multiply and a final 1, (n_rows, n_weights + 1)."""
    found = recorded.run(network, smooth.jets(network)[0]).arriving(layer)[:, :, 0].flatten(0, 1).detach().numpy()
    return np.hstack([found, np.ones((len(found), 1))])


def best_loss(x: np.ndarray, target: np.ndarray, keep: np.ndarray) -> float:
    """Return the least half mean squared error of the target with the kept columns, by LAPACK's least squares."""
    solved = linalg.lstsq(x[:, keep], target, lapack_driver="gelsy")[0]  # by QR, which takes a tenth of the SVD's time
    return float(np.mean((x[:, keep] @ solved - target) ** 2) / 2)


def triangle(x: np.ndarray) -> np.ndarray:
    """Return as many rows as columns, of which all combinations have the mean squares that those of `x` have."""
    return np.linalg.qr(x, mode="r") * math.sqrt(x.shape[1] / len(x))


def first_row(layer: Weighted) -> np.ndarray:
    return torch.cat([layer.weight[0].flatten(), layer.bias[:1]]).detach().numpy()


@pytest.mark.parametrize("name", NAMES)
def test_removing_one_weight_costs_what_the_brute_force_optimum_says(name: str) -> None:
    network = smooth.network(name)
    layer = network["first"]
    x, row = arriving(network, layer), first_row(layer)
    moments = compensation.moments(network, Sample(*smooth.jets(network)))["first"]
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
    moments = compensation.moments(network, Sample(*smooth.jets(network)))
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
    found = compensation.scores(layer, compensation.moments(network, Sample(*smooth.jets(network)))["first"])[
        0
    ].flatten()
    keep, lost, order = np.ones(len(row), dtype=bool), 0.0, []
    for _ in range(len(row) - 1):
        costs = {q: best_loss(x, x @ row, keep & (np.arange(len(row)) != q)) for q in np.flatnonzero(keep[:-1])}
        order.append(min(costs, key=costs.__getitem__))
        keep[order[-1]] = False
        rise, lost = costs[order[-1]] - lost, costs[order[-1]]
        assert found[order[-1]].item() == pytest.approx(max(rise, *found[order[:-1]].tolist(), 0.0), rel=1e-4)
    assert found[order].diff().min() >= 0


def wide(n_in: int, n_out: int) -> tuple[Network, torch.Tensor]:
    """Return a layer whose inputs hang together, and jets."""
    generator = torch.Generator().manual_seed(1)
    mixed = torch.randn(1500, 40, generator=generator) @ torch.randn(40, n_in, generator=generator)
    x = (mixed + torch.randn(1500, n_in, generator=generator)).double()
    layer = Dense("d", torch.randn(n_out, n_in, generator=generator), torch.zeros(n_out))
    return Network([Input("x", n_in), layer]).double(), x


@pytest.mark.parametrize("n_in", [257, 600])
@pytest.mark.parametrize("gone", [(0,), (150,), (256,), tuple(range(0, 257, 2)), tuple(range(3, 257))])
def test_a_large_layer_reaches_the_optimum_of_least_squares_too(n_in: int, gone: tuple[int, ...]) -> None:
    network, x = wide(n_in, 2)
    rows = triangle(np.hstack([x.numpy(), np.ones((len(x), 1))]))
    after = compensation.compensate(network, [Cut("d", "weight", gone)], compensation.moments(network, unlabelled(x)))[
        "d"
    ]
    assert isinstance(after, Weighted)
    keep = ~np.isin(np.arange(n_in + 1), gone)
    new, row = torch.cat([after.used_weight()[0], after.bias[:1]]).detach().numpy(), first_row(network["d"])
    assert np.array_equal(new != 0, keep)
    reached = float(np.mean((rows @ new - rows @ row) ** 2) / 2)
    assert reached == pytest.approx(best_loss(rows, rows @ row, keep), rel=1e-5)
    assert torch.allclose(after.used_weight()[1], network["d"].used_weight()[1])


@pytest.mark.parametrize("n_in", [30, 600])
def test_what_is_pruned_already_makes_up_for_nothing(n_in: int) -> None:
    network, x = wide(n_in, 2)
    gone = list(range(0, n_in, 3))
    pruned = masks.apply(network, [Cut("d", "weight", tuple(gone))])
    found = compensation.scores(pruned["d"], compensation.moments(pruned, unlabelled(x))["d"])[0]
    rows, keep = triangle(np.hstack([x.numpy(), np.ones((len(x), 1))])), ~np.isin(np.arange(n_in + 1), gone)
    target = rows @ np.where(keep, first_row(pruned["d"]), 0)
    assert (found[gone] <= 0).all()
    some = found[keep[:-1]].argsort()[: 1 if n_in <= 512 else 6]  # up to 512 only the cheapest goes alone
    for weight in np.flatnonzero(keep)[some.tolist()]:
        cost = best_loss(rows, target, keep & (np.arange(n_in + 1) != weight))
        assert float(found[weight]) == pytest.approx(cost, rel=1e-4)


def test_outputs_in_blocks_have_the_scores_that_they_have_together(monkeypatch: pytest.MonkeyPatch) -> None:
    network, x = wide(20, 7)
    moment = compensation.moments(network, unlabelled(x))["d"]
    together = compensation.scores(network["d"], moment)
    monkeypatch.setattr(compensation, "_MAX_VALUES", 2 * 21**2)
    assert torch.allclose(compensation.scores(network["d"], moment), together)


@pytest.mark.slow
def test_a_large_layer_loses_less_by_obs_than_by_magnitude() -> None:
    network, x = wide(300, 4)
    target, moment = network(x), compensation.moments(network, unlabelled(x))
    errors = {}
    for method in ("obs", "magnitude"):
        cuts = plan.make(network, (x, torch.zeros(len(x), dtype=torch.int64)), method=method, sparsity=0.5)
        both = compensation.compensate(network, cuts, moment), masks.apply(network, cuts)
        errors[method] = [float(((each(x) - target) ** 2).mean().detach()) for each in both]
    assert errors["obs"][0] < 0.9 * errors["magnitude"][0] < 0.5 * errors["magnitude"][1]


def test_neurons_are_not_compensated() -> None:
    network = smooth.network("dense_relu")
    with pytest.raises(NetworkError, match="only cuts of weights"):
        compensation.compensate(network, [Cut("first", "neuron", (0,))], {})
