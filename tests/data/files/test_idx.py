import gzip
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from hepprune.data.files import idx
from hepprune.errors import DataError

CODES = {"u1": 0x08, "i1": 0x09, "i2": 0x0B, "i4": 0x0C, "f4": 0x0D, "f8": 0x0E}


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
    found = idx.read(path)
    assert (found.dtype, found.shape) == (values.dtype, values.shape)
    assert np.array_equal(found, values, equal_nan=values.dtype.kind == "f")


GOOD = packed(np.arange(6, dtype=np.uint8).reshape(2, 3))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "no IDX file: it starts with nothing"),
        (b"\x80\x04\x95K", "no IDX file: it starts with 8004954b"),  # a pickle
        (b"\0\0\x07\x01\0\0\0\0", "no IDX file"),
        (b"\0\0\x08\x09" + b"\0" * 40, "no IDX file"),
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
        idx.read(path)


def test_a_bomb_is_not_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(idx, "_MAX_BYTES", 1000)
    (tmp_path / "bomb").write_bytes(gzip.compress(bytes(10**6)))
    with pytest.raises(DataError, match="holds more than 1000 bytes"):
        idx.read(tmp_path / "bomb")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nowhere"):
        idx.read(tmp_path / "nowhere")
