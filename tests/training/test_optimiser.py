import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from hepprune.training.optimiser import AdamW, Rate, one_cycle
from tests.networks import SEEDS


def drawn(seed: int, dtype: torch.dtype) -> list[nn.Parameter]:
    generator = torch.Generator().manual_seed(seed)
    shapes = ((3, 16), (3,), (2, 4, 5), (1, 1))
    return [nn.Parameter(torch.randn(shape, generator=generator, dtype=dtype)) for shape in shapes]


def loss_of(parameters: list[nn.Parameter], step: int) -> torch.Tensor:
    return torch.stack([((each - step % 3) ** 2).sum() + (each * step).sin().sum() for each in parameters]).sum()


@settings(max_examples=8)
@given(st.integers(1, 20), st.floats(1e-4, 0.3), st.sampled_from([0.0, 0.1]), SEEDS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_training_is_bit_for_bit_that_of_torch(
    dtype: torch.dtype, n_steps: int, peak: float, decay: float, seed: int
) -> None:
    ours, theirs = drawn(seed, dtype), drawn(seed, dtype)
    optimiser, reference = AdamW(ours, weight_decay=decay), torch.optim.AdamW(theirs, lr=peak, weight_decay=decay)
    cycle = torch.optim.lr_scheduler.OneCycleLR(reference, peak, total_steps=n_steps)
    for step, rate in enumerate(one_cycle(peak, n_steps)):
        assert rate.learning_rate == reference.param_groups[0]["lr"]
        assert rate.momentum == reference.param_groups[0]["betas"][0]
        optimiser.differentiate(loss_of(ours, step))
        optimiser.step(rate)
        reference.zero_grad()
        loss_of(theirs, step).backward()
        reference.step()
        cycle.step()
    assert all(map(torch.equal, ours, theirs))


def test_parameters_that_a_loss_does_not_reach_stay() -> None:
    reached, other = drawn(0, torch.float32)[:2]
    before = other.detach().clone()
    optimiser = AdamW([reached, other])
    optimiser.differentiate(reached.sum())
    optimiser.step(next(one_cycle(0.1, 5)))
    assert torch.equal(other, before)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_rate_beyond_all_numbers_takes_the_largest_step(dtype: torch.dtype) -> None:
    parameter = nn.Parameter(torch.ones(3, dtype=dtype))
    optimiser, most = AdamW([parameter]), torch.finfo(dtype).max
    optimiser.differentiate(parameter.sum())
    optimiser.step(Rate(most, 0.95))
    assert (parameter / most).tolist() == pytest.approx([-0.05] * 3, rel=1e-5)  # of the mean gradient a 20th is new
