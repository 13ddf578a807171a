"""Jets of `.npz` files: what can be meant by an array of classes is taken, whatever else is refused by name."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from hepprune.data.files import npz
from hepprune.errors import DataError

X = np.random.default_rng(0).normal(size=(6, 3)).astype(np.float32)
Y = np.array([0, 2, 1, 1, 0, 2])


def _file(path: Path, x: Any = X, y: Any = Y) -> Path:
    np.savez_compressed(path, x=x, y=y)
    return path


@pytest.mark.parametrize(
    "classes",
    [Y, Y.astype(np.uint8), Y.astype(np.float32), Y[:, None], np.eye(3)[Y], np.eye(3, dtype=int)[Y], np.eye(3)[Y] > 0],
    ids=["integers", "bytes", "whole floats", "column", "one-hot floats", "one-hot integers", "one-hot booleans"],
)
def test_classes_are_read_however_they_are_written(classes: NDArray[Any], tmp_path: Path) -> None:
    x, y = npz.read(_file(tmp_path / "j.npz", y=classes))
    assert y.dtype == np.int64
    assert y.tolist() == Y.tolist()
    assert (x == X).all()


def test_booleans_are_two_classes(tmp_path: Path) -> None:
    assert npz.read(_file(tmp_path / "j.npz", y=Y > 0))[1].tolist() == [0, 1, 1, 1, 0, 1]


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"y": Y + 0.5}, "y of '.*' is 0.5 in row 0; classes are whole numbers from 0"),
        ({"y": Y - 1}, "is -1 in row 0"),
        ({"y": np.where(Y == 2, np.nan, Y)}, "is nan in row 1"),
        ({"y": np.full(6, 2**64 - 1, np.uint64)}, "is 18446744073709551615 in row 0"),
        ({"y": Y.astype("S1")}, r"is '\|S1', such as b'0'; number the classes from 0"),
        ({"y": np.array(["top", "qcd"] * 3)}, "such as top; number the classes from 0"),
        ({"y": Y + 0j}, "is 'complex128'; number the classes from 0"),
        ({"y": np.eye(3)[Y] * 0.5}, r"has the shape \(6, 3\) and is neither one class for each jet nor one-hot"),
        ({"y": np.zeros((6, 3))}, "neither one class for each jet nor one-hot"),
        ({"y": np.int64(1)}, "neither one class for each jet nor one-hot"),
        ({"y": Y[:4]}, "differ in their numbers of jets: 6 and 4"),
        ({"x": X + 1j}, "x of '.*' is 'complex64' and must be real numbers"),
        ({"x": X.astype("U4")}, "must be real numbers"),
        ({"x": np.float32(1)}, "needs one row of features for each jet"),
        ({"x": X[:0], "y": Y[:0]}, "needs one row of features for each jet"),
        ({"x": np.where(X > 0, 1e300, X.astype(np.float64))}, "values that are not finite, the first in row"),
        ({"y": np.array([{"a": 1}] * 6)}, "is not an .npz with jets x and classes y: Object arrays cannot be loaded"),
    ],
)
def test_what_no_network_can_learn_from_is_refused_by_name(
    arrays: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match=message):
        npz.read(_file(tmp_path / "j.npz", **arrays))


def test_a_missing_array_and_a_missing_file_are_named(tmp_path: Path) -> None:
    np.savez(tmp_path / "j.npz", features=X, y=Y)
    with pytest.raises(DataError, match="it lacks x, and has: features, y"):
        npz.read(tmp_path / "j.npz")
    with pytest.raises(DataError, match="there is no file"):
        npz.read(tmp_path / "k.npz")


@pytest.mark.parametrize("seed", range(200))
def test_flipped_bits_are_refused_or_read(seed: int, tmp_path: Path) -> None:
    rng = np.random.default_rng(seed)
    content = bytearray(_file(tmp_path / "j.npz").read_bytes())
    for place in rng.integers(0, len(content), rng.choice([1, 4, 16])):
        content[place] ^= 1 << rng.integers(8)
    (tmp_path / "k.npz").write_bytes(content)
    try:
        x, y = npz.read(tmp_path / "k.npz")
    except DataError:
        return
    assert len(x) == len(y) > 0
