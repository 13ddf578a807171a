"""Writing: what is read back is what was written, in the order asked for, to the bits that are kept."""

from pathlib import Path

import numpy as np
import pytest
import uproot
from hypothesis import given
from hypothesis import strategies as st

from hepprune.data.files import root
from hepprune.data.production import writing

finite = st.floats(-(2.0**100), 2.0**100, width=32)


@given(values=st.lists(finite, min_size=1))
def test_rounding_keeps_the_promised_precision_and_repeats_itself(values: list[float]) -> None:
    exact = np.array(values, np.float32)
    rounded = writing.round_mantissa(exact)
    normal = np.abs(exact) >= np.finfo(np.float32).tiny
    assert (np.abs(rounded - exact)[normal] <= 2.0 ** -(writing.MANTISSA_BITS + 1) * np.abs(exact)[normal]).all()
    assert (writing.round_mantissa(rounded) == rounded).all()


@given(value=st.integers(-(2**12), 2**12))
def test_small_integers_are_exact(value: int) -> None:
    assert writing.round_mantissa(np.array([value], np.float32))[0] == value


def test_rounding_leaves_other_types_alone() -> None:
    events = np.array([2**53 + 1], np.int64)
    assert writing.round_mantissa(events)[0] == 2**53 + 1


def test_reading_gives_what_was_written_in_the_order_asked_for(tmp_path: Path) -> None:
    columns = {
        "event": np.array([10, 11, 12]),
        "pt": np.array([1.5, 2.5, 3.5], np.float32),
        "n_constituents": np.array([2, 0, 1], np.int32),
        "constituent_pt": np.array([1, 0.5, 3.5], np.float32),
        "constituent_charge": np.array([-1, 0, 1], np.int8),
    }
    path = tmp_path / "jets.root"
    writing.write(path, columns, order=np.array([2, 0, 1]), metadata={"seed": 1})
    with uproot.open(f"{path}:Jets") as tree:
        rows = tree.arrays(library="ak").to_list()
    assert [row["event"] for row in rows] == [12, 10, 11]
    assert [row["pt"] for row in rows] == [3.5, 1.5, 2.5]
    assert [row["constituent_pt"] for row in rows] == [[3.5], [1, 0.5], []]
    assert [row["constituent_charge"] for row in rows] == [[1], [-1, 0], []]
    assert root.metadata(path) == {"seed": 1}
    assert root.columns(f"{path}:Jets")["constituent_pt"] == "float[]"


def test_a_failed_write_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(TypeError):
        writing.write(tmp_path / "jets.root", {"pt": np.ones(1)}, order=np.arange(1), metadata={"bad": object()})
    assert not list(tmp_path.iterdir())
