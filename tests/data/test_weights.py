"""Flattened weights add up to the same in every bin of every class, whatever the spectrum."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hepprune.data import read
from hepprune.data.weights import Flatten, checked
from hepprune.errors import DataError

EDGES = (0.0, 10.0, 25.0, 60.0, 200.0)


@given(seed=st.integers(0, 2**32), weighted=st.booleans())
def test_every_bin_of_every_class_weighs_the_same(seed: int, weighted: bool) -> None:  # noqa: FBT001
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 3, 3000)
    pt = np.clip(rng.exponential(20 * (y + 1)), 0, 199)
    own = rng.random(3000).astype(np.float32) + 0.1 if weighted else np.ones(3000, np.float32)
    found = Flatten(column="pt", edges=EDGES).weights(pt, y, own)
    assert found.mean() == pytest.approx(1, rel=1e-5)
    sums = np.array([np.histogram(pt[y == c], EDGES, weights=found[y == c])[0] for c in range(3)])
    assert sums[sums > 0] == pytest.approx(sums.max(), rel=1e-4)
    if weighted:
        same = (y == 1) & (pt < 10)
        assert found[same] / own[same] == pytest.approx(np.full(same.sum(), found[same][0] / own[same][0]), rel=1e-5)


def test_jets_beyond_the_edges_count_to_the_last_bins_and_are_read_with_their_weights() -> None:
    arrays: dict[str, Any] = {"pt": np.array([-5.0, 5, 15, 300, 150]), "label": np.zeros(5, int)}
    wanted = Flatten(column="pt + 0", edges=(0, 10, 100, 200))
    jets = read(arrays, features=["pt"], classes=("a", "b"), event=None, flatten=wanted)
    assert jets.weight == pytest.approx(np.array([1, 1, 2, 1, 1]) * 5 / 6)
    with pytest.raises(DataError, match="the jets in a bin of 'pt' weigh nothing"):
        weight = "where(pt == 15, 0, 1)"
        read(
            arrays,
            features=["pt"],
            label=None,
            event=None,
            weight=weight,
            flatten=Flatten(column="pt", edges=(0, 10, 100, 200)),
        )


@pytest.mark.parametrize("edges", [(), (1.0,), (1.0, 1.0), (2.0, 1.0)])
def test_edges_that_make_no_bins_are_refused(edges: tuple[float, ...]) -> None:
    with pytest.raises(DataError, match="edges of bins rise, and there are two or more"):
        checked(edges)
