from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from hepprune.errors import NetworkError
from hepprune.network import (
    Concatenate,
    Crop,
    Einsum,
    Input,
    Layer,
    Merge,
    Network,
    Pad,
    Permute,
    Reshape,
    Slice,
    UpSample,
)

Floats = NDArray[np.float64]
VALUES = np.arange(2 * 3 * 4 * 5, dtype=np.float64).reshape(2, 3, 4, 5)


@pytest.mark.parametrize(
    ("layer", "wanted"),
    [
        (Reshape("l", (60,)), lambda v: v.reshape(2, 60)),
        (Reshape("l", (-1, 10)), lambda v: v.reshape(2, 6, 10)),
        (Permute("l", (2, 0, 1)), lambda v: v.transpose(0, 3, 1, 2)),
        (Pad("l", ((1, 0), (0, 2))), lambda v: np.pad(v, ((0, 0), (1, 0), (0, 2), (0, 0)))),
        (Crop("l", ((1, 1), (0, 3))), lambda v: v[:, 1:2, 0:1]),
        (UpSample("l", (2, 3)), lambda v: v.repeat(2, axis=1).repeat(3, axis=2)),
        (Slice("l", 1, 4), lambda v: v[..., 1:4]),
        (Slice("l", 0, 3, axis=1, step=2), lambda v: v[:, 0:3:2]),
    ],
)
def test_values_move_as_in_numpy(layer: Layer, wanted: Callable[[Floats], Floats]) -> None:
    network = Network([Input("x", (3, 4, 5)), layer])
    moved = network(torch.tensor(VALUES))
    assert np.array_equal(moved.numpy(), wanted(VALUES))
    assert network.shapes["l"] == tuple(moved.shape[1:])


@pytest.mark.parametrize(
    ("layer", "wanted"),
    [
        (Concatenate("l"), lambda a, b: np.concatenate([a, b], axis=-1)),
        (Concatenate("l", 1), lambda a, b: np.concatenate([a, b], axis=1)),
        (Merge("l", "add"), np.add),
        (Merge("l", "subtract"), np.subtract),
        (Merge("l", "multiply"), np.multiply),
        (Merge("l", "maximum"), np.maximum),
        (Merge("l", "minimum"), np.minimum),
        (Merge("l", "average"), lambda a, b: (a + b) / 2),
        (Einsum("l", "ijk,ijk->ik"), lambda a, b: np.einsum("zijk,zijk->zik", a, b)),
        (Einsum("l", "ijk,ijl->kl"), lambda a, b: np.einsum("zijk,zijl->zkl", a, b)),
    ],
)
def test_two_values_combine_as_in_numpy(layer: Layer, wanted: Callable[[Floats, Floats], Floats]) -> None:
    shape = (3, 4, 5)
    network = Network([Input("x", shape), Input("y", shape), layer], {"l": ("x", "y")})
    other = VALUES[::-1].copy() - 7
    combined = network([torch.tensor(VALUES), torch.tensor(other)])
    assert np.allclose(combined.numpy(), wanted(VALUES, other), rtol=1e-12)
    assert network.shapes["l"] == tuple(combined.shape[1:])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Reshape("l", (7,)), r"cannot bring \(3, 4, 5\) into the shape \(7,\)"),
        (lambda: Reshape("l", (-1, -1)), "only one axis"),
        (lambda: Permute("l", (0, 2)), "is not an order of axes"),
        (lambda: Permute("l", (1, 0)), "orders 2 axes"),
        (lambda: Pad("l", ((1, 1),)), "has 1 borders"),
        (lambda: Crop("l", ((2, 2), (0, 0))), "puts out"),
        (lambda: Slice("l", 3, 6), "takes values up to 6 of 5"),
        (lambda: Slice("l", 3, 3), "cannot take"),
        (lambda: Concatenate("l", 0), "along the axis of jets"),
        (lambda: Merge("l", "divide"), "unknown operation 'divide'"),
        (lambda: Merge("l", "add"), "cannot add 1 values"),
        (lambda: Einsum("l", "ii,ij->j"), "repeats an axis"),
        (lambda: Einsum("l", "ij->j"), "is not a contraction"),
    ],
)
def test_what_does_not_fit_is_refused(make: Callable[[], Layer], message: str) -> None:
    with pytest.raises(NetworkError, match=message):
        Network([Input("x", (3, 4, 5)), make()])
