"""Contractions: operands that are aligned have the products next to each other that are summed."""

import numpy as np
import pytest
import torch

from hepprune.network.layers import Einsum


@pytest.mark.parametrize("equation", ["ij,jk->ik", "ij,kj->ikj", "ba,acb->c", "ij,ij->j", "i,j->ji"])
def test_aligned_operands_are_multiplied_and_summed(equation: str) -> None:
    layer, rng, sizes = (
        Einsum("e", equation),
        np.random.default_rng(1),
        dict(zip("abcijk", (2, 3, 4, 2, 3, 4), strict=True)),
    )
    jets = [rng.integers(-9, 9, (5, *(sizes[axis] for axis in term))).astype(float) for term in layer.terms[:2]]
    left, right = layer.aligned(*jets)
    wanted = layer.compute(*map(torch.as_tensor, jets), quantised=True).numpy()
    assert left.shape == right.shape
    assert left.shape[: wanted.ndim] == wanted.shape
    np.testing.assert_array_equal((left * right).reshape(*wanted.shape, -1).sum(axis=-1), wanted)
