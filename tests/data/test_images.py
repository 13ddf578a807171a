import gzip
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from hepprune.data import images
from hepprune.errors import DataError

CODES = {"u1": 0x08, "i1": 0x09, "i2": 0x0B, "i4": 0x0C, "f4": 0x0D, "f8": 0x0E}


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


def packed(values: np.ndarray) -> bytes:
    """Return what the format's description says, written without the reader's code."""
    head = bytes([0, 0, CODES[values.dtype.str[1:]], values.ndim]) + struct.pack(f">{values.ndim}I", *values.shape)
    return head + values.astype(values.dtype.newbyteorder(">")).tobytes()


@given(
    st.sampled_from(sorted(CODES)).flatmap(
        lambda kind: arrays.arrays(kind, arrays.array_shapes(max_dims=4, max_side=4))
    ),
    st.booleans(),
)
def test_an_array_comes_back_as_it_was(tmp_path: Path, values: np.ndarray, zipped: object) -> None:
    path = tmp_path / "values"
    path.write_bytes(gzip.compress(packed(values)) if zipped else packed(values))
    found = images.idx_array(path)
    assert (found.dtype, found.shape) == (values.dtype, values.shape)
    assert np.array_equal(found, values, equal_nan=values.dtype.kind == "f")


GOOD = packed(np.arange(6, dtype=np.uint8).reshape(2, 3))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "not an IDX file: it starts with nothing"),
        (b"\x80\x04\x95K", "not an IDX file: it starts with 8004954b"),  # a pickle
        (b"\0\0\x07\x01\0\0\0\0", "not an IDX file"),
        (b"\0\0\x08\x09" + b"\0" * 40, "not an IDX file"),
        (GOOD[:7], "cut short in its header"),
        (GOOD[:-1], r"promises 6 bytes of shape \(2, 3\) and holds 5"),
        (GOOD + b"x", "holds 7"),
        (b"\0\0\x08\x02" + b"\xff" * 8, "promises 18446744065119617025 bytes"),
        (gzip.compress(GOOD, mtime=0)[:-9], "cannot be read"),
        (b"\x1f\x8b" + b"nonsense", "cannot be read"),
    ],
)
def test_damage_is_one_sentence(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "images"
    path.write_bytes(content)
    with pytest.raises(DataError, match=said):
        images.idx_array(path)


def test_a_bomb_is_not_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images, "_MAX_BYTES", 1000)
    (tmp_path / "bomb").write_bytes(gzip.compress(bytes(10**6)))
    with pytest.raises(DataError, match="holds more than 1000 bytes"):
        images.idx_array(tmp_path / "bomb")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nowhere"):
        images.idx_array(tmp_path / "nowhere")
