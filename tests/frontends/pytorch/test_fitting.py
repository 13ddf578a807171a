"""Settings of programs follow the network's sizes: what is written computes what it does, or is refused."""

import math
import tempfile
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from hepprune import frontends
from hepprune.errors import NetworkError
from hepprune.frontends.pytorch import read, to_module
from hepprune.frontends.pytorch.fitting import blocks, candidates
from hepprune.network import Network
from hepprune.pruning import masks
from hepprune.pruning.structure import surgery
from tests.frontends.pytorch.drawing import disagreement
from tests.frontends.pytorch.parting import PARTS, Parting, partings, smaller

SIZES = st.lists(st.integers(1, 4), min_size=1, max_size=4).map(tuple)


@pytest.mark.parametrize(
    ("before", "after", "now", "found"),
    [
        ((2, 12), (2, 3, 4), (2, 8), [(2, 2, 4)]),
        ((2, 16), (2, 4, 4), (2, 12), [(2, 3, 4), (2, 4, 3)]),
        ((2, 3, 4), (2, 12), (2, 2, 4), [(2, 8)]),
        ((2, 8), (2, 1, 8), (2, 5), [(2, 1, 5)]),
        ((2, 8), (2, 2, 4), (2, 7), []),
        ((2, 3), (2, 3), (2, 3, 1), []),
    ],
)
def test_new_sizes_of_a_reshape(
    before: tuple[int, ...], after: tuple[int, ...], now: tuple[int, ...], found: list[tuple[int, ...]]
) -> None:
    assert candidates(before, after, now) == found


@given(SIZES, st.randoms(use_true_random=False))
def test_blocks_of_a_reshape_hold_equal_numbers_and_every_axis_once(sizes: tuple[int, ...], random: object) -> None:
    after = tuple(random.sample(sizes, len(sizes)))  # type: ignore[attr-defined]
    pairs = list(blocks(sizes, after))
    assert [axis for ins, _ in pairs for axis in ins] == list(range(len(sizes)))
    assert [axis for _, outs in pairs for axis in outs] == list(range(len(after)))
    assert all(math.prod(sizes[i] for i in ins) == math.prod(after[o] for o in outs) for ins, outs in pairs)


def agree(network: Network, written: nn.Module) -> None:
    """Check a module's or program's outputs on two numbers of jets."""
    for n_jets in (2, 5):
        assert disagreement(network, written, [torch.randn(n_jets, 5)]) < 1e-5


@pytest.mark.slow
@settings(max_examples=15, deadline=None)
@given(partings(), st.integers(0, 2**31))
def test_a_smaller_module_is_the_network_or_is_refused(module: Parting, seed: int) -> None:
    network = smaller(read(module), seed)
    try:
        written = to_module(network, module)
    except NetworkError:
        return
    agree(network, written)


@pytest.mark.slow
@settings(max_examples=8, deadline=None)
@given(partings(), st.integers(0, 2**31))
def test_a_smaller_program_is_the_network_or_is_refused(module: Parting, seed: int) -> None:
    network = smaller(read(module), seed)
    with tempfile.TemporaryDirectory() as folder:
        try:
            path = frontends.write(network, Path(folder) / "small.pt2", like=module)
        except NetworkError:
            return
        agree(network, torch.export.load(path).module())


@pytest.mark.slow
@pytest.mark.parametrize("part", sorted(set(PARTS) - {"heads"}))
def test_bounds_sizes_and_places_move(tmp_path: Path, part: str) -> None:
    """Heads are joined again at once, so that their neurons are free to leave one by one, which no view can follow."""
    module = Parting([(part, "plain")])
    network = surgery.shrink(read(module), [masks.Cut("first", "neuron", (1, 2, 3, 5))], warn=False)
    assert network["first"].n_out < 8
    path = frontends.write(network, tmp_path / "small.pt2", like=module)
    agree(network, torch.export.load(path).module())
