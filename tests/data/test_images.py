from pathlib import Path

import numpy as np
import pytest

from hepprune.data import images
from hepprune.errors import DataError
from tests.data.files.test_idx import packed


def write(folder: Path, *, n_labels: int = 5, largest: int = 9) -> np.ndarray:
    pixels = np.random.default_rng(1).integers(0, 256, (5, 28, 28)).astype(np.uint8)
    labels = np.arange(n_labels, dtype=np.uint8)
    labels[-1] = largest
    for name, values in {
        "train-images-idx3-ubyte": pixels,
        "train-labels-idx1-ubyte": labels,
        "t10k-images.idx3-ubyte": pixels[:2],
        "t10k-labels.idx1-ubyte": np.array([3, 4], dtype=np.uint8),
    }.items():
        (folder / name).write_bytes(packed(values))
    return pixels


def test_mnist_is_read_under_both_spellings(tmp_path: Path) -> None:
    pixels = write(tmp_path)
    (x, y), (x_test, y_test) = images.mnist(tmp_path)
    assert x.dtype == np.float32
    assert np.allclose(255 * x, pixels.reshape(5, -1))
    assert (y.tolist(), y_test.tolist(), len(x_test)) == ([0, 1, 2, 3, 9], [3, 4], 2)


def test_what_does_not_fit_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no MNIST file 'train-images-idx3-ubyte'"):
        images.mnist(tmp_path)
    write(tmp_path, n_labels=4)
    with pytest.raises(DataError, match="do not go with labels"):
        images.mnist(tmp_path)
    write(tmp_path, largest=10)
    with pytest.raises(DataError, match="lie between 0 and 9"):
        images.mnist(tmp_path)


def test_digits_are_always_the_same() -> None:
    (x, y), (x_test, y_test) = images.digits()
    assert (x.shape, x_test.shape) == ((1257, 64), (540, 64))
    assert (x.min(), x.max()) == (0, 1)
    assert np.array_equal(images.digits()[0][1], y)
    assert min(np.bincount(y).min(), np.bincount(y_test).min()) > 20
