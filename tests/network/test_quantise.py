import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hepprune.fixed import FixedPoint, digits
from hepprune.fixed.quantisers import FixedPoints
from hepprune.network import quantise
from tests.networks import SEEDS, fixed_points

WEIGHTS = FixedPoint(6, 1, True, "RND", "SAT")


@given(fixed_points(signed=True), SEEDS)
def test_activations_take_the_value_of_their_type(kind: FixedPoint, seed: int) -> None:
    values = torch.randn(200, generator=torch.Generator().manual_seed(seed), requires_grad=True) * 4
    assert torch.equal(quantise.activations(values, kind), kind(values.detach()))


@given(fixed_points(signed=False), SEEDS)
def test_gradient_is_one_inside_the_range_and_zero_outside(kind: FixedPoint, seed: int) -> None:
    values = torch.randn(200, generator=torch.Generator().manual_seed(seed)) * 2 * kind.maximum
    values.requires_grad_()
    quantise.activations(values, kind).sum().backward()
    inside = (values >= kind.minimum) & (values <= kind.maximum)
    assert torch.equal(values.grad, inside.float())


def test_pruned_weights_get_no_gradient_and_all_others_do() -> None:
    values = torch.linspace(-3, 3, 40, requires_grad=True)  # saturated weights too, so that they can come back
    limit = torch.tensor([0, 1, 2, digits.UNLIMITED] * 10, dtype=torch.uint8)
    quantise.weights(values, WEIGHTS, limit).sum().backward()
    assert torch.equal(values.grad, (limit > 0).float())


@given(st.integers(2, 10), SEEDS)
def test_weight_integers_obey_their_digit_limit_and_are_nearest(width: int, seed: int) -> None:
    kind = FixedPoint(width, 1, True, "RND", "SAT")
    rng = np.random.default_rng(seed)
    values = torch.tensor(rng.normal(size=64), dtype=torch.float32)
    limit = torch.tensor(rng.integers(0, 7, 64), dtype=torch.uint8)
    found = quantise.weight_integers(values, kind, limit).numpy()
    low, high = kind.integer_range
    levels = np.arange(low, high + 1)
    for integer, free, most in zip(found, kind.integers(values).numpy(), limit.numpy(), strict=True):
        allowed = levels[digits.count(levels) <= most]
        assert integer in allowed
        assert abs(integer - free) == np.abs(allowed - free).min()


@given(st.sampled_from(["SAT", "SAT_SYM", "WRAP"]), SEEDS)
def test_weights_with_types_of_their_own_obey_their_digit_limit_one_by_one(overflow: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    width, integer = rng.integers(0, 9, (4, 5)), rng.integers(-1, 4, (4, 5))
    values = torch.tensor(rng.normal(0, 2, (4, 5)), dtype=torch.float32)
    limit = torch.tensor(rng.integers(0, 5, (4, 5)), dtype=torch.uint8)
    kind = FixedPoints(width=width, integer=integer, signed=np.array(True), overflow=overflow)
    found = quantise.weights(values, kind, limit)
    for place, bits in np.ndenumerate(width):
        if bits == 0:
            assert found[place] == 0
            continue
        single, one = FixedPoint(int(bits), int(integer[place]), True, "RND", overflow), values[place].reshape(1)
        assert found[place] == quantise.weights(one, single, limit[place].reshape(1))


@pytest.mark.parametrize("limit", [3, digits.UNLIMITED])
def test_a_limit_no_value_reaches_changes_nothing(limit: int) -> None:
    values = torch.linspace(-1.2, 1.2, 1000)
    found = quantise.weight_integers(values, WEIGHTS, torch.full((1000,), limit, dtype=torch.uint8))
    assert torch.equal(found, WEIGHTS.integers(values))


@given(fixed_points(signed=True), st.sampled_from([torch.float32, torch.float64]))
def test_the_ends_of_a_range_get_a_gradient_and_their_neighbours_outside_get_none(
    kind: FixedPoint, dtype: torch.dtype
) -> None:
    ends = torch.tensor([kind.minimum, kind.maximum], dtype=dtype)
    outside = torch.nextafter(ends, torch.tensor([-torch.inf, torch.inf], dtype=dtype))
    for between in (
        lambda values: quantise.activations(values, kind),
        lambda values: quantise.clamped(values, kind.minimum, kind.maximum),
    ):
        values = torch.cat([ends, outside]).requires_grad_()
        between(values).sum().backward()
        assert values.grad is not None
        assert values.grad.tolist() == [1.0, 1.0, 0.0, 0.0]


def test_a_rectified_zero_gets_a_gradient() -> None:
    values = torch.tensor([-1.0, -0.0, 0.0, 7.0], requires_grad=True)
    found = quantise.clamped(values, 0.0, torch.inf)
    found.sum().backward()
    assert found.tolist() == [0.0, 0.0, 0.0, 7.0]
    assert values.grad is not None
    assert values.grad.tolist() == [0.0, 1.0, 1.0, 1.0]


@given(st.integers(2, 10), SEEDS)
def test_wide_weights_obey_their_limits_as_narrow_ones_do(width: int, seed: int) -> None:
    narrow, wide = (FixedPoint(bits, 1, True, "RND", "SAT") for bits in (width, 18))
    generator = torch.Generator().manual_seed(seed)
    steps = torch.randint(*narrow.integer_range, (64,), generator=generator)  # the same numbers of both types
    limit = torch.randint(0, 3, (64,), generator=generator).to(torch.uint8)
    found = [quantise.weight_integers(steps * kind.step, kind, limit) for kind in (narrow, wide)]
    inside = found[1].abs() < narrow.integer_range[1]  # where the narrow range does not bind
    assert torch.equal(found[0][inside], found[1][inside])
