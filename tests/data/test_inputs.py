"""What inputs read: shapes and names go with arrays, images are histograms, and one-hot codes are flags."""

from typing import Any

import awkward as ak
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hepprune.data.files.slabs import Chunk
from hepprune.data.inputs import Columns, Image, values
from hepprune.errors import DataError


def chunk(**columns: Any) -> Chunk:
    arrays = ak.zip({name: ak.Array(each) for name, each in columns.items()}, depth_limit=1)
    return Chunk(columns=arrays, rows=np.arange(10, 10 + len(arrays)), spec="jets.root:Jets")


JETS = chunk(pt=[10.0, 20.0], cand=[[4.0, 3.0, 1.0], [2.0]], pdg=[[1, 0, 2], [2]])


def test_one_hot_constituents_are_flags_and_padding_is_none_of_the_codes() -> None:
    each = Columns(features=("cand / pt", "pdg == 1", "pdg == 2"), n_constituents=2, is_filled=False)
    array = each.array(JETS)
    assert array.dtype == np.float32
    assert array == pytest.approx(np.array([[[0.4, 1, 0], [0.3, 0, 0]], [[0.1, 0, 1], [0, 0, 0]]], np.float32))
    assert (each.shape, array.shape[1:], each.names) == ((2, 3), (2, 3), each.features)
    assert values(each)[:4] == ("cand / pt[0]", "pdg == 1[0]", "pdg == 2[0]", "cand / pt[1]")


def test_the_mark_of_constituents_is_there_where_it_is_wanted() -> None:
    each = Columns(features=("cand",), n_constituents=2)
    assert each.array(JETS).tolist() == [[[4, 1], [3, 1]], [[2, 1], [0, 0]]]
    assert (each.shape, each.names) == ((2, 2), ("cand", "isfilled"))
    flat = Columns(features=("pt", "sum(cand)"))
    assert flat.array(JETS).tolist() == [[10, 8], [20, 2]]
    assert (flat.shape, values(flat)) == ((2,), ("pt", "sum(cand)"))


def test_features_with_an_lsb_are_the_whole_numbers_of_hardware() -> None:
    flat = Columns(features=("pt", "eta"), lsb={"eta": 0.0435})
    whole = np.array([-70, -1, 0, 3, 70])
    near = (whole * 0.0435).astype(np.float16)  # as an ntuple keeps them
    assert flat.array(chunk(pt=whole, eta=near)).tolist() == [[n, n] for n in whole]
    lists = Columns(features=("cand",), n_constituents=3, lsb={"cand": 0.5})
    assert lists.array(JETS).tolist() == [[[8, 1], [6, 1], [2, 1]], [[4, 1], [0, 0], [0, 0]]]


@given(seed=st.integers(0, 2**32), weighted=st.booleans(), bins=st.tuples(st.integers(1, 5), st.integers(1, 5)))
def test_an_image_is_the_histogram_of_each_jet(seed: int, weighted: bool, bins: tuple[int, int]) -> None:  # noqa: FBT001
    rng = np.random.default_rng(seed)
    counts = rng.integers(0, 8, 6)
    x, y, w = (ak.unflatten(rng.normal(size=counts.sum()), counts) for _ in range(3))
    each = Image(x="x", y="y", weight="2 * w" if weighted else None, bins=bins, range=((-1, 1), (-0.5, 1.5)))
    found = each.array(chunk(x=x, y=y, w=w))
    assert found.shape == (6, *each.shape) == (6, *bins, 1)
    for jet in range(6):
        weights = 2 * w[jet].to_numpy() if weighted else None
        expected, *_ = np.histogram2d(
            x[jet].to_numpy(), y[jet].to_numpy(), bins=bins, range=each.range, weights=weights
        )
        assert found[jet, ..., 0] == pytest.approx(expected.astype(np.float32), rel=1e-5, abs=1e-6)


def test_an_image_of_several_weights_has_a_channel_for_each() -> None:
    given = chunk(x=[[0.1, 0.6, 0.6], [0.7]], y=[[0.1, 0.6, 0.7], [0.2]], w=[[1.0, 2.0, 4.0], [-8.0]])
    axes: dict[str, Any] = {"x": "x", "y": "y", "bins": (2, 2), "range": ((0, 1), (0, 1))}
    each = Image(weight=("w", None, "w / 2"), **axes)
    alone = [Image(weight=weight, **axes).array(given)[..., 0] for weight in each.weights]
    assert each.shape == (2, 2, 3)
    assert each.array(given).tolist() == np.stack(alone, axis=-1).tolist()
    assert values(each)[:4] == ("w[0]", "count[0]", "w / 2[0]", "w[1]")


def test_the_high_end_of_an_image_is_excluded_and_pixels_are_transformed() -> None:
    each = Image(x="x", y="x", bins=(2, 2), range=((0, 1), (0, 1)), transform="log1p")
    found = each.array(chunk(x=[[0.0, 0.5, 1.0], [0.25, 0.25]]))
    assert found[..., 0] == pytest.approx(np.log1p(np.array([[[1, 0], [0, 1]], [[2, 0], [0, 0]]], np.float32)))
    assert values(each) == tuple(f"image[{row}]" for row in range(4))


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (
            {"x": [[0.1], [np.nan]]},
            "column 'x' of 'jets.root:Jets' has 1 values that are not finite, the first in row 11",
        ),
        (
            {"w": [[np.inf], [1.0]]},
            "column 'w' of 'jets.root:Jets' has 1 values that are not finite, the first in row 10",
        ),
        ({"x": [0.1, 0.2]}, "column 'x' of 'jets.root:Jets' is 'float64' and not a list of numbers per row"),
        ({"w": [[1.0, 2.0], [1.0]]}, "columns 'x' and 'w' of 'jets.root:Jets' differ in their numbers of constituents"),
    ],
)
def test_constituents_that_make_no_image_are_refused(columns: dict[str, Any], message: str) -> None:
    given = chunk(**({"x": [[0.1], [0.2]], "y": [[0.1], [0.2]], "w": [[1.0], [2.0]]} | columns))
    with pytest.raises(DataError) as caught:
        Image(x="x", y="y", weight="w", bins=(2, 2), range=((0, 1), (0, 1))).array(given)
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(
    ("lsb", "said"),
    [
        ({"typo": 0.5}, "unknown feature 'typo'"),
        ({"pt": -0.5}, "that of 'pt' is -0.5, and lies between"),
        ({"pt": 0.0}, "that of 'pt' is 0.0, and lies between"),
        ({"pt": 1e-320}, "and lies between 2"),
        ({"pt": float("nan")}, "that of 'pt' is nan"),
    ],
)
def test_what_no_feature_can_be_worth_is_refused(lsb: dict[str, float], said: str) -> None:
    with pytest.raises(DataError, match=said):
        Columns(features=("pt", "eta"), lsb=lsb)
