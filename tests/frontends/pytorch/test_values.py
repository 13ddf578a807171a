"""Orders of values: whatever reshapes and permutations make is found again."""

import math
from random import Random

import torch
from hypothesis import given
from hypothesis import strategies as st

from hepprune.frontends.pytorch.building import moves, with_jets_axis
from hepprune.frontends.pytorch.values import axes_of, jets_axis


@st.composite
def rearranged(draw: st.DrawFn) -> torch.Tensor:
    """The numbers from 0 on, reshaped and permuted a few times."""
    values = torch.arange(math.prod(draw(st.lists(st.sampled_from([1, 2, 3]), min_size=1, max_size=5))))
    for _ in range(draw(st.integers(1, 3))):
        rest, sizes = len(values.reshape(-1)), []
        while rest > 1:
            sizes.append(draw(st.sampled_from([n for n in (2, 3) if rest % n == 0])))
            rest //= sizes[-1]
        values = values.reshape(sizes or [1])
        values = values.permute(draw(st.permutations(range(values.ndim))))
    return values.reshape(-1)


@given(rearranged())
def test_one_reshape_and_permutation_give_a_simple_order(order: torch.Tensor) -> None:
    found = moves(order)
    if found is None:  # more than one permutation was needed
        return
    sizes, axes = found
    assert torch.equal(torch.arange(len(order)).reshape(sizes).permute(axes).reshape(-1), order)


@given(st.lists(st.integers(1, 4), min_size=1, max_size=4), st.randoms())
def test_one_permutation_is_always_found(sizes: list[int], random: Random) -> None:
    axes = list(range(len(sizes)))
    random.shuffle(axes)
    order = torch.arange(math.prod(sizes)).reshape(sizes).permute(axes)
    found = moves(order.reshape(-1))
    assert found is not None
    back = axes_of(order, tuple(sizes))
    assert back is not None
    assert torch.equal(order.permute(back).reshape(-1), torch.arange(math.prod(sizes)))


def test_orders_that_no_permutation_gives_are_not_found() -> None:
    assert moves(torch.tensor([2, 1, 0])) is None
    assert moves(torch.tensor([0, 1, 3, 2])) is None
    assert moves(torch.tensor([0, 0, 1, 1])) is None


def test_jets_are_found_on_their_axis_and_split_off_others() -> None:
    index = torch.arange(2 * 3 * 4).view(2, 3, 4)
    assert jets_axis(index.permute(1, 0, 2), 2) == 1
    assert jets_axis(index.reshape(6, 4), 2) is None
    split = with_jets_axis(index.permute(1, 0, 2).reshape(6, 4), 2)
    assert split is not None
    assert jets_axis(split, 2) == 1
    assert with_jets_axis(index.permute(2, 1, 0).reshape(-1)[torch.randperm(24)], 2) is None
