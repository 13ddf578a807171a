import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hepprune.errors import BudgetMissedError
from hepprune.fixed import FixedPoint, digits
from hepprune.hardware.resources import Budget, Estimate, Resources
from hepprune.network import Dense, Input, Network
from hepprune.pruning import masks
from hepprune.pruning.statistics import LayerStatistics, Statistics
from hepprune.search import allocation
from tests.networks import SEEDS, weighted
from tests.search.toy import toy_price


def lut(figures: Estimate) -> float:
    return figures.resources.lut or 0.0


def tiny(seed: int) -> tuple[Network, Statistics]:
    """Return one layer of six weights with Fisher information of their own."""
    generator = torch.Generator().manual_seed(seed)
    kind = FixedPoint(5, 2, rounding="RND", overflow="SAT")
    weight = 2 * torch.rand(2, 3, generator=generator) - 1
    dense = Dense("dense", weight, torch.zeros(2), weight_type=kind, bias_type=FixedPoint(8, 3))
    fisher = torch.rand(2, 3, generator=generator) + 0.01
    return Network([Input("x", 3, FixedPoint(4, 2)), dense]), {
        "dense": LayerStatistics(weight_fisher=fisher, neuron_fisher=torch.zeros(2), mean=torch.zeros(2))
    }


def loss(network: Network, gathered: Statistics) -> float:
    """Return the predicted loss of the weights that act in place of those that training wants."""
    (layer,) = weighted(network)
    missed = (layer.weight - layer.used_weight()).detach() ** 2
    return float((missed * gathered["dense"].weight_fisher).sum())


@pytest.mark.slow
@settings(max_examples=6)
@given(SEEDS, st.integers(1, 6))
def test_no_other_choice_of_as_many_digits_is_predicted_to_lose_less(seed: int, n_digits: int) -> None:
    network, gathered = tiny(seed)
    chosen = network.clone()
    allocation.allocate(chosen, gathered, toy_price, fits=lambda figures: lut(figures) <= 8 * n_digits)
    used = int(chosen.kernels[0].layer.kernels[0].digit_counts().sum())
    assert used <= n_digits
    best = np.inf
    for limits in itertools.product(range(3), repeat=6):
        other = network.clone()
        other.kernels[0].layer.digit_limit.copy_(torch.tensor(limits).view(2, 3))
        if int(other.kernels[0].layer.kernels[0].digit_counts().sum()) <= used:
            best = min(best, loss(other, gathered))
    assert loss(chosen, gathered) <= best + 1e-6


def test_weights_that_were_cut_compete_again() -> None:
    network, gathered = tiny(1)
    network.kernels[0].layer.digit_limit.zero_()
    network.kernels[0].layer.digit_limit[0, 0] = digits.UNLIMITED
    allocation.allocate(network, gathered, toy_price, fits=lambda figures: lut(figures) <= 1e9)
    assert masks.nonzero_weights(network) > 1


def test_a_layer_is_left_one_digit_where_none_fits() -> None:
    network, gathered = tiny(2)
    allocation.allocate(network, gathered, toy_price, fits=lambda figures: lut(figures) < 0)
    assert int(network.kernels[0].layer.kernels[0].digit_counts().sum()) == 1


def test_the_limits_tighten_to_the_budget_and_hold(tagger: Network, gathered: Statistics) -> None:
    budget = Budget(resources=Resources(lut=0.5 * lut(toy_price(tagger))))
    network, used = tagger.clone(), []
    prepare = allocation.tightening(network, toy_price, budget, gather=lambda _: gathered)
    kept = [prepare(network, passed) for passed in (0.1, 0.3, 0.5, 0.6, 0.8)]
    assert kept == [False, False, False, True, True]
    for passed in (0.1, 0.3, 0.5, 0.6):
        prepare = allocation.tightening(tagger, toy_price, budget, gather=lambda _: gathered)
        again = tagger.clone()
        prepare(again, passed)
        used.append(lut(toy_price(again)) / (budget.resources.lut or 1))
    assert used == sorted(used, reverse=True)
    assert used[0] == pytest.approx(1 + (1 - 0.1 / 0.6) ** 3, abs=0.01)
    assert used[-1] == pytest.approx(1, abs=0.01)
    assert used[-1] <= 1


@pytest.mark.parametrize("lut_per_digit", [0.0, 8.0])
def test_one_digit_a_layer_is_refused_only_where_it_is_too_much(lut_per_digit: float) -> None:
    network, gathered = tiny(3)

    def price(network: Network) -> Estimate:
        figures = toy_price(network)
        return replace(figures, resources=figures.resources.scaled({"lut": lut_per_digit / 8}))

    prepare = allocation.tightening(network, price, Budget(resources=Resources(lut=0.0)), gather=lambda _: gathered)
    network.kernels[0].layer.digit_limit.zero_()
    network.kernels[0].layer.digit_limit[1, 1] = 1
    gathered["dense"].weight_fisher.zero_()  # so that no other digit is worth anything
    if lut_per_digit:
        with pytest.raises(BudgetMissedError, match="lut binds, 0 allowed, 8 at the closest point"):
            prepare(network, 1.0)
    else:
        assert prepare(network, 1.0)
    assert int(network.kernels[0].digit_counts().sum()) == 1
